"""Frames and receipts are the contract's protobuf, read and written alike."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.frame_codec import MalformedFrame, encode_frame, encode_receipt, locate_frame
from penstock.v1 import txqueue_pb2

U64 = st.integers(0, 2**64 - 1)


@given(frame_id=U64, records=st.binary(max_size=300), payloads=st.binary(max_size=300), unknown=st.booleans())
def test_fields_are_found_where_protobuf_put_them(
    frame_id: int, records: bytes, payloads: bytes, unknown: bool
) -> None:
    request = txqueue_pb2.SubmitStreamRequest(
        frame_id=frame_id, records=records, payloads=payloads, traceparent="00-ab-cd-01"
    )
    message = request.SerializeToString()
    if unknown:  # a varint, a fixed32 and bytes under numbers that this version does not know
        message = b"\x98\x06\x96\x01" + b"\x9d\x06abcd" + b"\xa2\x06\x02hi" + message
    fields = locate_frame(message)
    assert fields.frame_id == frame_id
    assert message[fields.records_offset :][: fields.records_length] == records
    assert message[fields.payloads_offset :][: fields.payloads_length] == payloads
    assert fields.traceparent == "00-ab-cd-01"


@given(
    st.integers(1, 2**64 - 1),
    st.integers(1, 300),
    st.binary(max_size=300),
    st.sampled_from(["", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]),
)
def test_a_frame_is_encoded_as_protobuf_would_and_found_again(
    frame_id: int, count: int, payloads: bytes, traceparent: str
) -> None:
    records = np.random.default_rng(frame_id).integers(0, 256, count * 64, np.uint8)
    expected = txqueue_pb2.SubmitStreamRequest(
        frame_id=frame_id, records=records.tobytes(), payloads=payloads, traceparent=traceparent
    )
    message = encode_frame(frame_id, records.data, payloads, traceparent)
    assert message == expected.SerializeToString()
    fields = locate_frame(message)
    assert (fields.frame_id, fields.traceparent) == (frame_id, traceparent)
    assert message[fields.records_offset :][: fields.records_length] == records.tobytes()
    assert message[fields.payloads_offset :][: fields.payloads_length] == payloads


@given(st.binary(max_size=64))
def test_any_bytes_are_either_located_within_bounds_or_refused(message: bytes) -> None:
    try:
        fields = locate_frame(message)
    except MalformedFrame:
        return
    assert fields.records_offset + fields.records_length <= len(message)
    assert fields.payloads_offset + fields.payloads_length <= len(message)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_frame_cut_short_is_refused_wherever_protobuf_refuses_it(records: bytes, data: st.DataObject) -> None:
    message = txqueue_pb2.SubmitFrameRequest(frame_id=7, records=records).SerializeToString()
    cut = message[: data.draw(st.integers(0, len(message) - 1))]
    try:
        txqueue_pb2.SubmitFrameRequest.FromString(cut)
    except DecodeError:
        with pytest.raises(MalformedFrame):
            locate_frame(cut)
    else:
        locate_frame(cut)


@given(frame_id=U64, log_index=U64, first_position=U64, results=st.binary(max_size=10_000))
def test_receipts_parse_as_the_contract_says(
    frame_id: int, log_index: int, first_position: int, results: bytes
) -> None:
    receipt = txqueue_pb2.SubmitStreamResponse.FromString(encode_receipt(frame_id, log_index, first_position, results))
    assert (receipt.frame_id, receipt.log_index, receipt.first_position) == (frame_id, log_index, first_position)
    assert receipt.results == results
    assert not receipt.HasField("error")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"\x0b", "wire type 3"),
        (b"\xff" * 11, "more than ten bytes"),
        (b"\x12\x05ab", "ends 3 bytes before"),
        (b"\x12", "inside a field's tag or length"),
        (b"\x28\x01" * 17, "more than 16 fields"),
    ],
)
def test_what_is_no_frame_is_told_why(message: bytes, told: str) -> None:
    with pytest.raises(MalformedFrame, match=told):
        locate_frame(message)


def test_a_frame_of_nothing_but_fields_that_are_not_known_is_empty() -> None:
    assert locate_frame(b"\x98\x06\x00" * 16) == (0, 0, 0, 0, 0, "")
