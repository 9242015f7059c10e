"""Telemetry: counters, metrics, traces, throughput of each phase. Start at `telemetry`, what the pipeline sees."""
