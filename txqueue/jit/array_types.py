"""Types of compiled code over arrays, as a type checker sees them; ``native_types.py`` has those over pointers."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint64]
"""A region, or any other array of 64-bit words."""
Int: TypeAlias = int | np.int64
"""Signed: a constant, or what compiled code computed."""
Bool: TypeAlias = bool | np.bool
