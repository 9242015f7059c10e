"""Benchmark of queues, `penstock bench queue`. Start at `queue_bench`."""
