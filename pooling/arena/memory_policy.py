"""Memory policy of a mapping: huge pages and NUMA nodes, where the machine has them, and pages given back."""

import ctypes
import errno
import mmap
import os
import platform
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SHARED_HUGE_PAGES: Final = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
_NUMA_NODES: Final = Path("/sys/devices/system/node")
_MADV_REMOVE: Final = 9
_MADV_HUGEPAGE: Final = 14
_MPOL_PREFERRED: Final = 1
_MBIND: Final = {"x86_64": 237, "aarch64": 235}

_libc = ctypes.CDLL(None, use_errno=True)


def prefer_huge_pages(array: NDArray[np.uint8]) -> bool:
    """Asks for 2 MiB pages under a shared mapping that starts on a page; returns whether the system may grant them."""
    try:
        chosen = _SHARED_HUGE_PAGES.read_text()
    except OSError:
        return False
    return "[never]" not in chosen and "[deny]" not in chosen and _advise(array, _MADV_HUGEPAGE)


def prefer_node(array: NDArray[np.uint8], node: int) -> bool:
    """Asks for a NUMA node's memory under a mapping that starts on a page; returns whether that was granted."""
    if not (_NUMA_NODES / f"node{node}").exists() or platform.machine() not in _MBIND:
        return False
    mask = (ctypes.c_ulong * (node // 64 + 1))()
    mask[node // 64] = 1 << node % 64
    outcome = _libc.syscall(
        ctypes.c_long(_MBIND[platform.machine()]),
        ctypes.c_void_p(array.ctypes.data),
        ctypes.c_ulong(array.nbytes),
        ctypes.c_int(_MPOL_PREFERRED),
        ctypes.byref(mask),
        ctypes.c_ulong(len(mask) * 64 + 1),
        ctypes.c_uint(0),
    )
    return bool(outcome == 0)


def drop_pages(array: NDArray[np.uint8]) -> bool:
    """Gives the pages of a shared mapping back to the system: they read as zeros and cost nothing again.

    Returns:
        False where the file system cannot make holes.

    Raises:
        OSError: the mapping is not one that advice can be given for.
    """
    return _advise(array, _MADV_REMOVE)


def _advise(array: NDArray[np.uint8], advice: int) -> bool:
    address = array.ctypes.data
    assert address % mmap.PAGESIZE == 0, "advice is for whole pages"
    if _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(array.nbytes), ctypes.c_int(advice)) == 0:
        return True
    failure = ctypes.get_errno()
    if failure in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.ENOMEM):
        return False
    raise OSError(failure, os.strerror(failure))
