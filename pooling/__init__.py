"""Memory that is allocated once and used again: object pools, their sizing, a shared slab arena, and the collector's.

Start at `manager.ObjectPoolManager`, which makes the pools of a process and finds them.
"""
