"""The live page: delay from the capture of a frame to its drawn result, and frames a second.

`python -m benchmarks.live`: starts `mien live` and Chromium on this machine, with a made camera of 640x480 pixels and
30 frames a second in which a portrait moves. The page, the server and the browser, which draws without a graphics card,
share the processor. Writes `live_ms.json` (delays) and `live_rate.json` (frames in each second).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page
from tests.browser import live_page, live_with_camera

from benchmarks.results import Measurement, Results, markdown, save

PORTRAIT: Final = Path(__file__).parent.parent / "examples" / "astronaut.jpg"
WIDTH, HEIGHT = 640, 480
WARM_UP: Final = 4.0  # seconds

# What is measured: the keys that are pressed before.
CASES: Final = {"one face, bars": "1", "one face, blur": "4", "one face, bars and landmarks": "1l"}


def camera() -> Iterator[NDArray[np.uint8]]:
    """Two seconds in which the portrait moves to and fro."""
    whole = Image.open(PORTRAIT).convert("RGB").resize((704, 704))
    for number in range(60):
        x = round(32 + 30 * np.sin(2 * np.pi * number / 60))
        yield np.asarray(whole.crop((x, 40, x + WIDTH, 40 + HEIGHT)))


def measured(page: Page, keys: str, seconds: float) -> tuple[list[float], list[float], list[float]]:
    """Delays and mien's part of them in ms, of each frame, and frames in each second."""
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_timeout(1000 * WARM_UP)
    page.evaluate(
        "() => { window.found = []; window.listen ??= addEventListener('mien-shown',"
        " ({ detail }) => found.push([performance.now(), detail.delay, detail.work])) ?? true; }"
    )
    page.wait_for_timeout(1000 * seconds)
    found: Any = page.evaluate("() => found")
    times = [row[0] / 1000 for row in found]
    if len(times) < 2:
        raise RuntimeError("the page showed no frames")
    counts = [sum(start <= time < start + 1 for time in times) for start in np.arange(times[0], times[-1] - 1, 1)]
    return [row[1] for row in found], [row[2] for row in found], [float(count) for count in counts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12, help="length of each measurement")
    chosen = parser.parse_args()
    delays: dict[str, Measurement] = {}
    rates: dict[str, Measurement] = {}
    with live_with_camera(camera()) as (browser, address):
        page = live_page(browser, address, viewport={"width": 1280, "height": 800})
        for name, keys in CASES.items():
            delay, work, rate = measured(page, keys, chosen.seconds)
            delays[f"{name}: capture to drawn result"] = Measurement.of(delay)
            delays[f"{name}: of it, mien"] = Measurement.of(work)
            rates[name] = Measurement.of(rate)
    for results in (Results.here("live_ms", "ms", delays), Results.here("live_rate", "frames a second", rates)):
        print(markdown(results))
        save(results)


if __name__ == "__main__":
    main()
