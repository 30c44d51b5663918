"""The live page that runs the networks itself: in a real browser, with the real onnxruntime-web.

The tests need its archive: `MIEN_WEB_RUNTIME`, the file in the folder of the environment, or npm, which fetches it.
"""

import base64
import contextlib
import functools
import http.server
import io
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, expect
from tests.browser import browser_with_camera, start_live, write_camera
from tests.commands import run_command

from mien.analyzer import Analyzer
from mien.assets.manifest import quick_model
from mien.server.live.site import ARCHIVE, VERSION

pytestmark = pytest.mark.web_runtime

LIMIT = 500  # seconds; only ends a test that hangs
expect.set_options(timeout=1000 * LIMIT)

ANALYZE = """async (files) => {
  const { LocalConnection } = await import("./live/local.js");
  const config = await (await fetch("live/config.json")).json();
  const connection = new LocalConnection(config.browser);
  await new Promise((resolve, reject) => {
    connection.addEventListener("welcome", resolve);
    connection.addEventListener("state", () => connection.state === "broken" && reject(new Error("it cannot run")));
  });
  const results = [];
  for (const file of files) {
    results.push(await new Promise((resolve, reject) => {
      connection.addEventListener("result", ({ detail }) => resolve(detail.result), { once: true });
      connection.addEventListener("failed", ({ detail }) => reject(new Error(detail.error.message)), { once: true });
      connection.settings({ source: "x", keypoints: true });
      const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
      connection.send(connection.begin({}), bytes.buffer, 0, true);
    }));
  }
  return results;
}"""


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the runtime."""
    path = Path(os.environ.get("MIEN_WEB_RUNTIME") or Path(sys.prefix) / ARCHIVE)
    if not path.exists() and shutil.which("npm"):
        folder = tmp_path_factory.mktemp("npm")
        command = ["npm", "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=600, cwd=folder)
        shutil.copy(folder / ARCHIVE, path.with_suffix(f".{os.getpid()}"))
        path.with_suffix(f".{os.getpid()}").replace(path)
    if not path.exists():
        pytest.fail(f"{path} is missing: install npm, or get it elsewhere: npm pack onnxruntime-web@{VERSION}")
    return path


@pytest.fixture(scope="module")
def site(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an exported page, served as it is."""
    folder = tmp_path_factory.mktemp("site") / "page"
    done = run_command("export", "web", folder, "--runtime", runtime)
    assert done.returncode == 0, done.stderr
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def browser(astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    picture = np.asarray(Image.open(astronaut).convert("RGB").crop((0, 0, 512, 384)).resize((640, 480)))
    camera = write_camera(tmp_path_factory.mktemp("camera") / "camera.mjpeg", [picture] * 30)
    with browser_with_camera(camera) as found:
        yield found


def images(portrait: Path) -> dict[str, NDArray[np.uint8]]:
    """Ten images that take different ways through the detector: enlarged, shrunk, dark, large, turned, two faces."""
    whole = Image.open(portrait).convert("RGB")
    face = whole.crop((120, 20, 340, 240))
    dark = Image.fromarray((np.asarray(whole) * 0.2).astype(np.uint8))
    pair = Image.new("RGB", (700, 300), (90, 110, 130))
    pair.paste(whole.resize((300, 300)), (0, 0))
    pair.paste(whole.resize((220, 220)).transpose(Image.Transpose.FLIP_LEFT_RIGHT), (400, 40))
    noise = np.random.default_rng(0).normal(0, 12, (512, 512, 3))
    made = {
        "whole": whole,
        "small": whole.resize((200, 200), Image.Resampling.BOX),
        "large": whole.resize((1500, 1500)),
        "face": face.resize((900, 900)),
        "tiny face": face.resize((64, 64)),
        "dark": dark,
        "turned": whole.rotate(20, Image.Resampling.BICUBIC),
        "two": pair,
        "noise": Image.fromarray(np.clip(np.asarray(whole) + noise, 0, 255).astype(np.uint8)),
        "grey": whole.crop((60, 0, 420, 301)).convert("L").convert("RGB"),
    }
    return {name: np.asarray(image) for name, image in made.items()}


def encoded(pixels: NDArray[np.uint8]) -> str:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def test_its_answers_are_those_of_python(site: str, browser: Browser, astronaut: Path) -> None:
    analyzer = Analyzer(classifier=quick_model(), keypoints=True)
    made = images(astronaut)
    page = browser.new_page()
    page.goto(site)
    found: list[dict[str, Any]] = page.evaluate(ANALYZE, [encoded(pixels) for pixels in made.values()])
    page.close()
    assert len(found) == 10
    for (name, pixels), result in zip(made.items(), found, strict=True):
        expected = analyzer.analyze(pixels).as_dict()
        faces: Any = expected["faces"]
        assert len(result["faces"]) == len(faces) >= 1, name
        assert (result["width"], result["height"]) == (expected["width"], expected["height"])
        for face, other in zip(result["faces"], faces, strict=True):
            assert set(face) == set(other)
            side = other["box"][2] - other["box"][0]
            assert face["box"] == pytest.approx(other["box"], abs=0.02 * side), name
            assert face["score"] == pytest.approx(other["score"], abs=0.02), name
            assert np.array(face["keypoints"]) == pytest.approx(np.array(other["keypoints"]), abs=0.02 * side), name
            assert face["emotions"] == pytest.approx(other["emotions"], abs=0.02), name
            assert face["affect"] == pytest.approx(other["affect"], abs=0.02), name
            assert face["emotion"] == other["emotion"]
            assert face["uncertain"] == other["uncertain"]


@pytest.mark.parametrize("served", ["as files", "by mien live"])
def test_a_camera_is_analyzed_and_nothing_is_requested_from_elsewhere(
    site: str, runtime: Path, browser: Browser, served: str
) -> None:
    with contextlib.ExitStack() as stack:
        if served == "by mien live":
            process, site = start_live("--no-open", "--in-browser", str(runtime))
            stack.callback(process.wait, LIMIT)
            stack.callback(process.terminate)
        context = stack.enter_context(contextlib.closing(browser.new_context(viewport={"width": 1280, "height": 800})))
        context.grant_permissions(["camera"], origin=site.rstrip("/"))
        page = context.new_page()
        page.set_default_timeout(1000 * LIMIT)
        requests: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site)
        expect(page.locator("#link-text")).to_have_text("In this browser")
        page.wait_for_function("() => Number(document.getElementById('stage').dataset.frame) > 3")
        expect(page.locator('#bars [data-emotion="happiness"] output')).to_have_text(re.compile(r"^\d+%$"))
        assert page.locator("#privacy").text_content() == "Images stay in this browser: nothing is sent."
        assert not errors
        assert all(request.startswith((site, "blob:", "data:")) for request in requests), requests
        assert not any("socket" in request for request in requests)


def test_a_network_that_cannot_be_loaded_is_said(site: str, browser: Browser) -> None:
    with contextlib.closing(browser.new_context(viewport={"width": 1280, "height": 800})) as context:
        context.route("**/models/*", lambda route: route.fulfill(status=404, body="gone"))
        page = context.new_page()
        page.goto(site)
        expect(page.locator("#link-text")).to_have_text("Cannot run here")
        expect(page.locator("#notice")).to_contain_text("The networks cannot be loaded: ")
