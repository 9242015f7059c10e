"""Recovery: what happens to a log when it is opened. Its end is found, what stands behind it cut, its blocks given."""
