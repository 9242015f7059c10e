"""A receipt gives each transaction its result, and columns are cut into frames without cutting chains."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client.errors import InvalidOperation
from penstock.client.results import Result, ResultCode, results_of
from penstock.client.transport.bulk_frame import frame_slices
from penstock.contract.flag import LINKED
from penstock.contract.limits import FRAME_PAYLOAD_BYTES_MAX
from penstock.contract.record import RECORD, as_words
from penstock.contract.result_code import DUPLICATE
from penstock.v1.txqueue_pb2 import SubmitStreamResponse


def test_a_receipt_becomes_one_result_per_transaction() -> None:
    response = SubmitStreamResponse(log_index=7, first_position=100, results=bytes([1, 6, 1 | DUPLICATE]))
    assert list(results_of(response)) == [
        Result(ResultCode.OK, False, 7, 100),
        Result(ResultCode.INSUFFICIENT_FUNDS, False, 7, 101),
        Result(ResultCode.OK, True, 7, 102),
    ]
    assert all(isinstance(result, Result) for result in results_of(response))


@given(st.lists(st.tuples(st.integers(1, 9_000), st.integers(0, 1 << 20)), min_size=1, max_size=12))
def test_cuts_cover_all_records_in_order_and_never_cut_a_chain(chains: list[tuple[int, int]]) -> None:
    records = np.zeros(sum(length for length, _ in chains), RECORD)
    at = 0
    for length, payload_bytes in chains:
        records["flags"][at : at + length - 1] = LINKED
        records["payload_length"][at] = payload_bytes
        at += length
    parts = list(frame_slices(as_words(records)))
    rows, payloads = zip(*parts, strict=True)
    assert [part.start for part in rows] == [0, *(part.stop for part in rows[:-1])]
    assert rows[-1].stop == len(records)
    for part, payload in parts:
        assert records["flags"][part.stop - 1] & LINKED == 0
        assert part.stop - part.start <= 10_000
        assert payload.stop - payload.start == records["payload_length"][part].sum() <= FRAME_PAYLOAD_BYTES_MAX
    assert payloads[0].start == 0


@pytest.mark.parametrize("length", [1, 10_001])
def test_a_chain_left_open_or_too_long_for_a_frame_is_refused(length: int) -> None:
    records = np.zeros(length, RECORD)
    records["flags"] = LINKED
    if length > 1:
        records["flags"][-1] = 0
    with pytest.raises(InvalidOperation, match="chain"):
        list(frame_slices(as_words(records)))
