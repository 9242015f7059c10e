import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from penstock.contract.reasons import Reason
from penstock.v1 import node_pb2, txqueue_pb2
from services.refusal import Refusal
from services.rpc.handlers import explain
from services.rpc.rich_status import Context, abort, encode_frame_error, status_of


def unpack(details: list[any_pb2.Any]) -> dict[str, object]:
    found: dict[str, object] = {}
    for detail in details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            message = kind()
            if detail.Unpack(message):
                found[kind.DESCRIPTOR.name] = message
    return found


@pytest.mark.parametrize("reason", list(Reason))
def test_every_refusal_says_why_in_our_domain_and_in_words(reason: Reason) -> None:
    status = status_of(Refusal(reason))
    info = unpack(list(status.details))["ErrorInfo"]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (reason.name, "penstock")
    assert status.code == int(grpc.StatusCode[reason.status].value[0])
    assert status.code
    assert len(status.message) > 20


def test_a_full_queue_says_when_to_come_back() -> None:
    retry = unpack(list(status_of(Refusal(Reason.QUEUE_FULL, retry_after_ms=1500)).details))["RetryInfo"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 1500


def test_what_trying_again_cannot_help_carries_no_retry() -> None:
    assert "RetryInfo" not in unpack(list(status_of(Refusal(Reason.STATE_FULL)).details))
    assert "RetryInfo" not in unpack(list(status_of(Refusal(Reason.CHAIN_OPEN, field="flags")).details))


def test_bad_input_names_the_field() -> None:
    refusal = Refusal(Reason.AMOUNT_OUT_OF_RANGE, "record 3: at least 1", field="records[3].amount")
    assert status_of(refusal).code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    bad = unpack(list(status_of(refusal).details))["BadRequest"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert [(each.field, each.description) for each in bad.field_violations] == [
        ("records[3].amount", "record 3: at least 1")
    ]


def test_a_namespace_that_is_not_let_in_is_not_bad_input() -> None:
    refusal = Refusal(Reason.NAMESPACE_NOT_ALLOWED, field="records[0].namespace")
    assert status_of(refusal).code == grpc.StatusCode.PERMISSION_DENIED.value[0]


def test_a_frame_is_refused_with_the_same_status_as_a_call() -> None:
    refusal = Refusal(Reason.QUEUE_FULL)
    response = txqueue_pb2.SubmitStreamResponse.FromString(encode_frame_error(77, refusal))
    status = status_of(refusal)
    assert response.frame_id == 77
    assert (response.error.code, response.error.message) == (status.code, status.message)
    assert list(response.error.details) == list(status.details)
    assert not response.results


@pytest.fixture
async def refusing_channel() -> AsyncIterator[grpc.aio.Channel]:
    async def get_status(request: node_pb2.GetStatusRequest, context: Context) -> node_pb2.GetStatusResponse:
        await abort(context, Refusal(Reason.SHUTTING_DOWN, "reading é"))

    handler: grpc.RpcMethodHandler[node_pb2.GetStatusRequest, node_pb2.GetStatusResponse]
    handler = grpc.unary_unary_rpc_method_handler(get_status, request_deserializer=node_pb2.GetStatusRequest.FromString)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"m": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def test_an_aborted_call_carries_the_rich_status(refusing_channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await refusing_channel.unary_unary("/s/m", request_serializer=node_pb2.GetStatusRequest.SerializeToString)(
            node_pb2.GetStatusRequest()
        )
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    status = rpc_status.from_call(caught.value)
    assert status is not None
    assert status.message == "reading é"
    assert unpack(list(status.details)).keys() == {"ErrorInfo", "RetryInfo"}


class OfAClientThatHasGone:
    """A call's context by which nothing can be sent any more."""

    async def abort(self, *_: object, **__: object) -> None:
        raise grpc.aio.InternalError("the batch failed")


async def test_a_refusal_that_its_client_did_not_wait_for_is_no_mistake_of_the_node(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context: Any = OfAClientThatHasGone()
    with pytest.raises(asyncio.CancelledError):
        await abort(context, Refusal(Reason.CALLS_LIMIT))
    with pytest.raises(asyncio.CancelledError):
        await explain(grpc.aio.InternalError("the batch failed"), context)
    assert not caplog.records
