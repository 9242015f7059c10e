"""Leftovers of a run: directories and mounts that go away with the process that made them, in whatever way it ends.

A process of its own waits for the other end of a pipe to close, which no signal can prevent, and then clears away. So
nothing here handles signals: an exception that a handler raises is lost where it meets a destructor. Run as a program,
this file is that process.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_ATTEMPTS: Final = 100
"""A node that is killed at the same moment may write one more file."""


@contextmanager
def cleared_away(directory: Path, *, is_mount: bool = False) -> Iterator[Path]:
    """Remove a directory, and whatever is mounted there, at the end of the block or of this process."""
    arguments = (sys.executable, "-I", "-S", __file__, str(directory.resolve()), str(int(is_mount)))
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, start_new_session=True) as keeper:
        try:
            yield directory
        finally:
            assert keeper.stdin is not None
            keeper.stdin.close()
            keeper.wait()


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A fresh directory with a short name, cleared away as by :func:`cleared_away`; sockets need short names."""
    with cleared_away(Path(tempfile.mkdtemp(prefix="penstock-"))) as directory:
        yield directory


def clear_away(directory: Path, *, is_mount: bool) -> None:
    """Remove a directory with all that is in it; thaw and unmount what is mounted there."""
    if is_mount and directory.is_mount():
        for command in (("fsfreeze", "-u", str(directory)), ("umount", "-l", str(directory))):
            subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
    for _ in range(_ATTEMPTS):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.05)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    clear_away(Path(sys.argv[1]), is_mount=bool(int(sys.argv[2])))
    os._exit(0)
