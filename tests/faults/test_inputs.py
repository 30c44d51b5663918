"""What is taken as an image in Python, and that everything else is refused at once, with the conversion to write."""

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.media.test_images import BLUE, GREEN, GREY, RED, encoded, quarters

import mien
from mien.errors import InputError, LimitError
from mien.media import frame_of, open_frames, read_image
from mien.results import FrameResult

torch = pytest.importorskip("torch")

PNG = encoded(Image.fromarray(quarters()), "PNG")


@pytest.fixture(scope="module")
def analyzer() -> mien.Analyzer:
    return mien.Analyzer(detector="whole-image")


class Located:
    """A path of another package."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def read(self) -> str:
        raise AssertionError("py.path.local has a read(), which is not that of a file")


class OnlyRead:
    """A stream with nothing but `read`."""

    def __init__(self) -> None:
        self.file = io.BytesIO(PNG)

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


class Upload:
    """The upload of an asynchronous web framework."""

    async def read(self, size: int = -1) -> bytes:
        return PNG


class Hidden:
    """A stream whose `read` only returns something to await."""

    def read(self, size: int = -1) -> object:
        return Upload().read(size)


# --- taken


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path,
        str,
        np.str_,
        Located,
        lambda path: next(os.scandir(path.parent)),
        lambda path: PNG,
        lambda path: bytearray(PNG),
        lambda path: memoryview(PNG),
        lambda path: memoryview(PNG + PNG)[: len(PNG)],
        lambda path: io.BytesIO(PNG),
        lambda path: OnlyRead(),
        lambda path: f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
        lambda path: f"data:image/png;base64,{base64.b64encode(PNG).decode().rstrip('=').replace('+', '%2B')}",
        lambda path: "data:image/png," + "".join(f"%{byte:02X}" for byte in PNG),
        Image.open,
        lambda path: Image.fromarray(quarters()),
        lambda path: Image.fromarray(quarters()).convert("RGBA"),
        lambda path: quarters(),
        lambda path: np.ma.masked_array(quarters()),
        lambda path: torch.from_numpy(quarters()),
        lambda path: torch.from_numpy(quarters()).permute(2, 0, 1).permute(1, 2, 0),
        lambda path: mien.Frame(quarters()),
    ],
)
def test_every_form_of_an_image_gives_the_same_pixels(
    analyzer: mien.Analyzer, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    assert np.array_equal(frame_of(make(path)).image, quarters())
    result = analyzer.analyze(make(path))  # type: ignore[call-overload]
    assert isinstance(result, FrameResult)
    assert (result.width, result.height, len(result)) == (64, 48, 1)


class Broken(io.BytesIO):
    """A file on a disk that fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(PNG)
        self.error = error

    def read(self, size: int | None = -1) -> bytes:
        raise self.error


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ConnectionResetError(), zipfile.BadZipFile("bad")])
def test_a_file_that_fails_does_not_lose_the_others(analyzer: mien.Analyzer, error: Exception) -> None:
    found = analyzer.analyze([PNG, Broken(error), PNG])
    assert [result.error is None for result in found] == [True, False, True]
    assert "'image in a stream' cannot be read: " in (found[1].error or "")
    assert found[1].source == "images[1]"
    with pytest.raises(InputError, match="cannot be read"):
        analyzer.analyze(Broken(error))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file of Linux that cannot be read from its start")
def test_a_path_that_fails_does_not_lose_the_others(analyzer: mien.Analyzer) -> None:
    found = analyzer.analyze([PNG, "/proc/self/mem", PNG])
    assert [result.error is None for result in found] == [True, False, True]
    assert (found[1].error or "").startswith("'/proc/self/mem' cannot be read: ")


def test_an_open_file_without_a_text_name_is_a_stream(analyzer: mien.Analyzer, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    with tempfile.TemporaryFile() as numbered, tempfile.SpooledTemporaryFile() as unnamed:
        files: list[Any] = [numbered, unnamed]
        for file in files:
            file.write(PNG)
            assert analyzer.analyze(file).source == "image in a stream"
        assert [each.source for each in analyzer.analyze(files)] == ["images[0]", "images[1]"]
    with open(os.fsencode(path), "rb") as named, path.open("rb") as other:
        assert [each.source for each in analyzer.analyze([named, other])] == [str(path)] * 2


def test_a_pil_image_is_turned_upright_and_stays_as_it_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(np.ascontiguousarray(np.rot90(quarters()))).save(path, quality=95, exif=exif)
    with Image.open(path) as image:
        frame = frame_of(image)
        assert (frame.source, frame.image.shape) == (str(path), (48, 64, 3))
        assert np.array_equal(frame.image, read_image(path))
        assert (image.size, image.getexif()[0x0112]) == ((48, 64), 6)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "CMYK", "YCbCr", "HSV", "I;16"])
