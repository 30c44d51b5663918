"""Items of a source that may block."""

import threading
import time
from collections.abc import Iterator

import pytest

from mien.media.feed import Feed

WAIT = 600.0  # seconds after which a test fails instead of waiting for ever


@pytest.mark.parametrize("threaded", [False, True])
def test_items_come_in_order_and_then_the_end(threaded: bool) -> None:
    with Feed(range(5), threaded=threaded) as feed:
        got = [feed.get() for _ in range(5)]
        assert [item[0] for item in got if item] == [0, 1, 2, 3, 4]
        assert all(item is not None and item[1] <= time.monotonic() for item in got)
        with pytest.raises(StopIteration):
            feed.get()


@pytest.mark.parametrize("threaded", [False, True])
def test_errors_of_the_source_come_through(threaded: bool) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    with Feed(broken(), threaded=threaded) as feed:
        assert feed.get() is not None
        with pytest.raises(ValueError, match="broken"):
            feed.get()


def test_a_blocked_source_gives_nothing_in_time() -> None:
    go = threading.Event()

    def blocked() -> Iterator[str]:
        assert go.wait(WAIT)
        yield "late"

    with Feed(blocked(), threaded=True) as feed:
        assert feed.get(timeout=0.01) is None
        assert feed.get(timeout=-1) is None
        go.set()
        got = feed.get(timeout=WAIT)
        assert got is not None
        assert got[0] == "late"


def test_a_source_that_is_faster_than_its_reader_is_held_back() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    with Feed(endless(), threaded=True) as feed:
        for count in range(1, 20):
            got = feed.get()
            assert got is not None
            assert got[0] == count
            assert taken <= count + 4


def test_leaving_closes_a_generator() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with Feed(endless(), threaded=True) as feed:
        feed.get()
    assert closed.wait(WAIT)
