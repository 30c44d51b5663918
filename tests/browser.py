"""The browser of the tests: a Chromium or Chrome with a fake camera. `python -m tests.browser` prints its path."""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def path_of_browser() -> str | None:
    """A Chromium or Chrome: `MIEN_CHROMIUM`, one on the path, or playwright's own; None if there is none."""
    if given := os.environ.get("MIEN_CHROMIUM"):
        return given
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def write_camera(path: Path, frames: Iterable[NDArray[np.uint8]]) -> Path:
    """What the fake camera shows, again and again, at 30 frames a second: JPEG files one after the other."""
    with path.open("wb") as file:
        for pixels in frames:
            data = io.BytesIO()
            Image.fromarray(pixels).save(data, "JPEG", quality=95, subsampling=0)
            file.write(data.getvalue())
    return path


@contextmanager
def browser_with_camera(camera: Path) -> Iterator[Browser]:
    """A browser whose camera shows a file of `write_camera`; pages still need the permission to use it.

    Raises:
        RuntimeError: There is no browser; the message says what to do.
    """
    path = path_of_browser()
    if path is None:
        raise RuntimeError("no Chromium or Chrome: run scripts/install_chromium.sh, or set MIEN_CHROMIUM to its path")
    arguments = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses to run as root with it
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def start_live(
    *options: str, command: tuple[str, ...] = ("live",), **environment: str
) -> tuple["subprocess.Popen[str]", str]:
    """Starts `mien live`, or another command, at a free port; gives its process and the address that it prints.

    Raises:
        RuntimeError: It did not start; the message is what it printed.
    """
    words = [sys.executable, "-m", "mien", *command, "--port", "0", *options]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
    assert process.stderr is not None
    line = process.stderr.readline()
    address = re.search(r"https?://\S+", line)
    if address is None:
        process.terminate()
        raise RuntimeError(f"mien {' '.join(command)} did not start: {line}{process.stderr.read()}")
    return process, address[0]


@contextmanager
def live_with_camera(frames: Iterable[NDArray[np.uint8]]) -> Iterator[tuple[Browser, str]]:
    """A browser whose camera shows these frames, and the address of a `mien live`; both end with the block."""
    process, address = start_live("--no-open")
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            browser_with_camera(write_camera(Path(folder) / "camera.mjpeg", frames)) as browser,
        ):
            yield browser, address
    finally:
        process.terminate()
        process.wait()


def live_page(browser: Browser, address: str, **options: Any) -> Page:
    """The live page in a context of its own, with the permission to use the camera, when it shows a first result."""
    context = browser.new_context(**options)
    context.grant_permissions(["camera"], origin=address.rstrip("/"))
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#stage[data-frame]")
    return page


if __name__ == "__main__":
    place = path_of_browser()
    print(place or "no Chromium or Chrome was found")
    sys.exit(place is None)
