"""Frames and receipts as protobuf bytes, without a protobuf object.

A frame of 10,000 transactions is one message of 640 kB. Parsing it into a message object would copy that twice; finding
where its fields lie costs microseconds. What is read and written here is plain protobuf wire format (field numbers of
``protos/penstock/v1/txqueue.proto``), so any client can be at the other end; the tests hold it against the stubs.
"""

import struct
from typing import Final, NamedTuple

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5

_FIELDS_MAX: Final = 16
"""Four are known. Passing over more of those that later versions may add than this many would let one message of small
fields keep the event loop busy for seconds."""

_FRAME_ID: Final = 1
_RECORDS: Final = 2
_PAYLOADS: Final = 3
_TRACEPARENT: Final = 4

_RECEIPT_HEAD: Final = struct.Struct("<BQ")  # tag of frame_id, frame_id
_read_u64 = struct.Struct("<Q").unpack_from


class MalformedFrame(Exception):
    """The message is not a protobuf SubmitFrameRequest: cut short, or something else altogether."""


class FrameFields(NamedTuple):
    """Where a frame's fields lie in its message; offsets and lengths are in bytes."""

    frame_id: int
    records_offset: int
    records_length: int
    payloads_offset: int
    payloads_length: int
    traceparent: str


def locate_frame(message: bytes) -> FrameFields:
    """Find the fields of a SubmitFrameRequest or SubmitStreamRequest.

    Fields may come in any order, unknown ones are passed over and of a repeated one the last counts, as protobuf
    demands.

    Raises:
        MalformedFrame: where the message ends inside a field or holds a wire type that protobuf does not have.
    """
    frame_id = records_offset = records_length = payloads_offset = payloads_length = 0
    traceparent = ""
    offset, end = 0, len(message)
    for _ in range(_FIELDS_MAX):
        if offset >= end:
            break
        tag, offset = _varint(message, offset)
        field, wire_type = tag >> 3, tag & 7
        if wire_type == _BYTES:
            length, offset = _varint(message, offset)
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
            _, offset = _varint(message, offset)
        elif wire_type == _FIXED32:
            offset += 4
        else:
            raise MalformedFrame(f"wire type {wire_type} at byte {offset} does not exist in proto3")
    if offset < end:
        raise MalformedFrame(f"the message has more than {_FIELDS_MAX} fields")
    if offset > end:
        raise MalformedFrame(f"the message ends {offset - end} bytes before its last field does")
    return FrameFields(frame_id, records_offset, records_length, payloads_offset, payloads_length, traceparent)


def encode_receipt(frame_id: int, log_index: int, first_position: int, results: bytes) -> bytes:
    """Encode a SubmitFrameResponse, which is also a SubmitStreamResponse without an error."""
    return b"".join(
        (
            _RECEIPT_HEAD.pack(0x09, frame_id),
            b"\x10" + encode_varint(log_index),
            b"\x18" + encode_varint(first_position),
            b"\x22" + encode_varint(len(results)),
            results,
        )
    )


def encode_varint(value: int) -> bytes:
    """Encode an unsigned integer in protobuf's base-128 form."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _varint(message: bytes, offset: int) -> tuple[int, int]:
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
