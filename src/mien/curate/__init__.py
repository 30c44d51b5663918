"""Curating: what in a labelled data set is likely wrong, as a list that `mien data build --exclude` takes.

>>> from mien.curate import curate, write
>>> found = curate("fer.h5")
>>> print(found.text())
>>> write(found, "checked")

It looks for likely errors in labels, copies, images without a face, and images of low quality. Nothing is deleted:
the list is for a person to check, with a contact sheet and a page beside it.

Importing this package loads neither OpenCV nor onnxruntime, so that a command line can be made from the options.
"""

import importlib
from typing import TYPE_CHECKING, Final

from mien.curate.data import KINDS, CurateOptions

if TYPE_CHECKING:
    from mien.curate.finds import Curated as Curated
    from mien.curate.page import write as write
    from mien.curate.run import curate as curate

__all__ = ["KINDS", "CurateOptions", "Curated", "curate", "write"]

_LATE: Final = {"Curated": "finds", "curate": "run", "write": "page"}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
