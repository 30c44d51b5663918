"""What cannot be explained: each message says what was given, what is missing, and what to do."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.drawn import draw_face
from tests.videos import portrait, write_video

from mien.explain.page import check_out


@pytest.fixture
def crop(tmp_path: Path) -> Path:
    Image.fromarray(draw_face("anger", np.random.default_rng(0))).save(tmp_path / "crop.png")
    return tmp_path / "crop.png"


def refused(*words: object) -> tuple[int, str]:
    done = run_command("explain", *words)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "--out is missing"),
        (("--out", "page.html", "--class", "hunger"), 2, "--class: 'hunger' is none of the model's classes"),
        (("--out", "page.html", "--against", "contempt"), 2, "--against: 'contempt' is none of the model's classes"),
        (("--out", "page.html", "--class", "fear", "--against", "scared"), 2, "are the same class, fear"),
        (("--out", "page.html", "--model", "mien-m,mien-s"), 2, "expected one model, got 2"),
        (("--out", "page.html", "--model", "mien-detector"), 2, "is for detection, expected one for expression"),
        (("--out", "page.html", "--model", "nothing.onnx"), 5, "nothing.onnx: no such weights file"),
    ],
    ids=["no out", "no class", "another class", "one class twice", "an ensemble", "a detector", "no file"],
)
def test_options(options: tuple[str, ...], code: int, message: str, crop: Path, tiny_model: Path) -> None:
    model = () if "--model" in options else ("--model", str(tiny_model), "--emotions", "7")
    found, said = refused(crop, "--faces-are-crops", *model, *options)
    assert (found, message in said) == (code, True), said
    assert not Path("page.html").exists()


def test_an_image_without_a_face(tmp_path: Path) -> None:
    Image.fromarray(np.full((120, 160, 3), 90, np.uint8)).save(tmp_path / "wall.png")
    code, said = refused(tmp_path / "wall.png", "--model", "mien-s", "--out", tmp_path / "out")
    assert code == 3
    assert "no face was found" in said
    assert "--faces-are-crops" in said
    assert not (tmp_path / "out").exists()


def test_an_image_without_a_face_beside_another_is_named(tmp_path: Path, astronaut: Path) -> None:
    Image.fromarray(np.full((120, 160, 3), 90, np.uint8)).save(tmp_path / "wall.png")
    out = tmp_path / "page.html"
    done = run_command("explain", tmp_path / "wall.png", astronaut, "--model", "mien-s", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "wall.png': no face was found" in done.stderr
    assert "astronaut.jpg face 0: happiness" in done.stdout


def test_a_video(tmp_path: Path, astronaut: Path) -> None:
    write_video(tmp_path / "clip.mp4", portrait(astronaut, 3))
    code, said = refused(tmp_path / "clip.mp4", "--model", "mien-s", "--out", tmp_path / "out")
    assert code == 3
    assert "explanations are of images" in said


def test_a_file_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    code, _ = refused(tmp_path / "text.png", "--model", "mien-s", "--out", tmp_path / "out")
    assert code == 3


def test_a_good_image_beside_a_bad_one_is_explained(crop: Path, tiny_model: Path) -> None:
    (crop.parent / "bad.png").write_bytes(crop.read_bytes()[:40])
    out = crop.parent / "out"
    code, said = refused(crop.parent / "bad.png", crop, "--model", tiny_model, "--faces-are-crops", "--out", out)
    assert code == 3
    assert "bad.png" in said
    assert (out / "crop.face0.occlusion.png").is_file()


@pytest.mark.parametrize(
    ("out", "code", "message"),
    [
        ("other.png", 7, "other.png': it is a file"),
        ("other.png/inside", 7, "other.png' is a file"),
        ("missing/page.html", 7, "there is no folder"),
        ("new.png", 2, "new.png: expected a folder or a page, not a .png file"),
        ("new.txt", 2, "--out FOLDER for images and a page, or --out page.html"),
        ("full", 7, "report.html': it is a folder"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    out: str, code: int, message: str, crop: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.explain.networks.load", None)  # the work begins with it
    (crop.parent / "full" / "report.html").mkdir(parents=True)
    (crop.parent / "other.png").write_bytes(crop.read_bytes())
    before = sorted(crop.parent.rglob("*"))
    found, said = refused(crop, "--faces-are-crops", "--model", tiny_model, "--out", crop.parent / out)
    assert (found, message in said) == (code, True), said
    assert sorted(crop.parent.rglob("*")) == before


@pytest.mark.parametrize("out", ["locked", "locked/new", "locked/page.html"])
def test_a_folder_that_may_not_be_written(
    out: str, crop: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (crop.parent / "locked").mkdir()
    may = os.access  # root may write everywhere
    monkeypatch.setattr(
        os, "access", lambda path, mode: may(path, mode) and not (Path(path).name == "locked" and mode & os.W_OK)
    )
    found, said = refused(crop, "--faces-are-crops", "--model", tiny_model, "--out", crop.parent / out)
    assert (found, "permission denied" in said) == (7, True), said


def test_a_folder_with_a_dot_is_no_file(crop: Path) -> None:
    for name in ("results.2026", "run.v2", "plain"):
        check_out(crop.parent / name)
    (crop.parent / "old.png").mkdir()
    check_out(crop.parent / "old.png")


def test_weights_of_another_network(crop: Path, tiny_model: Path) -> None:
    (crop.parent / "own.onnx").write_bytes(tiny_model.read_bytes())
    assets = Path(__file__).parents[2] / "src" / "mien" / "assets"
    (crop.parent / "own.safetensors").write_bytes((assets / "mien-s.safetensors").read_bytes())
    out = crop.parent / "out"
    code, said = refused(crop, "--faces-are-crops", "--model", crop.parent / "own.onnx", "--out", out)
    assert code == 5
    assert "belongs to another network" in said
