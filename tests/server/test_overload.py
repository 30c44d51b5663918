"""A server with more to do than it can: work that nobody waits for ends, and clients learn when to come back."""

import asyncio
import concurrent.futures
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from tests.server.conftest import Starter, error_in

from mien.errors import ConfigError, UnavailableError
from mien.media import read_image
from mien.results import Frame
from mien.server.app import create_app
from mien.server.client import AsyncClient, Client
from mien.server.options import ServerOptions
from mien.server.pool import AnalyzerPool, Upload


@dataclass
class Images:
    """Images of a request; the first one is read when `go` is set."""

    frame: Frame
    go: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    read: list[int] = field(default_factory=list)

    def uploads(self, count: int) -> list[Upload]:
        def reader(number: int) -> Frame:
            self.begun.set()
            self.go.wait(600)
            self.read.append(number)
            return self.frame

        return [Upload(f"{number}.jpg", lambda number=number: reader(number)) for number in range(count)]  # type: ignore[misc]


@pytest.fixture
def pool() -> Iterator[AnalyzerPool]:
    pool = AnalyzerPool(workers=1)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def frame(astronaut: Path) -> Frame:
    return Frame(read_image(astronaut), "a.jpg")


async def begun(images: Images) -> None:
    await asyncio.to_thread(images.begun.wait, 600)


def test_a_request_that_is_given_up_is_not_computed_to_its_end(pool: AnalyzerPool, frame: Frame) -> None:
    async def requests() -> None:
        first, second, third = (Images(frame) for _ in range(3))
        work = asyncio.create_task(pool.analyze(first.uploads(5)))
        await begun(first)
        waits = asyncio.create_task(pool.analyze(second.uploads(5)))
        await asyncio.sleep(0)
        assert (pool.waiting, pool.busy) == (1, 1)
        assert 0 < pool.longest_wait < 600
        for task in (waits, work):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        assert pool.waiting == 0  # its images are free at once
        assert pool.longest_wait == 0
        for images in (first, third):
            images.go.set()
        assert [len(result) for result in await pool.analyze(third.uploads(2))] == [1, 1]
        assert (first.read, second.read, third.read) == ([0], [], [0, 1])

    asyncio.run(requests())


def test_a_pool_that_closes_ends_what_it_has_begun(frame: Frame) -> None:
    pool = AnalyzerPool(workers=1)

    async def requests() -> None:
        images = Images(frame)
        work = asyncio.create_task(pool.analyze(images.uploads(50)))
        await begun(images)
        pool.refuse()
        assert pool.is_closed
        images.go.set()
        with pytest.raises(UnavailableError, match="shutting down"):
            await work
        assert images.read == [0]
        assert await pool.run(lambda: 3) == 3  # what is done in steps ends by itself

    asyncio.run(requests())
    pool.close()


def test_the_images_of_a_client_that_has_left_are_not_analyzed(start: Starter, photo: bytes) -> None:
    server = start("--workers", "1", "--max-seconds", "600")
    left = 'mien_requests_total{route="/v1/analyze",status="499"}'
    with httpx.Client(base_url=server.url, timeout=0.5) as hasty, pytest.raises(httpx.TimeoutException):
        hasty.post("/v1/analyze", files=[("images", ("a.jpg", photo))] * 64)
    while left not in server.http.get("/metrics").text:
        time.sleep(0.1)
    assert server.metric(left) == 1
    assert server.post(("a.jpg", photo)).status_code == 200


def test_a_refused_client_learns_when_to_come_back(app: FastAPI) -> None:
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/v1/models").status_code == 200
        refused = client.get("/v1/models")
        error_in(refused, 429, "RateError")
        assert refused.headers["retry-after"] == "5"
        assert refused.json()["error"]["hint"] == "try again in 5 seconds"


@pytest.fixture
def app() -> FastAPI:
    return create_app(ServerOptions(rate=0.2, workers=1))


def test_ready_until_it_stops(app: FastAPI) -> None:
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/readyz").json()["status"] == "ok"
        app.state.pool.refuse()
        error_in(client.get("/readyz"), 503, "UnavailableError")
        assert client.get("/healthz").status_code == 200


def test_a_client_that_may_try_again_gets_its_results(start: Starter, astronaut: Path) -> None:
    server = start("--workers", "1", "--max-requests", "1", "--max-seconds", "600", "--access-log")

    def ask(number: int) -> int:
        with Client(server.url, timeout=600, retries=1000) as client:
            return len(client.analyze([astronaut] * 2))

    async def ask_too() -> int:
        client = AsyncClient(server.url, timeout=600, retries=1000)
        async with client:
            return len(await client.analyze([astronaut] * 2))

    with concurrent.futures.ThreadPoolExecutor(5) as threads:
        found = [threads.submit(ask, number) for number in range(4)]
        assert asyncio.run(ask_too()) == 2
        assert [each.result() for each in found] == [2] * 4
    assert server.process.stderr is not None
    lines = [server.process.stderr.readline() for _ in range(5)]
    assert any(
        re.fullmatch(r"\S+ \S+ INFO mien\.access 127\.0\.0\.1 POST /v1/analyze (200|503) [\d.]+\n", line)
        for line in lines
    )
    with pytest.raises(ConfigError, match="retries: expected a number from 0"):
        Client(retries=-1)
    with pytest.raises(ConfigError, match=r"certfile: 'nothing\.pem': no such file"):
        Client(certfile="nothing.pem")
