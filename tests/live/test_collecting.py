"""The guided half-minute of the live page: in a real browser, and what is sent to it from elsewhere."""

import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from tests.browser import browser_with_camera, live_page, start_live, write_camera
from tests.commands import run_command
from tests.conftest import ROOT

import mien

WAIT: Final = 500  # seconds; only ends a test that hangs


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("image") / "face.jpg"
    Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB").resize((256, 256)).save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a `mien live --collect`, and its folder; three emotions, so that it takes a third of the time."""
    folder = tmp_path_factory.mktemp("collect") / "my faces"
    process, address = start_live("--no-open", "--collect", str(folder), "--emotions", "happiness,fear,neutral")
    threading.Thread(target=process.communicate, daemon=True).start()  # so that its log does not fill the pipe
    try:
        yield address, folder
    finally:
        process.terminate()
        process.wait()


def sent(address: str, emotion: str, content: bytes, **headers: str) -> tuple[int, str]:
    """Status and body of what is answered."""
    request = urllib.request.Request(f"{address}collect/{emotion}", content, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=WAIT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_half_minute_in_a_browser(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    picture = Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB").crop((0, 0, 512, 384)).resize((640, 480))
    camera = write_camera(tmp_path / "camera.mjpeg", [np.asarray(picture)] * 30)
    with browser_with_camera(camera) as browser:
        page = live_page(browser, address)
        page.set_default_timeout(1000 * WAIT)
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        expect(page.locator("#privacy")).to_contain_text("but for those that you save with Teach")

        page.click("#teach")
        expect(page.locator("#prompt-word")).to_have_text("Look happy")
        page.click("#prompt-stop")
        page.wait_for_selector("text=Stopped; nothing was kept")
        assert not folder.exists()

        page.click("#teach")
        for word, step in (("Look happy", "1 of 3"), ("Look afraid", "2 of 3"), ("Look as usual", "3 of 3")):
            expect(page.locator("#prompt-word")).to_have_text(word, timeout=1000 * WAIT)
            expect(page.locator("#prompt-step")).to_have_text(step)
        page.wait_for_selector("#teach-dialog[open]")
        assert not folder.exists()  # nothing is kept before the person says so
        expect(page.locator("#shots img")).to_have_count(15)
        expect(page.locator("#teach-save")).to_have_text("Save 15 images")
        page.click("#shots section:nth-child(2) button:nth-of-type(4)")
        expect(page.locator("#teach-save")).to_have_text("Save 14 images")
        page.click("#teach-save")
        page.wait_for_selector(f"text=14 images are in {folder}")
        expect(page.locator("#teach-dialog")).to_be_hidden()
        assert said == []
    counts = {path.name: sorted(each.name for each in path.iterdir()) for path in folder.iterdir()}
    five = [f"{number:03}.jpg" for number in range(1, 6)]
    assert counts == {"happiness": five, "fear": five[:4], "neutral": five}
    assert mien.analyze(folder / "happiness" / "001.jpg")[0].emotion == "happiness"
    # They are what `mien personalise` reads; whether one and the same face teaches anything is another matter.
    done = run_command("personalise", folder, "--out", tmp_path / "me.onnx")
    assert "faces: 14 (4 fear, 5 happiness, 5 neutral)" in done.stdout


def test_what_is_no_image_of_the_page_is_refused(server: tuple[str, Path], jpeg: bytes) -> None:
    address, folder = server
    before = sorted(folder.rglob("*"))
    for emotion, content, status, message in (
        ("joyful", jpeg, 404, "there is no emotion 'joyful'"),
        ("..%2F..%2Ffear", jpeg, 404, "there is no"),
        ("fear", b"GIF89a", 422, "no JPEG file"),
        ("fear", jpeg[:200], 422, ""),
        ("fear", b"", 422, "no JPEG file"),
        ("fear", b"\xff\xd8\xff" + bytes(9_000_000), 413, "larger than"),
    ):
        found = sent(address, emotion, content)
        assert found[0] == status, found
        assert message in found[1]
    assert sent(address, "fear", jpeg, Origin="http://elsewhere.org")[0] == 403
    assert sorted(folder.rglob("*")) == before


def test_images_are_added_to_those_that_are_there(server: tuple[str, Path], jpeg: bytes) -> None:
    address, folder = server
    place = folder / "neutral"
    there = {path.name: path.read_bytes() for path in place.iterdir()} if place.exists() else {}
    status, body = sent(address, "neutral", jpeg)
    assert status == 200
    name = re.search(r"neutral/(\d{3}\.jpg)", body)
    assert name is not None
    assert name[1] not in there
    assert {path.name: path.read_bytes() for path in place.iterdir()} == there | {name[1]: jpeg}


def test_without_the_option_nothing_is_taken_and_a_key_is_needed(tmp_path: Path, jpeg: bytes) -> None:
    keys = tmp_path / "keys"
    keys.write_text("0123456789abcdef0123\n")
    for options, status in (((), 404), (("--collect", str(tmp_path / "out"), "--api-key-file", str(keys)), 401)):
        process, address = start_live("--no-open", *options)
        try:
            assert sent(re.sub("#.*", "", address), "fear", jpeg)[0] == status
        finally:
            process.terminate()
            process.communicate()
    assert not (tmp_path / "out").exists()


def test_it_needs_the_server(tmp_path: Path) -> None:
    done = run_command("live", "--in-browser", tmp_path / "archive.tgz", "--collect", tmp_path / "out", "--no-open")
    assert done.returncode == 2
    assert "--collect has no effect with --in-browser" in done.stderr
