"""Measures what inference would cost without OpenCV: `python -m benchmarks.without_opencv`.

The resizes, warps and borders of the inference flow are replaced by the fastest versions in numpy that give the same
pixels within one grey level. Both ways analyze the same images in turn, on one thread; the times are of the processor.
(Pillow cannot replace them: its resizes weight pixels differently, its affine transform has another cubic kernel, and
converting an array of 12 megapixels to its format alone takes longer than OpenCV's whole resize.)

Needs ../shared/data for photographs of several people.
"""

import argparse
import io
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.results import Measurement, Results, markdown, save
from mien import opencv
from mien.analyzer import Analyzer
from mien.expression import OnnxClassifier, preprocess
from mien.faces import crop
from mien.faces.align import Aligner
from mien.faces.detectors import mien as detector
from mien.media import read_image

ROOT: Final = Path(__file__).parent.parent
PICTURE: Final = ROOT / "examples" / "astronaut.jpg"
# Rows that are averaged at once: enough to make numpy's calls cheap, few enough for the processor's cache.
BLOCK: Final = 32
# Bits of a packed channel, and of its weights: three channels share one int64, so each tap is gathered once.
CHANNEL: Final = 21
WEIGHT: Final = 11
OFFSET: Final = 1 << 19  # keeps a channel's sum positive: the cubic kernel has negative weights

Pixels = NDArray[np.uint8]
Source = bytes | Pixels
Taps = tuple[NDArray[np.int64], NDArray[np.float32]]  # (M, K) places and weights: row m is the mean of K rows


