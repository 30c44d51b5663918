"""Kinds of image files: which are read, what is said of those that are not, and of several images in one."""

import io
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.media.test_images import BLUE, GREEN, RED, encoded, needs_avif, quarters

from mien.errors import InputError, LimitError
from mien.media import as_rgb, find_images, read_frame, read_frames, read_image
from mien.media.formats import FORMATS, image_format
from mien.results import Frame, FrameResult


def by_opencv(image: NDArray[np.uint16], suffix: str) -> bytes:
    """A 16-bit image file: Pillow writes none in colour. OpenCV wants blue first."""
    order = [2, 1, 0, 3][: image.shape[2]]
    done, content = cv2.imencode(suffix, image[..., order])
    assert done
    return content.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_colour_keeps_its_range_and_its_colours(suffix: str) -> None:
    ramp = np.linspace(0, 65535, 60 * 80 * 3).astype(np.uint16).reshape(60, 80, 3)
    ramp[:8, :8] = [60000, 30000, 1000]
    image = read_image(by_opencv(ramp, suffix))
    assert np.abs(image - ramp / 257).max() < 1
    assert image[4, 4].tolist() == [234, 117, 3]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_transparency_is_laid_on_white(suffix: str) -> None:
    image = np.full((20, 30, 4), [60000, 30000, 1000, 65535], np.uint16)
    image[:, :15, 3] = 0
    read = read_image(by_opencv(image, suffix))
    assert read[5, 5].tolist() == [255, 255, 255]
    assert read[5, 25].tolist() == [234, 117, 3]


def test_sixteen_bits_of_either_end_first() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(">u2").reshape(64, 64)
    head = struct.pack(">2sHI", b"MM", 42, 8)
    fields = [(256, 64), (257, 64), (258, 16), (259, 1), (262, 1), (273, 0), (277, 1), (278, 64), (279, 64 * 64 * 2)]
    start = 8 + 2 + 12 * len(fields) + 4
    packed = b"".join(struct.pack(">HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in fields)
    big = head + struct.pack(">H", len(fields)) + packed + bytes(4) + ramp.tobytes()
    little = encoded(Image.fromarray(ramp.astype("<u2")), "TIFF")
    assert np.array_equal(read_image(big), read_image(little))
    assert np.abs(read_image(big)[..., 0] - ramp / 257).max() < 1


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}])
def test_tiff_in_cmyk_and_compressed(options: dict[str, object]) -> None:
    for mode, tolerance in (("RGB", 0), ("CMYK", 1)):
        image = read_image(encoded(Image.fromarray(quarters()).convert(mode), "TIFF", **options))
        assert np.abs(image[10, 10].astype(int) - RED).max() <= tolerance
        assert np.abs(image[10, 50].astype(int) - GREEN).max() <= tolerance


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", pytest.param("AVIF", marks=needs_avif), "PNG"])
def test_grey_everywhere(kind: str) -> None:
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None], 48, 0)
    image = read_image(encoded(Image.fromarray(ramp), kind, quality=95))
    assert np.abs(image.astype(int) - ramp[..., None]).max() <= 6


