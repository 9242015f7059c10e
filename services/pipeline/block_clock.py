"""Block clock: the times of blocks, which follow this machine's clock, but neither back nor by leaps.

Sessions grow old by the times of blocks, and so does whatever else depends on time. A clock that was set wrong for a
moment must not leave its mark in the log for good.
"""

import logging
from typing import Final

from penstock.host.clock import Clock

_BEHIND_NS: Final = 1_000_000_000
"""A clock that is behind by less is nothing to speak of."""
_log = logging.getLogger(__name__)


class ClockAhead(Exception):
    """The machine's clock is far ahead of the log's last block; the message says how to get on."""


class BlockClock:
    """Gives each block its time, in ns since 1970: the machine's, but always after the last block's."""

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
        self._wall_ns = clock.time_ns()
        self._monotonic_ns = clock.monotonic_ns()
        self._last_ns = 0 if accept else last_time_ns
        self._followed = True
        ahead_ns = self._wall_ns - self._last_ns
        if self._last_ns and ahead_ns > jump_ns_max:
            raise ClockAhead(
                f"this machine's clock is {_text(ahead_ns)} ahead of the log's last block, and at most "
                f"{_text(jump_ns_max)} are taken for a pause: correct the clock; or, where it is right, start once "
                "with --set node.clock=accept, or raise node.clock_jump_max_s"
            )
        if ahead_ns < -_BEHIND_NS:
            _log.warning(
                "this machine's clock is %s behind the log's last block: the time of blocks stands until it has caught "
                "up; correct the clock, or, where it is right, start once with --set node.clock=accept",
                _text(-ahead_ns),
            )

    @property
    def followed(self) -> bool:
        """Whether the last block's time could follow the machine's clock, which had not leapt ahead."""
        return self._followed

    def next_ns(self) -> int:
        """Give the next block's time."""
        wall_ns, monotonic_ns = self._clock.time_ns(), self._clock.monotonic_ns()
        expected_ns = self._wall_ns + monotonic_ns - self._monotonic_ns
        # Up to the last block's time there is no leap: a clock that was set back for a moment may be set right again.
        followed = wall_ns - max(expected_ns, self._last_ns) <= self._jump_ns_max
        if followed:
            self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        if followed != self._followed:
            self._followed = followed
            if followed:
                _log.warning("this machine's clock is followed again")
            else:
                _log.warning(
                    "this machine's clock leapt ahead by %s while the node ran: the time of blocks does not follow; "
                    "correct the clock, or, where it is right, restart with --set node.clock=accept",
                    _text(wall_ns - expected_ns),
                )
        self._last_ns = max(self._last_ns + 1, wall_ns if followed else expected_ns)
        return self._last_ns


def _text(duration_ns: int) -> str:
    seconds = duration_ns / 1e9
    for unit, length_s in (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.1f} {unit}"
    return f"{seconds:.1f} s"
