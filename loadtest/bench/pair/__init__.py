"""Before-and-after benchmark of two commits, `penstock bench pair`. Start at `pair_bench`."""
