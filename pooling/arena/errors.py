"""What can go wrong with an arena, each with what to do about it."""


class ArenaError(Exception):
    """The root of the arena's errors."""


class ArenaFull(ArenaError):
    """No room of that size is left. Return slots, ask for less, or create the arena with more bytes."""


class ArenaClosed(ArenaError):
    """The arena or the holder was closed, or belongs to the parent process of a fork. Open or register anew."""


class HoldersExhausted(ArenaError):
    """All holders are registered by running processes. Close some, or create the arena with more."""


class SlotReturned(ArenaError):
    """The slot was returned before, or taken back from a dead holder: whoever used it just now must not any more."""


class SlotForeign(ArenaError):
    """The handle names no slot of this arena. Use it with the arena that it came from."""


class SlotInUse(ArenaError):
    """Views of the slot still exist. Drop them first: their memory is about to be somebody else's."""


class SlotDamaged(ArenaError):
    """Somebody wrote outside of a slot, or into one after returning it. Debug mode only."""
