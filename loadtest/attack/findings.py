"""Findings of an attack: what was done to whom, and every harm that came of it."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from hdrh.histogram import HdrHistogram

from penstock.client.errors import Full, InvalidOperation, PenstockError, Refused, Unavailable

_EXAMPLES: Final = 10
_LATENCY_US_MAX: Final = 600_000_000

HARMS: Final = (
    "untyped error",
    "lost transaction",
    "repeated transaction",
    "wrong answer",
    "wrong read",
    "late call",
    "latency p99",
    "memory",
    "traceback",
    "node ended",
    "refused while nothing was wrong",
    "damage not found",
    "log differs",
)


@dataclass(slots=True)
class Findings:
    """Counts of attacks, and of harm by kind with its first examples. Times are those of the monotonic clock."""

    latency_p99_ms_max: float
    memory_mib_max: int
    grace_s: float
    attacks: Counter[str] = field(default_factory=Counter)
    harm: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    honest: Counter[str] = field(default_factory=Counter)
    latency: HdrHistogram = field(default_factory=lambda: HdrHistogram(1, _LATENCY_US_MAX, 3))
    memory_mib_peak: int = 0
    phase: str = "start"
    _outages: int = 0
    _outage_end: float = 0.0

    def harmed(self, kind: str, example: str) -> None:
        """Count a harm of one of :data:`HARMS`."""
        assert kind in HARMS, kind
        self.harm[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < _EXAMPLES:
            examples.append(f"{self.phase}: {example}")

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Declare the node out of service: refusals and waiting are no harm until ``grace_s`` after the block."""
        self._outages += 1
        try:
            yield
        finally:
            self._outages -= 1
            self._outage_end = time.monotonic() + self.grace_s

    def is_excused(self, started: float) -> bool:
        """Whether a call that began at ``started`` and ends now met a declared outage."""
        return self._outages > 0 or started < self._outage_end

    def answered(self, started: float) -> None:
        """An honest call was answered."""
        elapsed_s = time.monotonic() - started
        self.honest["answers"] += 1
        if not self.is_excused(started):
            self.latency.record_value(min(max(int(elapsed_s * 1e6), 1), _LATENCY_US_MAX))

    def failed(self, call: str, error: Exception, started: float) -> None:
        """An honest call failed: harm where the error is not one that the contract names."""
        text = f"{call}: {type(error).__name__}: {error}"
        if not isinstance(error, PenstockError):
            self.harmed("untyped error", text)
            return
        self.honest[f"{type(error).__name__} {getattr(error, 'reason', '')}".strip()] += 1
        if isinstance(error, InvalidOperation):
            self.harmed("wrong answer", text)
        elif self.is_excused(started):
            return
        elif isinstance(error, Refused) and not error.reason and not isinstance(error, Unavailable):
            self.harmed("untyped error", text)
        elif not isinstance(error, Full):
            self.harmed("refused while nothing was wrong", text)

    def sampled_memory(self, mib: int) -> None:
        """The node's resident memory was measured."""
        self.memory_mib_peak = max(self.memory_mib_peak, mib)

    def conclude(self) -> None:
        """Compare the whole with its bounds."""
        p99 = self.p99_ms()
        if p99 > self.latency_p99_ms_max:
            self.harmed("latency p99", f"{p99:.0f} ms outside outages, the bound is {self.latency_p99_ms_max:g} ms")
        if self.memory_mib_peak > self.memory_mib_max:
            self.harmed("memory", f"{self.memory_mib_peak} MiB resident, the bound is {self.memory_mib_max} MiB")

    def p99_ms(self) -> float:
        """Of honest calls outside outages."""
        return float(self.latency.get_value_at_percentile(99)) / 1000

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "harmless": not self.harm,
            "harm": {kind: self.harm[kind] for kind in HARMS},
            "examples": self.examples,
            "attacks": dict(sorted(self.attacks.items())),
            "honest": dict(sorted(self.honest.items())),
            "latency_ms": {
                "p50": float(self.latency.get_value_at_percentile(50)) / 1000,
                "p99": self.p99_ms(),
                "max": float(self.latency.get_max_value()) / 1000,
                "p99_bound": self.latency_p99_ms_max,
            },
            "memory_mib": {"peak": self.memory_mib_peak, "bound": self.memory_mib_max},
        }
