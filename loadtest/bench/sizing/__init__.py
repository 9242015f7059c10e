"""Benchmark of pool-sizing policies on synthetic demand, `penstock bench sizing`. Start at `sizing_comparison`."""
