"""The ring's own counters reach whoever watches the node."""

import numpy as np
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from services.telemetry import queue_metrics as queue_telemetry
from txqueue.queue import LockFreeTxQueue


def test_the_rings_counters_are_shown_as_they_are_when_collected() -> None:
    reader = InMemoryMetricReader()
    with LockFreeTxQueue.create(None, slots=16, producers=1) as queue:
        meters = MeterProvider([reader])
        queue_telemetry.register(meters.get_meter("test"), queue.get_queue_metrics)
        queue.enqueue(np.zeros((100, 8), np.uint64))
        queue.dequeue_exclusive_batch(np.zeros(6400, np.uint8), np.zeros((4, 4), np.uint64))
        data = reader.get_metrics_data()
        assert data is not None
        found = {metric.name: metric.data.data_points for metric in data.resource_metrics[0].scope_metrics[0].metrics}
        meters.shutdown()
    assert set(found) == {metric.name for metric in queue_telemetry.QUEUE_METRICS} | {
        queue_telemetry.BATCH_SIZES,
        queue_telemetry.DWELLS,
    }
    assert found["penstock.queue.claims"][0].value == 1  # type: ignore[union-attr]
    assert found["penstock.queue.transactions.dequeued"][0].value == 100  # type: ignore[union-attr]
    sizes = {str(point.attributes["le"]): point.value for point in found[queue_telemetry.BATCH_SIZES]}  # type: ignore[index, union-attr]
    assert (sizes["63"], sizes["127"], sizes["+Inf"]) == (0, 1, 1)
    dwells = [point.value for point in found[queue_telemetry.DWELLS]]  # type: ignore[union-attr]
    assert dwells == sorted(dwells)
    assert dwells[-1] == 1
