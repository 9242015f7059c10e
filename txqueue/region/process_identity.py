"""Process identities: words that name processes in shared memory, so that others can tell whether one is still there.

A process id alone is used again after its process has died; together with the start time it is not. Both fit one word,
so one compare-and-swap takes ownership. All processes that share a region must see the same process ids:
:func:`process_namespace` tells.

A process is dead once none of its threads can run again. That its first thread has ended says nothing: ``/proc`` shows
such a process as a zombie, while its other threads run on and write.
"""

import functools
import os
from pathlib import Path
from typing import Final

from txqueue.region import fork

_PID_BITS: Final = 22
"""Linux counts process ids to 2^22 at most."""
IDENTITY_BITS: Final = 48
"""Of an identity, so that other bits can be compared and swapped with it."""
_START_MASK: Final = (1 << (IDENTITY_BITS - _PID_BITS)) - 1
"""Clock ticks since boot, modulo 7.8 days: to be taken for the dead one, another process would have to get the same id
and to start in the same hundredth of a second of such a span."""


def this_process() -> int:
    """The identity of the calling process: start time and process id, never 0."""
    return _identity_of_this_process(os.getpid(), fork.generation())


@functools.cache
def _identity_of_this_process(pid: int, _generation: int) -> int:
    """Remembers the identity; both arguments, as a child may get the id of an ancestor that has died."""
    start = _start_ticks(pid)
    assert start is not None, "a process can read its own status"
    return _identity(pid, start)


def process_namespace() -> int:
    """Names the namespaces in which process ids and start times are counted: an identity means something in one only.

    Fits 64 bits, and is never 0.
    """
    process_ids = Path("/proc/self/ns/pid").stat().st_ino
    clock = Path("/proc/self/ns/time")  # not in kernels before 5.6, whose clock is one for all
    return process_ids | (clock.stat().st_ino if clock.exists() else 0) << 32


def process_id_of(identity: int) -> int:
    """The process id in an identity."""
    return identity & ((1 << _PID_BITS) - 1)


def is_alive(identity: int) -> bool:
    """Whether the process of this identity still runs."""
    pid = process_id_of(identity)
    start = _start_ticks(pid)
    return start is not None and _identity(pid, start) == identity


def _identity(pid: int, start_ticks: int) -> int:
    return (start_ticks & _START_MASK) << _PID_BITS | pid


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where there is none that can still run."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold anything, so count from behind it: state is the first field, the count of threads
    # the 18th, start time the 20th. The state is the first thread's, which counts among the threads until the process
    # is gone. One look at the count tells; a walk over the threads could miss one that another had only just started.
    fields = status[status.rindex(b")") + 2 :].split()
    has_ended = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
    return None if has_ended else int(fields[19])
