"""Names processes in shared memory, so that others can tell whether one is still there.

A process id alone is used again after its process has died; together with the start time it is not. Both fit one word,
so one compare-and-swap takes ownership. All processes that share a region must see the same process ids.
"""

import functools
import os
from pathlib import Path

_PID_BITS = 22
"""Linux counts process ids to 2^22 at most."""
_START_MASK = (1 << (63 - _PID_BITS)) - 1
"""Clock ticks since boot; the word stays positive as an int64."""


@functools.cache
def own() -> int:
    """The word of the calling process: start time and process id, never 0."""
    pid = os.getpid()
    start = _start_ticks(pid)
    assert start is not None, "a process can read its own status"
    return _word(pid, start)


os.register_at_fork(after_in_child=own.cache_clear)


def is_alive(owner: int) -> bool:
    """Whether the process that this word names still runs."""
    pid = owner & ((1 << _PID_BITS) - 1)
    start = _start_ticks(pid)
    return start is not None and _word(pid, start) == owner


def _word(pid: int, start_ticks: int) -> int:
    return (start_ticks & _START_MASK) << _PID_BITS | pid


def _start_ticks(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold anything, so count from behind it: state is the first field, start time the 20th.
    fields = status[status.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
