"""Which files of a folder are read, which are passed over, and what the command says about the others."""

import io
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.media.test_images import BLUE, GREEN, RED, encoded, quarters
from typer.testing import CliRunner

from mien.cli import build_app
from mien.errors import InputError
from mien.media import find, find_images, open_frames, read_frame, read_frames, read_image
from mien.media.formats import FORMATS, SUFFIXES, what_is_missing
from mien.results import Frame


def image_file(path: Path, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(Image.fromarray(quarters()), kind))
    return path


def names(found: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found]


def corners(image: NDArray[np.uint8]) -> list[list[int]]:
    height, width = image.shape[:2]
    return [image[y, x].tolist() for y in (5, height - 5) for x in (5, width - 5)]


# --- formats


@pytest.mark.parametrize("magic", ["P3", "P6"])
@pytest.mark.parametrize("highest", [255, 65535, 1023])
def test_ppm_in_text_and_binary_with_8_and_16_bits(magic: str, highest: int) -> None:
    values = np.round(quarters().astype(float) / 255 * highest).astype(int)
    head = f"{magic}\n# a comment\n64 48\n{highest}\n".encode()
    if magic == "P3":
        content = head + " ".join(map(str, values.ravel())).encode()
    else:
        content = head + values.astype(">u2" if highest > 255 else "u1").tobytes()
    assert np.abs(read_image(content).astype(int) - quarters()).max() <= 1


@pytest.mark.parametrize("highest", [255, 65535, 4095])
def test_pgm_with_8_and_16_bits(highest: int) -> None:
    ramp = np.linspace(0, highest, 64 * 48).round().astype(int).reshape(48, 64)
    content = f"P5 64 48 {highest}\n".encode() + ramp.astype(">u2" if highest > 255 else "u1").tobytes()
    assert np.abs(read_image(content)[..., 0] - ramp / highest * 255).max() <= 1


def test_pbm() -> None:
    image = read_image(b"P1\n4 2\n1 0 1 0\n0 1 0 1\n")
    assert image[..., 0].tolist() == [[0, 255, 0, 255], [255, 0, 255, 0]]


def test_jpeg_2000_and_its_code_stream() -> None:
    picture = Image.fromarray(quarters())
    for suffix in (".jp2", ".j2k"):
        content = io.BytesIO()
        picture.save(content, "JPEG2000", no_jp2=suffix == ".j2k")
        assert np.abs(read_image(content.getvalue()).astype(int) - quarters()).max() <= 1


