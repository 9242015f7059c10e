"""Metrics of a node, each declared once. Their values are read from the counters when an exporter collects them."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters
from services.telemetry.throughput import PhaseThroughput


class Metric(NamedTuple):
    """One observed value: a counter, or one counter less another, times a scale."""

    name: str
    unit: str
    description: str
    counter: Counter
    less: Counter | None = None
    """Where set, the value is a level: what has come in and not gone out."""
    scale: float = 1
    is_level: bool = False


_NS: Final = 1e-9

METRICS: Final = (
    Metric("penstock.rpc.frames.received", "{frame}", "Frames that arrived.", Counter.FRAMES_RECEIVED),
    Metric("penstock.rpc.received", "By", "Bytes of frames that arrived.", Counter.BYTES_RECEIVED),
    Metric(
        "penstock.rpc.frames.refused.invalid",
        "{frame}",
        "Frames that broke the contract.",
        Counter.FRAMES_REFUSED_INVALID,
    ),
    Metric("penstock.rpc.frames.refused.busy", "{frame}", "Frames pushed back.", Counter.FRAMES_REFUSED_BUSY),
    Metric(
        "penstock.rpc.frames.refused.unavailable",
        "{frame}",
        "Frames refused while starting, stopping or failed.",
        Counter.FRAMES_REFUSED_UNAVAILABLE,
    ),
    Metric(
        "penstock.rpc.frames.answered",
        "{frame}",
        "Frames answered, by a receipt or an error.",
        Counter.FRAMES_ANSWERED,
    ),
    Metric(
        "penstock.rpc.transactions.answered", "{transaction}", "Transactions answered.", Counter.TRANSACTIONS_ANSWERED
    ),
    Metric(
        "penstock.rpc.frames.in_flight",
        "{frame}",
        "Frames accepted and not answered yet.",
        Counter.FRAMES_ENQUEUED,
        less=Counter.FRAMES_ANSWERED,
    ),
    Metric(
        "penstock.rpc.streams.open", "{stream}", "Open streams.", Counter.STREAMS_OPENED, less=Counter.STREAMS_CLOSED
    ),
    Metric("penstock.rpc.entries.read", "{entry}", "State entries read.", Counter.ENTRIES_READ),
    Metric(
        "penstock.rpc.watches.open", "{watch}", "Open watches.", Counter.WATCHES_OPENED, less=Counter.WATCHES_CLOSED
    ),
    Metric("penstock.rpc.calls.cut", "{call}", "Calls ended while they waited for a message.", Counter.CALLS_CUT),
    Metric("penstock.queue.frames.enqueued", "{frame}", "Frames put into the ring.", Counter.FRAMES_ENQUEUED),
    Metric(
        "penstock.queue.transactions.enqueued",
        "{transaction}",
        "Transactions put into the ring.",
        Counter.TRANSACTIONS_ENQUEUED,
    ),
    Metric(
        "penstock.queue.transactions.waiting",
        "{transaction}",
        "Transactions in the ring.",
        Counter.TRANSACTIONS_ENQUEUED,
        less=Counter.TRANSACTIONS_SEALED,
    ),
    Metric("penstock.sequencer.blocks", "{block}", "Blocks sealed.", Counter.BLOCKS_SEALED),
    Metric("penstock.sequencer.transactions", "{transaction}", "Transactions sealed.", Counter.TRANSACTIONS_SEALED),
    Metric("penstock.sequencer.busy", "s", "Time spent filling and sealing blocks.", Counter.SEAL_NS, scale=_NS),
    Metric("penstock.sequencer.index", "1", "Index of the newest block.", Counter.SEALED_INDEX, is_level=True),
    Metric("penstock.log.blocks", "{block}", "Blocks made durable.", Counter.BLOCKS_DURABLE),
    Metric("penstock.log.transactions", "{transaction}", "Transactions made durable.", Counter.TRANSACTIONS_DURABLE),
    Metric("penstock.log.written", "By", "Bytes written to the log.", Counter.LOG_BYTES_WRITTEN),
    Metric("penstock.log.syncs", "{sync}", "Syncs of the log.", Counter.SYNCS),
    Metric("penstock.log.write.busy", "s", "Time spent writing blocks.", Counter.WRITE_NS, scale=_NS),
    Metric("penstock.log.sync.busy", "s", "Time spent waiting for syncs.", Counter.SYNC_NS, scale=_NS),
    Metric("penstock.log.index", "1", "Index of the newest durable block.", Counter.DURABLE_INDEX, is_level=True),
    Metric(
        "penstock.commit.index", "1", "Index of the newest committed block.", Counter.COMMITTED_INDEX, is_level=True
    ),
    Metric("penstock.state.blocks", "{block}", "Blocks applied.", Counter.BLOCKS_APPLIED),
    Metric("penstock.state.transactions", "{transaction}", "Transactions applied.", Counter.TRANSACTIONS_APPLIED),
    Metric("penstock.state.busy", "s", "Time spent applying blocks.", Counter.APPLY_NS, scale=_NS),
    Metric("penstock.state.index", "1", "Index of the newest applied block.", Counter.APPLIED_INDEX, is_level=True),
    Metric("penstock.state.entries", "{entry}", "Live entries.", Counter.STATE_ENTRIES, is_level=True),
    Metric(
        "penstock.state.sessions",
        "{session}",
        "Clients whose sequences are remembered.",
        Counter.STATE_SESSIONS,
        is_level=True,
    ),
    Metric(
        "penstock.state.sessions.used",
        "By",
        "Memory that clients' results take.",
        Counter.STATE_SESSION_BYTES,
        is_level=True,
    ),
    Metric("penstock.state.used", "By", "Memory that the tables have touched.", Counter.STATE_BYTES, is_level=True),
    Metric("penstock.pools.allocated", "{object}", "Objects made for pools.", Counter.POOL_OBJECTS_MADE),
    Metric("penstock.pools.recycled", "{borrow}", "Borrows of used objects.", Counter.POOL_BORROWS_RECYCLED),
    Metric("penstock.pools.missed", "{borrow}", "Borrows that found nothing idle.", Counter.POOL_BORROWS_MISSED),
    Metric("penstock.pools.in_use", "{object}", "Objects on loan.", Counter.POOL_OBJECTS_IN_USE, is_level=True),
    Metric(
        "penstock.pools.idle", "{object}", "Objects ready to be borrowed.", Counter.POOL_OBJECTS_IDLE, is_level=True
    ),
    Metric("penstock.pools.active", "{pool}", "Pools that have lent anything.", Counter.POOLS_ACTIVE, is_level=True),
    Metric("penstock.gc.pauses", "{pause}", "Pauses for garbage collection.", Counter.GC_PAUSES),
    Metric("penstock.gc.paused", "s", "Time paused for garbage collection.", Counter.GC_PAUSE_NS, scale=_NS),
    Metric(
        "penstock.gc.pause.max",
        "s",
        "The longest pause for garbage collection.",
        Counter.GC_PAUSE_NS_MAX,
        scale=_NS,
        is_level=True,
    ),
    Metric(
        "penstock.gc.pauses.over_1ms", "{pause}", "Pauses for garbage collection over 1 ms.", Counter.GC_PAUSES_OVER_1MS
    ),
    Metric(
        "penstock.gc.pauses.over_10ms",
        "{pause}",
        "Pauses for garbage collection over 10 ms.",
        Counter.GC_PAUSES_OVER_10MS,
    ),
)

PHASE_ACHIEVED: Final = "penstock.phase.achieved"
PHASE_TARGET: Final = "penstock.phase.target"
CONDITION: Final = "penstock.condition"
CONDITION_BEGUN: Final = "penstock.condition.begun"
BLOCK_LATENCY: Final = "penstock.block.latency"

_LATENCY_BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.012, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Explicit, as Prometheus's exporter has no exponential histograms; 12, 25 and 100 ms are what the targets speak of."""


