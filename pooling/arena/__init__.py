"""A slab arena: slots of any size in memory that processes share, lent and returned without a lock.

Start at `slab_arena.SlabArena`. It carries nothing of the transaction pipeline yet: it serves the shared buffers that
``PoolService`` lends (`pooling.shared_buffers`).
"""