def area_taps(old: int, new: int) -> Taps:
    """Each new pixel is the mean of the area that it covers, as in INTER_AREA."""
    edges = np.arange(new + 1) * (old / new)
    places = np.floor(edges[:-1] + 1e-9).astype(np.int64)[:, None] + np.arange(int(np.ceil(old / new)) + 1)
    covered = np.minimum(places + 1, edges[1:, None]) - np.maximum(places, edges[:-1, None])
    weights = covered.clip(0, 1)
    return np.minimum(places, old - 1), (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def sampled_taps(old: int, new: int) -> Taps:
    """Each new pixel is the mean of two linear samples, as in `mien.opencv.shrunk`."""
    middle = (np.arange(2 * new) + 0.5) * (old / (2 * new)) - 0.5
    first = np.floor(middle).astype(np.int64)
    places = np.stack([first, first + 1], axis=1).clip(0, old - 1)
    weights = np.stack([1 - (middle - first), middle - first], axis=1) / 2
    return places.reshape(new, 4), weights.reshape(new, 4).astype(np.float32)


def averaged(image: Pixels, taps: Callable[[int, int], Taps], size: tuple[int, int]) -> Pixels:
    """An image (H, W, 3) resized to (width, height) by weighted means: of rows, then of columns."""
    height, width = image.shape[:2]
    flat = image.reshape(height, -1)
    places, weights = taps(height, size[1])
    if places.shape[1] <= 4 and flat.shape[1] % 2 == 0:
        flat = _rows_of_bytes(flat, places, weights)
    else:
        rows = np.zeros((size[1], flat.shape[1]), np.float32)
        scaled = np.empty(flat.shape[1], np.float32)
        for row, its_places, its_weights in zip(rows, places, weights, strict=True):
            for place, weight in zip(its_places, its_weights, strict=True):
                if weight:
                    np.multiply(flat[place], weight, out=scaled)
                    np.add(row, scaled, out=row)
        flat = rows  # type: ignore[assignment]
    places, weights = taps(width, size[0])
    columns = (places[:, :, None] * 3 + np.arange(3)).transpose(1, 0, 2).reshape(places.shape[1], -1)
    total = np.full((size[1], columns.shape[1]), 0.5, np.float32)
    for column, weight in zip(columns, np.repeat(weights, 3, axis=0).T, strict=True):
        total += flat.take(column, axis=1) * weight
    return total.astype(np.uint8).reshape(size[1], size[0], 3)


def _rows_of_bytes(flat: Pixels, places: NDArray[np.int64], weights: NDArray[np.float32]) -> Pixels:
    """Weighted means of rows, of the even and of the odd bytes in turn, in 16 bits."""
    edges = np.rint(np.cumsum(np.pad(weights, ((0, 0), (1, 0))), axis=1) * 256)
    shares = np.diff(edges).astype(np.uint16)  # each row sums to 256
    pairs, out = flat.view(np.uint16), np.empty((len(places), flat.shape[1]), np.uint8)
    for start in range(0, len(places), BLOCK):
        some = slice(start, start + BLOCK)
        even = np.full((len(places[some]), pairs.shape[1]), 128, np.uint16)
        odd = even.copy()
        for place, share in zip(places[some].T, shares[some].T, strict=True):
            both = pairs.take(place, axis=0)
            even += (both & np.uint16(255)) * share[:, None]
            both >>= np.uint16(8)
            both *= share[:, None]
            odd += both
        even >>= np.uint16(8)
        odd &= np.uint16(0xFF00)
        np.bitwise_or(even, odd, out=out.view(np.uint16)[some])
    return out


def halved(image: Pixels) -> Pixels:
    """An image at half its size: INTER_AREA for even sides."""
    rows = image[0::2].astype(np.uint16)
    rows += image[1::2]
    return ((rows[:, 0::2] + rows[:, 1::2] + np.uint16(2)) >> np.uint16(2)).astype(np.uint8)


def area(image: Pixels, size: tuple[int, int]) -> Pixels:
    """INTER_AREA."""
    return halved(image) if image.shape[1::-1] == (2 * size[0], 2 * size[1]) else averaged(image, area_taps, size)


def resized(image: Pixels, scale: float) -> tuple[Pixels, NDArray[np.float64]]:
    """As `mien.opencv.resized`, for reductions."""
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return (image if size == (width, height) else area(image, size)), np.array(size) / (width, height)


def shrunk(image: Pixels, scale: float) -> tuple[Pixels, NDArray[np.float64]]:
    """As `mien.opencv.shrunk`."""
    if scale >= 0.5:
        return resized(image, scale)
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return averaged(image, sampled_taps, size), np.array(size) / (width, height)


def _kernel() -> NDArray[np.int64]:
    """The weights (16, 1024) of the 4x4 taps of the cubic kernel (a = -0.75) at each 1/32 of a pixel."""
    away = np.abs(np.arange(-1, 3)[:, None] - np.arange(32) / 32)
    near = (1.25 * away - 2.25) * away**2 + 1
    far = ((-0.75 * away + 3.75) * away - 6) * away + 3
    one = np.where(away <= 1, near, np.where(away < 2, far, 0))
    both = np.rint(np.einsum("iy,jx->ijyx", one, one).reshape(16, 1024) * 2**WEIGHT).astype(np.int64)
    both[5] += 2**WEIGHT - both.sum(axis=0)
    return np.asarray(both, np.int64)


KERNEL: Final = _kernel()


def warped(image: Pixels, matrix: NDArray[np.float64], size: int) -> Pixels:
    """As `mien.opencv.warped`."""
    height, width = image.shape[:2]
    linear = np.linalg.inv(matrix[:, :2])
    step = np.arange(size)
    across, down = (
        np.rint(row[0] * step * 1024).astype(np.int64)
        + np.rint((row[1] * step + shift) * 1024).astype(np.int64)[:, None]
        for row, shift in zip(linear, -linear @ matrix[:, 2], strict=True)
    )
    across, down = (across.ravel() + 16) >> 5, (down.ravel() + 16) >> 5
    phase = ((down & 31) << 5) | (across & 31)
    packed = np.empty((height + 6, width + 6), np.int64)  # with three repeated pixels on each side
    inner = packed[3:-3, 3:-3]
    inner[:] = image[..., 2]
    for channel in (1, 0):
        inner <<= CHANNEL
        inner |= image[..., channel]
    packed[3:-3, :3], packed[3:-3, -3:] = inner[:, :1], inner[:, -1:]
    packed[:3], packed[-3:] = packed[3], packed[-4]
    flat = packed.ravel()
    first = ((down >> 5) + 2).clip(0, height + 2) * (width + 6) + ((across >> 5) + 2).clip(0, width + 2)
    ones = 1 + (1 << CHANNEL) + (1 << 2 * CHANNEL)
    total = np.full(size * size, (OFFSET + (1 << WEIGHT >> 1)) * ones)
    for tap, weights in enumerate(KERNEL):
        total += flat.take(first + (tap // 4 * (width + 6) + tap % 4)) * weights.take(phase)
    channels = np.stack([(total >> (CHANNEL * channel)) & ((1 << CHANNEL) - 1) for channel in range(3)], axis=-1)
    drawn = ((channels - OFFSET) >> WEIGHT).clip(0, 255).astype(np.uint8).reshape(size, size, 3)
    return halved(drawn)


class _Cv2:
    """What the inference flow calls by name, in numpy."""

    def __getattr__(self, name: str) -> Any:
        return getattr(cv2, name)

    def cvtColor(self, image: Pixels, code: int) -> Pixels:  # noqa: N802
        """RGB to grey."""
        assert code == cv2.COLOR_RGB2GRAY
        red, green, blue = np.moveaxis(image.astype(np.int32), -1, 0)
        return np.asarray((4899 * red + 9617 * green + 1868 * blue + 8192) >> 14, np.uint8)

    def copyMakeBorder(self, image: Pixels, top: int, bottom: int, left: int, right: int, kind: int) -> Pixels:  # noqa: N802
        """A border of black at the bottom and the right."""
        assert (top, left, kind) == (0, 0, cv2.BORDER_CONSTANT)
        out = np.zeros((image.shape[0] + bottom, image.shape[1] + right, 3), np.uint8)
        out[: image.shape[0], : image.shape[1]] = image
        return out


@contextmanager
def without_opencv() -> Iterator[None]:
    """The inference flow computes in numpy inside the `with` block."""
    with (
        patch.object(crop, "resized", resized),
        patch.object(crop, "warped", warped),
        patch.object(detector, "shrunk", shrunk),
        patch.object(detector, "cv2", _Cv2()),
        patch.object(preprocess, "cv2", _Cv2()),
    ):
        yield


def images(shared: Path, count: int) -> dict[str, list[Source]]:
    """The images to analyze, by kind: files and arrays."""
    portrait = Image.open(PICTURE).convert("RGB")
    with zipfile.ZipFile(shared / "data" / "people" / "people.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".webp")][:: len(archive.namelist()) // count]
        files = [archive.read(name) for name in names]
    photographs = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]

    def enlarged(size: tuple[int, int]) -> list[Pixels]:
        return [np.asarray(each.resize(size, Image.Resampling.BICUBIC)) for each in (portrait, *photographs[:5])]

    def coded(arrays: list[Pixels]) -> list[bytes]:
        buffers = [io.BytesIO() for _ in arrays]
        for array, buffer in zip(arrays, buffers, strict=True):
            Image.fromarray(array).save(buffer, "JPEG", quality=92)
        return [buffer.getvalue() for buffer in buffers]

    half, full, large = (enlarged(size) for size in ((640, 480), (1920, 1080), (4000, 3000)))
    crowd = np.asarray(Image.fromarray(np.tile(np.asarray(portrait)[:330, 100:400], (3, 4, 1))).resize((640, 480)))
    return {
        "the astronaut, file": [PICTURE.read_bytes()],
        "photographs as they are, files": list(files),
        "640x480, arrays": list(half),
        "640x480 with 12 faces, array": [crowd],
        "1920x1080, files": list(coded(full)),
        "1920x1080, arrays": list(full),
        "12 megapixels, files": list(coded(large)),
        "12 megapixels, arrays": list(large),
    }


def differences(analyzer: Analyzer, sources: Sequence[Source]) -> str:
    """How far what numpy computes differs: the searched images, the crops, the boxes and the probabilities."""
    pixels, boxes, chances, others = 0, 0.0, 0.0, 0
    aligner = Aligner(crop_specs=[OnnxClassifier().info.crop_spec])
    for source in sources:
        image = read_image(source) if isinstance(source, bytes) else source
        scale = min(1.0, detector.MAX_SIDE / max(image.shape[:2]))
        faces = aligner.find(image)
        before = opencv.shrunk(image, scale)[0], *aligner.crop(image, faces)[0]
        found = analyzer.analyze(image)
        with without_opencv():
            after = shrunk(image, scale)[0], *aligner.crop(image, faces)[0]
            again = analyzer.analyze(image)
        pixels = max(pixels, *(int(np.abs(a.astype(int) - b).max()) for a, b in zip(before, after, strict=True)))
        if len(found) != len(again):
            others += 1
            continue
        for a, b in zip(found, again, strict=True):
            boxes = max(boxes, float(np.abs(a.box - b.box).max() / (a.box[2:] - a.box[:2]).max()))
            if a.expression is not None and b.expression is not None:
                step = np.abs(a.expression.probabilities - b.expression.probabilities).max()
                chances = max(chances, float(step))
    return (
        f"pixels differ by at most {pixels}, boxes by {boxes:.2%} of their side, probabilities by {chances:.4f}; "
        f"{others} of {len(sources)} images with another number of faces"
    )


def paired_times(analyzer: Analyzer, sources: Sequence[Source], repeats: int) -> tuple[list[float], list[float]]:
    """Processor milliseconds of each analysis with OpenCV and without, in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    ways: tuple[Callable[[], AbstractContextManager[None]], ...] = (nullcontext, without_opencv)
    for source in [source for _ in range(repeats) for source in sources]:
        for own, way in zip(times, ways, strict=True):
            with way():
                begun = time.process_time()
                analyzer.analyze(source)
                own.append(1000 * (time.process_time() - begun))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--count", type=int, default=40, help="photographs of people")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    analyzer = Analyzer()
    figures, ratios = {}, {}
    for kind, sources in images(options.shared, options.count).items():
        print(f"{kind}: {differences(analyzer, sources)}", flush=True)
        with_it, without = paired_times(analyzer, sources, options.repeats)
        figures[f"{kind}, OpenCV"], figures[f"{kind}, numpy"] = Measurement.of(with_it), Measurement.of(without)
        ratios[f"{kind}: numpy / OpenCV"] = float(np.median(np.array(without) / np.array(with_it)))
    results = Results.here("without_opencv", "ms an image", figures, ratios=ratios)
    save(results)
    print(markdown(results))


if __name__ == "__main__":
    main()
