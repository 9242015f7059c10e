"""Before-and-after ratios: two commits measured in interleaved pairs of short runs. Start at :mod:`.pair_bench`."""
