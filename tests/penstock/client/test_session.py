"""A session's ids never repeat, and ids that cannot be right are refused at once."""

import pytest

from penstock.client.errors import InvalidOperation
from penstock.client.session import Session


@pytest.mark.parametrize(
    ("client_id", "next_sequence", "message"),
    [
        (-1, 1, "client_id"),
        (1 << 64, 1, "client_id"),
        (5, None, "go together"),
        (None, 5, "go together"),
        (5, 0, "next_sequence"),
        (5, 1 << 63, "next_sequence"),
    ],
)
def test_ids_that_no_session_may_have_are_refused(
    client_id: int | None, next_sequence: int | None, message: str
) -> None:
    with pytest.raises(InvalidOperation, match=message):
        Session(client_id, next_sequence)


def test_sequences_and_frame_ids_follow_each_other_from_where_they_were_told_to() -> None:
    session = Session((1 << 64) - 1, (1 << 63) - 1)
    assert session.client_id == (1 << 64) - 1
    assert [session.take_sequences(3), session.take_sequences(1)] == [(1 << 63) - 1, (1 << 63) + 2]
    assert [session.take_frame_id(), session.take_frame_id()] == [1, 2]


def test_a_session_that_was_told_nothing_has_an_id_of_its_own_and_starts_at_1() -> None:
    first, second = Session(None), Session(None)
    assert 0 < first.client_id != second.client_id > 0
    assert first.take_sequences(1) == 1
