"""Variant: one rule that is broken, for as long as a schedule runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Change(NamedTuple):
    """Something that is put in place of what keeps the rule."""

    owner: Any
    """A class or module that has it as an attribute, or a table that has it as an entry."""
    name: Any
    replacement: Any


class Variant(NamedTuple):
    """A rule, and what breaks it."""

    name: str
    rule: str
    """What is right, in one sentence."""
    changes: tuple[Change, ...]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Break the rule in this process, until the end of the block."""
        kept = [_replace(change) for change in self.changes]
        try:
            yield
        finally:
            for change in reversed(kept):
                _replace(change)


def _replace(change: Change) -> Change:
    """Carry out a change; return the one that takes it back."""
    owner, name, replacement = change
    if isinstance(owner, dict):
        before, owner[name] = owner[name], replacement
    else:
        before = vars(owner)[name]
        setattr(owner, name, replacement)
    return Change(owner, name, before)
