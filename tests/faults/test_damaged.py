"""Files with damaged or large metadata, or without their end, are read as far as viewers show them, with a note."""

import io
import json
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile
from tests.media.test_formats import by_opencv
from tests.media.test_images import encoded, png_chunk, quarters

import mien
from mien.errors import InputError
from mien.media import frame_of, read_frame, read_image
from mien.media.faults import note_of
from mien.media.formats import FORMATS

GARBAGE = np.random.default_rng(0).bytes(400)
# An EXIF block with one tag, whose data lie outside of it.
CORRUPT_EXIF = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x010E, 2, 500, 9999, 0)


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """300 rows of noise and colours: every row differs from the others."""
    smooth = np.linspace(0, 200, 300 * 200 * 3).reshape(300, 200, 3)
    return Image.fromarray((smooth + np.random.default_rng(0).integers(0, 55, smooth.shape)).astype(np.uint8))


def with_chunk(content: bytes, kind: bytes, data: bytes, *, after: bool = False) -> bytes:
    """A PNG with one more chunk, behind its header or behind its pixels."""
    place = len(content) - 12 if after else 33
    return content[:place] + png_chunk(kind, data) + content[place:]


def with_segment(content: bytes, marker: int, data: bytes) -> bytes:
    """A JPEG with one more segment."""
    return content[:2] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + content[2:]


BOMB = zlib.compress(bytes(3_000_000))