@pytest.mark.parametrize("options", [{}, {"compression": "tga_rle"}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_tga(options: dict[str, str], mode: str) -> None:
    content = encoded(Image.fromarray(quarters()).convert(mode), "TGA", **options)
    image = read_image(content)
    assert image.shape == (48, 64, 3)
    if mode == "RGB":
        assert np.array_equal(image, quarters())


def test_every_format_is_found_in_a_folder_under_each_suffix(tmp_path: Path) -> None:
    expected = []
    for kind, suffixes in SUFFIXES.items():
        if kind in FORMATS:
            for number, suffix in enumerate(suffixes):
                name = f"{kind}{number}{suffix.upper() if number % 2 else suffix}"
                expected.append(image_file(tmp_path / name, kind))
    frames = list(read_frames(find_images([tmp_path])))
    assert sorted(frame.source for frame in frames) == sorted(map(str, expected))
    assert all(isinstance(frame, Frame) and frame.image.shape == (48, 64, 3) for frame in frames)
    assert find([tmp_path]).passed_over == ()


def test_the_suffix_does_not_matter_and_none_is_needed(tmp_path: Path) -> None:
    image_file(tmp_path / "photo.jpg", "PNG")
    image_file(tmp_path / "download", "JPEG")
    image_file(tmp_path / "cache.jpg_large", "JPEG")
    (tmp_path / "Makefile").write_text("all:\n")
    found = find([tmp_path])
    assert names(list(found.images), tmp_path) == ["download", "photo.jpg"]
    assert all(np.abs(read_image(path).astype(int) - quarters()).mean() <= 8 for path in found.images)
    assert found.passed_over == ("1 image with another suffix (.jpg_large): rename to .jpg or .png", "1 text file")


def test_a_raw_photo_with_its_suffix_is_not_read_as_its_preview(tmp_path: Path) -> None:
    # Without the suffix it is a TIFF file: its first image is read, with a note.
    content = encoded(Image.fromarray(quarters()), "TIFF", tiffinfo={254: 1})
    assert "only a preview" in str(read_frame(content).note)
    path = tmp_path / "photo.DNG"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is a camera's raw photo, which mien does not read") as caught:
        read_image(path)
    assert "export as JPEG" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "said", "hint"),
    [
        ("a.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(300), "is a camera's raw photo", "darktable"),
        ("a.nef", b"MM\0*" + bytes(300), "is a camera's raw photo", "darktable"),
        ("raf", b"FUJIFILMCCD-RAW 0201", "is a camera's raw photo", "darktable"),
        ("a.dcm", bytes(128) + b"DICM" + bytes(99), "is a DICOM image", "dcmj2pnm"),
        ("a.jpg", bytes(128) + b"DICM" + bytes(99), "is a DICOM image", "dcmj2pnm"),
        ("a.psd", b"8BPS\0\1" + bytes(99), "is a Photoshop document", "export as PNG"),
        ("a.svg", b'<?xml version="1.0"?>\n<svg xmlns="x">', "is a vector drawing", "export as PNG"),
        ("a.ico", b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0" + bytes(99), "is an image of a kind", "PNG or JPEG"),
        ("a.pam", b"P7\nWIDTH 4\n", "is an image of a kind", "PNG or JPEG"),
        ("a.jpg", b"\n<!DOCTYPE html><html><body>404", "is not an image but an HTML page", "failed download"),
        ("a.jpg", b"version https://git-lfs.github.com/spec/v1\n", "but a Git LFS pointer", "git lfs pull"),
        ("a.jpg", b'{"error": "not found"}', "is not an image but a text file", "mien reads PNG"),
        ("a.mp4", b"\0\0\0\x18ftypisom\0\0\2\0" + bytes(99), "is not an image but a video", "ffmpeg"),
        ("a.mov", b"\0\0\0\x14ftypqt  " + bytes(99), "is not an image but a video", "ffmpeg"),
        ("a.avi", b"RIFF\0\0\0\0AVI LIST", "is not an image but a video", "ffmpeg"),
        ("a.pdf", b"%PDF-1.7\n", "is not an image but a PDF document", "pdfimages"),
        ("a.zip", b"PK\3\4" + bytes(99), "is not an image but an archive", "unpack"),
        ("a.xlsx", b"PK\3\4" + bytes(99), "is not an image but an office document", "mien reads"),
        (
            "doc",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
            "is not an image but an office document",
            "mien reads",
        ),
        ("Python.py", b"Python 3.11 is a text that begins as an image of Pillow", "but a text file", "mien reads"),
        ("a.jpg", bytes(300), "is not an image", "mien reads"),
    ],
)
def test_a_file_that_is_named_says_what_it_is(tmp_path: Path, name: str, content: bytes, said: str, hint: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_heif_names_what_to_install_or_is_read(tmp_path: Path) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    if what_is_missing("HEIF"):
        path.write_bytes(struct.pack(">I4s4sI", 20, b"ftyp", b"heic", 0) + b"mif1" + bytes(200))
        with pytest.raises(InputError, match="is a HEIF image") as caught:
            read_image(path)
        assert "pip install pillow-heif" in caught.value.hint
        return
    import pillow_heif

    pillow_heif.from_pillow(Image.fromarray(quarters())).save(path, quality=95)
    (source,) = open_frames([tmp_path])
    assert isinstance(source, Frame)
    for found, expected in zip(corners(source.image), (RED, GREEN, BLUE), strict=False):
        assert np.abs(np.array(found) - expected).max() <= 12


def test_a_format_that_pillow_was_built_without_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {kind: encoded(Image.fromarray(quarters()), kind) for kind in ("JPEG2000", "WEBP", "JPEG")}
    # A Pillow without these libraries cannot be installed here: all wheels have them.
    monkeypatch.setattr("PIL.features.check", lambda library: library == "zlib")
    for kind, content in contents.items():
        with pytest.raises(
            InputError, match=f"is in the format {kind}, which the installed Pillow was built"
        ) as caught:
            read_image(content)
        assert "pip install" in caught.value.hint
    assert read_image(encoded(Image.fromarray(quarters()), "PNG")).shape == (48, 64, 3)
    listed = CliRunner().invoke(build_app(), ["formats"]).stdout
    assert [line.split()[0] for line in listed.splitlines() if "force-reinstall" in line] == [
        kind for kind in SUFFIXES if kind in ("JPEG", "WEBP", "JPEG2000", "AVIF") and kind in FORMATS
    ]


# --- links


def test_a_link_to_a_folder_elsewhere_is_followed_once(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    image_file(root / "b" / "1.png")
    image_file(elsewhere / "deep" / "2.png")
    (root / "a_link").symlink_to(elsewhere)
    (root / "c_link").symlink_to(elsewhere)
    found = find([root])
    assert names(list(found.images), root) == ["b/1.png", "a_link/deep/2.png"]
    assert found.passed_over == ("1 link to a folder that is read anyway",)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    image_file(root / "sub" / "1.png")
    (root / "sub" / "up").symlink_to(root)
    (root / "self").symlink_to(root / "self2")  # a link to a link ...
    (root / "self2").symlink_to(root / "self")  # ... and back, which is no folder
    (root / "home").symlink_to(tmp_path)
    (root / "again").symlink_to("sub")
    found = find([root])
    assert names(list(found.images), root) == ["sub/1.png"]
    assert set(found.passed_over) == {
        "2 links to folders above them",
        "1 link to a folder that is read anyway",
        "2 broken links",
    }


def test_links_between_two_folders_end(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    image_file(root / "1.png")
    image_file(other / "2.png")
    (root / "to").symlink_to(other)
    (other / "back").symlink_to(root)
    assert names(find_images([root]), root) == ["1.png", "to/2.png"]


def test_a_folder_that_is_named_twice_or_through_a_link_is_read_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    image_file(root / "sub" / "1.png")
    (tmp_path / "link").symlink_to(root)
    assert names(find_images([tmp_path / "link", root]), tmp_path) == ["link/sub/1.png"]
    assert names(find_images([root / "sub", root]), tmp_path) == ["root/sub/1.png"]


def test_a_broken_link_with_the_suffix_of_an_image_is_an_error_row(tmp_path: Path) -> None:
    image_file(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    _, result = open_frames([tmp_path])
    assert not isinstance(result, Frame)
    assert result.error is not None
    assert "b.png' is a link to '" in result.error
    assert "gone.png', which does not exist" in result.error


# A program without the rights of root, which can list every folder.
AS_NOBODY = """
import os, sys
from pathlib import Path
from mien.errors import InputError
from mien.media import open_frames, read_image

root, image = map(Path, sys.argv[1:])
read_image(image)  # imports everything
if os.geteuid() == 0:
    os.setuid(65534)
closed = root / "closed"
for paths in ([root], [closed, root / "a.png"], [root / "*"]):
    print(*sorted(getattr(frame, "error", None) or "read" for frame in open_frames(paths)), sep="\\n")
try:
    open_frames([closed])
except InputError as error:
    print(error)
"""


def test_a_folder_that_cannot_be_listed_loses_nothing_else() -> None:
    with tempfile.TemporaryDirectory() as place:  # unlike tmp_path, in a folder that others can enter
        root = Path(place)
        root.chmod(0o755)
        image_file(root / "a.png")
        closed = root / "closed"
        closed.mkdir(mode=0)
        command = [sys.executable, "-c", AS_NOBODY, str(root), str(root / "a.png")]
        result = subprocess.run(command, capture_output=True, text=True, timeout=600)
        closed.chmod(0o700)
    row = f"'{closed}' cannot be read: permission denied"
    assert result.stdout.splitlines() == [
        *(row, "read") * 3,
        f"the folder '{closed}' cannot be listed: Permission denied",
    ], result.stderr


# --- what is said


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """One image among everything that a folder of photographs has."""
    root = tmp_path / "mixed"
    image_file(root / "1.png")
    for name in (
        *("a.mp4", "b.MOV", "c.avi", "notes.txt", "labels.csv", "x.cr2", "y.NEF", "z.dcm"),
        *(".DS_Store", "._1.png", "Thumbs.db", "desktop.ini", "@eaDir/1.png", "__MACOSX/1.png", ".thumbnails/1.png"),
        *("1.annotated.png", "core", "data.bin"),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "core" else b"\x93\1\2\3")
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "pipe.jpg")
    return root


def test_everything_that_is_passed_over_is_counted(mixed: Path) -> None:
    found = find([mixed])
    assert names(list(found.images), mixed) == ["1.png"]
    assert set(found.passed_over) == {
        "2 raw photos of cameras (.cr2, .nef): export as JPEG with the camera's program, darktable or RawTherapee",
        "1 DICOM image (.dcm): convert to PNG: dcmj2pnm +on FILE.dcm FILE.png (DCMTK)",
        "3 videos (.mp4, .mov, .avi): extract frames: ffmpeg -i FILE -vf fps=5 frames/%05d.jpg",
        "2 text files (.csv, .txt)",
        "7 hidden files and folders",
        "1 image drawn by mien",
        "1 empty file",
        "1 file of another kind (.bin)",
        "2 pipes and devices",
    }
    for name in ("a.xlsx", "b.docx"):  # ZIP files by their content
        (mixed / name).write_bytes(b"PK\3\4" + bytes(99))
    assert "2 office documents (.xlsx, .docx)" in find([mixed]).passed_over
    assert found.passed_over[0].startswith("2 raw photos")  # images that could be converted come first
    assert find([mixed], recursive=False).images == found.images


def test_videos_are_taken_where_they_are_wanted(mixed: Path) -> None:
    found = find([mixed], videos=True)
    assert names(list(found.images), mixed) == ["1.png", "a.mp4", "b.MOV", "c.avi"]
    assert not any("video" in text for text in found.passed_over)
    assert open_frames([mixed]).paths == found.images


def test_the_command_says_it_in_one_line(mixed: Path) -> None:
    for name in ("a.mp4", "b.MOV", "c.avi"):
        (mixed / name).unlink()
    command = [sys.executable, "-m", "mien", "analyze", str(mixed)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("passed over: ")]
    assert "2 raw photos of cameras (.cr2, .nef)" in line
    assert "2 text files" in line
    assert "raw photos" not in result.stdout
    quiet = CliRunner().invoke(build_app(), ["analyze", str(mixed), "-q"])
    assert quiet.output == ""


def test_a_folder_of_only_other_files_says_what_they_are(mixed: Path) -> None:
    (mixed / "1.png").unlink()
    with pytest.raises(InputError, match=r"no images in the folder .*, only 2 raw photos of cameras \(\.cr2, \.nef\)"):
        find([mixed])


def test_a_folder_of_images_says_nothing(tmp_path: Path) -> None:
    image_file(tmp_path / "1.pgm", "PPM")
    assert open_frames([tmp_path]).passed_over == ()
    assert read_frame(tmp_path / "1.pgm").note is None
