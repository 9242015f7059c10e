"""Frame validator: checks a frame and copies it into the ring, in one compiled pass.

Every record is checked while it is copied from the message, at whatever alignment it has there, to the claimed place in
the ring. A frame that fails is not published: a claim that nobody publishes costs nothing. The state machine relies on
what is checked here: the rules of ``protos/penstock/v1/record.proto`` are enforced here, and nowhere else.
"""

from dataclasses import replace
from enum import Enum
from typing import Final

import numpy as np
from numba import int64
from numpy.typing import NDArray

from penstock.contract import flag, limits, opcode, record
from penstock.contract.frame_codec import FrameFields
from penstock.contract.reasons import Reason
from services.admission.namespaces import NamespaceSet
from services.refusal import Refusal
from txqueue.jit import raw_memory
from txqueue.jit.decorators import BYTES_IN, WORDS, entry, kernel, load
from txqueue.producer import Producer
from txqueue.ring.ring import claim, publish

# What the kernel returns: one of these, or -(fault | record << 8). Kernels take plain globals.
_QUIET: Final = 0
_WAKE: Final = 1
_FULL: Final = 2

_OPERATION: Final = 1
_FLAGS: Final = 2
_PAYLOAD_LENGTH: Final = 3
_PAYLOADS_SHORT: Final = 4
_PAYLOADS_LONG: Final = 5
_CHAIN_OPEN: Final = 6
_SEQUENCE_RANGE: Final = 7
_SEQUENCE_BACKWARDS: Final = 8
_AMOUNT: Final = 9
_NAMESPACE: Final = 10
_KEY_LENGTH: Final = 11
_KEY_PADDING: Final = 12
_KEY_BEYOND_PAYLOAD: Final = 13
_UNUSED_FIELD: Final = 14
_VALUE_UNEXPECTED: Final = 15
_END_LINKED: Final = 16


_FAULTS: Final = {
    _OPERATION: Refusal(Reason.UNKNOWN_OPERATION, field="operation"),
    _FLAGS: Refusal(Reason.UNKNOWN_FLAGS, field="flags"),
    _PAYLOAD_LENGTH: Refusal(Reason.PAYLOAD_TOO_LARGE, field="payload_length"),
    _PAYLOADS_SHORT: Refusal(
        Reason.LENGTH_OVERRUN,
        "the records' payload lengths add up to more bytes than the frame's payloads have: correct the lengths",
        field="payloads",
    ),
    _PAYLOADS_LONG: Refusal(Reason.LENGTH_MISMATCH, field="payloads"),
    _CHAIN_OPEN: Refusal(Reason.CHAIN_OPEN, field="flags"),
    _SEQUENCE_RANGE: Refusal(Reason.SEQUENCE_INVALID, field="sequence"),
    _SEQUENCE_BACKWARDS: Refusal(Reason.SEQUENCE_BACKWARDS, field="sequence"),
    _AMOUNT: Refusal(Reason.AMOUNT_OUT_OF_RANGE, field="amount"),
    _NAMESPACE: Refusal(Reason.NAMESPACE_NOT_ALLOWED, field="namespace"),
    _KEY_LENGTH: Refusal(Reason.KEY_LENGTH_INVALID, field="operand_hi"),
    _KEY_PADDING: Refusal(Reason.KEY_PADDING_INVALID, field="key"),
    _KEY_BEYOND_PAYLOAD: Refusal(
        Reason.LENGTH_OVERRUN,
        "a key longer than 16 bytes is the head of the payload, which is shorter: correct the lengths",
        field="payload_length",
    ),
    _UNUSED_FIELD: Refusal(Reason.UNUSED_FIELD_SET, field="operand"),
    _VALUE_UNEXPECTED: Refusal(Reason.UNEXPECTED_PAYLOAD, field="payload_length"),
    _END_LINKED: Refusal(Reason.END_LINKED, field="flags"),
}

_SEQUENCE_END: Final = np.uint64((1 << 64) - 2)
_KEY_BYTES_MAX: Final = np.uint64(limits.KEY_BYTES_MAX)
_KEY_INLINE_BYTES_MAX: Final = np.uint64(limits.KEY_INLINE_BYTES_MAX)
_PAYLOAD_BYTES_MAX: Final = np.uint64(limits.PAYLOAD_BYTES_MAX)


