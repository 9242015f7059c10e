"""The load generator: reproducible frames, worker processes, and the outcome of every frame. Start at `coordinator`."""
