"""Metrics of the ring: its own counters lie in its shared region, and are read when an exporter collects them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from txqueue.histogram import Histogram
from txqueue.queue_metrics import QueueMetrics

_DWELL_MIN_S: Final = 1e-6
_DWELL_MAX_S: Final = 20.0
"""Beyond these all buckets of a node's ring would say the same."""


class QueueMetric(NamedTuple):
    """One observed value of a ring."""

    name: str
    unit: str
    description: str
    read: Callable[[QueueMetrics], int]
    is_level: bool = False


QUEUE_METRICS: Final = (
    QueueMetric("penstock.queue.claims", "{frame}", "Frames for which room was granted.", lambda ring: ring.claims),
    QueueMetric("penstock.queue.claims.refused", "{frame}", "Frames that found no room.", lambda ring: ring.refused),
    QueueMetric(
        "penstock.queue.claims.dead",
        "{frame}",
        "Claims whose owner was gone before it published them.",
        lambda ring: ring.dead_claims,
    ),
    QueueMetric(
        "penstock.queue.retries",
        "{retry}",
        "Publications overtaken by another's and repeated.",
        lambda ring: ring.retries,
    ),
    QueueMetric(
        "penstock.queue.padding",
        "By",
        "Left unused at the ends of producers' buffers.",
        lambda ring: ring.padding_bytes,
    ),
    QueueMetric(
        "penstock.queue.frames.dequeued", "{frame}", "Frames taken from the ring.", lambda ring: ring.frames_dequeued
    ),
    QueueMetric(
        "penstock.queue.transactions.dequeued",
        "{transaction}",
        "Transactions taken from the ring.",
        lambda ring: ring.dequeued,
    ),
    QueueMetric("penstock.queue.batches", "{batch}", "Batches taken from the ring.", lambda ring: ring.batches),
    QueueMetric("penstock.queue.waits", "{wait}", "Waits of the ring's consumer.", lambda ring: ring.waits),
    QueueMetric("penstock.queue.parks", "{park}", "Waits in which it went to sleep.", lambda ring: ring.parks),
    QueueMetric(
        "penstock.queue.batch.bound",
        "{transaction}",
        "Transactions that a batch holds at most now.",
        lambda ring: ring.batch_bound,
        is_level=True,
    ),
    QueueMetric(
        "penstock.queue.producers", "{producer}", "Producers registered.", lambda ring: ring.producers, is_level=True
    ),
)

BATCH_SIZES: Final = "penstock.queue.batch.sizes"
DWELLS: Final = "penstock.queue.dwells"


def register(meter: Meter, read: Callable[[], QueueMetrics]) -> None:
    """Declare the ring's metrics to ``meter``; ``read`` is called at every collection.

    Histograms are counters by the attribute ``le``: each counts what was at most so much, as Prometheus has them.
    """
    for metric in QUEUE_METRICS:
        create = meter.create_observable_gauge if metric.is_level else meter.create_observable_counter
        create(metric.name, [_observe(metric, read)], metric.unit, metric.description)

    def batch_sizes(_: CallbackOptions) -> Iterable[Observation]:
        return _cumulative(read().batch_sizes, 1, float("inf"))

    def dwells(_: CallbackOptions) -> Iterable[Observation]:
        return _cumulative(read().dwell_s, _DWELL_MIN_S, _DWELL_MAX_S)

    meter.create_observable_counter(BATCH_SIZES, [batch_sizes], "{batch}", "Batches by their transactions.")
    meter.create_observable_counter(
        DWELLS, [dwells], "{frame}", "Sampled frames by the seconds from their claim to their batch."
    )


def _observe(
    metric: QueueMetric, read: Callable[[], QueueMetrics]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(metric.read(read()))]


def _cumulative(histogram: Histogram, low: float, high: float) -> Iterator[Observation]:
    for bound in histogram.bounds:
        if low <= bound <= high:
            yield Observation(histogram.at_most(bound), {"le": f"{bound:.3g}"})
    yield Observation(histogram.total, {"le": "+Inf"})
