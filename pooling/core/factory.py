"""A factory: the hooks by which a pool makes its objects, readies and cleans them, and lets them go."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Factory(Generic[T]):
    """The hooks of one pool. Only `make` must be given; a hook that is not overridden costs nothing.

    In an object's life ``make`` comes first, then any number of times ``activate``, [``validate``,] use,
    [``validate``,] ``passivate``, and at last ``destroy``; a child that is forked meanwhile calls nothing but
    ``abandon``. Hooks run in the borrower's thread, outside the pool's lock; one object is never in two hooks at once.
    """

    def make(self) -> T:
        """Make a new object, different from every other that is alive. What it raises reaches the borrower."""
        raise NotImplementedError

    def activate(self, item: T) -> None:
        """Ready an idle object for a borrower. Where it raises, the object is destroyed and another one is lent."""

    def validate(self, item: T) -> bool:  # noqa: ARG002 - the default accepts any object
        """Tell whether an object may be lent; one that may not is destroyed."""
        return True

    def passivate(self, item: T) -> None:
        """Clean up an object that came back. Where it raises, the object is destroyed."""

    def destroy(self, item: T) -> None:
        """Release what an object uses; it is not lent again. What it raises is logged and goes no further.

        An object that was reclaimed as leaked may still be in use by its borrower.
        """

    def abandon(self, item: T) -> None:
        """Let go of a forked child's copy of what the parent process goes on using, such as a connection.

        A child's pool lends nothing that its parent made. By default such an object stays as it is, never closed and
        never finalized, for as long as the child lives. A factory may close what the child has of it, a socket's
        descriptor for one, as long as nothing is said to the other side. Idle objects are abandoned at the fork, lent
        ones once the child returns them.
        """

    def overrides(self, hook: str) -> bool:
        """Tell whether a hook does anything."""
        return getattr(type(self), hook) is not getattr(Factory, hook)


class CallableFactory(Factory[T]):
    """A factory from a function without arguments, such as a class, and optionally one that resets an object."""

    def __init__(self, make: Callable[[], T], reset: Callable[[T], None] | None = None) -> None:
        self._make = make
        self._reset = reset

    def make(self) -> T:
        """Call the function."""
        return self._make()

    def passivate(self, item: T) -> None:
        """Reset the object."""
        assert self._reset is not None, "overrides() tells the pool that there is nothing to call"
        self._reset(item)

    def overrides(self, hook: str) -> bool:
        """Tell whether a hook does anything."""
        return self._reset is not None if hook == "passivate" else super().overrides(hook)
