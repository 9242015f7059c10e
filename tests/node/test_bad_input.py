"""Bad input gets a typed, explained error and harms nobody else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from penstock.contract import flag, opcode, result_code
from penstock.v1 import txqueue_pb2, txqueue_pb2_grpc
from tests.frames import frame, rows, status_of, transfers
from tests.node.serve_process import ServeProcess

MIB = 1 << 20
ONE_LONG_KEY = {"operation": opcode.PUT, "operand_hi": 20}

# ruff: noqa: E501 - one bad frame a line reads best
BAD_FRAMES: dict[str, tuple[Any, bytes, str]] = {
    "no records": (rows(0), b"", "FRAME_EMPTY"),
    "too many records": (rows(10_001), b"", "FRAME_TOO_LARGE"),
    "payloads over the frame's limit": (rows(5, payload_length=MIB), bytes(5 * MIB), "FRAME_TOO_LARGE"),
    "a payload over 1 MiB": (rows(1, payload_length=MIB + 1), bytes(MIB + 1), "PAYLOAD_TOO_LARGE"),
    "a payload length that overruns": (rows(2, payload_length=[1, 100]), bytes(50), "LENGTH_OVERRUN"),
    "payload bytes of no record": (rows(1, payload_length=1), bytes(2), "LENGTH_MISMATCH"),
    "an unknown operation": (rows(1, operation=10), b"", "UNKNOWN_OPERATION"),
    "what only a node may log": (rows(1, operation=opcode.SET_SESSION_BOUNDS), b"", "UNKNOWN_OPERATION"),
    "an end of a session in a chain": (rows(1, operation=opcode.END_SESSION, flags=1), b"", "END_LINKED"),
    "an end of a session behind a chain": (rows(2, operation=[1, opcode.END_SESSION], flags=[1, 0]), b"", "END_LINKED"),
    "an end of a session with a key": (rows(1, operation=opcode.END_SESSION, key_lo=1), b"", "UNUSED_FIELD_SET"),
    "no operation": (rows(1, operation=0), b"", "UNKNOWN_OPERATION"),
    "an unknown flag": (rows(1, flags=64), b"", "UNKNOWN_FLAGS"),
    "a flag of another operation": (transfers(1, flags=flag.OVERDRAFT), b"", "UNKNOWN_FLAGS"),
    "a chain left open": (rows(2, flags=flag.LINKED), b"", "CHAIN_OPEN"),
    "sequence 0": (rows(1, sequence=0), b"", "SEQUENCE_INVALID"),
    "a sequence going backwards": (rows(3, sequence=[5, 7, 6]), b"", "SEQUENCE_BACKWARDS"),
    "a sequence repeated": (rows(2, sequence=5), b"", "SEQUENCE_BACKWARDS"),
    "a transfer of 0": (transfers(1, amount=0), b"", "AMOUNT_OUT_OF_RANGE"),
    "a transfer of less than 0": (transfers(1, amount=-5), b"", "AMOUNT_OUT_OF_RANGE"),
    "an amount on a put": (rows(1, operation=opcode.PUT, operand_hi=1, key_lo=65, amount=1), b"", "AMOUNT_OUT_OF_RANGE"),
    "a key of 0 bytes": (rows(1, operation=opcode.PUT), b"", "KEY_LENGTH_INVALID"),
    "a key of over 1 KiB": (rows(1, operation=opcode.PUT, operand_hi=1025, payload_length=1025), bytes(1025), "KEY_LENGTH_INVALID"),
    "bytes behind a short key": (rows(1, operation=opcode.PUT, operand_hi=1, key_lo=0x4141), b"", "KEY_PADDING_INVALID"),
    "a long key not in the payload": (rows(1, payload_length=19, **ONE_LONG_KEY), bytes(19), "LENGTH_OVERRUN"),
    "a value on a delete": (rows(1, operation=opcode.DELETE, operand_hi=1, key_lo=65, payload_length=3), bytes(3), "UNEXPECTED_PAYLOAD"),
    "an operand on an open": (rows(1, operation=opcode.OPEN_ACCOUNT, operand_lo=3), b"", "UNUSED_FIELD_SET"),
    "a namespace that is not allowed": (rows(1, namespace=9), b"", "NAMESPACE_NOT_ALLOWED"),
}  # fmt: skip


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    directory: Path = tmp_path_factory.mktemp("node")
    options = [("grpc.max_send_message_length", -1)]
    with (
        ServeProcess(directory, "--set", "admission.namespaces=0-7") as node,
        grpc.insecure_channel(node.target, options=options) as channel,
    ):
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> txqueue_pb2_grpc.TxQueueServiceStub:
    return txqueue_pb2_grpc.TxQueueServiceStub(channel)


def reason_of(error: grpc.RpcError) -> str:
    """ErrorInfo's reason, of an error that explains itself."""
    status = status_of(error)
    return _reason_in(status.details, status.message)


def _reason_in(details: Any, message: str) -> str:
    assert message
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert details[0].Unpack(info)
    assert info.domain == "penstock"
    assert details[1].Unpack(request)
    assert request.field_violations[0].field
    return str(info.reason)


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_is_refused_by_its_name(stub: txqueue_pb2_grpc.TxQueueServiceStub, name: str) -> None:
    table, payloads, reason = BAD_FRAMES[name]
    with pytest.raises(grpc.RpcError) as caught:
        stub.SubmitFrame(frame(table, payloads), timeout=10)
    assert reason_of(caught.value) == reason
    assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED)


def test_records_of_another_size_are_refused(stub: txqueue_pb2_grpc.TxQueueServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.SubmitFrame(txqueue_pb2.SubmitFrameRequest(records=bytes(65)), timeout=10)
    assert reason_of(caught.value) == "RECORD_SIZE_INVALID"


def test_a_message_over_the_limit_is_refused_before_it_is_read(stub: txqueue_pb2_grpc.TxQueueServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.SubmitFrame(frame(rows(1), bytes(17 * MIB)), timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_truncated_messages_are_refused(channel: grpc.Channel) -> None:
    submit: Any = channel.unary_unary("/penstock.v1.TxQueueService/SubmitFrame")
    message = frame(rows(3)).SerializeToString()
    for length in (1, 5, 10, 50, len(message) - 1):
        with pytest.raises(grpc.RpcError) as caught:
            submit(message[:length], timeout=10)
        assert reason_of(caught.value) == "FRAME_MALFORMED"


def test_bad_frames_on_a_stream_get_their_errors_in_place_and_the_good_ones_their_receipts(
    stub: txqueue_pb2_grpc.TxQueueServiceStub,
) -> None:
    requests, wanted = [], {}
    for number, (name, (table, payloads, reason)) in enumerate(BAD_FRAMES.items()):
        good, bad = 1000 + number, 2000 + number
        good_rows = rows(3, client_id=500 + number)
        for frame_id, one, more, outcome in ((good, good_rows, b"", "OK"), (bad, table, payloads, reason)):
            requests.append(txqueue_pb2.SubmitStreamRequest(frame_id=frame_id, records=one.tobytes(), payloads=more))
            wanted[frame_id] = (name, outcome)
    got = {}
    for response in stub.SubmitStream(iter(requests), timeout=30):
        name = wanted[response.frame_id][0]
        if response.HasField("error"):
            got[response.frame_id] = (name, _reason_in(response.error.details, response.error.message))
        else:
            got[response.frame_id] = (name, "OK")
            assert response.results == bytes([result_code.OK]) * 3
    assert got == wanted
