"""Phase 5: atomics for compiled code, shared regions, the lock-free queue. Start at `txqueue.queue`."""
