"""Scheduling of Python's garbage collector, and statistics of its pauses. Start at `gc_scheduler.GcScheduler`."""
