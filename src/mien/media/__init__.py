"""Images and videos in: files, arrays and cameras become `Frame`s. RGB uint8, upright, transparent pixels on white.

`open_frames` turns what a user typed into a source of frames, in which an image that cannot be read is a recorded
error; `read_frame` and `read_image` read one image file, `read_video` the frames of a video, `read_camera` those of a
camera; `frame_of` and `frames_of` take whatever Python has as an image, and `as_rgb` checks an array.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final, Literal

from mien.media.camera import is_live, live_name, read_camera
from mien.media.decode import MAX_PIXELS
from mien.media.find import Paths, find, find_images, several
from mien.media.images import STANDARD_INPUT, is_address, read_frame, read_frames, read_image
from mien.media.inputs import (
    ImageItem,
    ImageSource,
    OnError,
    as_rgb,
    check_on_error,
    frame_of,
    frames_of,
    is_one,
    source_of,
)
from mien.media.picking import VideoOptions
from mien.media.video import expected_frames, is_video, read_video
from mien.results import Frame, FrameResult

__all__ = [
    "LIVE_DELAY",
    "MAX_PIXELS",
    "STANDARD_INPUT",
    "FrameSource",
    "ImageItem",
    "ImageSource",
    "OnError",
    "VideoOptions",
    "as_rgb",
    "check_on_error",
    "find",
    "find_images",
    "frame_of",
    "frames_of",
    "is_one",
    "is_video",
    "open_frames",
    "open_video",
    "read_camera",
    "read_frame",
    "read_frames",
    "read_image",
    "read_video",
    "source_of",
]

# The longest time that a frame of a camera waits for others, in seconds: none (see `Analyzer.stream`).
LIVE_DELAY: Final = 0.0


@dataclass(frozen=True)
class FrameSource:
    """Frames of images, videos and cameras, in order; iterating reads them one after the other, in constant memory.

    Attributes:
        items: The files, as paths, and the cameras, streams and other addresses, as text.
        passed_over: What is in the folders and not read, one text for each kind: "2 text files (.txt)".
        options: Which frames of videos are read.
        folders: The folders in which files were found.
    """

    items: tuple[Path | str, ...]
    passed_over: tuple[str, ...] = ()
    options: VideoOptions = field(default_factory=VideoOptions)
    folders: tuple[Path, ...] = ()
    _known: dict[Path | str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(item for item in self.items if isinstance(item, Path))

    @property
    def is_live(self) -> bool:
        """Whether a camera or stream is among the items: frames come in real time, and may never end."""
        return any(self._kind(item) == "live" for item in self.items if isinstance(item, str))

    def _kind(self, item: Path | str) -> str:
        """What an item is, "live", "video" or "image"; kept, because telling a video opens the file."""
        if item not in self._known:
            if isinstance(item, str):  # the address of an image is refused when it is read
                self._known[item] = "live" if is_live(item) else "image"
            else:
                self._known[item] = "video" if is_video(item) else "image"
        return self._known[item]

    @property
    def has_video(self) -> bool:
        """Whether a video, a camera or a stream is among the items."""
        return self.is_live or any(self._kind(path) == "video" for path in self.paths)

    @property
    def has_image(self) -> bool:
        """Whether an image is among the items."""
        return any(self._kind(item) == "image" for item in self.items)

    @property
    def total(self) -> int | None:
        """About how many frames there are, by the headers of videos; None if it is unknown before they are read."""
        if self.is_live:
            return None
        counts = [expected_frames(item, self.options) if self._kind(item) == "video" else 1 for item in self.items]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def __iter__(self) -> Iterator[Frame | FrameResult]:
        """A `Frame`, or a `FrameResult` with its `error` for what cannot be read."""
        for kind, group in groupby(self.items, self._kind):
            if kind == "image":
                yield from read_frames(group)
                continue
            for item in group:
                frames = read_camera(str(item), self.options) if kind == "live" else read_video(item, self.options)
                with closing(frames):
                    yield from frames


def open_frames(paths: Paths, *, recursive: bool = True, options: VideoOptions | None = None) -> FrameSource:
    """The frames of everything that `paths` name: files, folders and patterns, as for `find`, cameras and streams.

    Args:
        paths: One or several: images, videos, folders and patterns; `camera:0` for the first camera; URLs of streams
            (RTSP, HTTP, ...).
        recursive: Include the files in subfolders.
        options: Which frames of videos are read.

    Raises:
        InputError: Nothing was found but folders without an image or video, a folder cannot be listed, or a path is
            empty.
    """
    items: list[Path | str] = []
    passed_over: list[str] = []
    folders: list[Path] = []
    for kind, group in groupby(several(paths), _named):
        if kind == "live":
            items += map(live_name, group)
        elif kind == "address":  # as text: a path would lose the second slash
            items += map(os.fsdecode, group)
        else:
            found = find(list(group), recursive, videos=True)
            items += found.images
            passed_over += found.passed_over
            folders += found.folders
    return FrameSource(tuple(dict.fromkeys(items)), tuple(passed_over), options or VideoOptions(), tuple(folders))


def _named(path: str | os.PathLike[str]) -> Literal["live", "address", "files"]:
    """What a text names."""
    return "live" if is_live(path) else "address" if is_address(path) else "files"


def open_video(source: object, options: VideoOptions | None = None) -> FrameSource | None:
    """The frames of a video, a camera or a stream; None for anything else."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    name = os.fsdecode(source)
    if is_live(name):
        return FrameSource((live_name(name),), options=options or VideoOptions())
    return FrameSource((Path(name),), options=options or VideoOptions()) if is_video(name) else None