class Publication(Enum):
    """What became of a frame that is valid."""

    PUBLISHED = _QUIET
    PUBLISHED_TO_SLEEPER = _WAKE
    """Published, and the ring's consumer has to be woken."""
    RING_FULL = _FULL
    """Not published: the ring has no room at the moment."""


class FrameValidator:
    """Checks frames against the contract and publishes them to the ring, as one of its producers."""

    def __init__(self, producer: Producer, namespaces: NamespaceSet) -> None:
        """Publish as ``producer``, which nobody else may use."""
        load(_validate_and_publish)
        self._producer = producer
        self._namespaces = namespaces.bitmap

    def check_size(self, fields: FrameFields) -> Refusal | None:
        """Say what is wrong with a frame's size; None where it may be published."""
        count, remainder = divmod(fields.records_length, record.RECORD_BYTES)
        if remainder:
            return Refusal(Reason.RECORD_SIZE_INVALID, field="records")
        if count == 0:
            return Refusal(Reason.FRAME_EMPTY, field="records")
        if count > limits.FRAME_RECORDS_MAX:
            text = f"the frame has {count:,} records, and {limits.FRAME_RECORDS_MAX:,} at most are allowed: split it"
            return Refusal(Reason.FRAME_TOO_LARGE, text, field="records")
        if fields.payloads_length > limits.FRAME_PAYLOAD_BYTES_MAX:
            text = (
                f"the payloads have {fields.payloads_length:,} bytes, and {limits.FRAME_PAYLOAD_BYTES_MAX:,} at most "
                "are allowed: split the frame"
            )
            return Refusal(Reason.FRAME_TOO_LARGE, text, field="payloads")
        return None

    def publish(self, message: bytes, fields: FrameFields, token: int) -> Publication | Refusal:
        """Publish the frame whose fields lie in ``message`` under ``token``; nothing of a refused frame is taken.

        The frame has passed `check_size`.
        """
        outcome = _validate_and_publish(
            self._producer.words,
            self._producer.index,
            np.frombuffer(message, np.uint8),
            fields.records_offset,
            fields.records_length // record.RECORD_BYTES,
            fields.payloads_offset,
            fields.payloads_length,
            self._namespaces,
            token,
        )
        if outcome >= 0:
            return Publication(outcome)
        refusal, number = _FAULTS[-outcome & 0xFF], -outcome >> 8
        return replace(
            refusal, detail=f"record {number}: {refusal.message}", field=f"records[{number}].{refusal.field}"
        )


@kernel
def _fault_of(
    operation: np.uint64,
    flags: np.uint64,
    payload_length: np.uint64,
    key_lo: np.uint64,
    key_hi: np.uint64,
    operand_lo: np.uint64,
    operand_hi: np.uint64,
    amount: np.uint64,
) -> int:
    """Check one record by its operation's rules; returns a fault's number or 0."""
    if operation < opcode.APPEND or operation > opcode.END_SESSION:
        return _OPERATION
    allowed = np.uint64(flag.LINKED)
    if operation == opcode.OPEN_ACCOUNT:
        allowed |= np.uint64(flag.OVERDRAFT)
    elif operation == opcode.ADD:
        allowed |= np.uint64(flag.FLOOR)
    if flags & ~allowed:
        return _FLAGS
    if payload_length > _PAYLOAD_BYTES_MAX:
        return _PAYLOAD_LENGTH
    if operation == opcode.TRANSFER:
        if np.int64(amount) < 1:
            return _AMOUNT
        return _VALUE_UNEXPECTED if payload_length else 0
    if operation != opcode.ADD and amount != 0:
        return _AMOUNT
    if operation == opcode.APPEND:
        return 0
    if operation == opcode.OPEN_ACCOUNT:
        if operand_lo | operand_hi:
            return _UNUSED_FIELD
        return _VALUE_UNEXPECTED if payload_length else 0
    if operation == opcode.END_SESSION:
        if key_lo | key_hi | operand_lo | operand_hi:
            return _UNUSED_FIELD
        return _VALUE_UNEXPECTED if payload_length else 0

    key_length = operand_hi & np.uint64(0xFFFF)
    if operand_hi >> np.uint64(16):
        return _UNUSED_FIELD
    if key_length == 0 or key_length > _KEY_BYTES_MAX:
        return _KEY_LENGTH
    value_length = payload_length
    if key_length > _KEY_INLINE_BYTES_MAX:
        if key_lo | key_hi:
            return _KEY_PADDING
        if payload_length < key_length:
            return _KEY_BEYOND_PAYLOAD
        value_length -= key_length
    elif key_length <= 8:
        if key_hi or (key_length < 8 and key_lo >> (key_length * np.uint64(8))):
            return _KEY_PADDING
    elif key_length < 16 and key_hi >> ((key_length - np.uint64(8)) * np.uint64(8)):
        return _KEY_PADDING
    if operation in (opcode.DELETE, opcode.ADD) and value_length:
        return _VALUE_UNEXPECTED
    uses_operand = operation == opcode.CAS or (operation == opcode.ADD and flags & np.uint64(flag.FLOOR))
    if operand_lo and not uses_operand:
        return _UNUSED_FIELD
    return 0


