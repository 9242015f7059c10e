"""The times of blocks: the machine's, never back, and never by a leap that nobody accepted."""

import pytest

from services.pipeline.block_clock import BlockClock, ClockAhead
from tests.fakes import ManualClock

SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
YEAR_NS = 365 * DAY_NS


class SteppedClock(ManualClock):
    """A clock whose time of day is set, beside the time that passes."""

    step_ns = 0

    def time_ns(self) -> int:
        return self.now_ns + self.step_ns


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(now_ns=50 * YEAR_NS)


def test_a_block_s_time_is_the_clock_s_and_never_goes_back_or_stands_still(clock: SteppedClock) -> None:
    blocks = BlockClock(clock, clock.now_ns, DAY_NS)
    start_ns = clock.now_ns
    times = []
    for step_ns in (-100, 1000, 1000, 300, 2000):
        clock.step_ns = step_ns
        times.append(blocks.next_ns() - start_ns)
    assert times == [1, 1000, 1001, 1002, 2000]


def test_the_first_block_of_all_has_any_time(clock: SteppedClock) -> None:
    assert BlockClock(clock, 0, DAY_NS).next_ns() == clock.now_ns


@pytest.mark.parametrize("pause_ns", [0, DAY_NS])
def test_a_node_may_have_been_down_for_as_long_as_is_allowed(clock: SteppedClock, pause_ns: int) -> None:
    assert BlockClock(clock, clock.now_ns - pause_ns, DAY_NS).next_ns() == clock.now_ns + (pause_ns == 0)


def test_a_clock_that_is_years_ahead_is_refused_with_the_way_out(clock: SteppedClock) -> None:
    clock.step_ns = 3 * YEAR_NS
    with pytest.raises(ClockAhead, match=r"3\.0 years ahead .* 24\.0 hours .* node\.clock=accept"):
        BlockClock(clock, clock.now_ns, DAY_NS)


@pytest.mark.parametrize("step_ns", [3 * YEAR_NS, -3 * YEAR_NS])
def test_an_accepted_clock_is_followed_at_once_ahead_and_back(clock: SteppedClock, step_ns: int) -> None:
    last_ns, clock.step_ns = clock.now_ns, step_ns
    blocks = BlockClock(clock, last_ns, DAY_NS, accept=True)
    assert [blocks.next_ns() - last_ns, blocks.next_ns() - last_ns] == [step_ns, step_ns + 1]


def test_a_clock_that_is_behind_is_said_and_the_time_stands(
    clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = BlockClock(clock, clock.now_ns + 2 * DAY_NS, DAY_NS)
    assert "2.0 days behind the log's last block" in caplog.text
    assert "node.clock=accept" in caplog.text
    assert blocks.next_ns() == clock.now_ns + 2 * DAY_NS + 1


def test_a_clock_that_leaps_while_the_node_runs_is_not_followed_until_it_is_back(
    clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = BlockClock(clock, 0, DAY_NS)
    start_ns = blocks.next_ns()
    clock.step_ns = 10 * YEAR_NS
    for _ in range(3):
        clock.advance(1)
        blocks.next_ns()
    assert blocks.next_ns() - start_ns == 3 * SECOND_NS + 1
    assert caplog.text.count("leapt ahead by 10.0 years") == 1
    clock.step_ns = 5
    clock.advance(1)
    assert blocks.next_ns() - start_ns == 4 * SECOND_NS + 5
    assert caplog.text.count("is followed again") == 1


def test_a_clock_that_was_set_back_and_is_set_right_again_is_followed(
    clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = BlockClock(clock, 0, DAY_NS)
    start_ns = blocks.next_ns()
    clock.step_ns = -3 * DAY_NS
    assert blocks.next_ns() - start_ns == 1
    clock.advance(1)
    clock.step_ns = 0
    assert blocks.next_ns() - start_ns == SECOND_NS
    assert "leapt" not in caplog.text
