"""Items of a source that may block, for a caller that must not wait longer than it wants."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, Self, TypeVar

Item = TypeVar("Item")

# How often a reader thread that cannot deliver looks whether it is still needed, in seconds.
_POLL: Final = 0.1


class Feed(Generic[Item]):
    """Takes items from an iterable; use it in a `with` statement.

    A camera gives its next frame when it wants to. With `threaded` a thread reads the source, so that `get` can give up
    after some time. Leaving the `with` statement lets the thread end after the item that it is reading, and close the
    source, if it is a generator.

    Args:
        source: The items.
        threaded: Whether `get` obeys its timeout. Without a thread it waits for the source.
        taken: Applied to each item when it comes, before the next one is asked for.
        ahead: Items that the thread reads ahead: memory stays flat if the source is faster than the caller.
        joined: Whether leaving waits until the thread has ended: for a source that never blocks, such as a file.
    """

    def __init__(
        self,
        source: Iterable[Item],
        *,
        threaded: bool,
        taken: Callable[[Item], Item] | None = None,
        ahead: int = 2,
        joined: bool = False,
    ) -> None:
        self._items = iter(source)
        self._taken = taken or (lambda item: item)
        self._queue: queue.Queue[tuple[Item, float] | BaseException] = queue.Queue(ahead)
        self._left = threading.Event()
        self._joined = joined
        self._thread = threading.Thread(target=self._read, name="mien-feed", daemon=True) if threaded else None

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._left.set()
        if self._joined and self._thread is not None:
            self._thread.join()

    def get(self, timeout: float | None = None) -> tuple[Item, float] | None:
        """The next item and the time of its arrival (`time.monotonic`); None if there is none within `timeout` seconds.

        Raises:
            StopIteration: The source has ended.
            BaseException: What the source raised.
        """
        if self._thread is None:
            return self._taken(next(self._items)), time.monotonic()
        try:
            got = self._queue.get(timeout=None if timeout is None else max(0.0, timeout))
        except queue.Empty:
            return None
        if isinstance(got, BaseException):
            raise got
        return got

    def _read(self) -> None:
        """Runs on the thread: the items, and last the exception that ended them."""
        try:
            for item in self._items:
                if not self._deliver((self._taken(item), time.monotonic())):
                    return
            self._deliver(StopIteration())
        except BaseException as error:
            self._deliver(error)
        finally:
            if isinstance(self._items, Iterator) and hasattr(self._items, "close"):
                self._items.close()

    def _deliver(self, item: tuple[Item, float] | BaseException) -> bool:
        """Whether someone still takes the item."""
        while not self._left.is_set():
            try:
                self._queue.put(item, timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False
