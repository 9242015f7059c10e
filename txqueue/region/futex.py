"""A futex: Linux's sleep on a word of memory until another thread or process wakes, called by ctypes.

ctypes releases the GIL around the call. The futex is not a private one, as the waker may be another process.
"""

import ctypes
import errno
import os
import platform
from typing import Final

import numpy as np
from numpy.typing import NDArray

_FUTEX_WAIT: Final = 0
_FUTEX_WAKE: Final = 1
_SYSCALL: Final = {"x86_64": 202, "aarch64": 98}[platform.machine()]
_NANOS: Final = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64))


def yield_processor() -> None:
    """Lets another thread run, if one wants to. Releases the GIL, which os.sched_yield may not do."""
    _libc.sched_yield()


class Futex:
    """The lower half of a region's word, on which threads may sleep.

    Args:
        words: uint64[:], kept alive by this object.
        index: of the word.
    """

    def __init__(self, words: NDArray[np.uint64], index: int) -> None:
        self._words = words
        self._address = ctypes.c_void_p(words.ctypes.data + index * 8)

    def wait(self, expected: int, timeout_s: float) -> None:
        """Blocks while the word holds ``expected``, at most for the time-out; may return early without a cause.

        Raises:
            OSError: the system refuses the call.
        """
        nanoseconds = max(0, int(timeout_s * _NANOS))
        timeout = _Timespec(nanoseconds // _NANOS, nanoseconds % _NANOS)
        if self._call(_FUTEX_WAIT, expected, ctypes.byref(timeout)) < 0:
            failure = ctypes.get_errno()
            if failure not in (errno.EAGAIN, errno.ETIMEDOUT, errno.EINTR):
                raise OSError(failure, os.strerror(failure))

    def wake(self) -> None:
        """Wakes whoever sleeps on the word."""
        self._call(_FUTEX_WAKE, 2**31 - 1, None)

    def _call(self, operation: int, value: int, timeout: object) -> int:
        result: int = _libc.syscall(
            ctypes.c_long(_SYSCALL), self._address, ctypes.c_int(operation), ctypes.c_uint32(value), timeout, None, 0
        )
        return result
