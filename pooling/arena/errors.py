"""Errors of the slab arena; each says what the caller can do about it."""


class ArenaError(Exception):
    """The root of the arena's errors."""


class ArenaFull(ArenaError):
    """There is no room for so many bytes. Return slots, ask for less, or create the arena with more bytes."""


class ArenaClosed(ArenaError):
    """The arena was closed, or the slot belongs to the parent process of a fork. Attach, or allocate, anew."""


class HoldersExhausted(ArenaError):
    """All holders are registered by running processes. Close some, or create the arena with more."""


class SlotReturned(ArenaError):
    """The slot was returned before, or recovered from a dead process. Whoever used it just now must not any more."""


class SlotForeign(ArenaError):
    """The handle names no slot of this arena. Use it with the arena that it came from."""


class SlotInUse(ArenaError):
    """Views of the slot still exist. Drop them first: their memory is about to be lent to somebody else."""


class SlotDamaged(ArenaError):
    """Somebody wrote outside of a slot, or into one after returning it. Debug mode only."""
