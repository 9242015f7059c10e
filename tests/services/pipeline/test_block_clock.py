"""The times of blocks: the machine's, never back, and never by a leap that nobody accepted."""

import pytest

from services.pipeline.block_clock import BlockClock, ClockAhead, duration_text
from tests.fakes import SteppedClock

SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
YEAR_NS = 365 * DAY_NS


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


def test_the_time_of_blocks_stands_while_the_clock_is_behind_and_says_by_how_much(clock: SteppedClock) -> None:
    last_ns = clock.now_ns + 2 * DAY_NS
    blocks = BlockClock(clock, last_ns, DAY_NS)
    assert blocks.behind_ns == 2 * DAY_NS
    assert blocks.next_ns() == last_ns + 1
    clock.advance(86_400)
    assert blocks.behind_ns == DAY_NS + 1
    clock.advance(86_401)
    assert (blocks.behind_ns, blocks.next_ns() - last_ns) == (0, SECOND_NS)


def test_an_accepted_clock_is_not_behind_whatever_the_last_block_s_time_was(clock: SteppedClock) -> None:
    blocks = BlockClock(clock, clock.now_ns + 3 * YEAR_NS, DAY_NS, accept=True)
    assert (blocks.behind_ns, blocks.leapt_ns) == (0, 0)
    blocks.next_ns()
    assert (blocks.behind_ns, blocks.leapt_ns) == (0, 0)


def test_a_clock_that_is_set_back_while_the_node_runs_is_behind_until_it_is_set_right(clock: SteppedClock) -> None:
    blocks = BlockClock(clock, 0, DAY_NS)
    start_ns = blocks.next_ns()
    clock.step_ns = -3 * DAY_NS
    assert blocks.behind_ns == 3 * DAY_NS
    assert blocks.next_ns() - start_ns == 1
    clock.advance(1)
    clock.step_ns = 0
    assert (blocks.behind_ns, blocks.leapt_ns) == (0, 0)
    assert blocks.next_ns() - start_ns == SECOND_NS


def test_a_clock_that_leaps_while_the_node_runs_is_not_followed_until_it_is_back(clock: SteppedClock) -> None:
    blocks = BlockClock(clock, 0, DAY_NS)
    start_ns = blocks.next_ns()
    clock.step_ns = 10 * YEAR_NS
    for _ in range(3):
        clock.advance(1)
        blocks.next_ns()
        assert blocks.leapt_ns == 10 * YEAR_NS
    assert blocks.next_ns() - start_ns == 3 * SECOND_NS + 1
    clock.step_ns = 5
    clock.advance(1)
    assert blocks.leapt_ns == 0
    assert blocks.next_ns() - start_ns == 4 * SECOND_NS + 5


def test_a_leap_is_seen_before_a_block_asks_and_is_over_though_none_does(clock: SteppedClock) -> None:
    blocks = BlockClock(clock, 0, DAY_NS)
    blocks.next_ns()
    clock.step_ns = 2 * DAY_NS
    assert blocks.leapt_ns == 2 * DAY_NS
    clock.step_ns = DAY_NS
    assert blocks.leapt_ns == 0


def test_the_block_clock_logs_nothing_since_the_conditions_do(
    clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = BlockClock(clock, clock.now_ns + DAY_NS, DAY_NS)
    for step_ns in (10 * YEAR_NS, -DAY_NS, 0):
        clock.step_ns = step_ns
        blocks.next_ns()
    assert not caplog.records


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [(0, "0.0 s"), (119 * SECOND_NS, "119.0 s"), (3 * DAY_NS, "3.0 days"), (YEAR_NS, "365.0 days")],
)
def test_durations_are_written_in_a_unit_that_says_something(duration_ns: int, text: str) -> None:
    assert duration_text(duration_ns) == text
