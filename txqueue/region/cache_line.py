"""Cache lines: the distances at which words that different threads write do not disturb one another."""

from typing import Final

LINE_SHIFT: Final = 6
LINE_BYTES: Final = 1 << LINE_SHIFT
LINE_WORDS: Final = LINE_BYTES // 8
"""64-bit words of a line."""
LINE_PAIR_WORDS: Final = 2 * LINE_WORDS
"""Processors fetch lines in pairs: words of different writers stand so far apart."""


def line_pair_from(word: int) -> int:
    """The first word at or behind this one that begins a pair of lines."""
    return -(-word // LINE_PAIR_WORDS) * LINE_PAIR_WORDS
