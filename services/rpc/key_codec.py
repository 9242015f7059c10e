"""Key codec: keys of a read to the arrays that the state takes, and what it found back to entries."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.contract.limits import BATCH_SIZE, KEY_BYTES_MAX
from penstock.contract.reasons import Reason
from penstock.v1 import state_pb2
from services.admission.namespaces import NamespaceSet
from services.refusal import Refusal
from statestore.kernel.layout import KIND_ACCOUNT, KIND_COUNTER, KIND_VALUE
from statestore.reads import Entries

_ACCOUNT_BYTES: Final = 16
_KEYS_TAG: Final = 0x0A
"""BatchReadRequest.keys: field 1, length-delimited."""
_VARINT_BITS_MAX: Final = 35
_PARSED_UNSEEN_BYTES: Final = 3 * BATCH_SIZE
"""A message of so many bytes has half as many keys at most, which harm nobody when they are parsed."""
_KINDS: Final = {"value": int(KIND_VALUE), "counter": int(KIND_COUNTER), "account": int(KIND_ACCOUNT)}


def has_too_many_keys(message: bytes) -> bool:
    """Say whether an encoded BatchReadRequest has more keys than it may have, before they are made objects of.

    A key takes two bytes in a message and a hundred or more once it is parsed. What is no such message at all is for
    the parser to find.
    """
    if len(message) <= _PARSED_UNSEEN_BYTES:
        return False
    at = keys = 0
    end = len(message)
    while at < end and message[at] == _KEYS_TAG:
        at += 1
        length = shift = 0
        while at < end:
            byte = message[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift >= _VARINT_BITS_MAX:
                break
        at += length
        keys += 1
        if keys > BATCH_SIZE:
            return True
    # Behind another field there may be more keys than are seen here: no client of this contract writes such a message.
    return at < end


def refusal_of(keys: Sequence[state_pb2.Key], namespaces: NamespaceSet) -> Refusal | None:
    """Say what is wrong with the first key that cannot be read; None where all can."""
    for number, key in enumerate(keys):
        place = f"keys[{number}]"
        refusal = namespaces.refuse(key.namespace, f"{place}.namespace")
        if refusal is not None:
            return refusal
        kind = key.WhichOneof("entry")
        if kind is None:
            return Refusal(Reason.KEY_MISSING, field=place)
        length = len(getattr(key, kind))
        if kind == "account" and length != _ACCOUNT_BYTES:
            text = f"an account has 16 bytes, little-endian, not {length}"
            return Refusal(Reason.ACCOUNT_INVALID, text, field=f"{place}.account")
        if not 1 <= length <= KEY_BYTES_MAX:
            text = f"a key has 1 to 1,024 bytes, not {length}"
            return Refusal(Reason.KEY_LENGTH_INVALID, text, field=f"{place}.{kind}")
    return None


def columns_of(
    keys: Sequence[state_pb2.Key],
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]:
    """Write n keys as kinds (uint8[n]), namespaces and lengths (uint16[n]), and all names one after the other."""
    kinds = [str(key.WhichOneof("entry")) for key in keys]
    names = [bytes(getattr(key, kind)) for key, kind in zip(keys, kinds, strict=True)]
    return (
        np.array([_KINDS[kind] for kind in kinds], np.uint8),
        np.array([key.namespace for key in keys], np.uint16),
        np.array([len(name) for name in names], np.uint16),
        np.frombuffer(b"".join(names), np.uint8),
    )


def entries_of(keys: Sequence[state_pb2.Key], found: Entries) -> list[state_pb2.Entry]:
    """Spell out what was ``found`` of ``keys``, in their order."""
    return [
        state_pb2.Entry(
            found=bool(found.found[i]),
            version=int(found.versions[i]),
            value=found.value(i) if key.HasField("value") else b"",
            amount=int(found.amounts[i]),
            overdraft=bool(found.overdrafts[i]),
        )
        for i, key in enumerate(keys)
    ]
