"""The live page in a real browser, with `mien live` behind it and a camera that shows two faces in turn."""

import base64
import csv
import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.browser import browser_with_camera, start_live, write_camera
from tests.conftest import ROOT
from tests.videos import write_video

import mien
from mien.output.drawing.palette import COLOURS
from mien.output.schema import Layout, rows
from mien.results import Face

LIMIT: Final = 500  # seconds; only ends a test that hangs
expect.set_options(timeout=1000 * LIMIT)

# What the Tab key reaches, in order; an image cannot be paused.
CONTROLS: Final = ["theme", "help", "camera", "open", "mode", "largest", "landmarks", "mirror", "snapshot", "table"]


def portraits() -> dict[str, NDArray[np.uint8]]:
    """Two pictures (480, 640, 3) by what their face surely shows: the portrait; and mirrored, with another mouth."""
    happy = Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB").crop((0, 0, 512, 384))
    surprised = happy.copy()
    pen = ImageDraw.Draw(surprised)
    pen.rectangle([190, 126, 256, 164], fill=happy.getpixel((222, 178)))
    pen.ellipse([205, 132, 239, 176], fill=(20, 5, 8))
    surprised.paste(surprised.crop((192, 84, 254, 100)), (192, 81))  # the brows, higher
    pictures = {"happiness": happy, "surprise": surprised.transpose(Image.Transpose.FLIP_LEFT_RIGHT)}
    return {name: np.asarray(picture.resize((640, 480))) for name, picture in pictures.items()}


@pytest.fixture(scope="module")
def pictures() -> dict[str, NDArray[np.uint8]]:
    return portraits()


@pytest.fixture(scope="module")
def faces(pictures: dict[str, NDArray[np.uint8]]) -> dict[str, Face]:
    """The face of each picture, as mien finds it."""
    found = {name: mien.analyze(picture)[0] for name, picture in pictures.items()}
    assert {name: face.emotion for name, face in found.items()} == {name: name for name in pictures}
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, pictures: dict[str, NDArray[np.uint8]]) -> Iterator[Browser]:
    frames = [picture for picture in pictures.values() for _ in range(60)]
    with browser_with_camera(write_camera(tmp_path_factory.mktemp("camera") / "faces.mjpeg", frames)) as found:
        yield found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    process, found = start_live("--no-open", "--max-live", "1")
    try:
        yield found
    finally:
        process.terminate()
        assert process.wait(LIMIT) == 0


@pytest.fixture
def new_page(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens the page in a context of its own. At the end: no error in any console, and no request to elsewhere."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def opened(*, camera: bool = False, script: str = "", visit: bool = True, **options: Any) -> Page:
        context = browser.new_context(
            **{"viewport": {"width": 1200, "height": 760}, "reduced_motion": "reduce"} | options
        )
        contexts.append(context)
        context.set_default_timeout(1000 * LIMIT)
        if camera:
            context.grant_permissions(["camera"], origin=address.rstrip("/"))
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if is_here(request.url) else wrong.append(request.url))
        page.on("websocket", lambda socket: None if is_here(socket.url) else wrong.append(socket.url))
        if script:
            page.add_init_script(script)
        if visit:
            page.goto(address)
            expect(page.locator("#link-text")).to_have_text("Connected")
        return page

    def is_here(url: str) -> bool:
        own = address.removeprefix("http://")
        return url.startswith(("data:", f"blob:{address}", f"http://{own}", f"ws://{own}"))

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def overlay(page: Page, canvas: str = "overlay") -> NDArray[np.uint8]:
    """What is drawn: (H, W, 4) uint8 RGBA, one pixel for each of CSS."""
    data = page.evaluate(f"document.getElementById('{canvas}').toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGBA"))


def in_page(page: Page, face: Face, size: tuple[int, int], *, mirrored: bool = False) -> NDArray[np.float64]:
    """Where a face of a picture of this size is in the overlay: x0, y0, x1, y1."""
    width, height = page.evaluate("[overlay.clientWidth, overlay.clientHeight]")
    scale = min(width / size[0], height / size[1])
    left, upper = (width - scale * size[0]) / 2, (height - scale * size[1]) / 2
    x0, y0, x1, y1 = face.box.tolist()
    if mirrored:
        x0, x1 = size[0] - x1, size[0] - x0
    return np.array([left + scale * x0, upper + scale * y0, left + scale * x1, upper + scale * y1])


