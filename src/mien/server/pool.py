"""A pool of analyzers on a few threads, shared by HTTP requests, video jobs and the live page.

Images of different requests that wait at the same time are analyzed together (micro-batching): the first request does
not wait for others, and while analyzers are busy, requests collect.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from mien.analyzer import Analyzer, AnalyzerOptions
from mien.assets.session import cores
from mien.errors import InputError, MienError, UnavailableError
from mien.results import Frame, FrameResult

P = ParamSpec("P")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Upload:
    """One image of a request.

    Attributes:
        name: The source of its result.
        read: Decodes it; raises InputError. It is called on a thread of the pool, shortly before the analysis.
    """

    name: str
    read: Callable[[], Frame]


@dataclass(slots=True, eq=False)
class _Request:
    """The images of one request that waits or is analyzed."""

    uploads: Sequence[Upload]
    since: float = field(default_factory=time.monotonic)
    done: "Future[list[FrameResult]]" = field(default_factory=Future)
    given_up: bool = False  # nobody waits for its results any more


class AnalyzerPool:
    """Some analyzers, each used by one thread at a time, and as many threads.

    Args:
        options: The options of the analyzers.
        workers: Analyses that run at the same time; None for one for each core that the process may use.
        batch: Images that are analyzed together, if requests wait; 1 for those of one request only.
        on_batch: Called with the number of images of each analyzed batch, on a thread of the pool.

    Attributes:
        workers: The number of threads.
        emotions: The classes, in the order of every probability.

    Raises:
        MienError: As for `Analyzer`: the first analyzer is made at once.
    """

    def __init__(
        self,
        options: AnalyzerOptions | None = None,
        *,
        workers: int | None = None,
        batch: int = 16,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        self.options = options or AnalyzerOptions()
        self.workers = workers or cores()
        self.batch = batch
        self._on_batch = on_batch or (lambda images: None)
        self._lock = threading.Lock()
        first = Analyzer(self.options)
        self.emotions = first.emotions
        self._idle: dict[AnalyzerOptions, list[Analyzer]] = {self.options: [first]}
        self._waiting: deque[_Request] = deque()
        self._running = 0  # batches that are submitted to the threads and have not ended
        self._executor = ThreadPoolExecutor(self.workers, thread_name_prefix="mien-analyze")
        self._closed = False

    @contextmanager
    def lease(self, options: AnalyzerOptions | None = None) -> Iterator[Analyzer]:
        """An analyzer that nobody else uses until the block ends. Making one takes a moment: enter it on a thread.

        Args:
            options: Other options than those of the pool, for example with keypoints.
        """
        options = options or self.options
        with self._lock:
            idle = self._idle.get(options)
            analyzer = idle.pop() if idle else None
        analyzer = analyzer or Analyzer(options)
        try:
            yield analyzer
        finally:
            with self._lock:
                kept = self._idle.setdefault(options, [])
                if len(kept) < self.workers:
                    kept.append(analyzer)

    async def run(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Calls a function on a thread of the pool, in turn with the images of requests.

        A step should be short, such as one frame of a video: whatever else waits is served between the steps.

        Raises:
            UnavailableError: The pool is closed.
        """
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    def submit(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> "Future[Result]":
        """Like `run`, for a caller that is not asynchronous."""
        try:
            return self._executor.submit(function, *args, **kwargs)
        except RuntimeError:
            raise _shutting_down() from None

    async def analyze(self, uploads: Sequence[Upload]) -> list[FrameResult]:
        """The results of the images of one request, in order.

        If it is cancelled, nothing more of it is computed than the image that is being analyzed. An image among several
        that cannot be read gives a result with its `error`.

        Raises:
            InputError: The only image cannot be read.
            UnavailableError: The pool is closed.
        """
        request = _Request(uploads)
        with self._lock:
            if self._closed:
                raise _shutting_down()
            self._waiting.append(request)
            start = self._running < self.workers
            self._running += start
        if start:
            self.submit(self._next_batch)
        try:
            return await asyncio.wrap_future(request.done)
        finally:
            request.given_up = True  # if it has ended, this changes nothing
            with self._lock, suppress(ValueError):
                self._waiting.remove(request)

    @property
    def waiting(self) -> int:
        """The number of requests that wait for their turn."""
        return len(self._waiting)

    @property
    def longest_wait(self) -> float:
        """The seconds for which the oldest of these requests has waited; 0 without any."""
        with self._lock:
            return time.monotonic() - self._waiting[0].since if self._waiting else 0.0

    @property
    def busy(self) -> int:
        """The number of threads that analyze images of requests, or are about to."""
        return self._running

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more requests."""
        return self._closed

    def refuse(self) -> None:
        """Takes no more requests. Those that wait, and those whose images are not all analyzed, end with an error.

        `run` still works, so that what is done in steps can end by itself.
        """
        with self._lock:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
        for request in left:
            if request.done.set_running_or_notify_cancel():
                request.done.set_exception(_shutting_down())

    def close(self) -> None:
        """Ends the threads, after `refuse`; waits for the images that are being analyzed."""
        self.refuse()
        self._executor.shutdown(wait=True, cancel_futures=True)

    # --- on the threads

    def _next_batch(self) -> None:
        """Analyzes the next requests; then asks for another turn if more wait."""
        try:
            if requests := self._taken():
                self._analyzed(requests)
        finally:
            with self._lock:
                again = bool(self._waiting) and not self._closed
                self._running -= not again
            if again:
                self._executor.submit(self._next_batch)  # behind what waits for a thread already

    def _taken(self) -> list[_Request]:
        """The next requests, with up to `batch` images together, at least one request."""
        taken: list[_Request] = []
        images = 0
        with self._lock:
            while self._waiting and (not taken or images + len(self._waiting[0].uploads) <= self.batch):
                request = self._waiting.popleft()
                if request.done.set_running_or_notify_cancel():
                    taken.append(request)
                    images += len(request.uploads)
        return taken

    def _analyzed(self, requests: list[_Request]) -> None:
        """Analyzes requests together; if that fails, each on its own, so that one cannot harm the others."""
        try:
            found = self._results(requests)
        except Exception as error:
            if len(requests) == 1:
                requests[0].done.set_exception(error)
                return
            for request in requests:
                self._analyzed([request])
            return
        for request, results in zip(requests, found, strict=True):
            if isinstance(results, MienError):
                request.done.set_exception(results)
            else:
                request.done.set_result(results)

    def _results(self, requests: list[_Request]) -> list[list[FrameResult] | MienError]:
        """For each request its results, or the error of its only image, or why it was not analyzed to its end."""
        errors: dict[int, MienError] = {}  # by the number of the image
        skipped: set[_Request] = set()
        uploads = [(request, upload) for request in requests for upload in request.uploads]

        def frames() -> Iterator[Frame | FrameResult]:
            for number, (request, upload) in enumerate(uploads):
                if request.given_up or self._closed:
                    skipped.add(request)
                    yield FrameResult(upload.name, error="not analyzed")
                    continue
                try:
                    yield upload.read()
                except InputError as error:
                    errors[number] = error
                    yield FrameResult(upload.name, error=str(error))

        with self.lease() as analyzer:
            results = list(analyzer.stream(frames()))
        self._on_batch(len(uploads))
        found: list[list[FrameResult] | MienError] = []
        first = 0
        for request in requests:
            error = errors.get(first) if len(request.uploads) == 1 else None
            if request in skipped:
                error = _shutting_down()  # unless nobody waits for it any more
            found.append(error or results[first : first + len(request.uploads)])
            first += len(request.uploads)
        return found


def _shutting_down() -> UnavailableError:
    return UnavailableError("the server is shutting down", hint="try again later")
