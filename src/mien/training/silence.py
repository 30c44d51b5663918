"""Keeps libraries from writing messages of their own; what goes wrong still comes as an exception."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced(library: str | None) -> Iterator[None]:
    """Without warnings, and without messages below errors of the library's logger (None: the root logger)."""
    if library:
        importlib.import_module(library)  # some set the level of their logger then
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
