"""Benchmark of allocators and object pools, `penstock bench pool`. Start at `pool_bench` and `pipeline_bench`."""
