"""Progress of work in several parts: one count over all of them."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with the work done so far and its total."""


def unseen(done: int, total: int) -> None:
    """Progress that nobody looks at."""


class Steps:
    """One count over parts that are done one after another.

    Args:
        progress: Called with the count and the total after each step.
        total: The work of all parts, in units of the caller, images for example.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, count: int) -> None:
        """Reports so much more."""
        self._done += count
        self._progress(self._done, self._total)

    def part(self) -> Progress:
        """What the next part calls with its own count; its own total does not matter."""
        before = self._done

        def report(done: int, total: int) -> None:
            self._done = before + done
            self._progress(self._done, self._total)

        return report