def test_pil_images_of_every_mode(mode: str) -> None:
    grey = Image.fromarray(quarters()).convert("L")
    image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else None
    pixels = frame_of(image or (Image.fromarray(quarters()) if mode != "PA" else grey).convert(mode)).image
    assert pixels.shape == (48, 64, 3)
    if mode in {"CMYK", "YCbCr", "HSV"}:
        for place, colour in zip(((5, 5), (5, 60), (40, 5), (40, 60)), (RED, GREEN, BLUE, GREY), strict=True):
            assert np.abs(pixels[place].astype(int) - colour).max() <= 8


def test_a_pil_image_of_a_damaged_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(PNG[: len(PNG) // 2])
    with Image.open(path) as image, pytest.raises(InputError, match=r"the PIL image '.*' cannot be decoded"):
        frame_of(image)
    with pytest.raises(LimitError, match="the limit is 100"):
        frame_of(Image.fromarray(quarters()), max_pixels=100)
    with pytest.raises(InputError, match="32-bit pixels"):
        frame_of(Image.fromarray(quarters()).convert("F"))


def test_collections_of_paths_give_lists(analyzer: mien.Analyzer, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    names = [str(path), str(tmp_path / "missing.png")]
    for several in (
        names,
        tuple(names),
        deque(names),
        dict.fromkeys(names).keys(),
        np.array(names),
        np.array(names, object),
        pd.Series(names),
        pd.Series(names, index=[7, 9]),
    ):
        results = analyzer.analyze(several)
        assert isinstance(results, list)
        assert [(result.source, result.error is None) for result in results] == list(
            zip(names, [True, False], strict=True)
        )
    assert [len(result) for result in analyzer.analyze({names[0]})] == [1]
    batch = torch.from_numpy(np.stack([quarters(), quarters()]))
    assert [len(result) for result in analyzer.analyze(list(batch))] == [1, 1]


# --- refused, at the call


TENSOR = torch.from_numpy(quarters())


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "cv2.imread returns None"),
        (7, "got int"),
        (len, "got builtin_function_or_method"),
        (Image.Image, "got type"),
        ({"a": "a.png"}, "list(images.values())"),
        (pd.DataFrame({"path": ["a.png"]}), "table['path']"),
        (Upload(), "await file.read()"),
        (Hidden(), "gives coroutine"),
        (io.StringIO("text"), "open(path, 'rb')"),
        (TENSOR.permute(2, 0, 1), "pass tensor.detach().cpu().permute(1, 2, 0)"),
        (TENSOR / 255, "pass tensor.detach().cpu().mul(255).round().byte()"),
        (TENSOR.permute(2, 0, 1) / 255, "pass tensor.detach().cpu().permute(1, 2, 0).mul(255).round().byte()"),
        ((TENSOR / 255).requires_grad_(), "pass tensor.detach().cpu().mul(255).round().byte()"),
        ((TENSOR / 255).bfloat16(), "torch.bfloat16"),
        (TENSOR.permute(2, 0, 1)[None], "[image.detach().cpu().permute(1, 2, 0) for image in batch]"),
        (TENSOR.to("meta"), "cannot be converted to a numpy array"),
        (quarters() / 255, "(array * 255).round().astype('uint8')"),
        (quarters().transpose(2, 0, 1) / 255, "(array.transpose(1, 2, 0) * 255).round().astype('uint8')"),
        (quarters().transpose(2, 0, 1), "array.transpose(1, 2, 0)"),
        (quarters()[None], "list(batch)"),
        (quarters().astype(np.uint16), "(array >> 8).astype('uint8')"),
        (quarters().astype(np.int64), "array.astype('uint8')"),
        (quarters() > 99, "array.astype('uint8') * 255"),
        (np.arange(9), "got int64"),
    ],
)
def test_what_is_no_image_is_refused_at_the_call(analyzer: mien.Analyzer, image: object, words: str) -> None:
    for call in (analyzer.analyze, mien.detect):
        with pytest.raises((TypeError, ValueError)) as caught:
            call(image)  # type: ignore
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "conversion",
    ["tensor.detach().cpu().permute(1, 2, 0).mul(255).round().byte()", "tensor.detach().cpu().mul(255).round().byte()"],
)
def test_the_conversion_that_a_message_names_works(conversion: str) -> None:
    tensor = TENSOR.permute(2, 0, 1) / 255 if "permute" in conversion else TENSOR / 255
    with pytest.raises(TypeError) as caught:
        frame_of(tensor)
    assert str(caught.value).endswith(f"pass {conversion}")
    assert np.array_equal(frame_of(eval(conversion, {"tensor": tensor})).image, quarters())


