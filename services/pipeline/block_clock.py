"""Block clock: the times of blocks, which follow this machine's clock, but neither back nor by leaps.

Sessions grow old by the times of blocks, and so does whatever else depends on time. A clock that was set wrong for a
moment must not leave its mark in the log for good.
"""

from typing import Final

from penstock.host.clock import Clock

_UNITS: Final = (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60))


class ClockAhead(Exception):
    """The machine's clock is far ahead of the log's last block; the message says how to get on."""


class BlockClock:
    """Gives each block its time, in ns since 1970: the machine's, but always after the last block's.

    One thread asks for times; any may look how far the machine's clock is off.
    """

    def __init__(self, clock: Clock, last_time_ns: int, jump_ns_max: int, *, accept: bool = False) -> None:
        """Give times after ``last_time_ns``, the last block's; 0: there is none.

        Args:
            clock: the machine's.
            last_time_ns: the last block's time; 0: there is none.
            jump_ns_max: most by which a time may be ahead of the last block's at the start, or of what passes.
            accept: take the clock's time for the first block, whatever the last one's was.

        Raises:
            ClockAhead: the clock is further ahead of the last block, and was not accepted.
        """
        self._clock = clock
        self._jump_ns_max = jump_ns_max
        # One attribute, so that who looks from another thread sees times that belong together.
        self._followed = (clock.time_ns(), clock.monotonic_ns())
        self._last_ns = 0 if accept else last_time_ns
        ahead_ns = self._followed[0] - self._last_ns
        if self._last_ns and ahead_ns > jump_ns_max:
            raise ClockAhead(
                f"this machine's clock is {duration_text(ahead_ns)} ahead of the log's last block, and at most "
                f"{duration_text(jump_ns_max)} are taken for a pause: correct the clock; or, where it is right, start "
                "once with --set node.clock=accept, or raise node.clock_jump_max_s"
            )

    @property
    def behind_ns(self) -> int:
        """By how much the machine's clock is behind the last time given, which stands until it has caught up; or 0."""
        return max(0, self._last_ns - self._clock.time_ns())

    @property
    def leapt_ns(self) -> int:
        """By how much the machine's clock has leapt ahead, where that is too much to be followed; or 0."""
        wall_ns, expected_ns = self._clock.time_ns(), self._expected_ns(self._clock.monotonic_ns())
        return 0 if self._follows(wall_ns, expected_ns) else wall_ns - expected_ns

    def next_ns(self) -> int:
        """Give the next block's time."""
        wall_ns, monotonic_ns = self._clock.time_ns(), self._clock.monotonic_ns()
        expected_ns = self._expected_ns(monotonic_ns)
        followed = self._follows(wall_ns, expected_ns)
        if followed:
            self._followed = wall_ns, monotonic_ns
        self._last_ns = max(self._last_ns + 1, wall_ns if followed else expected_ns)
        return self._last_ns

    def _expected_ns(self, monotonic_ns: int) -> int:
        followed_wall_ns, followed_monotonic_ns = self._followed
        return followed_wall_ns + monotonic_ns - followed_monotonic_ns

    def _follows(self, wall_ns: int, expected_ns: int) -> bool:
        # Up to the last block's time there is no leap: a clock that was set back for a moment may be set right again.
        return wall_ns - max(expected_ns, self._last_ns) <= self._jump_ns_max


def duration_text(duration_ns: int) -> str:
    """Write a duration in the largest unit of which it has two."""
    seconds = duration_ns / 1e9
    for unit, length_s in _UNITS:
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.1f} {unit}"
    return f"{seconds:.1f} s"