def drawn_box(page: Page, emotion: str) -> NDArray[np.float64] | None:
    """Left, right and lower edge of a box in the colour of an emotion, in the mode with labels; None without one."""
    pixels = overlay(page)
    colour = np.abs(pixels[:, :, :3].astype(int) - COLOURS[emotion]).max(axis=2) < 12
    mask = colour & (pixels[:, :, 3] > 240)
    low = np.flatnonzero(mask.sum(axis=1) >= 20)
    if not len(low):
        return None
    sides = np.flatnonzero(mask[low[-1] - 50 : low[-1] - 25].mean(axis=0) > 0.9)
    return np.array([sides[0], sides[-1], low[-1]], float) if len(sides) else None


def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def drop(page: Page, path: Path, kind: str) -> None:
    """Drops a file on the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(
        """([data, name, type]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], name, { type }));
            const stage = document.getElementById("stage");
            for (const kind of ["dragenter", "dragover", "drop"]) {
                stage.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
            }
        }""",
        [data, path.name, kind],
    )


def with_image(page: Page, astronaut: Path) -> Page:
    """Drops the portrait and waits for its result."""
    drop(page, astronaut, "image/jpeg")
    expect(page.locator("#feeling")).to_have_text("Happiness")
    return page


def test_boxes_lie_on_the_faces_of_the_camera_and_numbers_follow_them(
    new_page: Callable[..., Page], faces: dict[str, Face]
) -> None:
    page = new_page(camera=True)  # the camera starts by itself where it is allowed already
    expect(page.locator("body")).to_have_attribute("data-state", "live")
    page.keyboard.press("2")
    missing = set(faces)

    def all_seen() -> bool:
        shown = page.inner_text("#feeling").lower()
        if shown in missing and (drawn := drawn_box(page, shown)) is not None:
            x0, _, x1, y1 = in_page(page, faces[shown], (640, 480), mirrored=True)
            if np.abs(drawn - [x0, x1, y1]).max() < 8:
                missing.remove(shown)
        return not missing

    until(all_seen)
    until(lambda: page.inner_text("#fps").isdecimal() and page.inner_text("#delay").isdecimal())
    until(lambda: "happiness" in (page.get_attribute("#strip", "aria-label") or ""))
    assert (overlay(page, "strip")[:, :, 3] > 0).any()
    page.keyboard.press(" ")
    expect(page.locator("#paused")).to_be_visible()
    page.keyboard.press("c")
    expect(page.locator("#cover")).to_be_visible()


def test_every_mode_draws_what_it_says(new_page: Callable[..., Page], astronaut: Path) -> None:
    page = with_image(new_page(), astronaut)
    face = mien.analyze(astronaut)[0]
    x0, y0, x1, y1 = in_page(page, face, (512, 512)).round().astype(int)
    yellow = np.array(COLOURS["happiness"])

    page.keyboard.press("2")
    until(lambda: (box := drawn_box(page, "happiness")) is not None and np.abs(box - [x0, x1, y1]).max() < 5)
    labels = overlay(page)
    assert labels[(y0 + y1) // 2, (x0 + x1) // 2, 3] == 0, "the face is not covered"

    page.keyboard.press("1")
    until(lambda: not np.array_equal(overlay(page), labels))
    beside = np.concatenate([overlay(page)[y0:y1, x1 + 20 : x1 + 90], overlay(page)[y0:y1, x0 - 90 : x0 - 20]])
    assert (beside[:, :, 3] > 200).mean() > 0.3, "bars are beside the face"

    page.keyboard.press("3")
    until(lambda: overlay(page)[(y0 + y1) // 2, (x0 + x1) // 2, 3] == 255)
    covered = overlay(page)[y0:y1, x0:x1]
    assert (covered[:, :, 3] > 250).mean() > 0.95, "the emoji covers the face"
    assert (np.abs(covered[:, :, :3].astype(int) - yellow).max(axis=2) < 25).mean() > 0.3

    page.keyboard.press("4")
    original = np.asarray(Image.open(astronaut).convert("RGB")).astype(int)
    a0, b0, a1, b1 = face.box.round().astype(int)
    until(lambda: np.abs(overlay(page, "still")[b0:b1, a0:a1, :3] - original[b0:b1, a0:a1]).mean() > 15)
    hidden = overlay(page, "still")[:, :, :3].astype(int)
    assert len(np.unique(hidden[b0:b1, a0:a1].reshape(-1, 3), axis=0)) <= 49, "squares"
    assert np.abs(hidden[400:] - original[400:]).mean() < 3, "the rest is the photograph"

    page.keyboard.press("2")
    page.keyboard.press("l")
    expect(page.locator("#pose")).to_contain_text("yaw")
    until(
        lambda: (overlay(page)[y0:y1, x0:x1] > 200).all(axis=2).sum() > (labels[y0:y1, x0:x1] > 200).all(axis=2).sum()
    )


def test_faces_can_be_chosen_and_others_left_out(
    new_page: Callable[..., Page], pictures: dict[str, NDArray[np.uint8]], tmp_path: Path
) -> None:
    smaller = np.pad(pictures["surprise"][::2, ::2], ((0, 240), (0, 0), (0, 0)))
    Image.fromarray(np.concatenate([pictures["happiness"], smaller], axis=1)).save(tmp_path / "two.png")
    page = new_page()
    page.set_input_files("#file", tmp_path / "two.png")
    expect(page.locator("#faces button")).to_have_count(2)
    expect(page.locator("#feeling")).to_have_text("Happiness")
    expect(page.locator("#spoken")).to_have_text("Face: happiness")
    page.keyboard.press("n")  # the other face is shown, though an image has no other result
    expect(page.locator("#faces button").nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#feeling")).to_have_text("Surprise")
    expect(page.locator("#spoken")).to_have_text("Face: surprise")
    page.keyboard.press("f")
    until(lambda: page.locator("#people").is_hidden())
    expect(page.locator("#feeling")).to_have_text("Happiness")
    page.keyboard.press("4")  # all faces are hidden, also those that were left out
    expect(page.locator("#largest")).to_be_disabled()
    expect(page.locator("#faces button")).to_have_count(2)
    with page.expect_download() as download:
        page.keyboard.press("s")
    saved = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    original = np.asarray(Image.open(tmp_path / "two.png").convert("RGB")).astype(int)
    assert saved.shape == original.shape
    for face in mien.detect(tmp_path / "two.png"):
        x0, y0, x1, y1 = face.box.round().astype(int)
        middle = (slice(y0 + 10, y1 - 10), slice(x0 + 10, x1 - 10))
        assert np.abs(saved[middle] - original[middle]).mean() > 12
    page.keyboard.press("1")
    until(lambda: page.locator("#people").is_hidden())  # the largest alone, as before


def test_the_table_has_the_columns_and_numbers_of_mien(new_page: Callable[..., Page], astronaut: Path) -> None:
    page = with_image(new_page(), astronaut)
    with page.expect_download() as saved:
        page.keyboard.press("t")
    text = Path(saved.value.path()).read_text(encoding="utf-8")
    result = mien.analyze(astronaut)
    [expected] = rows(result, Layout(mien.Analyzer().emotions, smoothed=True))
    [found] = csv.DictReader(io.StringIO(text))
    assert saved.value.suggested_filename.endswith(".csv")
    assert list(found) == list(expected)
    assert found["source"] == "astronaut.jpg"
    for name, value in expected.items():
        if isinstance(value, bool):
            assert found[name] == str(value).lower()
        elif isinstance(value, int | float):
            assert float(found[name]) == pytest.approx(value, abs=1e-6), name
        elif name != "source":
            assert found[name] == (value or ""), name


def test_the_picture_is_saved_as_it_is_shown(new_page: Callable[..., Page], astronaut: Path) -> None:
    page = with_image(new_page(), astronaut)
    face = mien.analyze(astronaut)[0]
    x0, y0, x1, y1 = (face.box * 960 / 512).round().astype(int)
    saved = {}
    for key, mode in (("2", "labels"), ("4", "blur")):
        page.keyboard.press(key)
        expect(page.locator("body")).to_have_attribute("data-mode", mode)
        with page.expect_download() as download:
            page.keyboard.press("s")
        assert download.value.suggested_filename.endswith(".png")
        saved[mode] = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    original = np.asarray(Image.open(astronaut).convert("RGB").resize((960, 960))).astype(int)
    assert saved["labels"].shape == (960, 960, 3)
    middle = (slice(y0 + 20, y1 - 20), slice(x0 + 20, x1 - 20))
    assert np.abs(saved["labels"][middle] - original[middle]).mean() < 6
    assert (np.abs(saved["labels"][y1 - 30, x0 - 3 : x0 + 4] - COLOURS["happiness"]).max(axis=1) < 15).any(), "a box"
    assert np.abs(saved["blur"][middle] - original[middle]).mean() > 15


def test_a_video_has_tracks_and_times(
    new_page: Callable[..., Page], pictures: dict[str, NDArray[np.uint8]], tmp_path: Path
) -> None:
    small = np.ascontiguousarray(pictures["happiness"][::2, ::2])
    clip = write_video(tmp_path / "clip, one.webm", [small] * 60, codec="libvpx", rate=10)
    page = new_page()
    drop(page, clip, "video/webm")
    until(lambda: int(page.get_attribute("#stage", "data-frame") or 0) >= 3)
    with page.expect_download() as saved:
        page.keyboard.press("t")
    found = list(csv.DictReader(Path(saved.value.path()).read_text(encoding="utf-8").splitlines()))
    assert {row["source"] for row in found} == {"clip, one.webm"}
    times = [float(row["timestamp"]) for row in found if int(row["frame"]) <= 3][:4]
    assert times == sorted(times)
    assert {row["track"] for row in found} == {"0"}
    assert all(float(row["smoothed_happiness"]) > 0.5 for row in found)


def test_everything_can_be_reached_and_done_with_the_keyboard(new_page: Callable[..., Page], astronaut: Path) -> None:
    page = with_image(new_page(), astronaut)
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(len(CONTROLS)):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
                const active = document.activeElement;
                const ring = active.matches("[type=radio]") ? active.nextElementSibling : active;
                return [active.id || active.name, getComputedStyle(ring).outlineStyle];
            }"""
        )
        reached.append(name)
        assert outline != "none", f"{name} does not show that it has the focus"
    assert reached == CONTROLS
    for key, control in {"f": "largest", "l": "landmarks", "m": "mirror"}.items():
        page.keyboard.press(key)
        expect(page.locator(f"#{control}")).to_have_attribute("aria-pressed", "true")
        assert page.get_attribute(f"#{control}", "aria-keyshortcuts") == key
    page.keyboard.press("d")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("?")
    expect(page.locator("#help-dialog")).to_be_visible()
    page.locator("#use-keys").uncheck()
    page.keyboard.press("Escape")
    expect(page.locator("#help-dialog")).to_be_hidden()
    page.keyboard.press("f")
    expect(page.locator("#largest")).to_have_attribute("aria-pressed", "true")  # shortcuts are off


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(new_page: Callable[..., Page], astronaut: Path, scheme: str) -> None:
    page = new_page(color_scheme=scheme)
    axe = Axe()
    for state in ("start", "image", "help"):
        if state == "image":
            with_image(page, astronaut)
        elif state == "help":
            page.keyboard.press("?")
        found = axe.run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:120]) for each in found] == [], state


