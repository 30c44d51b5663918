"""Valence and arousal of expressions: the expectation of published coordinates of the emotion words.

Emotions have places in a plane of two dimensions: valence, how pleasant they are, and arousal (Russell, "A circumplex
model of affect", Journal of Personality and Social Psychology 39, 1980). The default coordinates are those that are
commonly quoted after Russell and Mehrabian, "Evidence for a three-factor theory of emotions", Journal of Research in
Personality 11, 1977. Contempt is not among them: the mean of anger and disgust stands for it.

The valence of a face is the mean of the classes' valences, weighted by their probabilities; so is the arousal. Its
positive and negative parts, two dimensions of their own, are the means of max(valence, 0) and max(-valence, 0).
`unknown` and `not_a_face` are no emotions: without coordinates in the table they are left out, and the other
probabilities are renormalised.
"""

import csv
import io
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions as vocabularies
from mien.errors import ConfigError
from mien.results import Affect
from mien.values import path_of

# Valence and arousal by emotion. In the words of the source: joy, sadness, surprise, fear, anger, disgust.
DEFAULT: Final[Mapping[str, tuple[float, float]]] = {
    "anger": (-0.51, 0.59),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "happiness": (0.76, 0.48),
    "sadness": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
    "neutral": (0.0, 0.0),
    "contempt": (-0.555, 0.47),
}
_NO_EMOTIONS: Final = vocabularies.ALL[8:]
_COLUMNS: Final = ("emotion", "valence", "arousal")
_SHAPE: Final = "write CSV with the columns emotion,valence,arousal, or TOML: happiness = [0.76, 0.48]"

