"""A channel loses nothing and leaves nothing behind, whoever closes it while somebody puts."""

from collections.abc import Callable

import pytest

from services.pipeline import channel as channel_module
from services.pipeline.channel import Channel, ChannelClosed
from tests.services.pipeline.harness.interleaving import interleave, preemptions, turn_lock

LINES = 8
"""A put and a close have fewer, an abort few more."""


def test_all_that_was_put_before_the_end_is_taken_and_the_rest_is_refused() -> None:
    channel: Channel[int] = Channel()
    for number in range(3):
        channel.put(number)
    channel.close()
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.put(3)
    assert channel.closed
    assert [channel.take(), channel.take()] == [0, 1]
    assert channel.take_all() == [2, None]
    assert channel.abort() == []


def test_take_all_leaves_what_comes_later() -> None:
    channel: Channel[int] = Channel()
    channel.put(1)
    channel.put(2)
    assert channel.take_all() == [1, 2]
    channel.put(3)
    assert channel.take_all() == [3]


@pytest.mark.parametrize("closed_before", [False, True])
def test_an_abort_gives_what_nobody_took_and_leaves_an_end_for_whoever_takes(closed_before: bool) -> None:
    channel: Channel[int] = Channel()
    channel.put(1)
    channel.put(2)
    if closed_before:
        channel.close()
    assert channel.take() == 1
    assert channel.abort() == [2]
    assert channel.take() is None
    with pytest.raises(ChannelClosed):
        channel.put(3)


def test_what_is_put_while_the_channel_closes_is_refused_or_lies_before_the_end() -> None:
    for schedule in preemptions(LINES):
        channel: Channel[int] = Channel()
        accepted = _put_while(channel, channel.close, schedule)
        taken = []
        while (item := channel.take()) is not None:
            taken.append(item)
        assert taken == accepted, schedule


def test_what_is_put_while_the_channel_is_aborted_is_refused_or_given_out_once() -> None:
    for schedule in preemptions(LINES):
        channel: Channel[int] = Channel()
        aborted: list[int] = []
        accepted = _put_while(channel, lambda into=aborted, of=channel: into.extend(of.abort()), schedule)  # type: ignore[misc]
        taken = []
        while (item := channel.take()) is not None:
            taken.append(item)
        assert taken + aborted == accepted, schedule


def _put_while(channel: Channel[int], close: Callable[[], None], schedule: list[int]) -> list[int]:
    """Put two numbers and close, in turns by this schedule; returns the numbers that were accepted."""
    channel._lock = turn_lock()
    accepted: list[int] = []

    def put() -> None:
        for number in range(2):
            try:
                channel.put(number)
            except ChannelClosed:
                return
            accepted.append(number)

    interleave(channel_module.__file__, schedule, put, close)
    return accepted
