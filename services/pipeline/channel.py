"""The channel: the queue that a stage takes its work from, in order and closed exactly once."""

import threading
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ChannelClosed(Exception):
    """The stage takes no more work: it is ending, or has failed."""


class Channel(Generic[Item]):
    """A queue from any number of threads to one.

    It has no bound of its own: what moves through it are pooled buffers, and their number is the bound.

    No item is lost: what was put before `close` is taken before the end, and what comes later is refused to whoever
    puts it.
    """

    def __init__(self) -> None:
        self._items: SimpleQueue[Item | None] = SimpleQueue()
        self._closed = False
        # Held while putting as well: an item that was let in must not come to lie behind the end.
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether items are refused."""
        return self._closed

    def put(self, item: Item) -> None:
        """Add an item; never blocks.

        Raises:
            ChannelClosed: the channel was closed; the item is still the caller's.
        """
        with self._lock:
            if self._closed:
                raise ChannelClosed
            self._items.put(item)

    def close(self) -> None:
        """Put the end behind all items; doing so again changes nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._items.put(None)

    def abort(self) -> list[Item]:
        """Close, and take out all items that nobody has taken yet: whoever takes next finds the end."""
        with self._lock:
            self._closed = True
            items = [item for item in self._take_present() if item is not None]
            self._items.put(None)  # the end may have been among what was taken out
            return items

    def take(self) -> Item | None:
        """Wait for an item; None is the end."""
        return self._items.get()

    def take_all(self) -> list[Item | None]:
        """Wait for an item and take all that are there; the last may be the end (None)."""
        items = [self._items.get()]
        while items[-1] is not None:
            try:
                items.append(self._items.get_nowait())
            except Empty:
                break
        return items

    def _take_present(self) -> list[Item | None]:
        items: list[Item | None] = []
        while True:
            try:
                items.append(self._items.get_nowait())
            except Empty:
                return items
