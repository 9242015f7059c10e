"""Memory that processes share: mapped regions, cache lines, futexes, the identities of processes, forks.

Start at `txqueue.region.region`.
"""
