"""Progress of a long check, on the error stream: one line that is written over, or one now and then into a file."""

import sys
from typing import Final

import click

from penstock.host.clock import SYSTEM_CLOCK, Clock

_EVERY_S: Final = {True: 0.2, False: 10.0}
"""How often, on a terminal and elsewhere."""


class Progress:
    """Tells how many of some blocks are done."""

    def __init__(self, total: int, *, clock: Clock = SYSTEM_CLOCK, is_terminal: bool | None = None) -> None:
        """Begin with none of ``total`` blocks done."""
        self._total, self._clock = total, clock
        self._is_terminal = sys.stderr.isatty() if is_terminal is None else is_terminal
        self._every_ns = round(_EVERY_S[self._is_terminal] * 1e9)
        self._started_ns = self._told_ns = clock.monotonic_ns()

    def advance(self, done: int, done_bytes: int) -> None:
        """Tell that ``done`` blocks of ``done_bytes`` bytes together are done, where it is time to."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._told_ns < self._every_ns:
            return
        self._told_ns = now_ns
        rate = done_bytes / (now_ns - self._started_ns) * 1000
        text = f"block {done} of {self._total}, {100 * done // max(1, self._total)} %, {rate:,.0f} MB/s"
        click.echo(f"\r\x1b[K{text}" if self._is_terminal else text, nl=not self._is_terminal, err=True)

    def end(self) -> None:
        """Leave the line clear for what comes next."""
        if self._is_terminal:
            click.echo("\r\x1b[K", nl=False, err=True)