async def later() -> AsyncIterator[bytes]:
    yield PNG


def test_what_has_to_be_awaited_says_so(analyzer: mien.Analyzer) -> None:
    waiting = Upload().read()
    with pytest.raises(TypeError, match="got coroutine; await it first"):
        analyzer.analyze(waiting)  # type: ignore[call-overload]
    waiting.close()
    with pytest.raises(TypeError, match=r"\[image async for image in images\]"):
        analyzer.analyze(later())  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="detect takes one image, got list"):
        mien.detect([quarters()])  # type: ignore[arg-type]


LONG = base64.b64encode(PNG * 9).decode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "https://example.com/photo.jpg",
            "'https://example.com/photo.jpg' is the address of an image; only videos and",
        ),
        (Path("https://example.com/photo.jpg"), "'https://example.com/photo.jpg' is the address of an image"),
        (f"https://example.com/photo.jpg?token={LONG}", "is the address of an image"),
        ("s3://bucket/photo.jpg", "download it first"),
        ("s3://bucket/photo", "'s3://bucket/photo' is a URL, expected a path"),
        ("file:///tmp/photo.jpg", "leave out 'file://'"),
        ("data:image/png;base64,@@@" + LONG, "base64 is damaged"),
        ("data:image/png;base64" + LONG[:50], "without a comma"),
        (f"data:image/png;base64,{base64.b64encode(b'no image' * 99).decode()}", "'data: URI' is not an image"),
        (Path(f"data:image/png;base64,{LONG}"), "pass it as a str"),
        (LONG, "base64.b64decode"),
        (LONG.encode(), "base64.b64decode"),
        ("~/photo.jpg", "expanduser"),
        ("nowhere/" + "x" * 400 + ".png", "nowhere/"),
        ("a\0b\n.png", r"'a\x00b\n.png' cannot be opened"),
    ],
)
def test_a_text_that_is_no_path_says_what_to_do_and_is_not_repeated(
    analyzer: mien.Analyzer, text: str | bytes | Path, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        analyzer.analyze(text)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    whole = text.decode() if isinstance(text, bytes) else str(text)
    assert not any(whole[start : start + 81] in message for start in range(max(1, len(whole) - 80)) if len(whole) > 80)
    assert len(message) < 300
    (result,) = analyzer.analyze([text])
    assert result.error == message


def test_a_path_in_bytes_and_a_closed_file_are_named(analyzer: mien.Analyzer, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    with pytest.raises(InputError, match="is a path in bytes"):
        analyzer.analyze(os.fsencode(path))
    with path.open("rb") as file:
        pass
    with pytest.raises(InputError, match=r"cannot be read: .*closed file"):
        analyzer.analyze(file)
    with path.open(encoding="latin-1") as text, pytest.raises(TypeError, match="text mode"):
        analyzer.analyze(text)


def test_a_data_uri_is_bounded() -> None:
    with pytest.raises(LimitError, match="'data: URI' has more than"):
        read_image("data:image/png;base64," + "A" * 100_000_000, max_pixels=100)


def test_a_url_on_the_command_line_is_an_error_row(astronaut: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mien",
        "analyze",
        "https://example.com/a.jpg",
        str(astronaut),
        "--faces-are-crops",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 3
    assert "'https://example.com/a.jpg' is the address of an image; only videos and streams are read" in done.stderr
    assert "download it first" in done.stderr
    assert "Traceback" not in done.stderr
    sources = [json.loads(line)["source"] for line in done.stdout.splitlines()]
    assert sources == ["https://example.com/a.jpg", str(astronaut)]


def test_an_address_keeps_its_text_and_is_no_stream() -> None:
    addresses = ("https://example.com//a.jpg?size=[1]", "s3://bucket/a.png")
    frames = open_frames(addresses)
    assert (frames.items, frames.paths, frames.is_live, frames.has_video, frames.total) == (
        addresses,
        (),
        False,
        False,
        2,
    )
    assert [frame.source for frame in frames] == list(addresses)
    assert open_frames(["https://example.com/a.m3u8"]).is_live


def test_tensors_are_taken_without_importing_torch() -> None:
    program = """
import sys, numpy, mien
class Tensor:
    shape, dtype = (48, 48, 3), "uint8"
    def __array__(self, dtype=None, copy=None):
        return numpy.full(self.shape, 90, "uint8")
print(len(mien.analyze(Tensor(), detector="whole-image")), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.split() == ["1", "False"]
