"""The edge: validate a frame and copy it into the ring, in one compiled pass.

Every record is checked while it is copied from the message, at whatever alignment it has there, to the claimed place in
the ring. A frame that fails is simply not published: a claim that nobody publishes costs nothing. What passes here is
what the state machine relies on, so the rules of ``protos/penstock/v1/record.proto`` are enforced here, once.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import int64
from numpy.typing import NDArray

from penstock.contract import flag, limits, opcode, record
from penstock.contract.frame_codec import FrameFields
from txqueue.jit import atomics
from txqueue.jit.decorators import BYTES_IN, WORDS, entry, kernel, load
from txqueue.producer import Producer
from txqueue.ring.ring import claim, publish

NAMESPACES: Final = 1 << 16

# What the kernel returns: QUIET and WAKE where the frame was published, FULL where it has to wait, otherwise
# -(fault | record << 8).
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


class Fault(NamedTuple):
    """Why a frame is refused."""

    reason: str
    """For ErrorInfo: stable, upper case."""
    field: str
    """The field at fault, for BadRequest."""
    text: str
    """What is wrong and what would be right."""


_FAULTS: Final = {
    _OPERATION: Fault("UNKNOWN_OPERATION", "operation", "the operation is none of Operation's 1 to 7"),
    _FLAGS: Fault("UNKNOWN_FLAGS", "flags", "a flag is set that does not exist or does not go with the operation"),
    _PAYLOAD_LENGTH: Fault("PAYLOAD_TOO_LARGE", "payload_length", "a payload is larger than 1 MiB: split it"),
    _PAYLOADS_SHORT: Fault(
        "LENGTH_OVERRUN", "payloads", "the records' payload lengths add up to more bytes than the frame's payloads have"
    ),
    _PAYLOADS_LONG: Fault(
        "LENGTH_MISMATCH", "payloads", "the payloads have more bytes than the records' payload lengths add up to"
    ),
    _CHAIN_OPEN: Fault(
        "CHAIN_OPEN", "flags", "the last record is LINKED: a chain must end in the frame in which it starts"
    ),
    _SEQUENCE_RANGE: Fault("SEQUENCE_INVALID", "sequence", "sequences are 1 to 2^64-2"),
    _SEQUENCE_BACKWARDS: Fault(
        "SEQUENCE_BACKWARDS", "sequence", "a client's sequences must increase from record to record of a frame"
    ),
    _AMOUNT: Fault(
        "AMOUNT_OUT_OF_RANGE", "amount", "TRANSFER takes 1 to 2^63-1, ADD any amount, all other operations 0"
    ),
    _NAMESPACE: Fault("NAMESPACE_NOT_ALLOWED", "namespace", "this node does not admit the namespace"),
    _KEY_LENGTH: Fault("KEY_LENGTH_INVALID", "operand_hi", "a key has 1 to 1,024 bytes"),
    _KEY_PADDING: Fault("KEY_PADDING_INVALID", "key", "bytes of the key field beyond the key's length must be zero"),
    _KEY_BEYOND_PAYLOAD: Fault(
        "LENGTH_OVERRUN", "payload_length", "a key longer than 16 bytes is the head of the payload, which is shorter"
    ),
    _UNUSED_FIELD: Fault("UNUSED_FIELD_SET", "operand", "a field that the operation does not use must be zero"),
    _VALUE_UNEXPECTED: Fault("UNEXPECTED_PAYLOAD", "payload_length", "the operation takes no value"),
}

_NO_RECORDS: Final = Fault("FRAME_EMPTY", "records", "a frame has at least one record")
_RECORD_SIZE: Final = Fault("RECORD_SIZE_INVALID", "records", "records must be a multiple of 64 bytes")
_TOO_MANY_RECORDS: Final = Fault(
    "FRAME_TOO_LARGE", "records", f"a frame has at most {limits.BATCH_SIZE:,} records: split it"
)
_PAYLOADS_TOO_LARGE: Final = Fault(
    "FRAME_TOO_LARGE", "payloads", f"a frame's payloads have at most {limits.FRAME_PAYLOAD_BYTES_MAX:,} bytes: split it"
)

_SEQUENCE_END: Final = np.uint64((1 << 64) - 2)
_KEY_BYTES_MAX: Final = np.uint64(limits.KEY_BYTES_MAX)
_KEY_INLINE_BYTES_MAX: Final = np.uint64(limits.KEY_INLINE_BYTES_MAX)
_PAYLOAD_BYTES_MAX: Final = np.uint64(limits.PAYLOAD_BYTES_MAX)


class FrameRefused(Exception):
    """A frame breaks the contract.

    Attributes:
        fault: which rule.
        record_index: the first record at fault, or None where it is the frame as a whole.
    """

    def __init__(self, fault: Fault, record_index: int | None = None) -> None:
        self.fault = fault
        self.record_index = record_index
        place = "" if record_index is None else f"record {record_index}: "
        super().__init__(place + fault.text)


class FrameValidator:
    """One producer's edge: checks frames against the contract and publishes them to the ring."""

    def __init__(self, producer: Producer, namespaces: list[int] | None) -> None:
        """Admit frames as ``producer``, which nobody else may use; ``namespaces`` None admits all."""
        load(_validate_and_publish)
        self._producer = producer
        self._namespaces = np.zeros(NAMESPACES // 64, np.uint64)
        for namespace in range(NAMESPACES) if namespaces is None else namespaces:
            self._namespaces[namespace >> 6] |= np.uint64(1) << np.uint64(namespace & 63)

    def admit(self, message: bytes, fields: FrameFields, token: int) -> tuple[bool, bool]:
        """Publish the frame whose fields lie in ``message`` under ``token``.

        Returns:
            Whether it was published (False: the ring is full, try again), and whether the consumer has to be woken.

        Raises:
            FrameRefused: the frame breaks the contract; nothing of it was taken.
        """
        count, remainder = divmod(fields.records_length, record.RECORD_BYTES)
        if remainder:
            raise FrameRefused(_RECORD_SIZE)
        if count == 0:
            raise FrameRefused(_NO_RECORDS)
        if count > limits.BATCH_SIZE:
            raise FrameRefused(_TOO_MANY_RECORDS)
        if fields.payloads_length > limits.FRAME_PAYLOAD_BYTES_MAX:
            raise FrameRefused(_PAYLOADS_TOO_LARGE)
        outcome = _validate_and_publish(
            self._producer.words,
            self._producer.index,
            np.frombuffer(message, np.uint8),
            fields.records_offset,
            count,
            fields.payloads_offset,
            fields.payloads_length,
            self._namespaces,
            token,
        )
        if outcome < 0:
            raise FrameRefused(_FAULTS[-outcome & 0xFF], -outcome >> 8)
        return outcome != _FULL, outcome == _WAKE


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
    if operation < opcode.APPEND or operation > opcode.OPEN_ACCOUNT:
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
        client = atomics.load_unaligned(message, source)
        sequence = atomics.load_unaligned(message, source + 8)
        key_lo = atomics.load_unaligned(message, source + 16)
        key_hi = atomics.load_unaligned(message, source + 24)
        operand_lo = atomics.load_unaligned(message, source + 32)
        operand_hi = atomics.load_unaligned(message, source + 40)
        amount = atomics.load_unaligned(message, source + 48)
        meta = atomics.load_unaligned(message, source + 56)
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
        if not (namespaces[namespace >> np.uint64(6)] >> (namespace & np.uint64(63))) & np.uint64(1):
            return -(_NAMESPACE | i << 8)
        operation = (meta >> np.uint64(16)) & np.uint64(0xFF)
        flags = (meta >> np.uint64(24)) & np.uint64(0xFF)
        payload_length = meta >> np.uint64(32)
        if operation == opcode.TRANSFER and payload_length == 0:  # the common case, checked without the rest
            if flags & ~np.uint64(flag.LINKED):
                return -(_FLAGS | i << 8)
            if np.int64(amount) < 1:
                return -(_AMOUNT | i << 8)
            continue
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
        atomics.memcpy(words, (base + count * record.RECORD_WORDS) * 8, message, payloads_offset, payloads_length)
    return _WAKE if publish(words, producer, token) else _QUIET
