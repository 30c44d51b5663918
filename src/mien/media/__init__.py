"""Images in: paths and pixels become `Frame`s. RGB uint8 everywhere, upright, on white where transparent.

`find_images` turns what a user typed into paths, `read_frames` turns paths into frames, and a image that
cannot be read into a recorded error; `read_frame` and `read_image` read a single one, `as_rgb` checks an array.
"""

from mien.media.find import find_images
from mien.media.images import MAX_PIXELS, STANDARD_INPUT, as_rgb, read_frame, read_frames, read_image

__all__ = [
    "MAX_PIXELS",
    "STANDARD_INPUT",
    "as_rgb",
    "find_images",
    "read_frame",
    "read_frames",
    "read_image",
]
