"""Debug build of compiled code: with PENSTOCK_DEBUG_KERNELS=1 in the environment kernels check their invariants.

An invariant is written ``assert UNCHECKED or ...``: numba drops it while it compiles, unless this is a debug build. A
check that fails raises AssertionError in the middle of a kernel, so the memory it worked on is of no further use.
"""

import os
from typing import Final

CHECKED: Final = os.environ.get("PENSTOCK_DEBUG_KERNELS", "0") not in ("", "0")
UNCHECKED: Final = not CHECKED
