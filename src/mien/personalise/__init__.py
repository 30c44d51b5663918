"""Personalising: a model becomes better on the faces of one person or one camera, and its file says by how much.

>>> from mien.personalise import personalise
>>> done = personalise("my-faces", out="me.onnx")
>>> print(done.before, done.after, done.general_change)

The method is that of `mien.personalise.adapt`. What is learnt is always judged on faces that it was not learnt from:
in each of five folds, everything is chosen and fitted on the other four. Deeper layers never change here: with at
least `DEEPER` faces of each emotion, `mien train --from` is worth a try.

Importing this package loads neither OpenCV nor onnxruntime, so that a command line can be made from the options.
"""

import importlib
from typing import TYPE_CHECKING, Final

from mien.personalise.adapt import COST, DEEPER, PersonaliseOptions

if TYPE_CHECKING:
    from mien.personalise.run import NotHelpfulError as NotHelpfulError
    from mien.personalise.run import Personalised as Personalised
    from mien.personalise.run import fit_faces as fit_faces
    from mien.personalise.run import personalise as personalise

__all__ = ["COST", "DEEPER", "NotHelpfulError", "PersonaliseOptions", "Personalised", "fit_faces", "personalise"]

_LATE: Final = ("NotHelpfulError", "Personalised", "fit_faces", "personalise")


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.run"), name)
