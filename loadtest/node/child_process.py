"""Child process: one that the kernel kills when its parent ends, in whatever way that ends.

Run as a program, this file ties itself to its parent and becomes the command that it is given.

The kernel means the *thread* that started the child: start children from one that lives as long as they should.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def command_of_child(*command: str) -> tuple[str, ...]:
    """The command to start instead of ``command``, so that its process ends with this one."""
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), *command)


def end_with_parent(parent_pid: int) -> None:
    """Have this process killed when its parent ends; at once where that has happened already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the command of our own parent
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror}")