def register(meter: Meter, counters: Counters, throughput: PhaseThroughput) -> Histogram:
    """Declare all metrics to `meter`; returns the one that is recorded, the latency of blocks by stage, in seconds."""
    for metric in METRICS:
        level = metric.less is not None or metric.is_level
        create = meter.create_observable_gauge if level else meter.create_observable_counter
        create(metric.name, [_observe(metric, counters)], metric.unit, metric.description)

    def achieved(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(phase.achieved_tps, {"phase": phase.name}) for phase in throughput.read()]

    def target(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(phase.target_tps, {"phase": phase.name}) for phase in throughput.read()]

    meter.create_observable_gauge(PHASE_ACHIEVED, [achieved], "{transaction}/s", "Throughput of the last seconds.")
    meter.create_observable_gauge(
        PHASE_TARGET, [target], "{transaction}/s", "Throughput that the phase is designed for."
    )
    return meter.create_histogram(
        BLOCK_LATENCY,
        "s",
        "From the sealing of a block until it is durable, and until it is applied.",
        explicit_bucket_boundaries_advisory=_LATENCY_BOUNDS_S,
    )


def register_conditions(meter: Meter, conditions: Conditions) -> None:
    """Declare to `meter`, by condition, whether it is there (1 or 0) and how often it has begun."""

    def there(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(int(each in conditions), {"condition": each.label}) for each in Condition]

    def begun(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(conditions.begun(each), {"condition": each.label}) for each in Condition]

    meter.create_observable_gauge(CONDITION, [there], "1", "Whether a condition is there: 1, else 0.")
    meter.create_observable_counter(CONDITION_BEGUN, [begun], "{time}", "How often a condition has begun.")


def _observe(metric: Metric, counters: Counters) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def read(_: CallbackOptions) -> Iterable[Observation]:
        value = counters[metric.counter]
        if metric.less is not None:
            # The two words are written by different threads: what goes out may be seen before it is seen coming in.
            value = max(0, value - counters[metric.less])
        return [Observation(value * metric.scale)]

    return read
