"""Exponential backoff with full jitter.

The wait of attempt k is uniform in 0 to min(cap, base * 2^k), so that clients which failed together do not retry
together (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
"""

from random import Random


class Backoff:
    """Counts the attempts that failed in a row, and draws the wait before the next one.

    Args:
        base_s: most that the first wait takes, in seconds.
        cap_s: most that any takes.
        random: draws them.
    """

    def __init__(self, base_s: float, cap_s: float, random: Random) -> None:
        self._random = random
        self._base_s = base_s
        self._cap_s = cap_s
        self._attempts = 0

    def reset(self) -> None:
        """An attempt succeeded: the next failure waits from the base on again."""
        self._attempts = 0

    def next_s(self, at_least_s: float | None = None) -> float:
        """Seconds to wait before the next attempt, in addition to ``at_least_s`` where the node asked for a delay."""
        ceiling_s = min(self._cap_s, self._base_s * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return (at_least_s or 0.0) + self._random.uniform(0.0, ceiling_s)