@pytest.mark.parametrize(
    ("kind", "damage", "words"),
    [
        ("PNG", lambda png: with_chunk(png, b"iCCP", b"profile\0\0" + BOMB), "too large"),
        ("PNG", lambda png: with_chunk(png, b"iCCP", b"profile\0\7" + BOMB), "metadata was ignored"),
        ("PNG", lambda png: with_chunk(png, b"iCCP", b""), "index out of range"),
        ("PNG", lambda png: with_chunk(png, b"zTXt", b"key\0\0" + BOMB), "too large"),
        ("PNG", lambda png: with_chunk(png, b"iTXt", b"key\0\1\0\0\0" + BOMB), "too large"),
        ("PNG", lambda png: with_chunk(png, b"iTXt", b"key\0\1\0\0\0" + BOMB, after=True), "too large"),
        ("PNG", lambda png: with_chunk(png, b"pHYs", b"1"), "Truncated pHYs"),
        ("PNG", lambda png: with_chunk(png, b"tEXt", b"key\0value").replace(b"value", b"valuf"), "checksum"),
        ("PNG", lambda png: with_chunk(png, b"eXIf", GARBAGE), "EXIF data was ignored"),
        ("PNG", lambda png: with_chunk(png, b"acTL", bytes(8)), "Invalid APNG"),
        ("JPEG", lambda jpeg: with_segment(jpeg, 0xE1, CORRUPT_EXIF), "EXIF|Tag data larger than file|Truncated"),
        ("JPEG", lambda jpeg: with_segment(jpeg, 0xE2, b"MPF\0" + GARBAGE), "malformed MPO"),
        ("JPEG", lambda jpeg: with_segment(jpeg, 0xE2, b"ICC_PROFILE\0"), "index out of range"),
        ("JPEG", lambda jpeg: with_segment(jpeg, 0xED, b"Photoshop 3.0\x008BIM\x03\xed"), "index out of range"),
        ("JPEG", lambda jpeg: with_segment(jpeg, 0xEE, b"Adobe"), "metadata was ignored"),
        ("WEBP", lambda webp: webp, "EXIF data was ignored"),
        ("WEBP", lambda webp: webp[:-20], "could not create decoder object"),
    ],
)
def test_damaged_metadata_is_ignored_with_a_note(
    photograph: Image.Image, kind: str, damage: Callable[[bytes], bytes], words: str
) -> None:
    options = {"WEBP": {"lossless": True, "exif": b"Exif\0\0" + GARBAGE}}.get(kind, {})
    content = encoded(photograph, kind, **options)
    expected = read_image(encoded(photograph, kind, **({"lossless": True} if kind == "WEBP" else {})))
    frame = read_frame(damage(content))
    assert np.array_equal(frame.image, expected)
    assert frame.note is not None
    assert any(word in frame.note for word in words.split("|")), frame.note
    assert "\n" not in frame.note


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_healthy_metadata_is_no_note_and_a_damaged_profile_keeps_the_orientation(
    photograph: Image.Image, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    frame = read_frame(encoded(photograph, kind, exif=exif, icc_profile=GARBAGE))
    assert (frame.note, frame.image.shape) == (None, (200, 300, 3))
    if kind == "PNG":
        frame = read_frame(with_chunk(encoded(photograph, kind, exif=exif), b"iCCP", b"profile\0\0" + BOMB))
        assert (frame.note is None, frame.image.shape) == (False, (200, 300, 3))
    if kind == "JPEG":
        frame = read_frame(with_segment(encoded(photograph, kind, exif=exif), 0xE2, b"ICC_PROFILE\0"))
        assert (frame.note is None, frame.image.shape) == (False, (200, 300, 3))


# --- incomplete files

CUT = [
    ("JPEG", {}),
    ("JPEG", {"subsampling": 0}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("BMP", {}),
    ("GIF", {}),
    ("TIFF", {}),
]


def rows_equal(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (image == other).reshape(len(image), -1).all(axis=1)
    return same


@pytest.mark.parametrize(("kind", "options"), CUT)
def test_a_file_is_read_if_it_holds_90_percent_of_its_rows(
    photograph: Image.Image, kind: str, options: dict[str, object]
) -> None:
    """The rows that a note counts are those of the complete file, pixel by pixel; the others are black."""
    content = encoded(photograph, kind, **options)
    whole = read_image(content)
    read = refused = 0
    for share in np.linspace(0.8, 0.999, 16):
        cut = content[: int(len(content) * share)]
        try:
            frame = read_frame(cut)
        except InputError:
            refused += 1
            continue
        read += 1
        assert frame.note is not None
        assert frame.note.startswith("the file ends too early: ")
        equal = rows_equal(frame.image, whole)
        count = 300 if "all rows" in frame.note else int(frame.note.split(": ")[1].split()[0])
        assert equal.sum() == count >= 270
        assert not frame.image[~equal].any()
    assert read >= 3
    assert refused >= 3


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("side", [48, 300])
def test_a_jpeg_without_its_last_two_bytes_is_whole(
    photograph: Image.Image, options: dict[str, object], side: int
) -> None:
    content = encoded(photograph.resize((side, side)), "JPEG", **options)
    assert content.endswith(b"\xff\xd9")
    for missing in (1, 2):
        frame = read_frame(content[:-missing])
        assert np.array_equal(frame.image, read_image(content))
        assert frame.note == "the file ends too early: all rows were read"


def test_a_progressive_jpeg_without_its_last_scan_is_not_taken_for_whole(photograph: Image.Image) -> None:
    """Every row is there, but coarse."""
    content = encoded(photograph, "JPEG", progressive=True)
    scan = content.rindex(b"\xff\xda")
    for cut in (content[:scan], content[: scan + 14]):
        with pytest.raises(InputError, match="it has 0 of 300 rows, expected at least 90% of them"):
            read_image(cut)


def test_an_interlaced_png_has_the_rows_that_are_complete(photograph: Image.Image) -> None:
    """Adam7: the last of seven passes has every second row. Pillow does not write such files."""
    pixels = np.asarray(photograph.convert("L"))
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx])
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 200, 300, 8, 0, 0, 0, 1))
    start = b"\x89PNG\r\n\x1a\n" + header
    packed = zlib.compress(rows, 0)
    assert np.array_equal(read_image(start + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b""))[..., 0], pixels)
    frame = read_frame((start + png_chunk(b"IDAT", packed))[: -10 * 201])
    count = int(str(frame.note).split(": ")[1].split()[0])
    assert 285 <= count <= 291
    assert rows_equal(frame.image[..., 0], pixels).sum() == count


