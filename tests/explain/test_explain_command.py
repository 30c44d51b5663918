"""`mien explain` as a user runs it: a photograph, crops, several models, a page that loads nothing from elsewhere."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.browser import browser_with_camera, write_camera
from tests.commands import run_command
from tests.drawn import draw_face

from mien.errors import EXIT_CODES, StoppedError
from mien.explain.faces import places_of

METHODS = ("gradcam", "integrated-gradients", "occlusion")


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory, astronaut: Path) -> Path:
    """The portrait, explained with a shipped model."""
    out = tmp_path_factory.mktemp("explain") / "out"
    done = run_command("explain", astronaut, "--model", "mien-s", "--out", out)
    assert done.returncode == 0, done.stderr
    found = re.search(r"happiness \d+% against (\w+) \d+%; area under the deletion curve: (.*)", done.stdout)
    assert found, done.stdout
    areas = dict(re.findall(r"([\w-]+(?: [a-z]+)?) (0\.\d\d)", found[2]))
    assert set(areas) == {"Grad-CAM", "Integrated gradients", "Occlusion", "random"}
    assert all(float(area) < float(areas["random"]) for name, area in areas.items() if name != "random")
    (out / "said.txt").write_text(done.stdout)
    return out


@pytest.fixture
def crop(tmp_path: Path) -> Path:
    Image.fromarray(draw_face("happiness", np.random.default_rng(0))).save(tmp_path / "crop.png")
    return tmp_path / "crop.png"


def test_every_method_has_an_image(explained: Path) -> None:
    for name in METHODS:
        image = np.array(Image.open(explained / f"astronaut.face0.{name}.png"))
        assert image.shape[2] == 3
        red = image[..., 0].astype(int) - image[..., 2] > 60
        assert red[40:328, 324:612].mean() > 0.02, "the map marks something"
    assert (explained / "report.html").is_file()


def test_the_mouth_speaks_for_happiness(explained: Path) -> None:
    """Of a smile, the lower half of the face must be marked more than the forehead."""
    image = np.array(Image.open(explained / "astronaut.face0.occlusion.png")).astype(int)
    tile = image[40:328, 630:918]
    red = (tile[..., 0] - tile[..., 2]).clip(min=0)
    assert red[180:260, 60:230].mean() > 2 * red[:80].mean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_complete_and_asks_for_nothing(explained: Path, scheme: str, tmp_path: Path) -> None:
    camera = write_camera(tmp_path / "camera.mjpeg", [np.zeros((48, 48, 3), np.uint8)])
    with browser_with_camera(camera) as browser:
        page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_default_timeout(500_000)  # a busy machine may take long; it only ends a test that hangs
        said, asked = list[str](), list[str]()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((explained / "report.html").as_uri())
        assert said == []
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert page.locator("h2").first.inner_text().startswith("astronaut.jpg: why happiness, and not ")
        assert page.locator(".map img").count() == len(METHODS)
        assert page.evaluate("[...document.images].every(each => each.naturalWidth > 0)")
        assert page.locator(".curves polyline").count() == len(METHODS) + 1


def test_one_page_alone(crop: Path, tiny_model: Path) -> None:
    out = crop.parent / "page.html"
    done = run_command("explain", crop, "--model", tiny_model, "--faces-are-crops", "--out", out)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in crop.parent.iterdir() if path != crop] == ["page.html"]
    assert out.read_text(encoding="utf-8").count("data:image/png") == 1 + len(METHODS)


@pytest.mark.parametrize("kind", ["run", "best.ckpt", "safetensors", "onnx"])
def test_models_of_all_kinds(kind: str, crop: Path, tiny_run: Path, tiny_model: Path) -> None:
    given = {"run": tiny_run, "best.ckpt": tiny_run / "best.ckpt", "onnx": tiny_model}
    model = given.get(kind, tiny_model.with_suffix(".safetensors"))
    done = run_command("explain", crop, "--model", model, "--faces-are-crops", "--out", crop.parent / "out")
    assert done.returncode == 0, done.stderr
    assert len(list((crop.parent / "out").glob("crop.face0.*.png"))) == len(METHODS)
    assert ("not calibrated: a run has no temperature" in done.stderr) == (kind in ("run", "best.ckpt"))


def test_a_model_whose_network_does_not_ship_has_occlusion(crop: Path) -> None:
    """And no word of gradients, of which it has none."""
    done = run_command("explain", crop, "--model", "mien-l", "--faces-are-crops", "--out", crop.parent / "out")
    assert done.returncode == 0, done.stderr
    assert "its training form does not ship" in done.stderr
    assert "gradients come from" not in done.stderr


def test_without_a_model_one_network_is_explained_and_that_is_said(crop: Path) -> None:
    chosen, default = (
        run_command("explain", crop, "--faces-are-crops", *model, "--out", crop.with_name(name))
        for name, model in (("a.html", ("--model", "mien-m")), ("b.html", ()))
    )
    assert chosen.returncode == default.returncode == 0, default.stderr
    assert "'mien-m' is explained alone" in " ".join(default.stderr.split())
    assert "explained alone" not in chosen.stderr


def test_an_onnx_file_alone_has_occlusion(crop: Path, tiny_model: Path) -> None:
    alone = crop.parent / "alone.onnx"
    shutil.copy(tiny_model, alone)
    done = run_command("explain", crop, "--model", alone, "--faces-are-crops", "--out", crop.parent / "out")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (crop.parent / "out").glob("*.png")] == ["crop.face0.occlusion.png"]
    assert "no gradcam: needs the training form of the model" in done.stderr
    assert "alone.safetensors" in done.stderr
    assert "needs the training form" in (crop.parent / "out" / "report.html").read_text(encoding="utf-8")


def test_classes_are_chosen(crop: Path, tiny_model: Path) -> None:
    options = ("--class", "sad", "--against", "surprise", "--faces-are-crops", "--out", crop.parent / "page.html")
    done = run_command("explain", crop, "--model", tiny_model, *options)
    assert done.returncode == 0, done.stderr
    assert re.search(r"face 0: sadness \d+% against surprise \d+%", done.stdout)
    assert "why sadness, and not surprise?" in (crop.parent / "page.html").read_text(encoding="utf-8")


def test_images_of_one_name_are_told_apart(tmp_path: Path, tiny_model: Path) -> None:
    """On the page and in the names of files, by the path below the folder that they share."""
    for folder, emotion in (("a", "happiness"), ("b", "sadness")):
        (tmp_path / folder).mkdir()
        Image.fromarray(draw_face(emotion, np.random.default_rng(0))).save(tmp_path / folder / "face.png")
    Image.fromarray(draw_face("fear", np.random.default_rng(0))).save(tmp_path / "b" / "face.bmp")
    out = tmp_path / "out"
    done = run_command(
        "explain", tmp_path / "a", tmp_path / "b", "--model", tiny_model, "--faces-are-crops", "--out", out, "--quiet"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    names = {path.relative_to(out).as_posix() for path in out.rglob("*.occlusion.png")}
    stems = {"a/face", "b/face.bmp", "b/face.png"}
    assert names == {f"{stem}.face0.occlusion.png" for stem in stems}
    heads = re.findall(r"<h2>(.*?), face (\d+): why", (out / "report.html").read_text(encoding="utf-8"))
    assert sorted(heads) == [("a/face.png", "0"), ("b/face.bmp", "0"), ("b/face.png", "0")]


@pytest.mark.parametrize(
    ("items", "stems"),
    [
        (["x/a.jpg"], ["a"]),
        (["x/a.jpg", "x/b.jpg"], ["a", "b"]),
        (["x/a.jpg", "x/y/a.jpg", "x/a.PNG"], ["a.jpg", "y/a", "a.PNG"]),
        (["x/a.jpg", "x/y/../a.jpg"], ["a.jpg", "a.jpg-2"]),
        (["x/a.JPG", "x/A.jpg"], ["a.JPG", "A.jpg-2"]),
        (["-"], []),
    ],
)
def test_names_of_images(items: list[str], stems: list[str]) -> None:
    places = places_of(items)
    assert [place.stem for place in places.values()] == stems
    assert len({place.name for place in places.values()}) == len(stems)


def test_a_stopped_command_keeps_what_it_explained(tmp_path: Path, tiny_model: Path) -> None:
    """Ctrl-C comes while the second image is explained: the first one has its files and its page."""
    for number in range(3):
        Image.fromarray(draw_face("fear", np.random.default_rng(number))).save(tmp_path / f"{number}.png")
    program = (
        "import os, signal\n"
        "from mien.cli import main\n"
        "from mien.explain import faces\n"
        "explained = faces.explain_face\n"
        "def stopped(*words, place, **options):\n"
        "    if place.name == '1.png':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return explained(*words, place=place, **options)\n"
        "faces.explain_face = stopped\n"
        "main()\n"
    )
    words = ["explain", *sorted(map(str, tmp_path.glob("*.png"))), "--model", tiny_model, "--faces-are-crops"]
    line = [sys.executable, "-c", program, *map(str, words), "--out", str(tmp_path / "out")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert done.returncode == EXIT_CODES[StoppedError], done.stderr
    assert "0.png' face 0; the results so far are kept" in done.stderr
    assert "0.png face 0: " in done.stdout
    assert {path.name.split(".")[0] for path in (tmp_path / "out").iterdir()} == {"0", "report"}
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").count("<h2>") == 1


def test_a_bar_counts_the_images(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        Image.fromarray(draw_face("fear", np.random.default_rng(0))).save(tmp_path / f"{name}.png")
    counts = []

    @contextmanager
    def bar(text: str) -> Iterator[Callable[[int, int | None], None]]:
        yield lambda done, total: counts.append((done, total))

    monkeypatch.setattr("mien.cli.explain.bar", bar)
    words = (tmp_path, "--model", tiny_model, "--faces-are-crops", "--out", tmp_path / "page.html")
    assert run_command("explain", *words).returncode == 0
    assert counts == [(0, 2), (1, 2), (2, 2)]