@needs_avif
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_avif_stands_upright(orientation: int) -> None:
    # AVIF carries the turn twice: as EXIF and as its own property; one of them counts.
    turns = {3: 2, 6: 1, 8: 3}
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(quarters(), turns[orientation])))
    image = read_image(encoded(stored, "AVIF", quality=95, exif=exif))
    assert image.shape == (48, 64, 3)
    assert np.abs(image[5, 5].astype(int) - RED).max() <= 12


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("GIF", "only the first of 3 frames was read"),
        ("PNG", "only the first of 3 frames was read"),
        ("WEBP", "only the first of 3 frames was read"),
        pytest.param("AVIF", "only the first of 3 frames was read", marks=needs_avif),
        ("TIFF", "only the first of 3 pages was read"),
    ],
)
def test_only_the_first_of_several_images_is_read_with_a_note(kind: str, said: str) -> None:
    frames = [Image.new("RGB", (32, 24), colour) for colour in (RED, GREEN, BLUE)]
    frame = read_frame(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert np.abs(frame.image[4, 4].astype(int) - RED).max() <= 12
    assert frame.note == said
    assert read_frame(encoded(frames[0], kind)).note is None


def test_the_previews_in_a_photograph_are_not_an_animation() -> None:
    several = encoded(Image.fromarray(quarters()), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    frame = read_frame(several)
    assert frame.image.shape == (48, 64, 3)
    assert frame.note is None


@pytest.mark.parametrize("shape", [(400, 24_000), (24_000, 400)])
def test_a_huge_panorama_is_read_whole(shape: tuple[int, int]) -> None:
    panorama = np.zeros((*shape, 3), np.uint8)
    panorama[-100:, -100:] = RED
    image = read_image(encoded(Image.fromarray(panorama), "JPEG", quality=90))
    assert image.shape == (*shape, 3)
    assert np.abs(image[-50, -50].astype(int) - RED).max() <= 6
    with pytest.raises(LimitError, match=r"60,?000 x 4,?000 = 240,000,000 pixels"):
        read_image(encoded(Image.new("1", (60_000, 4_000)), "PNG"))


def iso_file(major: bytes, *compatible: bytes) -> bytes:
    brands = b"".join(compatible)
    return struct.pack(">I4s4sI", 16 + len(brands), b"ftyp", major, 0) + brands + bytes(200)


@pytest.mark.parametrize(
    "content",
    [
        iso_file(b"heic", b"mif1", b"heic"),
        iso_file(b"mif1", b"mif1", b"heic", b"hevc"),
        iso_file(b"msf1", b"hevc"),
        iso_file(b"heix"),
    ],
)
def test_heif_gives_an_error_with_a_hint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is a HEIF image, which Pillow cannot decode") as caught:
        read_image(path)
    assert "heif-convert" in caught.value.hint
    # In a folder it is not passed over in silence.
    (result,) = read_frames(find_images([tmp_path]))
    assert isinstance(result, FrameResult)
    assert result.error is not None
    assert "heif-convert" in result.error


@needs_avif
def test_an_avif_in_the_general_container_is_read() -> None:
    content = bytearray(encoded(Image.fromarray(quarters()), "AVIF", quality=95))
    assert content[8:12] == b"avif"
    content[8:12] = b"mif1"
    assert np.abs(read_image(bytes(content))[10, 10].astype(int) - RED).max() <= 12


@needs_avif
def test_a_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.fromarray(quarters()), "AVIF")
    monkeypatch.setattr("PIL.features.check", lambda library: library != "avif")
    with pytest.raises(
        InputError, match="is in the format AVIF, which the installed Pillow was built without"
    ) as caught:
        image_format(content[:64], "x.avif")
    assert "pip install" in caught.value.hint


def test_a_pillow_without_avif_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.media.formats.FORMATS", tuple(kind for kind in FORMATS if kind != "AVIF"))
    with pytest.raises(InputError, match="is in the format AVIF, which the installed Pillow does not read") as caught:
        image_format(struct.pack(">I4s4s4s", 28, b"ftyp", b"avif", b"\0\0\0\0"), "x.avif")
    assert caught.value.hint == "pip install --upgrade 'pillow>=11.3'"


def test_colours_that_cannot_be_converted_to_rgb_are_named() -> None:
    lab = Image.fromarray(quarters())
    content = encoded(Image.frombytes("LAB", lab.size, lab.tobytes()), "TIFF")
    with pytest.raises(InputError, match=r"L\*a\*b\* pixels, expected grey, RGB or CMYK"):
        read_image(content)


def test_a_damaged_file_of_every_format_gives_an_error(tmp_path: Path) -> None:
    for kind in FORMATS:
        content = encoded(Image.fromarray(quarters()), kind)
        path = tmp_path / f"x.{kind.lower()}"
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match=f"is a {kind} file that is damaged or incomplete"):
            read_image(path)


@pytest.mark.parametrize(
    ("dtype", "way"), [(np.uint16, "array >> 8"), (np.float32, "array * 255"), (np.float64, "array * 255")]
)
def test_the_error_for_a_wrong_dtype_shows_the_conversion(dtype: type[np.generic], way: str) -> None:
    with pytest.raises(TypeError, match="expected dtype uint8") as caught:
        as_rgb(np.zeros((4, 4, 3), dtype))
    assert way in str(caught.value)


class Endless(io.RawIOBase):
    """A pipe that never ends; it counts what is taken from it."""

    def __init__(self, start: bytes) -> None:
        self.start = start
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert size > 0, "all of it was asked for"
        part = self.start[self.taken : self.taken + size].ljust(size, b"\0")
        self.taken += size
        return part


def test_an_endless_stream_is_refused() -> None:
    nothing = Endless(b"")
    with pytest.raises(InputError, match="is not an image"):
        read_image(nothing)  # type: ignore[arg-type]
    assert nothing.taken < 1000
    image = Endless(encoded(Image.fromarray(quarters()), "PNG"))
    with pytest.raises(LimitError, match="has more than"):
        read_image(image, max_pixels=64 * 48)  # type: ignore[arg-type]
    assert image.taken < 200_000_000


def stdin_of(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stdin_of(monkeypatch, encoded(Image.fromarray(quarters()), "PNG"))
    (frame,) = read_frames(find_images(["-", "-"]))
    assert isinstance(frame, Frame)
    assert frame.source == "stdin"
    assert np.array_equal(frame.image, quarters())
    stdin_of(monkeypatch, b"")
    (result,) = read_frames(["-"])
    assert isinstance(result, FrameResult)
    assert (result.source, result.error) == ("stdin", "'stdin' is empty: 0 bytes")
    # A file of that name has to be named with its folder.
    monkeypatch.chdir(tmp_path)
    Image.fromarray(quarters()).save(tmp_path / "-", "PNG")
    (frame,) = read_frames(find_images(["./-"]))
    assert isinstance(frame, Frame)
    assert np.array_equal(frame.image, quarters())
