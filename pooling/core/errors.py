"""What can go wrong between a pool and its borrowers, each with what to do about it."""


class PoolError(Exception):
    """The root of the errors of object pools."""


class PoolExhausted(PoolError):
    """Every object is on loan and none came back in time. Return some, or enlarge the pool."""


class PoolClosed(PoolError):
    """The pool was closed; it lends nothing any more."""


class NotBorrowed(PoolError):
    """What was returned is not on loan: it was returned before, was given up as abandoned, or is another pool's."""


class UsedAfterReturn(PoolError):
    """A guarded object was touched after its return, or its abandonment. Who needs it longer returns it later."""


class ObjectUnfit(PoolError):
    """An object that the factory had just made failed the factory's own validation. Look for the fault there."""


class PoolUnknown(PoolError):
    """No pool has this name. Register one with the manager first."""


class BudgetTooSmall(PoolError):
    """What is asked for does not fit the manager's memory budget. Ask for less, or raise the budget."""