@entry(WORDS, int64, BYTES_IN, int64, int64, int64, int64, WORDS, int64)
def _validate_and_publish(
    words: NDArray[np.uint64],
    producer: int,
    message: NDArray[np.uint8],
    records_offset: int,
    count: int,
    payloads_offset: int,
    payloads_length: int,
    namespaces: NDArray[np.uint64],
    token: int,
) -> int:
    base = claim(words, producer, count, payloads_length)
    if base < 0:
        return _FULL
    payload_bytes = np.uint64(0)
    available = np.uint64(payloads_length)
    client_before = np.uint64(0)
    sequence_before = np.uint64(0)
    flags = np.uint64(0)
    for i in range(count):
        source = records_offset + i * record.RECORD_BYTES
        target = base + i * record.RECORD_WORDS
        client = raw_memory.load_unaligned(message, source)
        sequence = raw_memory.load_unaligned(message, source + 8)
        key_lo = raw_memory.load_unaligned(message, source + 16)
        key_hi = raw_memory.load_unaligned(message, source + 24)
        operand_lo = raw_memory.load_unaligned(message, source + 32)
        operand_hi = raw_memory.load_unaligned(message, source + 40)
        amount = raw_memory.load_unaligned(message, source + 48)
        meta = raw_memory.load_unaligned(message, source + 56)
        words[target] = client
        words[target + 1] = sequence
        words[target + 2] = key_lo
        words[target + 3] = key_hi
        words[target + 4] = operand_lo
        words[target + 5] = operand_hi
        words[target + 6] = amount
        words[target + 7] = meta

        # One comparison for both ends: 0 - 1 and 2^64-1 - 1 are the two largest.
        if sequence - np.uint64(1) >= _SEQUENCE_END:
            return -(_SEQUENCE_RANGE | i << 8)
        if sequence <= sequence_before and client == client_before:
            return -(_SEQUENCE_BACKWARDS | i << 8)
        client_before = client
        sequence_before = sequence

        namespace = meta & np.uint64(0xFFFF)
        operation = (meta >> np.uint64(16)) & np.uint64(0xFF)
        admitted = (namespaces[namespace >> np.uint64(6)] >> (namespace & np.uint64(63))) & np.uint64(1)
        if not admitted and operation != opcode.END_SESSION:  # which is in no namespace
            return -(_NAMESPACE | i << 8)
        flags_before = flags
        flags = (meta >> np.uint64(24)) & np.uint64(0xFF)
        payload_length = meta >> np.uint64(32)
        if operation == opcode.TRANSFER and payload_length == 0:  # the common case, checked without the rest
            if flags & ~np.uint64(flag.LINKED):
                return -(_FLAGS | i << 8)
            if np.int64(amount) < 1:
                return -(_AMOUNT | i << 8)
            continue
        if operation == opcode.END_SESSION:  # not in _fault_of: two more arguments cost every transfer 2 ns
            if (flags | flags_before) & np.uint64(flag.LINKED):
                return -(_END_LINKED | i << 8)
            if namespace:
                return -(_UNUSED_FIELD | i << 8)
        fault = _fault_of(operation, flags, payload_length, key_lo, key_hi, operand_lo, operand_hi, amount)
        if fault:
            return -(fault | i << 8)
        payload_bytes += payload_length
        if payload_bytes > available:
            return -(_PAYLOADS_SHORT | i << 8)
    last = count - 1
    if flags & np.uint64(flag.LINKED):
        return -(_CHAIN_OPEN | last << 8)
    if payload_bytes != available:
        return -(_PAYLOADS_LONG | last << 8)
    if payloads_length:
        raw_memory.copy_bytes(
            words, (base + count * record.RECORD_WORDS) * 8, message, payloads_offset, payloads_length
        )
    return _WAKE if publish(words, producer, token) else _QUIET
