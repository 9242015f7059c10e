"""The load generator: frames from a seed, worker processes, and what they experienced."""
