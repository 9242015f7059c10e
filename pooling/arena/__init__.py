"""Slots of any size in memory that processes share: lent and returned without a lock, by :class:`SlabArena`."""
