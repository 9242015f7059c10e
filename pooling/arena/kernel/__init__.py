"""Compiled code of the slab arena: it lends and takes back slots without a lock, and recovers what the dead held.

Start at `operations`; the words that it works on are in `layout`.
"""
