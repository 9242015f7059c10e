"""Sync mode: what an answer to a transaction promises about the disk."""

from enum import StrEnum


class SyncMode(StrEnum):
    """When an appended block may be answered for."""

    BLOCK = "block"
    """Once it is synced: nothing answered is ever lost."""
    INTERVAL = "interval"
    """At once; a sync follows within the interval. A power cut loses what was answered since the last one."""
    NONE = "none"
    """At once; synced when a segment is full and when the log is closed. A power cut may lose a segment's worth."""
