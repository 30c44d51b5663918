"""The only place where an emotion is spelled: vocabularies, their order, aliases and mappings.

There is one order, and the vocabularies of 6, 7, 8 and 10 classes are parts of it, so that columns never change their
order. The first seven have the order of FER2013's codes 0-6 (Goodfellow et al. 2013); FER+ adds `contempt` (Barsoum et
al. 2016); its annotators could also vote for `unknown` and `not_a_face`.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError, nearest

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

# Votes of FER+ that name no expression.
NO_EMOTIONS: Final = ALL[8:]

# In the vocabulary of six, the usual six-class variant of FER2013, this class includes the other. A target that lacks
# any other class, or is another selection of classes, drops what it lacks and is renormalised.
MERGED: Final = {"disgust": "anger"}

ALIASES: Final = {
    "angry": "anger",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "frightened": "fear",
    "scared": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "joyful": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    "suprise": "surprise",  # a common misspelling in folders
    "contemptuous": "contempt",
    "nf": "not_a_face",
    "not a face": "not_a_face",
}

# Words that are not the same as an emotion here, and the emotion that a message suggests: RAVDESS, for example, has
# actors play calm as well as neutral.
_NEAR: Final = {"calm": "neutral", "relaxed": "neutral", "mad": "anger", "rage": "anger", "smile": "happiness"}


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
    noun = _key(name)
    if noun not in ALL:
        raise unknown(name, ALL)
    return noun


def _key(name: str) -> str:
    """The noun of an alias, any other name in lower case; `not-a-face` and `not a face` are `not_a_face`."""
    key = " ".join(name.lower().replace("-", " ").replace("_", " ").split())
    return ALIASES.get(key, key).replace(" ", "_")


def unknown(name: str, known: Sequence[str]) -> ConfigError:
    """The error for a name that is none of the known classes, with a suggestion."""
    near = _NEAR.get(_key(name)) or nearest(_key(name), {*known, *ALIASES})
    near = ALIASES.get(near, near)
    meant = f"did you mean {near}? " if near in known else ""
    if name.strip().isdecimal():
        meant = f"a number of classes ({', '.join(map(str, VOCABULARIES))}) stands alone; "
    return ConfigError(f"'{name}' is not an emotion", hint=f"{meant}known: {', '.join(known)}")


def selection(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The classes of a model that a user's names mean, in the order of the names.

    A class may be named as it is spelled, in any case, or by an alias: `Happy` and `joy` are `happiness`, also the
    other way round for a model whose own class is `happy`.

    Args:
        names: Two or more names.
        known: The classes to choose from. An emotion that is not among them is chosen, too: the error that the model
            lacks it says more than one that the name is unknown.

    Raises:
        ConfigError: A name is unknown, two names mean the same class, or there are fewer than two.
    """
    found: dict[str, str] = {}
    for name in names:
        chosen = find(name, known, others=ALL)
        if chosen in found:
            raise ConfigError(
                f"emotions: '{found[chosen]}' and '{name}' are the same class, {chosen}", hint="name each class once"
            )
        found[chosen] = name
    if len(found) < 2:
        raise ConfigError(
            f"emotions: expected at least two names, got only '{names[0] if names else ''}'",
            hint="the probability of a single class is always 1; add the classes to tell it from, for example "
            f"{next((name for name in ('neutral', *known) if name not in found), 'neutral')}",
        )
    return tuple(found)


def find(name: str, known: Sequence[str], others: Sequence[str] = ()) -> str:
    """The known class that a name means, or else the one of the others; see `selection`.

    Raises:
        ConfigError: It means none.
    """
    if name in known:
        return name
    for each in (*known, *others):
        if _key(each) == _key(name):
            return each
    raise unknown(name, known)


def mapping(source: Sequence[str], target: Sequence[str]) -> NDArray[np.float32]:
    """The matrix (S, T) that maps probabilities over `source` to sums over `target`, before renormalising.

    A class of the target maps to itself, another class to nothing; if the target is the vocabulary of six, as `MERGED`
    says.
    """
    matrix = np.zeros((len(source), len(target)), np.float32)
    merged = MERGED if set(target) == set(VOCABULARIES[6]) else {}
    for row, name in enumerate(source):
        place = name if name in target else merged.get(name)
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
