"""Keeps libraries from writing messages of their own; what goes wrong still comes as an exception."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced(library: str | None) -> Iterator[None]:
    """Without warnings, and without messages below errors of the library's logger (None: the root logger)."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