# Name, valence and arousal of each emotion; None for `DEFAULT`.
AffectTable = tuple[tuple[str, float, float], ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """The places of the classes of a model.

    Attributes:
        values: (C, 4) float64: valence, arousal, and the positive and negative part of the valence.
        counted: (C,) bool: whether a class is an emotion.
    """

    values: NDArray[np.float64]
    counted: NDArray[np.bool_]

    def expected(self, probabilities: NDArray[np.floating]) -> list[Affect | None]:
        """The expectation for each row of probabilities (N, C); None if the row has no probability on an emotion."""
        weights = probabilities.astype(np.float64) * self.counted  # (N, C)
        total = weights.sum(axis=1, keepdims=True)
        sums = (weights[:, :, None] * self.values).sum(axis=1)  # unlike a product of matrices, the same in every batch
        means = np.divide(sums, total, out=np.zeros((len(weights), 4)), where=total > 0)
        return [Affect(*row) if mass > 0 else None for row, mass in zip(means.tolist(), total[:, 0], strict=True)]


def checked(given: object) -> Path | AffectTable:
    """A table as the options keep it: a path, or rows; None for the default.

    Raises:
        ConfigError: It is none of these, or a value is wrong.
    """
    if given is None:
        return None
    if isinstance(given, (str, Path)):
        return path_of(given, "affect_table")
    if isinstance(given, Mapping):
        return _rows(tuple(given.items()), "affect_table")
    if isinstance(given, tuple):
        return _rows(tuple((row[0], row[1:]) for row in given if isinstance(row, tuple) and row), "affect_table")
    raise ConfigError(f"affect_table: expected a file or a table, got {type(given).__name__}", hint=_SHAPE)


def loaded(source: Path | AffectTable) -> AffectTable:
    """The rows of a table; a file is read.

    Raises:
        ConfigError: The file cannot be read, or is not such a table.
    """
    if not isinstance(source, Path):
        return source
    named = f"affect_table: {source}"
    if source.suffix.lower() not in (".csv", ".toml"):
        raise ConfigError(
            f"{named}: expected a .csv or .toml file, found '{source.suffix or 'no suffix'}'", hint=_SHAPE
        )
    try:
        text = source.read_text(encoding="utf-8-sig")
        rows = _from_csv(text, named) if source.suffix.lower() == ".csv" else tuple(tomllib.loads(text).items())
    except OSError as error:
        raise ConfigError(f"{named}: cannot be read: {error.strerror}", hint="check the path") from error
    except (ValueError, csv.Error) as error:  # of TOML, of the encoding
        kind = source.suffix.lower().removeprefix(".").upper()
        raise ConfigError(f"{named}: is not {kind}: {error}", hint=_SHAPE) from error
    return _rows(rows, named)


def _from_csv(text: str, named: str) -> tuple[tuple[str, tuple[object, ...]], ...]:
    """Name and numbers of each row.

    Raises:
        ConfigError: A column is missing, or a row is short or long.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    if missing := [name for name in _COLUMNS if name not in names]:
        raise ConfigError(f"{named}: has no column {', '.join(missing)}", hint=_SHAPE)
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise ConfigError(f"{named}, line {reader.line_num}: expected {len(names)} cells", hint=_SHAPE)
        rows.append((row["emotion"].strip(), tuple(row[name] for name in _COLUMNS[1:])))
    return tuple(rows)


def _rows(given: Sequence[tuple[object, object]], named: str) -> AffectTable:
    """Checked rows.

    Raises:
        ConfigError: A row is not a name with two numbers from -1 to 1, two mean the same emotion, or there is none.
    """
    found: dict[str, tuple[str, float, float]] = {}
    for name, value in given:
        pair = value
        if isinstance(value, Mapping) and set(value) == set(_COLUMNS[1:]):
            pair = tuple(value[each] for each in _COLUMNS[1:])
        numbers = [_number(each) for each in pair] if isinstance(pair, (list, tuple)) else []
        if len(numbers) != 2 or not all(-1 <= each <= 1 for each in numbers):  # also refuses nan
            raise ConfigError(
                f"{named}: '{name}': expected a valence and an arousal from -1 to 1, got {str(value)[:60]}", hint=_SHAPE
            )
        key = _known(str(name), vocabularies.ALL) or str(name)
        if key in found:
            raise ConfigError(f"{named}: '{found[key][0]}' and '{name}' are the same emotion", hint="leave out one")
        found[key] = (str(name), numbers[0], numbers[1])
    if not found:
        raise ConfigError(f"{named}: has no emotions", hint=_SHAPE)
    return tuple((key, valence, arousal) for key, (_, valence, arousal) in found.items())


def _number(value: object) -> float:
    """A number, also as text; nan for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except ValueError:
        return math.nan


def _known(name: str, names: Sequence[str]) -> str | None:
    """The one of the names that a name or an alias means; None if there is none."""
    try:
        return vocabularies.find(name, names)
    except ConfigError:
        return None


@lru_cache(maxsize=64)
def coordinates(classes: tuple[str, ...], table: AffectTable = None) -> Coordinates | None:
    """The places of the classes of a model.

    Args:
        classes: The C classes.
        table: The table; None for the default, in which the classes of your own data may have no place.

    Returns:
        None if the default table lacks a class.

    Raises:
        ConfigError: Your own table lacks a class.
    """
    rows = DEFAULT if table is None else {name: (valence, arousal) for name, valence, arousal in table}
    places = {name: _known(name, tuple(rows)) for name in classes}
    missing = [name for name, place in places.items() if place is None and name not in _NO_EMOTIONS]
    if missing and table is None:
        return None
    if missing:
        raise ConfigError(
            f"affect_table: has no row for {', '.join(missing)}",
            hint=f"give one for each class of the model: {', '.join(classes)}",
        )
    values = np.array([rows.get(places[name] or "", (0.0, 0.0)) for name in classes], np.float64).reshape(-1, 2)
    valence = values[:, :1]
    parts = np.concatenate([values, np.maximum(valence, 0), np.maximum(-valence, 0)], axis=1)
    return Coordinates(parts, np.array([place is not None for place in places.values()], bool))
