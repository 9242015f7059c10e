"""The validator publishes what keeps the contract, and says which record and field of the rest does not."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from penstock.contract import flag, opcode
from penstock.contract.frame_codec import locate_frame
from penstock.contract.reasons import Reason
from services.admission.frame_validator import FrameValidator, Publication
from services.admission.namespaces import NamespaceSet
from services.refusal import Refusal
from tests.frames import frame, rows, transfers
from txqueue.queue import LockFreeTxQueue

MIB = 1 << 20
ONE_LONG_KEY: dict[str, Any] = {"operation": opcode.PUT, "operand_hi": 20}

RECORDS_AT_FAULT = {
    "operation": (rows(3, operation=[1, 9, 1]), b"", Reason.UNKNOWN_OPERATION),
    "flags": (rows(3, flags=[0, 64, 0]), b"", Reason.UNKNOWN_FLAGS),
    "payload_length": (rows(3, payload_length=[0, MIB + 1, 0]), bytes(MIB + 1), Reason.PAYLOAD_TOO_LARGE),
    "payloads": (rows(2, payload_length=[1, 100]), bytes(50), Reason.LENGTH_OVERRUN),
    "sequence": (rows(3, sequence=[5, 5, 6]), b"", Reason.SEQUENCE_BACKWARDS),
    "amount": (rows(3, amount=[0, 1, 0]), b"", Reason.AMOUNT_OUT_OF_RANGE),
    "namespace": (rows(3, namespace=[0, 9, 0]), b"", Reason.NAMESPACE_NOT_ALLOWED),
    "key": (rows(2, operation=[1, opcode.PUT], operand_hi=[0, 1], key_lo=[0, 0x4141]), b"", Reason.KEY_PADDING_INVALID),
    "operand_hi": (rows(2, operation=[1, opcode.PUT]), b"", Reason.KEY_LENGTH_INVALID),
    "operand": (rows(2, operation=[1, opcode.OPEN_ACCOUNT], operand_lo=[0, 3]), b"", Reason.UNUSED_FIELD_SET),
}
FRAMES_AT_FAULT = {
    "an end with a namespace": (
        rows(1, operation=opcode.END_SESSION, namespace=2),
        b"",
        Reason.UNUSED_FIELD_SET,
        "records[0].operand",
    ),
    "an end in a chain": (
        rows(3, operation=[1, opcode.END_SESSION, 1], flags=[0, flag.LINKED, 0]),
        b"",
        Reason.END_LINKED,
        "records[1].flags",
    ),
    "an end behind a chain left open": (
        rows(2, operation=[1, opcode.END_SESSION], flags=[flag.LINKED, 0]),
        b"",
        Reason.END_LINKED,
        "records[1].flags",
    ),
    "bounds, which only a node sets": (
        rows(1, operation=opcode.SET_SESSION_BOUNDS),
        b"",
        Reason.UNKNOWN_OPERATION,
        "records[0].operation",
    ),
    "an open chain": (rows(2, flags=flag.LINKED), b"", Reason.CHAIN_OPEN, "records[1].flags"),
    "payloads of nobody": (rows(2, payload_length=1), bytes(3), Reason.LENGTH_MISMATCH, "records[1].payloads"),
    "sequence 0": (rows(1, sequence=0), b"", Reason.SEQUENCE_INVALID, "records[0].sequence"),
    "a key beyond its payload": (
        rows(1, payload_length=19, **ONE_LONG_KEY),
        bytes(19),
        Reason.LENGTH_OVERRUN,
        "records[0].payload_length",
    ),
    "a transfer's value": (
        transfers(1, payload_length=1),
        bytes(1),
        Reason.UNEXPECTED_PAYLOAD,
        "records[0].payload_length",
    ),
}


@pytest.fixture(scope="module")
def queue() -> Iterator[LockFreeTxQueue]:
    with LockFreeTxQueue.create(None, slots=16, producers=1) as made:
        yield made


@pytest.fixture
def validator(queue: LockFreeTxQueue) -> Iterator[FrameValidator]:
    with queue.register() as producer:
        yield FrameValidator(producer, NamespaceSet([0, 1]))


def publish(validator: FrameValidator, table: Any, payloads: bytes = b"", token: int = 1) -> Publication | Refusal:
    message = frame(table, payloads).SerializeToString()
    return validator.check_size(locate_frame(message)) or validator.publish(message, locate_frame(message), token)


def taken(queue: LockFreeTxQueue) -> tuple[int, list[list[int]]]:
    body, frames = np.empty(1 << 20, np.uint8), np.empty((10_000, 4), np.uint64)
    batch = queue.dequeue_exclusive_batch(body, frames)
    return batch.count, frames[: batch.frames].tolist()


@pytest.mark.parametrize("field", RECORDS_AT_FAULT)
def test_a_fault_names_the_first_record_and_the_field(
    queue: LockFreeTxQueue, validator: FrameValidator, field: str
) -> None:
    table, payloads, reason = RECORDS_AT_FAULT[field]
    refusal = publish(validator, table, payloads)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.field) == (reason, f"records[1].{field}")
    assert refusal.message.startswith("record 1: ")
    assert taken(queue)[0] == 0


@pytest.mark.parametrize("case", FRAMES_AT_FAULT)
def test_other_faults_are_told_as_well(queue: LockFreeTxQueue, validator: FrameValidator, case: str) -> None:
    table, payloads, reason, field = FRAMES_AT_FAULT[case]
    refusal = publish(validator, table, payloads)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.field) == (reason, field)
    assert taken(queue)[0] == 0


@pytest.mark.parametrize(
    ("table", "payloads", "reason", "field"),
    [
        (rows(0), b"", Reason.FRAME_EMPTY, "records"),
        (rows(10_001), b"", Reason.FRAME_TOO_LARGE, "records"),
        (rows(5), bytes(4 * MIB + 1), Reason.FRAME_TOO_LARGE, "payloads"),
        (np.zeros(65, np.uint8), b"", Reason.RECORD_SIZE_INVALID, "records"),
    ],
)
def test_a_size_at_fault_is_refused_before_any_record_is_read(
    validator: FrameValidator, table: Any, payloads: bytes, reason: Reason, field: str
) -> None:
    refusal = publish(validator, table, payloads)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.field) == (reason, field)


def test_a_valid_frame_comes_out_of_the_ring_under_its_token(queue: LockFreeTxQueue, validator: FrameValidator) -> None:
    assert publish(validator, rows(3, payload_length=[1, 0, 2]), b"abc", token=42) is Publication.PUBLISHED
    assert taken(queue) == (3, [[42, 0, 3, 3]])


def test_the_end_of_a_session_is_admitted_wherever_a_client_may_write(queue: LockFreeTxQueue) -> None:
    with queue.register() as producer:
        validator = FrameValidator(producer, NamespaceSet([7]))
        table = rows(2, operation=[1, opcode.END_SESSION], namespace=[7, 0])
        assert publish(validator, table) is Publication.PUBLISHED
    assert taken(queue)[0] == 2


def test_a_ring_without_room_says_so_until_there_is_some(queue: LockFreeTxQueue, validator: FrameValidator) -> None:
    outcomes = [publish(validator, rows(1), token=token) for token in range(1, 100)]
    published = outcomes.count(Publication.PUBLISHED)
    assert outcomes == [Publication.PUBLISHED] * published + [Publication.RING_FULL] * (99 - published)
    assert 0 < published < 99
    while taken(queue)[0]:
        pass
    assert publish(validator, rows(1)) is Publication.PUBLISHED
    taken(queue)
