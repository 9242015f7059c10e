"""What a stage of the pipeline takes its work from: in order, bounded by the pools, and closed exactly once."""

import threading
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ChannelClosed(Exception):
    """The stage takes no more work: it is ending, or has failed."""


class Channel(Generic[Item]):
    """A queue from any number of threads to one.

    Nothing is ever left in it unnoticed: what is put before `close` is got, and what comes later is refused to whoever
    puts it. A stage that fails closes its inbox too, and takes out what is left with `rest`.
    """

    def __init__(self) -> None:
        self._items: SimpleQueue[Item | None] = SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether work is refused."""
        return self._closed

    def put(self, item: Item) -> None:
        """Add work.

        Raises:
            ChannelClosed: the inbox was closed.
        """
        with self._lock:
            if self._closed:
                raise ChannelClosed
            self._items.put(item)

    def close(self) -> None:
        """Put the end; doing so again changes nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._items.put(None)

    def get(self) -> Item | None:
        """Wait for work; None is the end."""
        return self._items.get()

    def get_waiting(self) -> list[Item | None]:
        """Wait for work and take all that is there; the last may be the end."""
        group = [self._items.get()]
        while group[-1] is not None:
            try:
                group.append(self._items.get_nowait())
            except Empty:
                break
        return group

    def rest(self) -> list[Item]:
        """Take out what nobody will get any more. Close the inbox first."""
        assert self._closed
        left: list[Item] = []
        while True:
            try:
                item = self._items.get_nowait()
            except Empty:
                return left
            if item is not None:
                left.append(item)
