"""Open calls are bounded for each connection and for all, and one that ends makes room."""

from penstock.contract.reasons import Reason
from services.rpc.limits.open_calls import OpenCalls


def test_a_connection_is_refused_more_than_its_share_and_others_are_not() -> None:
    calls = OpenCalls("watches", calls_max=3, connection_calls_max=2)
    assert [calls.enter("a"), calls.enter("a")] == [None, None]
    refusal = calls.enter("a")
    assert refusal is not None
    assert refusal.reason is Reason.CALLS_LIMIT
    assert "of this connection" in refusal.message
    assert calls.enter("b") is None
    refusal = calls.enter("c")
    assert refusal is not None
    assert "at the node" in refusal.message
    calls.leave("a")
    assert calls.enter("c") is None
    assert len(calls) == 3
