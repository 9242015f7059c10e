"""Trace context of frames: what the program's own function says, where that is one.

A trace is never a reason to lose a transaction: what cannot be had or sent is left out, and said once.
"""

import logging
from collections.abc import Callable
from typing import Final

_logger: Final = logging.getLogger("penstock.client")
_LENGTH_MAX: Final = 256
"""A traceparent of the present version has 55 characters; later ones may have more."""


class TraceContext:
    """Asks the program for the trace context of a frame, and raises nothing."""

    def __init__(self, traceparent: Callable[[], str]) -> None:
        self._traceparent = traceparent
        self._warned = False

    def __call__(self) -> str:
        """The W3C traceparent, or "" where there is none."""
        try:
            text = self._traceparent()
            if isinstance(text, str) and text.isascii() and len(text) <= _LENGTH_MAX:
                return text
            self._warn(f"it returned {text!r:.80}, which is no traceparent", None)
        except Exception as error:
            self._warn("it raised", error)
        return ""

    def _warn(self, what: str, error: Exception | None) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning("traceparent was called for a frame: %s; frames go without", what, exc_info=error)
