"""Images in: paths and arrays become `Frame`s. RGB uint8 everywhere, upright, transparent pixels on white.

`open_frames` turns what a user typed into a source of frames, in which an image that cannot be read is a recorded
error; `read_frame` and `read_image` read one file; `frame_of` and `frames_of` take whatever Python has as an image, and
`as_rgb` checks an array.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.media.decode import MAX_PIXELS
from mien.media.find import find, find_images
from mien.media.images import STANDARD_INPUT, read_frame, read_frames, read_image
from mien.media.inputs import ImageItem, ImageSource, OnError, as_rgb, frame_of, frames_of, is_one
from mien.results import Frame, FrameResult

__all__ = [
    "MAX_PIXELS",
    "STANDARD_INPUT",
    "FrameSource",
    "ImageItem",
    "ImageSource",
    "OnError",
    "as_rgb",
    "find",
    "find_images",
    "frame_of",
    "frames_of",
    "is_one",
    "open_frames",
    "read_frame",
    "read_frames",
    "read_image",
]


@dataclass(frozen=True)
class FrameSource:
    """Frames from files, in order; iterating reads them one after the other, in constant memory.

    Attributes:
        paths: The files.
        passed_over: What is in the folders and not read, one text for each kind: "3 videos (.mp4): ...".
    """

    paths: tuple[Path, ...]
    passed_over: tuple[str, ...] = ()

    @property
    def total(self) -> int | None:
        """How many frames there are; None if it is unknown before they are read."""
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame | FrameResult]:
        """A `Frame`, or a `FrameResult` with its `error` for an image that cannot be read."""
        return read_frames(self.paths)


def open_frames(paths: Sequence[str | Path], *, recursive: bool = True) -> FrameSource:
    """The frames of everything that `paths` name: files, folders and patterns, as for `find`.

    Raises:
        InputError: Nothing was found but folders without an image, or a folder cannot be listed.
    """
    found = find(paths, recursive)
    return FrameSource(found.images, found.passed_over)
