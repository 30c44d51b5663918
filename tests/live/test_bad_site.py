"""What the page that runs the networks itself cannot be made of is refused by name, and nothing is written."""

import io
import tarfile
from pathlib import Path

import pytest
from tests.commands import run_command

from mien.server.live.site import ARCHIVE


def archive(path: Path) -> Path:
    """An archive with the right names and other content."""
    with tarfile.open(path, "w:gz") as file:
        member = tarfile.TarInfo("package/dist/ort.wasm.min.mjs")
        member.size = 1
        file.addfile(member, io.BytesIO(b"x"))
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "another version", "a folder"])
def test_an_archive_that_is_not_the_pinned_one_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ARCHIVE
    if kind == "another version":
        archive(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("" if kind == "empty" else "not an archive")
    done = run_command("export", "web", tmp_path / "page", "--runtime", path)
    assert done.returncode != 0
    assert str(path) in done.stderr
    assert f"expected {ARCHIVE}" in done.stderr or kind in ("missing", "a folder")
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("kind", ["a file", "a folder with a file", "a folder with a folder"])
def test_what_exists_is_not_overwritten(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "page"
    if kind == "a file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine").mkdir() if kind == "a folder with a folder" else (out / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = run_command("export", "web", out, "--runtime", tmp_path / ARCHIVE)
    assert done.returncode != 0
    assert "it is not an empty folder" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "mien-m,mien-s"), "expected one model, got 2"),
        (("--model", "no-such-model"), "no-such-model"),
        (("--emotions", "9"), "9"),
        (("--abstain", "2"), "--abstain"),
    ],
)
def test_options_of_the_classifier_are_checked(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    done = run_command("export", "web", tmp_path / "page", "--runtime", archive(tmp_path / ARCHIVE), *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--detector", "hog"),
        ("--detect-size", "320"),
        ("--tta", "flip"),
        ("--detect-every", "2"),
        ("--threads", "2"),
        ("--max-live", "3"),
        ("--allow-origin", "https://example.org"),
    ],
)
def test_options_that_the_page_does_not_have_are_refused(tmp_path: Path, option: tuple[str, str]) -> None:
    done = run_command("live", "--no-open", "--in-browser", archive(tmp_path / ARCHIVE), *option)
    assert done.returncode == 2
    assert f"{option[0]} has no effect with --in-browser" in done.stderr
