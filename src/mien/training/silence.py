"""Keeps libraries from writing messages of their own; what goes wrong still comes as an exception."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced(library: str | None) -> Iterator[None]:
    """Without warnings, and without messages below errors of the library's loggers (None: the root logger)."""
    if library:
        importlib.import_module(library)  # some set the levels of their loggers then
    below = [name for name in logging.root.manager.loggerDict if library and name.startswith(f"{library}.")]
    levels = {logger: logger.level for logger in map(logging.getLogger, [library, *below])}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
