"""Synthetic demand on a pool: reproducible traces of borrows and their holding times.

Four kinds, each of which defeats another way of sizing a pool:

- ``steady``: a constant rate. Only chance moves the number of concurrent borrows.
- ``diurnal``: days with a morning and an evening, noise that lasts, and a job at every full hour.
- ``bursty``: calm, with bursts whose heights and lengths have heavy tails, without any sign before them.
- ``adversarial``: made against learning. Quiet until a memory has faded and then a burst, a rhythm that stops once it
  has been seen, stairs of which each is the highest so far, a ramp that collapses at its top.

Every parameter is drawn from the seed, so another seed gives another trace and not other noise on the same one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

TICK_S: Final = 30.0  # how often a pool's size is reconsidered
DAY_TICKS: Final = int(86_400 / TICK_S)
_HOUR_TICKS: Final = int(3_600 / TICK_S)

Rates = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """The concurrent borrows that a trace amounts to, in intervals (ticks) of ``TICK_S`` seconds.

    They do not depend on the pool's size: a borrow that finds nothing idle makes its object and goes on.
    """

    kind: str
    seed: int
    others_on_loan: NDArray[np.int64]  # [borrows]: concurrent borrows when each borrow came, in order of time
    borrow_starts: NDArray[np.int64]  # [ticks + 1]: index of each tick's first borrow
    levels: NDArray[np.int64]  # [pieces]: concurrent borrows, constant over a piece of time
    durations_s: NDArray[np.float64]  # [pieces]
    piece_starts: NDArray[np.int64]  # [ticks + 1]
    holding_s: NDArray[np.float64]  # [ticks]: summed over the borrows that were returned in the tick

    @property
    def ticks(self) -> int:
        """Length in intervals."""
        return self.holding_s.size

    def peaks(self) -> NDArray[np.int64]:
        """Return the most concurrent borrows of every tick, ``int64[ticks]``."""
        return np.maximum.reduceat(self.levels, self.piece_starts[:-1])

    def mean_levels(self) -> Rates:
        """Return the time average of concurrent borrows of every tick, ``float64[ticks]``."""
        return np.add.reduceat(self.levels * self.durations_s, self.piece_starts[:-1]) / TICK_S


def make_trace(kind: str, seed: int) -> Trace:
    """The trace of a kind (one of :data:`KINDS`) and a seed; the same arguments give the same trace."""
    random = np.random.default_rng([list(KINDS).index(kind), seed])
    holding_mean_s = random.uniform(1.0, 8.0)
    concurrency = np.exp(random.uniform(np.log(5.0), np.log(60.0)))
    rates = KINDS[kind](random) * concurrency / holding_mean_s
    return _simulate_borrows(kind, seed, rates, holding_mean_s, random)


def _simulate_borrows(kind: str, seed: int, rates: Rates, holding_mean_s: float, random: np.random.Generator) -> Trace:
    """Draw single borrows with holding times from borrows per second, by tick, and count the concurrent ones."""
    counts = random.poisson(rates * TICK_S)
    starts = np.repeat(np.arange(rates.size), counts) * TICK_S + random.uniform(0, TICK_S, int(counts.sum()))
    starts.sort()
    # Log-normal with sigma 1: most are short, a few take ten times the mean, as requests do.
    holding = random.lognormal(np.log(holding_mean_s) - 0.5, 1.0, starts.size)
    ends = starts + holding
    by_end = np.argsort(ends)
    others_on_loan = np.arange(starts.size) - np.searchsorted(ends[by_end], starts, side="right")

    ticks = np.arange(rates.size + 1) * TICK_S
    times = np.concatenate([ticks, starts, ends])
    changes = np.concatenate(
        [np.zeros(ticks.size, np.int64), np.ones(starts.size, np.int64), -np.ones_like(others_on_loan)]
    )
    order = np.argsort(times, kind="stable")
    levels, times = np.cumsum(changes[order]), times[order]
    inside = np.searchsorted(times, ticks[-1])
    ended = np.searchsorted(ends[by_end], ticks)
    holding_sums = np.diff(np.concatenate([[0.0], np.cumsum(holding[by_end])])[ended])
    return Trace(
        kind,
        seed,
        others_on_loan=others_on_loan,
        borrow_starts=np.searchsorted(starts, ticks),
        levels=levels[:inside],
        durations_s=np.diff(times[: inside + 1]),
        piece_starts=np.searchsorted(times, ticks),
        holding_s=holding_sums,
    )


def _steady(random: np.random.Generator) -> Rates:
    del random
    return np.ones(DAY_TICKS)


def _diurnal(random: np.random.Generator) -> Rates:
    days = 4
    phase = np.arange(days * DAY_TICKS) / DAY_TICKS * 2 * np.pi
    swing, second, shift = random.uniform(0.5, 0.9), random.uniform(0.0, 0.3), random.uniform(0, 2 * np.pi)
    shape = 1 + swing * np.sin(phase + shift) + second * np.sin(2 * phase + random.uniform(0, 2 * np.pi))
    by_day = np.repeat(random.uniform(0.85, 1.15, days), DAY_TICKS)
    rates = np.maximum(shape, 0.05) * by_day * _lasting_noise(random, phase.size, 0.1)
    job, job_ticks = random.uniform(0.0, 1.0), int(random.integers(1, 5))
    for start in range(0, rates.size, _HOUR_TICKS):
        rates[start : start + job_ticks] += job
    return rates


def _bursty(random: np.random.Generator) -> Rates:
    rates = 0.5 * _lasting_noise(random, DAY_TICKS, 0.15)
    tick = 0
    while (tick := tick + int(random.exponential(random.uniform(20, 200))) + 1) < rates.size:
        length = 1 + int(min(random.pareto(1.3) * 2, 120))
        rates[tick : tick + length] += min(0.5 + random.pareto(1.8), 8.0)
    return rates


def _adversarial(random: np.random.Generator) -> Rates:
    episodes: list[Rates] = []
    while sum(episode.size for episode in episodes) < DAY_TICKS:
        tricks = (_fading_memory, _broken_rhythm, _stairs, _collapse)
        episodes.append(np.concatenate(list(tricks[int(random.integers(len(tricks)))](random))))
    return np.concatenate(episodes)[:DAY_TICKS]


def _fading_memory(random: np.random.Generator) -> Iterator[Rates]:
    """Quiet times, each about twice as long as the one before, that end in a burst of one tick."""
    height = random.uniform(2, 6)
    for power in range(1, 9):
        yield np.full(int(2**power * random.uniform(0.7, 1.3)), 0.3)
        yield np.full(1, height)


def _broken_rhythm(random: np.random.Generator) -> Iterator[Rates]:
    """A burst every few ticks, eight times; the ninth is left out, and another rhythm follows."""
    for _ in range(6):
        period, height = int(random.integers(3, 20)), random.uniform(1, 4)
        beat = np.full(period, 0.4)
        beat[-1] = height
        yield np.tile(beat, 8)
        yield np.full(period, 0.4)


def _stairs(random: np.random.Generator) -> Iterator[Rates]:
    """Stairs, each the highest so far, which no high-water mark can foresee; then the ground again."""
    for height in np.linspace(0.3, random.uniform(2, 5), 12):
        yield np.full(int(random.integers(2, 15)), height)
    yield np.full(40, 0.3)


def _collapse(random: np.random.Generator) -> Iterator[Rates]:
    """Steady growth, which looks like more to come, and then a sudden stop."""
    for _ in range(5):
        yield np.linspace(0.3, random.uniform(1, 5), int(random.integers(10, 60)))
        yield np.full(int(random.integers(5, 40)), 0.3)


def _lasting_noise(random: np.random.Generator, count: int, deviation: float) -> Rates:
    """Noise around 1 with a correlation time of about twenty ticks: an autoregression of order one."""
    keep = 0.95
    steps = random.normal(0.0, deviation * np.sqrt(1 - keep**2), count)
    value, values = 0.0, np.empty(count)
    for index, step in enumerate(steps):
        value = keep * value + step
        values[index] = value
    return np.exp(values)


KINDS: Final[dict[str, Callable[[np.random.Generator], Rates]]] = {
    "steady": _steady,
    "diurnal": _diurnal,
    "bursty": _bursty,
    "adversarial": _adversarial,
}
