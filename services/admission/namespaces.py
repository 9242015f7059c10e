"""Namespace set: the namespaces that a node admits, on every door alike."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.contract.reasons import Reason
from services.refusal import Refusal

NAMESPACES: Final = 1 << 16


class NamespaceSet:
    """The admitted namespaces of 0 to 65,535."""

    def __init__(self, namespaces: Iterable[int] | None) -> None:
        """Admit these namespaces; None admits all."""
        self.admitted: Final[NDArray[np.bool_]] = np.full(NAMESPACES, namespaces is None)
        """bool[65536]: whether a namespace is admitted."""
        if namespaces is not None:
            self.admitted[list(namespaces)] = True
        self.bitmap: Final[NDArray[np.uint64]] = np.packbits(self.admitted, bitorder="little").view(np.uint64)
        """uint64[1024]: the same, bit ``namespace & 63`` of word ``namespace >> 6``."""

    def refuse(self, namespace: int, field: str) -> Refusal | None:
        """Say why ``namespace``, which ``field`` of a request holds, is not admitted; None where it is."""
        if namespace >= NAMESPACES:
            return Refusal(Reason.NAMESPACE_INVALID, field=field)
        if not self.admitted[namespace]:
            return Refusal(Reason.NAMESPACE_NOT_ALLOWED, field=field)
        return None