REJECTS: Final = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', '%s'); };"


@pytest.mark.parametrize(
    ("script", "title"),
    [
        ("", "The camera is blocked"),  # the browser has no permission and refuses
        (REJECTS % "NotFoundError", "No camera was found"),
        (REJECTS % "NotReadableError", "The camera is in use"),
        ("Object.defineProperty(navigator, 'mediaDevices', { value: undefined });", "The camera needs a secure page"),
    ],
)
def test_a_camera_that_cannot_be_used_is_explained(new_page: Callable[..., Page], script: str, title: str) -> None:
    page = new_page(script=script)
    page.click("#start-camera")
    expect(page.locator("#cover-title")).to_have_text(title)
    expect(page.locator("#start-camera-text")).to_have_text("Try the camera again")
    expect(page.locator("#start-file")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "kind"), [("broken.jpg", "image/jpeg"), ("broken.webm", "video/webm"), ("notes.txt", "text/plain")]
)
def test_a_file_that_cannot_be_shown_is_explained(
    new_page: Callable[..., Page], tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / name).write_bytes(b"this is neither an image nor a video")
    page = new_page()
    drop(page, tmp_path / name, kind)
    expect(page.locator("#cover-title")).to_have_text("This file cannot be shown")
    expect(page.locator("#cover-text")).to_contain_text(name)


