"""Reading images: what every kind of file becomes, and what every bad one says."""

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mien.errors import InputError, LimitError
from mien.media import MAX_PIXELS, as_rgb, read_frames, read_image
from mien.media.decode import shown
from mien.media.formats import FORMATS
from mien.results import Frame, FrameResult

# Four quarters of plain colour: bears JPEG, shows any turn and any swap of channels.
RED, GREEN, BLUE, GREY = (200, 30, 30), (30, 180, 40), (20, 40, 210), (90, 90, 90)
WHITE = (255, 255, 255)
needs_avif = pytest.mark.skipif("AVIF" not in FORMATS, reason="Pillow before 11.3 does not read AVIF")


def quarters(width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[height // 2 :, width // 2 :] = GREY
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """A valid black one-bit PNG: 900 million pixels in about 100 kB."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    chunks = png_chunk(b"IHDR", header), png_chunk(b"IDAT", rows), png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("GIF", {}, 3),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 12),
        ("JPEG", {"quality": 95, "subsampling": 0}, 6),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 6),
        pytest.param("AVIF", {"quality": 95}, 12, marks=needs_avif),
    ],
)
def test_every_format_gives_the_same_rgb(kind: str, options: dict[str, object], tolerance: int) -> None:
    image = read_image(encoded(Image.fromarray(quarters()), kind, **options))
    assert image.dtype == np.uint8
    assert image.shape == (48, 64, 3)
    assert image.flags.writeable
    inner = np.s_[4:20, 4:28], np.s_[4:20, 36:60], np.s_[28:44, 4:28], np.s_[28:44, 36:60]
    for place, colour in zip(inner, (RED, GREEN, BLUE, GREY), strict=True):
        assert np.abs(image[place].astype(int) - colour).max() <= tolerance


def test_path_string_bytes_and_stream_give_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "ä image.png"
    Image.fromarray(quarters()).save(path)
    content = path.read_bytes()
    for source in (path, str(path), content, io.BytesIO(content)):
        assert np.array_equal(read_image(source), quarters())
    with path.open("rb") as file:
        file.seek(7)
        assert np.array_equal(read_image(file), quarters())
        assert not file.closed


def test_a_pipe_is_read() -> None:
    end, start = os.pipe()
    content = encoded(Image.fromarray(quarters()), "PNG")
    with open(start, "wb") as writer:
        writer.write(content)
    with open(end, "rb") as reader:
        assert np.array_equal(read_image(reader), quarters())


def test_grey_and_bilevel() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(8, 32)
    assert np.array_equal(read_image(encoded(Image.fromarray(ramp), "PNG")), np.stack([ramp] * 3, axis=2))
    bits = Image.fromarray(ramp > 127)
    assert np.unique(read_image(encoded(bits, "PNG"))).tolist() == [0, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_range(kind: str) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    image = read_image(encoded(Image.fromarray(ramp), kind))
    assert image.min() == 0
    assert image.max() == 255
    assert np.abs(image[..., 0] - ramp / 257).max() < 1


def test_cmyk_comes_out_in_its_colours() -> None:
    cmyk = Image.fromarray(quarters()).convert("CMYK")
    image = read_image(encoded(cmyk, "JPEG", quality=95, subsampling=0))
    assert np.abs(image[10, 10].astype(int) - RED).max() <= 8


def test_transparency_is_laid_on_white() -> None:
    rgba = np.dstack([quarters(), np.full((48, 64), 255, np.uint8)])
    rgba[:24, :32, 3] = 0
    rgba[24:, :32, 3] = 128
    image = read_image(encoded(Image.fromarray(rgba), "PNG"))
    assert tuple(image[5, 5]) == WHITE
    assert np.abs(image[40, 5].astype(int) - [137, 147, 232]).max() <= 1
    assert tuple(image[5, 60]) == GREEN
    assert np.array_equal(as_rgb(rgba), image)


def test_transparent_grey_and_palette_are_laid_on_white() -> None:
    grey = Image.new("LA", (20, 20), (40, 255))
    grey.paste((40, 0), (0, 0, 10, 20))
    image = read_image(encoded(grey, "PNG"))
    assert tuple(image[5, 5]) == WHITE
    assert tuple(image[5, 15]) == (40, 40, 40)

    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.paste(0, (0, 0, 10, 20))
    for kind in ("PNG", "GIF"):
        image = read_image(encoded(palette, kind, transparency=0))
        assert tuple(image[5, 5]) == WHITE
        assert tuple(image[5, 15]) == (200, 100, 50)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    # How an upright image lies in a file of each orientation (EXIF 2.3, 4.6.4).
    stored: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: np.rot90,
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    image = Image.fromarray(np.ascontiguousarray(stored[orientation](quarters())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {}
    decoded = read_image(encoded(image, kind, exif=exif, **options))
    assert decoded.shape == (48, 64, 3)
    corners = decoded[5, 5], decoded[5, 58], decoded[42, 5], decoded[42, 58]
    for found, colour in zip(corners, (RED, GREEN, BLUE, GREY), strict=True):
        assert np.abs(found.astype(int) - colour).max() <= 12


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (12, 9), colour) for colour in (RED, GREEN, BLUE)]
    for kind in ("GIF", "PNG", "WEBP"):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(read_image(content)[4, 4].astype(int) - RED).max() <= 6


def test_an_image_of_900_million_pixels_is_refused_from_its_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(huge_png())
    with pytest.raises(LimitError) as caught:
        read_image(path)
    assert caught.value.message == (
        f"'{shown(str(path))}' has 30000 x 30000 = 900,000,000 pixels, the limit is 200,000,000"
    )
    assert caught.value.hint == "scale the image down"  # the command line has no other limit


def test_the_limit_is_checked_before_decoding() -> None:
    content = encoded(Image.fromarray(quarters()), "PNG")
    assert read_image(content, max_pixels=64 * 48).shape == (48, 64, 3)
    with pytest.raises(LimitError, match=r"64 x 48 = 3,072 pixels, the limit is 3,071"):
        read_image(content, max_pixels=64 * 48 - 1)
    # The data behind the header is rubbish: had it been touched, the error would be another.
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    rubbish = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"rubbish")
    with pytest.raises(LimitError, match=r"2,500,000,000"):
        read_image(rubbish)


def test_large_cameras_pass_and_the_process_limit_of_pillow_plays_no_part(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    assert MAX_PIXELS >= 16_320 * 12_240  # a telephone of 200 megapixels
    assert MAX_PIXELS < 30_000 * 30_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind in ("PNG", "JPEG", "BMP"):
        assert read_image(encoded(Image.fromarray(quarters()), kind)).shape == (48, 64, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
    assert not recwarn.list


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder, not an image"),
        (lambda path: path.write_bytes(b""), "is empty: 0 bytes"),
        (lambda path: path.write_text("source,frame\n"), "is not an image"),
        (lambda path: path.write_bytes(b"%PDF-1.7\n" + bytes(99)), "is not an image"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "is a PNG file that is damaged or incomplete"),
        (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0"), "is a JPEG file that is damaged or incomplete"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_each_bad_file_has_its_own_message(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    path = tmp_path / "face.png"
    make(path)
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = caught.value.message
    assert words in message
    assert message.count(shown(str(path))) == 1
    assert "\n" not in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    Image.fromarray(quarters()).save(path)
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: permission denied"):
        read_image(path)


@pytest.mark.parametrize("name", ["x" * 5000 + ".png", "null\0byte.png"])
def test_an_impossible_file_name(name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be opened|does not exist"):
        read_image(name)


def noise(width: int = 96, height: int = 80) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.85])
def test_an_incomplete_file_is_an_error_and_never_grey_stripes(kind: str, share: float) -> None:
    content = encoded(noise(), kind)
    with pytest.raises(InputError, match="damaged or incomplete"):
        read_image(content[: int(len(content) * share)])


def test_an_incomplete_progressive_image_is_an_error() -> None:
    content = encoded(noise(), "JPEG", progressive=True)
    with pytest.raises(InputError, match="damaged or incomplete"):
        read_image(content[: len(content) * 3 // 4])


def test_32_bit_pixels_are_refused() -> None:
    content = encoded(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")
    with pytest.raises(InputError, match="32-bit pixels of unknown range, expected 8 or 16 bits"):
        read_image(content)


def float_tiff(pixels: NDArray[np.floating]) -> bytes:
    """Encodes colours in floats, (height, width, 3), as a TIFF. Pillow writes none, and old OpenCV no doubles."""
    short, long = 3, 4
    height, width, depth = pixels.shape
    bits, samples, where = 8 * pixels.itemsize, 8 + 2 + 10 * 12 + 4, 8 + 2 + 10 * 12 + 4 + 12
    tags = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, depth, samples),  # bits of a sample
        (259, short, 1, 1),  # not compressed
        (262, short, 1, 2),  # RGB
        (273, long, 1, where),
        (277, short, 1, depth),
        (278, long, 1, height),  # rows in the strip
        (279, long, 1, pixels.nbytes),
        (339, short, depth, samples + 6),  # kind of a sample
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    values = struct.pack("<6H", bits, bits, bits, 3, 3, 3)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values + pixels.tobytes()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_colours_in_floats_are_refused_and_not_called_damaged(kind: type) -> None:
    content = float_tiff(np.ones((8, 8, 3), kind))
    with pytest.raises(InputError, match=r"with a kind of pixels that is not read, such as 32-bit floats") as caught:
        read_image(content)
    assert "damaged" not in caught.value.message
    assert caught.value.hint == "convert it to PNG or JPEG"


SAMPLES = [encoded(noise(24, 16), kind) for kind in FORMATS]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_give_an_image_or_an_input_error(sample: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(sample)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    with suppress(InputError):
        image = read_image(bytes(damaged), max_pixels=1_000_000)
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.dtype == np.uint8


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_refused_with_an_input_error(content: bytes) -> None:
    with pytest.raises(InputError):
        read_image(content)


def test_as_rgb_leaves_rgb_alone_and_widens_grey() -> None:
    rgb = quarters()
    assert as_rgb(rgb) is rgb
    grey = rgb[..., 0]
    for array in (grey, grey[..., None]):
        assert np.array_equal(as_rgb(array), np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("shape", [(3, 20, 30), (20, 30, 2), (20, 30, 5), (1, 20, 30, 3), (20,), (0, 30, 3), (9, 0)])
def test_as_rgb_names_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected shape") as caught:
        as_rgb(np.zeros(shape, np.uint8))
    assert str(shape) in str(caught.value)
    assert "cv2.imread gives BGR" in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint16, np.bool_])
def test_as_rgb_names_a_wrong_dtype(dtype: type[np.generic]) -> None:
    with pytest.raises(TypeError, match=f"uint8 with values 0-255, got {np.dtype(dtype).name}"):
        as_rgb(np.zeros((4, 4, 3), dtype))


def test_as_rgb_refuses_what_is_not_an_array() -> None:
    with pytest.raises(TypeError, match="expected a numpy array, got list"):
        as_rgb([[0, 1], [2, 3]])  # type: ignore[arg-type]


def test_one_bad_file_among_good_ones_is_one_error_in_its_place(tmp_path: Path) -> None:
    good = [tmp_path / "a.png", tmp_path / "c.png"]
    for path in good:
        Image.fromarray(quarters()).save(path)
    bad = tmp_path / "b.png"
    bad.write_bytes(good[0].read_bytes()[:100])
    first, second, third = read_frames([good[0], bad, good[1]])
    assert isinstance(first, Frame)
    assert isinstance(third, Frame)
    assert (first.source, third.source) == (str(good[0]), str(good[1]))
    assert (first.index, first.timestamp) == (0, None)
    assert np.array_equal(third.image, quarters())
    assert isinstance(second, FrameResult)
    assert (second.source, len(second)) == (str(bad), 0)
    assert second.error is not None
    assert "damaged or incomplete" in second.error


def test_frames_obey_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(quarters()).save(path)
    (result,) = read_frames([path], max_pixels=100)
    assert isinstance(result, FrameResult)
    assert result.error is not None
    assert "the limit is 100" in result.error


def test_only_one_frame_is_read_ahead(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(quarters()).save(path)
    asked = 0

    def endless() -> Iterator[Path]:
        nonlocal asked
        while True:
            asked += 1
            yield path

    frames = read_frames(endless())
    assert asked == 0
    for number in range(1, 5):
        next(frames)
        assert asked == number + 1
    frames.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mien-read")]
    assert list(read_frames([])) == []
