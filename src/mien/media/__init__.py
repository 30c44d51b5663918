"""Pictures in: paths and pixels become `Frame`s. RGB uint8 everywhere, upright, on white where transparent.

`find_pictures` turns what a user typed into paths, `read_frames` turns paths into frames, and a picture that
cannot be read into a recorded error; `read_frame` and `read_picture` read a single one, `as_rgb` checks an array.
"""

from mien.media.find import find_pictures
from mien.media.images import MAX_PIXELS, STANDARD_INPUT, as_rgb, read_frame, read_frames, read_picture

__all__ = [
    "MAX_PIXELS",
    "STANDARD_INPUT",
    "as_rgb",
    "find_pictures",
    "read_frame",
    "read_frames",
    "read_picture",
]
