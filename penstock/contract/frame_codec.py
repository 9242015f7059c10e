"""Codec of frames and receipts: protobuf's wire format, read and written without a protobuf object.

A frame of 10,000 transactions is one message of 640 kB. Parsing it into a message object would copy that twice, and
building one three times; finding where its fields lie costs microseconds, and the join here copies them once. The
fields are those of ``protos/penstock/v1/txqueue.proto``, so any client can be at the other end; the tests compare with
the generated stubs.
"""

import struct
from typing import Final, NamedTuple

Bytes = bytes | bytearray | memoryview

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5

_FIELDS_MAX: Final = 16
"""Four are known. Unknown ones are passed over, but in bounds: a message of very many small fields would keep the event
loop busy for seconds."""

# Fields of a SubmitFrameRequest and of a SubmitStreamRequest.
_FRAME_ID: Final = 1
_RECORDS: Final = 2
_PAYLOADS: Final = 3
_TRACEPARENT: Final = 4

# Fields of a SubmitFrameResponse and of a SubmitStreamResponse.
_RECEIPT_FRAME_ID: Final = 1
_LOG_INDEX: Final = 2
_FIRST_POSITION: Final = 3
_RESULTS: Final = 4


def _tag(field: int, wire_type: int) -> bytes:
    return bytes((field << 3 | wire_type,))


_FRAME_ID_TAG: Final = _tag(_FRAME_ID, _FIXED64)
_RECORDS_TAG: Final = _tag(_RECORDS, _BYTES)
_PAYLOADS_TAG: Final = _tag(_PAYLOADS, _BYTES)
_TRACEPARENT_TAG: Final = _tag(_TRACEPARENT, _BYTES)
_RECEIPT_FRAME_ID_TAG: Final = _tag(_RECEIPT_FRAME_ID, _FIXED64)
_LOG_INDEX_TAG: Final = _tag(_LOG_INDEX, _VARINT)
_FIRST_POSITION_TAG: Final = _tag(_FIRST_POSITION, _VARINT)
_RESULTS_TAG: Final = _tag(_RESULTS, _BYTES)

_FRAME_HEAD: Final = struct.Struct("<cQc")  # tag of frame_id, frame_id, tag of records
_RECEIPT_HEAD: Final = struct.Struct("<cQc")  # tag of frame_id, frame_id, tag of log_index
_read_u64 = struct.Struct("<Q").unpack_from


class MalformedFrame(Exception):
    """The message is not a SubmitFrameRequest: it is cut short, or is something else altogether."""


class FrameFields(NamedTuple):
    """Offsets and lengths of a frame's fields in its message, in bytes."""

    frame_id: int
    records_offset: int
    records_length: int
    payloads_offset: int
    payloads_length: int
    traceparent: str


def locate_frame(message: bytes) -> FrameFields:
    """Find the fields of a SubmitFrameRequest or SubmitStreamRequest.

    As protobuf demands, fields may come in any order, unknown ones are passed over, and the last of a repeated one
    counts.

    Raises:
        MalformedFrame: the message ends inside a field, has a wire type that protobuf lacks, or too many fields.
    """
    frame_id = records_offset = records_length = payloads_offset = payloads_length = 0
    traceparent = ""
    offset, end = 0, len(message)
    for _ in range(_FIELDS_MAX):
        if offset >= end:
            break
        tag, offset = _decode_varint(message, offset)
        field, wire_type = tag >> 3, tag & 7
        if wire_type == _BYTES:
            length, offset = _decode_varint(message, offset)
            if field == _RECORDS:
                records_offset, records_length = offset, length
            elif field == _PAYLOADS:
                payloads_offset, payloads_length = offset, length
            elif field == _TRACEPARENT:
                traceparent = message[offset : offset + length].decode("ascii", errors="replace")
            offset += length
        elif wire_type == _FIXED64:
            if field == _FRAME_ID and offset + 8 <= end:
                frame_id = _read_u64(message, offset)[0]
            offset += 8
        elif wire_type == _VARINT:
            _, offset = _decode_varint(message, offset)
        elif wire_type == _FIXED32:
            offset += 4
        else:
            raise MalformedFrame(f"wire type {wire_type} at byte {offset} does not exist in proto3")
    if offset < end:
        raise MalformedFrame(f"the message has more than {_FIELDS_MAX} fields")
    if offset > end:
        raise MalformedFrame(f"the message ends {offset - end} bytes before its last field does")
    return FrameFields(frame_id, records_offset, records_length, payloads_offset, payloads_length, traceparent)


def encode_frame(frame_id: int, records: Bytes, payloads: Bytes = b"", traceparent: str = "") -> bytes:
    """Encode a SubmitStreamRequest, which without a traceparent is also a SubmitFrameRequest."""
    head = _FRAME_HEAD.pack(_FRAME_ID_TAG, frame_id, _RECORDS_TAG)
    parts = [head, _encode_varint(memoryview(records).nbytes), records]
    payload_bytes = memoryview(payloads).nbytes
    if payload_bytes:
        parts += (_PAYLOADS_TAG, _encode_varint(payload_bytes), payloads)
    if traceparent:
        encoded = traceparent.encode()
        parts += (_TRACEPARENT_TAG, _encode_varint(len(encoded)), encoded)
    return b"".join(parts)


def encode_receipt(frame_id: int, log_index: int, first_position: int, results: bytes) -> bytes:
    """Encode a SubmitFrameResponse, which is also a SubmitStreamResponse without an error."""
    return b"".join(
        (
            _RECEIPT_HEAD.pack(_RECEIPT_FRAME_ID_TAG, frame_id, _LOG_INDEX_TAG),
            _encode_varint(log_index),
            _FIRST_POSITION_TAG,
            _encode_varint(first_position),
            _RESULTS_TAG,
            _encode_varint(len(results)),
            results,
        )
    )


def _encode_varint(value: int) -> bytes:
    """Encode an unsigned integer in base 128."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _decode_varint(message: bytes, offset: int) -> tuple[int, int]:
    """Decode a varint of at most ten bytes; returns it and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(message):
            raise MalformedFrame("the message ends inside a field's tag or length")
        byte = message[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
    raise MalformedFrame(f"the varint before byte {offset} has more than ten bytes")
