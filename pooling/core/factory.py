"""How a pool comes by its objects, and what is done to them on their way out, back and away."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Factory(Generic[T]):
    """Makes the objects of one pool. Only `make` must be given; a hook that is not overridden costs nothing.

    A life: ``make``, then any number of times (``activate``, [``validate``,] use, [``validate``,] ``passivate``), then
    ``destroy``. Hooks run in the borrower's thread, outside the pool's lock; one object is never in two hooks at once.
    """

    def make(self) -> T:
        """Make a new object, different from every other that is alive. What it raises reaches the borrower."""
        raise NotImplementedError

    def activate(self, item: T) -> None:
        """Ready an idle object for a borrower. Where it raises, the object is destroyed and another one is lent."""

    def validate(self, item: T) -> bool:  # noqa: ARG002 - the default passes whatever it is given
        """Tell whether an object is fit to be lent; one that is not is destroyed."""
        return True

    def passivate(self, item: T) -> None:
        """Clean up an object that came back. Where it raises, the object is destroyed."""

    def destroy(self, item: T) -> None:
        """Let go of an object for good. What it raises is logged and goes no further.

        An object that was given up as abandoned may still be in use elsewhere.
        """

    def overrides(self, hook: str) -> bool:
        """Whether a hook does anything."""
        return getattr(type(self), hook) is not getattr(Factory, hook)


class CallableFactory(Factory[T]):
    """A factory out of a function without arguments, such as a class, and optionally one that resets an object."""

    def __init__(self, make: Callable[[], T], reset: Callable[[T], None] | None = None) -> None:
        self._make = make
        self._reset = reset

    def make(self) -> T:
        """Call the function."""
        return self._make()

    def passivate(self, item: T) -> None:
        """Reset the object, where it was said how."""
        if self._reset is not None:
            self._reset(item)

    def overrides(self, hook: str) -> bool:
        """Whether a hook does anything."""
        return self._reset is not None if hook == "passivate" else super().overrides(hook)
