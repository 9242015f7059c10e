"""A watcher gets what it asked for of each block, whole transactions in their order, and nothing else."""

from typing import Any

import numpy as np
import pytest

from penstock.contract import opcode, result_code
from penstock.contract.reasons import Reason
from penstock.v1 import state_pb2
from services.admission.namespaces import NamespaceSet
from services.rpc.watching.watch_filter import WatchFilter, refusal_of
from tests.frames import rows
from tests.services.blocks import chain

ALL = NamespaceSet(None)
TABLE = rows(
    4,
    namespace=[1, 2, 1, 3],
    operation=[opcode.APPEND, opcode.APPEND, opcode.PUT, opcode.APPEND],
    payload_length=[2, 1, 0, 3],
)
RESULTS = bytes([result_code.OK, result_code.OK | result_code.DUPLICATE, result_code.OK, result_code.KEY_NOT_FOUND])
_, BLOCK = chain(rows(10), TABLE, payloads={2: b"aabccc"})


def select(admitted: NamespaceSet = ALL, **wanted: Any) -> state_pb2.WatchResponse | None:
    return next(WatchFilter(state_pb2.WatchRequest(**wanted), admitted).select(BLOCK, RESULTS), None)


def positions(response: state_pb2.WatchResponse | None) -> list[int]:
    assert response is not None
    found: list[int] = np.frombuffer(response.positions, "<u8").tolist()
    return found


def test_without_a_filter_all_of_a_block_passes_as_it_is() -> None:
    assert select() == state_pb2.WatchResponse(
        log_index=2,
        time_unix_nano=1_002,
        positions=np.arange(10, 14, dtype="<u8").tobytes(),
        records=TABLE.tobytes(),
        payloads=b"aabccc",
        results=RESULTS,
        next_index=3,
        next_position=14,
    )


def test_a_namespace_s_transactions_pass_with_their_payloads_and_results() -> None:
    response = select(namespaces=[1, 3])
    assert positions(response) == [10, 12, 13]
    assert response is not None
    assert response.records == TABLE[[0, 2, 3]].tobytes()
    assert response.payloads == b"aaccc"
    assert response.results == RESULTS[0:1] + RESULTS[2:4]


def test_filters_add_up() -> None:
    assert positions(select(operations=[opcode.APPEND])) == [10, 11, 13]
    assert positions(select(effective_only=True)) == [10, 12]
    assert positions(select(operations=[opcode.APPEND], effective_only=True)) == [10]


def test_a_block_of_which_nothing_passes_is_left_out() -> None:
    assert select(operations=[opcode.TRANSFER]) is None


def test_a_watch_of_all_sees_the_admitted_namespaces_alone() -> None:
    assert positions(select(NamespaceSet([2, 3]))) == [11, 13]


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (state_pb2.WatchRequest(namespaces=[1, 65_536]), Reason.NAMESPACE_INVALID, "namespaces[1]"),
        (state_pb2.WatchRequest(namespaces=[1, 2]), Reason.NAMESPACE_NOT_ALLOWED, "namespaces[1]"),
        (state_pb2.WatchRequest(operations=[1, 8, 9]), Reason.UNKNOWN_OPERATION, "operations[2]"),
        (state_pb2.WatchRequest(operations=[0]), Reason.UNKNOWN_OPERATION, "operations[0]"),
    ],
)
def test_what_nothing_could_match_is_refused(request_: state_pb2.WatchRequest, reason: Reason, field: str) -> None:
    refusal = refusal_of(request_, NamespaceSet([1]))
    assert refusal is not None
    assert (refusal.reason, refusal.field) == (reason, field)


def test_a_request_for_what_there_is_passes() -> None:
    assert refusal_of(state_pb2.WatchRequest(namespaces=[1], operations=range(1, 9)), NamespaceSet([1])) is None


def test_a_block_that_is_larger_than_a_message_comes_in_parts_that_say_where_to_go_on() -> None:
    lengths = [900_000, 0, 300_000, 700_000]
    payload = b"".join(bytes([65 + row]) * length for row, length in enumerate(lengths))
    (block,) = chain(rows(4, payload_length=lengths, namespace=[0, 1, 0, 0]), payloads={1: payload})
    for wanted, sizes, resumes in (
        (state_pb2.WatchRequest(), [1, 2, 1], [(1, 1), (1, 3), (2, 4)]),
        (state_pb2.WatchRequest(namespaces=[0]), [1, 1, 1], [(1, 1), (1, 3), (2, 4)]),
    ):
        parts = list(WatchFilter(wanted, ALL).select(block, b"\1" * 4))
        assert [len(part.results) for part in parts] == sizes
        assert [(part.next_index, part.next_position) for part in parts] == resumes
        assert b"".join(part.payloads for part in parts) == payload
        assert max(part.ByteSize() for part in parts) < 2 << 20
        rest = list(WatchFilter(wanted, ALL).select(block, b"\1" * 4, from_position=parts[0].next_position))
        assert rest == parts[1:]


def test_payloads_of_chosen_transactions_are_cut_out_of_those_between_them() -> None:
    (block,) = chain(rows(3, payload_length=[2, 3, 1], namespace=[0, 1, 0]), payloads={1: b"aabbbc"})
    (part,) = WatchFilter(state_pb2.WatchRequest(namespaces=[0]), ALL).select(block, b"\1" * 3)
    assert part.payloads == b"aac"
