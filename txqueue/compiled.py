"""How the path of a transaction is compiled."""

from typing import Any

from numba import njit

kernel: Any = njit(nogil=True, cache=True, _nrt=False)
"""Decorates a function of the hot path: it releases the GIL, and its machine code is kept on disk.

It may not allocate (no ``np.empty``, no arrays returned): numba's reference counts are left out. They are two locked
instructions for each array and call, several times the cost of a whole claim; callers hold the arrays anyway.
"""
