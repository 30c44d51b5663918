"""Keeps libraries from speaking of their own business; what goes wrong still comes as an exception."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]


@contextmanager
def quiet(library: str | None) -> Iterator[None]:
    """Without warnings, and without what the library's logger (None: the root) says short of errors."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
