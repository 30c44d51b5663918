"""The only place where an emotion is spelled: vocabularies, their order, aliases and mappings.

There is one order, and the vocabularies of 6, 7, 8 and 10 classes are parts of it, so that columns never change their
order. The first seven have the order of FER2013's codes 0-6 (Goodfellow et al. 2013); FER+ adds `contempt` (Barsoum et
al. 2016); its annotators could also vote for `unknown` and `not_a_face`.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError

ALL: Final = (
    "anger",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
    "neutral",
    "contempt",
    "unknown",
    "not_a_face",
)

VOCABULARIES: Final[dict[int, tuple[str, ...]]] = {
    6: tuple(name for name in ALL[:7] if name != "disgust"),
    7: ALL[:7],
    8: ALL[:8],
    10: ALL,
}

# The class that takes over a class which the target vocabulary lacks; other such classes are dropped and the rest is
# renormalised. The usual six-class variant of FER2013 merges disgust into anger.
MERGED: Final = {"disgust": "anger"}

ALIASES: Final = {
    "angry": "anger",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    "suprise": "surprise",  # a common misspelling in folders
    "contemptuous": "contempt",
    "nf": "not_a_face",
    "not a face": "not_a_face",
}


def vocabulary(size: int) -> tuple[str, ...]:
    """The emotions of the vocabulary with `size` classes, in the order of every array and table.

    Raises:
        ConfigError: There is no vocabulary of that size.
    """
    try:
        return VOCABULARIES[size]
    except KeyError:
        sizes = ", ".join(map(str, VOCABULARIES))
        raise ConfigError(f"there is no vocabulary of {size} emotions", hint=f"choose one of {sizes}") from None


def parse(name: str) -> str:
    """The emotion that `name` means: its noun or an alias, in any case.

    Numbers are not names, because data sets number the emotions differently; see `mien.datasets.class_names`.

    Raises:
        ConfigError: The name is neither.
    """
    key = name.strip().lower()
    noun = ALIASES.get(key, key)
    if noun not in ALL:
        raise ConfigError(f"'{name}' is not an emotion", hint=f"known: {', '.join(ALL)}")
    return noun


def mapping(source: Sequence[str], target: Sequence[str]) -> NDArray[np.float32]:
    """The matrix (S, T) that maps probabilities over `source` to sums over `target`, before renormalising.

    A class of the target maps to itself, another class as `MERGED` says or to nothing.
    """
    matrix = np.zeros((len(source), len(target)), np.float32)
    for row, name in enumerate(source):
        place = name if name in target else MERGED.get(name)
        if place is not None and place in target:
            matrix[row, list(target).index(place)] = 1
    return matrix


def convert(probabilities: NDArray[np.float32], source: Sequence[str], target: Sequence[str]) -> NDArray[np.float32]:
    """Converts probabilities (N, S) over `source` to (N, T) over `target`, each row summing to 1.

    If a row has probability only on classes that the target lacks, it becomes uniform.
    """
    if tuple(source) == tuple(target):
        return probabilities
    sums: NDArray[np.float32] = probabilities @ mapping(source, target)  # (N, T)
    total = sums.sum(axis=1, keepdims=True)
    uniform = np.full_like(sums, 1 / len(target))
    np.divide(sums, total, out=uniform, where=total > 0)
    return uniform
