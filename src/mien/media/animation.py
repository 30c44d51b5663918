"""Animated GIF and WebP images as videos, read by Pillow, which composes their frames."""

from collections.abc import Generator
from typing import Final

import numpy as np
from PIL import Image

from mien.errors import InputError
from mien.media.decode import check_size, on_white, shown
from mien.media.faults import collected_warnings, note_of, reason
from mien.media.formats import PREFIX, image_format
from mien.media.images import opened
from mien.media.picking import Picker, VideoOptions
from mien.results import Frame, FrameResult

# The shortest duration of a frame, and what viewers show instead of less, in milliseconds.
_SHORTEST_MS: Final = 20
_USUAL_MS: Final = 100


def count_images(path: str, prefix: bytes) -> int:
    """How many images an animated GIF or WebP file has; 1 for other images, and for those that cannot be read."""
    return _length(path, prefix)[0]


def expected_images(path: str, prefix: bytes, options: VideoOptions) -> int:
    """About how many images of an animated file are analyzed: as if all were shown for as long as the first."""
    count, milliseconds = _length(path, prefix)
    return Picker(options).expected(count, count * milliseconds / 1000)


def _length(path: str, prefix: bytes) -> tuple[int, float]:
    """How many images a file has, and how long the first is shown, in milliseconds."""
    try:
        kind = image_format(prefix, path)
        if kind not in ("GIF", "WEBP"):
            return 1, _USUAL_MS
        with collected_warnings(), open(path, "rb") as file:
            image = Image.OPEN[kind][0](file, "")
            return int(getattr(image, "n_frames", 1)), _duration(image)
    except Exception:  # whatever Pillow raises for a damaged file
        return 1, _USUAL_MS


def _duration(image: Image.Image) -> float:
    """How long the present image of a file is shown, in milliseconds."""
    duration = float(image.info.get("duration", 0))
    return duration if duration >= _SHORTEST_MS else _USUAL_MS


class Animation:
    """Reads one animated GIF or WebP image by Pillow; the arguments are those of `read_video`."""

    def __init__(self, path: str, options: VideoOptions, max_pixels: int) -> None:
        self.path, self.name, self.max_pixels = path, shown(path), max_pixels
        self.picker = Picker(options)

    def frames(self) -> Generator[Frame | FrameResult]:
        """The frames; the time of each is the sum of the durations before it.

        Raises:
            InputError: The file cannot be read, or is damaged.
        """
        with opened(self.path) as file:
            kind = image_format(file.read(PREFIX), self.path)
            file.seek(0)
            time, chosen = 0.0, 0
            try:
                with collected_warnings() as notes:
                    image = Image.OPEN[kind][0](file, "")
                    check_size(image, self.name, self.max_pixels)
                    count = getattr(image, "n_frames", 1)
                for index in range(count):
                    with collected_warnings() as more:  # not while the caller has the frame: its warnings are its own
                        image.seek(index)
                        image.load()
                    notes += more
                    timestamp = time / 1000
                    time += _duration(image)
                    if self.picker.is_after(timestamp):
                        return
                    if not self.picker.is_before(timestamp) and self.picker.wants(index, timestamp):
                        chosen += 1
                        yield Frame(np.array(on_white(image)), self.path, index, timestamp, note_of(notes))
            except (InputError, GeneratorExit):
                raise
            except Exception as error:  # Pillow raises many kinds of exceptions for damaged files
                raise InputError(f"'{self.name}' ends too early or is damaged: {reason(error)}") from error
            if not chosen:
                raise InputError(f"'{self.name}' has no frame in the range: it is {time / 1000:.2f} s long")
