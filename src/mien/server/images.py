"""`POST /v1/analyze`: images in, one result for each out."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from mien.errors import UnavailableError
from mien.output.schema import document
from mien.results import FrameResult
from mien.server.bodies import Reader
from mien.server.metrics import LEFT, Metrics
from mien.server.openapi import errors_of, images_body, results_of
from mien.server.options import ServerOptions
from mien.server.pool import AnalyzerPool, Upload

_JSON: Final = "application/json"


class Slots:
    """Counts requests that wait or are analyzed.

    Args:
        most: Beyond this number, requests are refused.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def check(self) -> None:
        """Refuses a request early, before its body is read.

        Raises:
            UnavailableError: There is no free slot.
        """
        if self.taken >= self.most:
            raise UnavailableError(f"{self.most} requests wait or are analyzed, the limit", hint="try again later")

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Takes a slot until the block ends.

        Raises:
            UnavailableError: There is no free slot.
        """
        self.check()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


def router(options: ServerOptions, pool: AnalyzerPool, reader: Reader, metrics: Metrics) -> APIRouter:
    """The route, with what it uses."""
    routes = APIRouter(tags=["analysis"])
    slots = Slots(options.max_requests)
    metrics.gauge("mien_requests_in_analysis", "Requests that wait or are analyzed.", lambda: slots.taken)
    metrics.gauge("mien_requests_waiting", "Requests that wait for an analyzer.", lambda: pool.waiting)
    metrics.gauge("mien_body_bytes", "Bytes of request bodies in memory.", lambda: reader.images.held)

    metrics.gauge("mien_longest_wait_seconds", "How long the oldest of them has waited.", lambda: pool.longest_wait)
    metrics.gauge("mien_workers", "Analyzers that can work at the same time.", lambda: pool.workers)
    metrics.gauge("mien_workers_busy", "Those that analyze images of requests.", lambda: pool.busy)

    async def analyzed(uploads: Sequence[Upload], request: Request) -> list[FrameResult] | None:
        """The results; None if the client has left, so that nothing more is computed for it."""
        work = asyncio.create_task(pool.analyze(uploads))
        left = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait({work, left}, timeout=options.max_seconds, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if left.done():
                return None
            raise UnavailableError(
                f"the analysis did not end within {options.max_seconds} seconds",
                hint="send fewer images in each request, or try again later",
            )
        finally:
            left.cancel()
            work.cancel()

    @routes.post(
        "/v1/analyze",
        summary="Analyze images",
        openapi_extra=images_body(),
        responses={**results_of("The results, in the order of the images."), **errors_of(400, 408, 413, 415, 422, 503)},
        response_class=Response,
    )
    async def analyze(request: Request) -> Response:
        """Finds the faces in one or several images and classifies their expressions.

        Send a form with the field `images`, once for each image, or JSON with images in base64. If one of several
        images cannot be read, its result has an `error`, and the others are analyzed. If a single image cannot be read,
        the response is an error: 422, or 413 if it has too many pixels.
        """
        slots.check()
        async with reader.images.body() as body:
            uploads = await reader.read_images(request, body)
            with slots.slot():
                results = await analyzed(uploads, request)
        if results is None:
            return Response(status_code=LEFT)
        metrics.count_results(results)
        return Response(results_json(results), media_type=_JSON)

    return routes


async def _disconnected(request: Request) -> None:
    """Returns when the client has closed the connection; the body was received before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def results_json(results: Sequence[FrameResult]) -> bytes:
    """The JSON of results."""
    return to_json({"results": [document(result) for result in results]})


def to_json(value: Any) -> bytes:
    """The shortest JSON, in ASCII."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
