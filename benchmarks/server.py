"""The HTTP server under load: `python -m benchmarks.server [--parts | --soak]`.

32 clients send one image after the other to two servers with one worker each, of which one analyzes waiting requests
together (micro-batching) and the other each request on its own. The figure is that of requests per second of the
server's processor time, from its own metrics: on one core this is the throughput on a quiet machine, whatever else
runs. The two servers take turns, so that a change of the machine's clock concerns both. The images are a photograph
(512x512, JPEG, one face), and a face of 48x48 for `--detector whole-image`, where classification is most of the work.

`--parts` instead measures where the time of an image goes, and what each part gains from several images together.

`--soak` instead lets 64 clients send photographs for 60 seconds, and fails for any response but 200, or if the memory
of the server grows. It prints the throughput, the median time of a response and the 95th percentile.
"""

import argparse
import asyncio
import contextlib
import io
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.results import Measurement, Results, markdown, save
from mien.analyzer import Analyzer
from mien.assets.manifest import DEFAULT, ENSEMBLES
from mien.assets.session import Session
from mien.assets.store import open_model
from mien.media.decode import decode

PORTRAIT: Final = Path(__file__).parent.parent / "examples" / "astronaut.jpg"
CLIENTS, BATCH, ROUNDS, REQUESTS = 32, 16, 5, 128
SOAK_CLIENTS, SOAK_SECONDS, WARM_SECONDS = 64, 60, 10

# The memory that a server may gain between the first ten seconds and the end of the soak, in bytes.
GROWTH: Final = 50_000_000


@contextlib.contextmanager
def serving(*options: str) -> Iterator[str]:
    """The URL of `mien serve` with these options."""
    command = [sys.executable, "-m", "mien", "serve", "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    try:
        found = re.search(r"listening on (\S+)", process.stderr.readline())
        if found is None:
            sys.exit("the server did not start")
        yield found[1]
    finally:
        process.terminate()
        process.wait()


def metric(url: str, name: str) -> float:
    """One value of a server's metrics."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        found = re.search(rf"^{re.escape(name)} (\S+)$", response.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def request_of(content: bytes) -> bytes:
    """The bytes of a request with one image."""
    body = (
        b'--B\r\nContent-Disposition: form-data; name="images"; filename="x.jpg"\r\n\r\n' + content + b"\r\n--B--\r\n"
    )
    head = "POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def client(url: str, request: bytes, requests: int, end: float = float("inf")) -> list[float]:
    """Sends requests over one connection, each after the response to the one before; gives their times in seconds.

    Raises:
        RuntimeError: A response has another status than 200, or not one face.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    times: list[float] = []
    while len(times) < requests and time.monotonic() < end:
        start = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head)
        body = await reader.readexactly(int(found[1]) if found else 0)
        times.append(time.perf_counter() - start)
        if not head.startswith(b"HTTP/1.1 200") or len(json.loads(body)["results"][0]["faces"]) != 1:
            raise RuntimeError(f"{head!r} {body[:300]!r}")
    writer.close()
    return times


async def load(url: str, request: bytes, clients: int, requests: int, end: float = float("inf")) -> list[float]:
    """Some clients at the same time."""
    found = await asyncio.gather(*(client(url, request, requests, end) for _ in range(clients)))
    return [each for times in found for each in times]