def test_a_camera_that_is_allowed_late_does_not_replace_a_photo(new_page: Callable[..., Page], astronaut: Path) -> None:
    script = """
        const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wish) => {
            await new Promise((allow) => { window.allow = allow; });
            return (window.stream = await get(wish));
        };
    """
    page = new_page(camera=True, script=script)  # which the page asks for by itself
    page.wait_for_function("() => Boolean(window.allow)")
    with_image(page, astronaut)
    page.evaluate("() => window.allow()")
    page.wait_for_function("() => window.stream?.getTracks().every((track) => track.readyState === 'ended')")
    assert page.locator("body").get_attribute("data-picture") == "still"


def test_an_image_without_a_face_says_so(new_page: Callable[..., Page], tmp_path: Path) -> None:
    Image.new("RGB", (320, 240), (80, 120, 90)).save(tmp_path / "green.png")
    page = new_page()
    page.set_input_files("#file", tmp_path / "green.png")
    expect(page.locator("#notice")).to_have_text("No face is in the picture")
    expect(page.locator("#feeling")).to_have_text("No face")


def test_a_lost_connection_is_said_and_made_again(new_page: Callable[..., Page], address: str, astronaut: Path) -> None:
    page = new_page(visit=False)
    sockets: list[Any] = []

    def through(socket: Any) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    page.route_web_socket(re.compile("live/socket"), through)
    page.goto(address)
    expect(page.locator("#link-text")).to_have_text("Connected")  # before, nothing listens to what is dropped
    with_image(page, astronaut)
    page.evaluate(
        "() => new MutationObserver(() => window.seen = [...window.seen ?? [], link.dataset.link])"
        ".observe(document.getElementById('link'), { attributes: true })"
    )
    sockets[-1].close()
    # A slow machine may be lost twice, or busy with the connection before.
    until(lambda: page.evaluate("(window.seen ?? []).at(0) === 'lost' && window.seen.at(-1) === 'open'"))
    assert len(sockets) >= 2


