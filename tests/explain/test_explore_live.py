"""`mien explore --live` in a real browser, whose camera shows the portrait: a layer's units follow the face."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from tests.browser import browser_with_camera, start_live, write_camera
from tests.commands import run_command
from tests.conftest import ROOT

LIMIT = 500  # seconds; only ends a test that hangs
PORTRAIT = ROOT / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    process, found = start_live("--no-open", command=("explore", "mien-s", "--live"))
    try:
        yield found.rstrip("/")
    finally:
        process.terminate()
        assert process.wait(LIMIT) == 0


@pytest.fixture
def page(address: str, tmp_path: Path) -> Iterator[Page]:
    """The page with the permission to use the camera. Its console stays empty, and it asks no other server."""
    portrait = np.asarray(Image.open(PORTRAIT).convert("RGB").crop((0, 0, 512, 384)).resize((640, 480)))
    camera = write_camera(tmp_path / "camera.mjpeg", [portrait] * 10)
    wrong: list[str] = []
    with browser_with_camera(camera) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        context.set_default_timeout(1000 * LIMIT)
        context.grant_permissions(["camera"], origin=address)
        opened = context.new_page()
        opened.on("console", lambda message: wrong.append(message.text))
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on(
            "request",
            lambda request: None if request.url.startswith((address, "data:")) else wrong.append(request.url),
        )
        opened.goto(address)
        yield opened
    assert wrong == []


def test_the_units_of_a_layer_are_shown_for_the_live_face(page: Page) -> None:
    expect.set_options(timeout=1000 * LIMIT)
    page.click("#start")
    expect(page.locator("#sheet")).to_be_visible()
    expect(page.locator("#seen")).to_be_visible()
    first = page.locator("#layer option").first.inner_text().split(" · ")[0]
    assert page.locator("body").get_attribute("data-layer") == first
    page.evaluate("document.getElementById('sheet').decode()")
    width = page.evaluate("document.getElementById('sheet').clientWidth")
    columns = page.evaluate(
        "fetch('/live/config.json').then(found => found.json()).then(found => found.layers[0].columns)"
    )
    page.click("#sheet", position={"x": width * 2.5 / columns, "y": 4})  # the third unit of the first row
    expect(page.locator("body")).to_have_attribute("data-unit", "2")
    assert page.input_value("#number") == "2"
    expect(page.locator("#map")).to_be_visible()
    if folder := os.environ.get("MIEN_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "explore-live.png")
    page.locator("#layer").select_option(index=page.locator("#layer option").count() - 1)
    page.fill("#number", "3")
    page.keyboard.press("Tab")
    expect(page.locator("#unit")).to_have_text("3: happiness")  # of the head: single values, no maps
    expect(page.locator("#map")).to_be_hidden()


@pytest.mark.parametrize(
    ("query", "body", "status", "message"),
    [
        ("layer=nothing", b"", 404, "there is no layer 'nothing'"),
        ("layer={first}&unit=9999", None, 404, "has no unit 9999"),
        ("layer={first}&unit=-1", None, 422, "expected a number from 0"),
        ("layer={first}", b"no image", 422, ""),
        ("layer={first}", b"0" * 9_000_000, 413, "larger than"),
    ],
    ids=["no layer", "no unit", "a negative unit", "no image", "too large"],
)
def test_bad_frames(query: str, body: bytes | None, status: int, message: str, address: str) -> None:
    first = httpx.get(f"{address}/live/config.json", timeout=LIMIT).json()["layers"][0]["name"]
    content = PORTRAIT.read_bytes() if body is None or not body else body
    answer = httpx.post(f"{address}/explore/frame?{query.format(first=first)}", content=content, timeout=LIMIT)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]


def test_pages_of_others_get_nothing(address: str) -> None:
    for headers in ({"Origin": "https://example.org"}, {"Host": "example.org"}):
        answer = httpx.post(f"{address}/explore/frame?layer=x", content=b"", headers=headers, timeout=LIMIT)
        assert answer.status_code == 403
    assert httpx.get(f"{address}/live/..%2f..%2fapp.py", timeout=LIMIT).status_code == 404


def test_an_image_without_a_face_and_a_detector(tmp_path: Path) -> None:
    from mien.explain.live import LiveExplorer
    from mien.media import frame_of

    wall = frame_of(np.full((120, 160, 3), 90, np.uint8))
    explorer = LiveExplorer("mien-s")
    assert explorer.examine(wall, explorer.layers[0].name) is None
    detector = LiveExplorer("mien-detector")
    view = detector.examine(wall, detector.layers[0].name)
    assert view is not None
    assert view.map is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mien-s", "--live", "--out", "out"), "--out has no effect with --live"),
        (("mien-s", "--live", "--image", "photo.jpg"), "--image has no effect with --live"),
        (("mien-s", "--live", "--layers", "nothing.*"), "fits no layer"),
        (("mien-q", "--live"), "there is no model 'mien-q'"),
        (("mien-s", "--live", "--port", "99999"), "port: expected a number 0-65535"),
    ],
)
def test_bad_options(words: tuple[str, ...], message: str) -> None:
    done = run_command("explore", *words)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
