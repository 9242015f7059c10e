"""Sizing of pools, learned online from their own demand. Start at `pool_sizer.PoolSizer`."""