def test_a_busy_server_is_said(new_page: Callable[..., Page], astronaut: Path) -> None:
    first = with_image(new_page(), astronaut)  # the only place
    second = new_page()
    drop(second, astronaut, "image/jpeg")
    expect(second.locator("#notice")).to_contain_text("busy")
    first.close()
    expect(second.locator("#feeling")).to_have_text("Happiness")
    expect(second.locator("#notice")).to_be_hidden()


@pytest.mark.parametrize("size", [(390, 844), (820, 1180)])
def test_it_fits_on_small_screens(new_page: Callable[..., Page], astronaut: Path, size: tuple[int, int]) -> None:
    page = with_image(new_page(viewport={"width": size[0], "height": size[1]}), astronaut)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.locator("#overlay").bounding_box()["width"] > 0.8 * min(size)  # type: ignore[index]


def test_the_command_opens_the_page(tmp_path: Path) -> None:
    recorder = tmp_path / "browser.sh"
    recorder.write_text(
        f'#!/bin/sh\necho "$1" > "{tmp_path}/opened.tmp" && mv "{tmp_path}/opened.tmp" "{tmp_path}/opened"\n'
    )
    recorder.chmod(0o755)
    process, printed = start_live("--host", "0.0.0.0", BROWSER=f"{recorder} %s")
    try:
        until((tmp_path / "opened").exists)
        assert (tmp_path / "opened").read_text().strip() == printed
        assert re.fullmatch(r"http://[\d.]+:\d+/#key=[\w-]{32}", printed)
        assert "0.0.0.0" not in printed
    finally:
        process.terminate()
        process.wait(LIMIT)
