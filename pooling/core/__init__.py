"""Object pools: lending and returning, eviction, waiters, checks against misuse. Start at `object_pool`."""
