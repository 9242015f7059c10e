"""Conditions of a node: what keeps it from doing all that it is for, while it runs on.

A condition begins when somebody meets it and ends when nobody has for a while, so that it does not come and go with
every frame. Beginning and end are a line in the node's log each; in between the condition stands in the status, in the
metrics, and in the health of the service that it keeps from working.
"""

import logging
import threading
from collections.abc import Callable
from enum import Enum, unique
from typing import Final, NamedTuple

from penstock.host.clock import SYSTEM_CLOCK, Clock

HOLD_S: Final = 3.0
"""How long nobody must have met a condition before it ends."""

_log = logging.getLogger("penstock.node")


class Ability(Enum):
    """What a condition can keep a node from."""

    SUBMIT = "submitting transactions"
    WATCH = "watching"


@unique
class Condition(Enum):
    """A condition's name, which ability it takes from the node, if any, and what it means and asks for."""

    TABLES_FULL = (
        "tables_full",
        Ability.SUBMIT,
        "frames that the state's tables might not hold are refused: raise state.bytes_max and restart the node",
    )
    DISK_FULL = ("disk_full", Ability.SUBMIT, "frames are refused for want of disk space: free or add some")
    LOG_BUSY = (
        "log_busy",
        Ability.SUBMIT,
        "frames are refused, since the log gets no more descriptors, memory or threads: raise the limit, or end what "
        "takes them",
    )
    DISK_SLOW = (
        "disk_slow",
        Ability.SUBMIT,
        "the disk has not answered for seconds, and no client is answered before it does, or, where log.sync_mode is "
        "interval, what is answered is not safe yet: check it",
    )
    RESULTS_UNAVAILABLE = (
        "results_unavailable",
        Ability.WATCH,
        "results could not be written, and watches of those that memory does not keep are refused: free disk space; a "
        "restart computes what was lost",
    )
    LOG_DAMAGED = (
        "log_damaged",
        Ability.WATCH,
        "a watch met a damaged block, at which a restart would end: restore the log before restarting the node",
    )
    SESSIONS_EXHAUSTED = (
        "sessions_exhausted",
        None,
        "transactions of new clients are refused: close clients that are done, or allow for more sessions",
    )
    DESCRIPTORS_SHORT = (
        "descriptors_short",
        None,
        "few file descriptors are left, and connections will fail: raise the hard limit, or close connections",
    )
    MEMORY_SHORT = (
        "memory_short",
        None,
        "clients make the node hold too many bytes, and calls that wait for messages are ended, the oldest first: find "
        "who sends halves of messages, or raise admission.call_bytes_max",
    )
    ADDRESS_LOST = (
        "address_lost",
        None,
        "the path of a socket is gone or another's, and no new client comes by it: restart the node",
    )
    CLOCK_BEHIND = (
        "clock_behind",
        None,
        "this machine's clock is behind the log's last block, whose time stands until it has caught up: set the clock, "
        "or restart the node once with node.clock=accept where it is right",
    )
    CLOCK_JUMPED = (
        "clock_jumped",
        None,
        "this machine's clock leapt ahead and the log's time does not follow: set the clock, or restart the node once "
        "with node.clock=accept where it is right",
    )

    def __init__(self, label: str, stops: Ability | None, meaning: str) -> None:
        self.label: Final = label
        self.stops: Final = stops
        self.meaning: Final = meaning


class ActiveCondition(NamedTuple):
    """A condition that is there."""

    condition: Condition
    detail: str
    """What is known beyond the condition's meaning, or nothing."""
    since_ns: int
    """When it began, Unix time."""


class _Standing:
    """What `Conditions` keeps of one condition."""

    __slots__ = ("begun", "cleared", "detail", "met_ns", "since_ns")

    def __init__(self) -> None:
        self.begun = 0
        self.since_ns = 0
        self.met_ns = 0
        self.cleared = False
        self.detail = ""


class Conditions:
    """The conditions of one node. `set` and `clear` may be called by any thread, `settle` is called every second."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        """Begin without any; times are those of ``clock``."""
        self._clock = clock
        self._lock = threading.Lock()
        self._standings: Final = {condition: _Standing() for condition in Condition}
        self._active: frozenset[Condition] = frozenset()
        self._on_change: Callable[[], object] = lambda: None

    def on_change(self, tell: Callable[[], object]) -> None:
        """Have ``tell`` called after each beginning and end, by the thread that brought it about; it must not block."""
        self._on_change = tell

    def set(self, condition: Condition, detail: str = "") -> None:
        """Say that a condition is met. Costs about a microsecond where it is there already."""
        with self._lock:
            standing = self._standings[condition]
            standing.met_ns, standing.cleared = self._clock.monotonic_ns(), False
            if condition in self._active:
                return
            standing.since_ns, standing.detail = self._clock.time_ns(), detail
            standing.begun += 1
            self._active |= {condition}
        _log.warning("%s begins: %s%s", condition.label, condition.meaning, f" ({detail})" if detail else "")
        self._on_change()

    def clear(self, condition: Condition) -> None:
        """Say that a condition is no longer met; it ends by `settle`, unless it is met again before."""
        if condition in self._active:
            with self._lock:
                self._standings[condition].cleared = True

    def settle(self) -> None:
        """End the conditions that were cleared and not met for `HOLD_S`."""
        if not self._active:
            return
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            ended = {
                condition: (now_ns - standing.met_ns) / 1e9
                for condition, standing in self._standings.items()
                if condition in self._active and standing.cleared and now_ns - standing.met_ns >= HOLD_S * 1e9
            }
            self._active -= ended.keys()
        for condition, seconds in ended.items():
            _log.warning("%s has ended: it was last met %.1f s ago", condition.label, seconds)
        if ended:
            self._on_change()

    def __contains__(self, condition: Condition) -> bool:
        return condition in self._active

    def active(self) -> list[ActiveCondition]:
        """Give the conditions that are there, in the order of their declaration."""
        with self._lock:
            return [
                ActiveCondition(condition, standing.detail, standing.since_ns)
                for condition, standing in self._standings.items()
                if condition in self._active
            ]

    def begun(self, condition: Condition) -> int:
        """Give how often a condition has begun."""
        return self._standings[condition].begun

    def stopped(self) -> frozenset[Ability]:
        """Give the abilities that the node lacks."""
        return frozenset(condition.stops for condition in self._active if condition.stops is not None)
