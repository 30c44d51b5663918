"""What the server counts, in Prometheus' text format."""

import threading
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from mien.results import FrameResult

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

# The status of a request whose client left before the response.
LEFT: Final = 499

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_IMAGES: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The counters of one server, in a registry of their own.

    Attributes:
        registry: Where further metrics can be registered.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = Counter(
            "mien_requests_total", "Requests by route and status.", ("route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "mien_request_seconds",
            "Time from the head of a request to the end of its response.",
            ("route",),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._frames = Counter(
            "mien_frames_total",
            "Images and frames of videos that were analyzed or could not be read.",
            ("outcome",),
            registry=self.registry,
        )
        self._faces = Counter("mien_faces_total", "Faces that were analyzed.", registry=self.registry)
        self._batches = Histogram(
            "mien_batch_images",
            "Images that were analyzed together.",
            registry=self.registry,
            buckets=_IMAGES,
        )
        self._lock = threading.Lock()
        for outcome in ("analyzed", "error"):
            self._frames.labels(outcome)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Counts a request that has ended."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_batch(self, images: int) -> None:
        """Counts images that were analyzed together."""
        self._batches.observe(images)

    def count_results(self, results: Iterable[FrameResult]) -> None:
        """Counts frames and their faces."""
        for result in results:
            self._frames.labels("analyzed" if result.error is None else "error").inc()
            self._faces.inc(len(result))

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Adds a value that is read when the metrics are."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All metrics."""
        with self._lock:
            return generate_latest(self.registry)
