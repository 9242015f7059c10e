"""What a node counts and shows: counters, metrics, traces, throughput of each phase against its target."""