def rate(url: str, request: bytes) -> float:
    """Requests per second of processor time."""
    before = metric(url, "process_cpu_seconds_total")
    asyncio.run(load(url, request, CLIENTS, REQUESTS // CLIENTS))
    return REQUESTS / (metric(url, "process_cpu_seconds_total") - before)


def compare() -> None:
    """Measures with and without micro-batching, and saves the results."""
    photograph = Image.open(PORTRAIT)
    face = io.BytesIO()
    photograph.crop((165, 50, 285, 170)).resize((48, 48)).convert("L").save(face, "PNG")
    kinds = {
        "photograph": (PORTRAIT.read_bytes(), ()),
        "face of 48x48": (face.getvalue(), ("--detector", "whole-image")),
    }
    measurements, ratios = {}, {}
    for kind, (content, options) in kinds.items():
        request = request_of(content)
        alone = ("--workers", "1", "--max-seconds", "600", "--batch", "1", *options)
        together = ("--workers", "1", "--max-seconds", "600", "--batch", str(BATCH), *options)
        with serving(*alone) as one, serving(*together) as several:
            for url in (one, several):
                rate(url, request)  # warm
            pairs = [(rate(one, request), rate(several, request)) for _ in range(ROUNDS)]
        measurements[f"{kind}, each request alone"] = Measurement.of([first for first, _ in pairs])
        measurements[f"{kind}, up to {BATCH} together"] = Measurement.of([second for _, second in pairs])
        ratios[f"{kind}: together / alone"] = statistics.median(second / first for first, second in pairs)
    unit = "requests per second of processor time"
    results = Results.here("server", unit, measurements, ratios=ratios, packages=("fastapi", "uvicorn"))
    save(results)
    print(markdown(results))


def parts() -> None:
    """Measures the parts of an analysis, for each image alone and for several together, and saves the results."""
    content = PORTRAIT.read_bytes()
    frame = decode(io.BytesIO(content), "x", 10**9)
    analyzer = Analyzer()
    _, detector = open_model(None, task="detection")
    _, refiner = open_model(None, task="landmarks")
    sheet = np.asarray(Image.fromarray(frame.image).resize((640, 640)))  # as large as the detector searches this one
    points = np.zeros((1, 1, 80, 80), np.float32)

    def networks(session: Session, array: NDArray[Any], output: str) -> Callable[[int], object]:
        return lambda images: session.run(np.repeat(array, images, axis=0), outputs=[output])

    voters = []
    for info, session in map(open_model, ENSEMBLES[DEFAULT]):
        face = np.zeros((1, info.input.depth, info.input.size, info.input.size), np.float32)
        voters.append(networks(session, face, info.heads[0].name))

    def votes(images: int) -> object:
        return [run(images) for run in voters]

    ways: dict[str, Callable[[int], object]] = {
        "reading of the JPEG file": lambda images: [decode(io.BytesIO(content), "x", 10**9) for _ in range(images)],
        "detector's network": networks(detector, sheet[None], "cells"),
        "landmarks' network": networks(refiner, points, "points"),
        "classifier's networks": votes,
        "whole analysis, without reading": lambda images: list(analyzer.stream([frame] * images)),
    }
    measurements, ratios = {}, {}
    for name, way in ways.items():
        pairs = [(_processor_ms(way, 1), _processor_ms(way, BATCH) / BATCH) for _ in range(ROUNDS + 1)][1:]
        measurements[f"{name}: alone"] = Measurement.of([alone for alone, _ in pairs])
        measurements[f"{name}: {BATCH} together"] = Measurement.of([together for _, together in pairs])
        ratios[f"{name}: together / alone"] = statistics.median(alone / together for alone, together in pairs)
    # The most that could be gained: if several images together took the time of their files and networks alone.
    reading, *_, whole = ways
    before = sum(measurements[f"{name}: alone"].median for name in (reading, whole))
    least = sum(measurements[f"{name}: {BATCH} together"].median for name in ways if name != whole)
    ratios["files and networks together / all alone"] = before / least
    results = Results.here("server_parts", "ms of processor time an image", measurements, ratios=ratios)
    save(results)
    print(markdown(results))


def _processor_ms(way: Callable[[int], object], images: int) -> float:
    start = time.process_time()
    way(images)
    return 1000 * (time.process_time() - start)


def soak() -> None:
    """Sends photographs for a minute."""
    request = request_of(PORTRAIT.read_bytes())
    with serving() as url:
        asyncio.run(load(url, request, SOAK_CLIENTS, 10**9, time.monotonic() + WARM_SECONDS))
        before = metric(url, "process_resident_memory_bytes")
        times = asyncio.run(load(url, request, SOAK_CLIENTS, 10**9, time.monotonic() + SOAK_SECONDS))
        growth = metric(url, "process_resident_memory_bytes") - before
        batch = metric(url, "mien_batch_images_sum") / metric(url, "mien_batch_images_count")
    ordered = sorted(times)
    print(f"{SOAK_CLIENTS} clients, {SOAK_SECONDS} s: {len(times):,} responses, no error")
    print(f"{len(times) / SOAK_SECONDS:.1f} requests per second, {batch:.1f} images in a batch")
    print(f"median {1000 * statistics.median(times):.0f} ms, p95 {1000 * ordered[int(0.95 * len(times))]:.0f} ms")
    print(f"memory {before / 1e6:.0f} MB after {WARM_SECONDS} s, {growth / 1e6:+.0f} MB at the end")
    if growth > GROWTH:
        sys.exit(f"the server gained {growth / 1e6:.0f} MB, the limit is {GROWTH / 1e6:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--parts", action="store_true", help="the parts of an analysis, alone and together")
    kinds.add_argument("--soak", action="store_true", help="64 clients for 60 seconds")
    chosen = parser.parse_args()
    if chosen.parts:
        parts()
    elif chosen.soak:
        soak()
    else:
        compare()


if __name__ == "__main__":
    main()
