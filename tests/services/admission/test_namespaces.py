"""A namespace is invalid, not allowed, or admitted: the same wherever it comes from."""

import numpy as np
import pytest

from penstock.contract.reasons import Reason
from services.admission.namespaces import NAMESPACES, NamespaceSet
from services.refusal import Refusal


@pytest.mark.parametrize("namespaces", [None, [0, 63, 64, 65_535]])
def test_a_namespace_above_the_largest_is_invalid_and_no_matter_of_permission(namespaces: list[int] | None) -> None:
    for namespace in (65_536, 1 << 31, (1 << 32) - 1):
        assert NamespaceSet(namespaces).refuse(namespace, "n") == Refusal(Reason.NAMESPACE_INVALID, field="n")


def test_only_admitted_namespaces_pass() -> None:
    admitted = [0, 63, 64, 65_535]
    namespaces = NamespaceSet(admitted)
    assert all(namespaces.refuse(namespace, "n") is None for namespace in admitted)
    for namespace in (1, 62, 65, 65_534):
        assert namespaces.refuse(namespace, "n") == Refusal(Reason.NAMESPACE_NOT_ALLOWED, field="n")
    assert np.flatnonzero(namespaces.admitted).tolist() == admitted


def test_all_are_admitted_unless_some_are_named() -> None:
    assert NamespaceSet(None).admitted.all()
    assert not NamespaceSet([]).admitted.any()


def test_the_bitmap_says_the_same() -> None:
    for namespaces in (NamespaceSet(None), NamespaceSet([0, 63, 64, 65_535]), NamespaceSet(range(100, 1000))):
        bits = [bool(int(namespaces.bitmap[namespace >> 6]) >> (namespace & 63) & 1) for namespace in range(NAMESPACES)]
        assert bits == namespaces.admitted.tolist()
