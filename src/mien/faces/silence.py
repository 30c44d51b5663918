"""OpenCV's own voice: what goes wrong in it is said by exceptions, not a second time on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

__all__ = ["silent_opencv"]


@contextmanager
def silent_opencv() -> Iterator[None]:
    """OpenCV logs nothing inside the `with` block; then all is as before."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