def test_damage_inside_of_the_pixels_is_an_error(photograph: Image.Image) -> None:
    content = bytearray(encoded(photograph, "PNG"))
    content[len(content) * 97 // 100] ^= 0xFF
    with pytest.raises(InputError, match="damaged or incomplete"):
        read_image(bytes(content))


def test_transparent_palettes_and_16_bits_without_their_end(photograph: Image.Image) -> None:
    palette = photograph.quantize(64)
    deep = Image.fromarray(np.asarray(photograph.convert("L")).astype(np.uint16) * 257)
    for content in (
        encoded(palette, "PNG", transparency=3),
        encoded(palette, "GIF", transparency=3),
        encoded(deep, "PNG"),
    ):
        frame = read_frame(content[: int(len(content) * 0.97)])
        equal = rows_equal(frame.image, read_image(content))
        assert f"{equal.sum()} of 300 rows were read" in str(frame.note)


def test_the_first_frame_of_an_animation_that_is_cut_later(photograph: Image.Image) -> None:
    for kind in ("GIF", "PNG"):
        content = encoded(photograph, kind, save_all=True, append_images=[photograph.rotate(90)] * 2)
        frame = read_frame(content[: int(len(content) * 0.9)])
        assert np.array_equal(frame.image, read_image(content))


def test_a_photograph_followed_by_a_video_or_a_second_photograph(photograph: Image.Image) -> None:
    """Phones append previews, depth maps and short videos to a JPEG file; their end may be missing."""
    content = encoded(photograph, "JPEG")
    for appended in (GARBAGE, content[: len(content) // 2]):
        frame = read_frame(content + appended)
        assert np.array_equal(frame.image, read_image(content))
        assert frame.note is None


def test_a_process_that_allows_truncated_images_gets_the_same(
    photograph: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many notebooks set this flag; Pillow then fills what is missing with grey, without a word."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for kind in ("JPEG", "PNG"):
        content = encoded(photograph, kind)
        assert read_frame(content).note is None
        assert "rows were read, the others are black" in str(read_frame(content[: len(content) * 97 // 100]).note)
        with pytest.raises(InputError, match="expected at least 90% of them"):
            read_image(content[: len(content) // 2])


# --- warnings of Pillow


def test_warnings_become_notes_of_their_file_and_never_reach_stderr(photograph: Image.Image, tmp_path: Path) -> None:
    """Also from threads, the second time, and if Python makes errors of warnings; those of others are left alone."""
    for number in range(6):
        content = encoded(photograph, "JPEG")
        if number % 2:
            content = with_segment(content, 0xE1, CORRUPT_EXIF)
        (tmp_path / f"{number}.jpg").write_bytes(content)
    program = """
import sys, warnings
from concurrent.futures import ThreadPoolExecutor
from mien.media import read_frame
def read(number):
    if number % 7 == 0:
        try:
            warnings.warn(f"mine {number}")
        except UserWarning:
            pass
    return number % 2 == (read_frame(f"{sys.argv[1]}/{number % 6}.jpg").note is not None)
before = list(warnings.filters)
with ThreadPoolExecutor(4) as pool:
    print(all(pool.map(read, range(60))), before == warnings.filters)
"""
    for option in ("default", "error", "ignore"):
        command = [sys.executable, "-W", option, "-c", program, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
        assert done.stdout.split() == ["True", "True"]
        assert "Tag data" not in done.stderr
        assert "EXIF" not in done.stderr
        assert done.stderr.count("mine") == (9 if option == "default" else 0)


def test_warnings_for_the_users_own_images_are_left_alone(photograph: Image.Image) -> None:
    content = with_segment(encoded(photograph, "JPEG"), 0xE1, CORRUPT_EXIF)
    assert read_frame(content).note
    seen = threading.Event()

    def read(_: int) -> str | None:
        assert seen.wait(600)
        return read_frame(content).note

    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        notes = pool.map(read, range(4))
        seen.set()
        Image.open(io.BytesIO(content)).getexif()
        assert all(notes)
    assert caught
    assert all("TiffImagePlugin" in warning.filename for warning in caught)


def test_the_note_reaches_the_console_the_tables_and_the_json(
    photograph: Image.Image, astronaut: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "profile.png"
    damaged.write_bytes(with_chunk(encoded(photograph, "PNG"), b"iCCP", b"profile\0\0" + BOMB))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(astronaut.read_bytes()[:-40])
    half = tmp_path / "half.jpg"
    half.write_bytes(astronaut.read_bytes()[:9000])
    table = tmp_path / "out.jsonl"
    command = [
        sys.executable,
        "-m",
        "mien",
        "analyze",
        *map(str, (damaged, cut, half)),
        "--json",
        "--table",
        str(table),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 3
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    for found in (shown, rows):
        assert "metadata was ignored" in found[0]["note"]
        assert "rows were read" in found[1]["note"]
        assert (found[2]["note"], found[2]["error"] is None) == (None, False)
    assert [row["emotion"] for row in rows] == [None, "happiness", None]
    assert done.stderr.count("note: ") == 2
    assert "Warning" not in done.stderr
    assert mien.analyze(cut).note == rows[1]["note"]


def test_many_warnings_are_one_short_note() -> None:
    note = note_of(f"Tag data larger than file.\nSkipping tag {tag // 2} {'x' * 500}" for tag in range(50))
    assert note is not None
    assert note.startswith("Tag data larger than file. Skipping tag 0 x")
    assert note.endswith("…; and 22 more")
    assert "\n" not in note
    assert len(note) < 520
    assert note_of([]) is None


# --- 16 bits in the low range


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
def test_16_bit_pixels_of_the_low_range_are_stretched_with_a_note(suffix: str, channels: int, bits: int) -> None:
    values = np.random.default_rng(bits).integers(0, 1 << bits, (40, 50, channels)).astype(np.uint16)
    values[0, 0] = (1 << bits) - 1
    if channels == 4:
        values[..., 3] = 65535
    content = by_opencv(values, suffix) if channels > 1 else encoded(Image.fromarray(values[..., 0]), suffix[1:])
    frame = read_frame(content)
    expected = (values >> ((bits if bits <= 14 else 16) - 8)).astype(np.uint8)[..., :3]
    assert np.array_equal(frame.image, np.repeat(expected, 3, 2) if channels == 1 else expected)
    if bits <= 14:
        assert f"use only {bits} bits (maximum {(1 << bits) - 1}) and were stretched" in str(frame.note)
    else:
        assert frame.note is None


def test_a_dark_portrait_of_12_bits_is_recognised(astronaut: Path) -> None:
    grey = np.asarray(Image.open(astronaut).convert("L")).astype(np.uint16) << 4
    result = mien.analyze(encoded(Image.fromarray(grey), "PNG"))
    assert [face.emotion for face in result] == ["happiness"]
    assert "12 bits" in str(result.note)
    assert frame_of(Image.fromarray(grey)).note == result.note
    assert read_frame(encoded(Image.fromarray(np.zeros((9, 9), np.uint16)), "PNG")).note is None


def test_a_raw_photograph_says_that_only_its_preview_was_read() -> None:
    content = encoded(Image.fromarray(quarters()), "TIFF", tiffinfo={254: 1})
    assert "only a preview" in str(read_frame(content).note)
    assert read_frame(encoded(Image.fromarray(quarters()), "TIFF")).note is None


@pytest.mark.parametrize("kind", FORMATS)
def test_a_healthy_file_of_every_format_has_no_note(photograph: Image.Image, kind: str) -> None:
    for mode in ("RGB", "L") if kind != "PPM" else ("RGB",):
        assert read_frame(encoded(photograph.convert(mode), kind)).note is None
