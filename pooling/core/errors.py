"""Errors of object pools; each says what the borrower or the operator can do about it."""


class PoolError(Exception):
    """The root of the errors of object pools."""


class PoolExhausted(PoolError):
    """Every object is on loan and none came back in time. Return some, or enlarge the pool."""


class PoolClosed(PoolError):
    """The pool was closed; it lends nothing any more."""


class NotBorrowed(PoolError):
    """What was returned is not on loan: it was returned before, was reclaimed as leaked, or is another pool's."""


class UsedAfterReturn(PoolError):
    """A checked proxy was used after its object was returned, or reclaimed as leaked. Return the object later."""


class ObjectInvalid(PoolError):
    """An object that the factory had just made failed the factory's own validation. Look for the fault there."""


class PoolUnknown(PoolError):
    """No pool has this name. Create one with the manager first."""


class BudgetTooSmall(PoolError):
    """The objects asked for do not fit the manager's memory budget. Ask for fewer, or raise the budget."""
