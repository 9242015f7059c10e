"""Memory that is allocated once and used again: object pools, their sizing, a shared arena, and garbage collection.

Start at `manager.ObjectPoolManager`, which makes the pools of a process and finds them.
"""
