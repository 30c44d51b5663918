"""What frozen dataclasses over numpy arrays are made of: checks of their values, equality, hashes and copies.

A dataclass compares its fields with `==`, which has no single answer for arrays; and the copy of a read-only array
could be changed.
"""

import math
import os
from dataclasses import fields
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError


def checked(value: NDArray[np.floating], shape: tuple[int | str, ...], name: str) -> NDArray[np.float32]:
    """A read-only float32 copy of `value`, which must be finite and of that shape; "N" is any length."""
    array = np.array(value, np.float32)
    fits = array.ndim == len(shape) and all(n in ("N", found) for n, found in zip(shape, array.shape, strict=True))
    if not fits:
        expected = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {array.tolist()}")
    array.flags.writeable = False
    return array


def _number(value: object) -> float:
    """A number, of Python or numpy, as a float; NaN for everything else."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan


def whole(value: object, name: str) -> int:
    """A whole number from 0; anything else is refused."""
    number = _number(value)
    if not 0 <= number < math.inf or number % 1:
        raise ValueError(f"{name}: expected a whole number from 0, got {value!r}")
    return int(number)


def timestamp_of(value: object) -> float | None:
    """Seconds, or None; anything else is refused."""
    if value is not None and not math.isfinite(_number(value)):
        raise ValueError(f"timestamp: expected a number of seconds, or None for an image, got {value!r}")
    return None if value is None else _number(value)


def path_of(value: object, name: str) -> Path:
    """The path of a file, which may be given as text; `~` is the user's home. Anything else is refused.

    Raises:
        ConfigError: It is neither a path nor text.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise ConfigError(f"{name}: expected the path of a file, got {repr(value)[:80]}")
    return Path(os.path.expanduser(value))


def source_text(value: object) -> str:
    """Text, or a path as text; anything else is refused."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        camera = f"; for a camera write 'camera:{value}'" if isinstance(value, int) else ""
        raise ValueError(f"source: expected text or a path, got {value!r}{camera}")
    return str(os.fsdecode(value))


# --- the methods of results with arrays


def _values(one: Any) -> tuple[object, ...]:
    """The values of the fields that are compared; of arrays, whose shapes follow from their fields, the numbers."""
    values = (getattr(one, each.name) for each in fields(one) if each.compare)
    return tuple(tuple(value.ravel().tolist()) if isinstance(value, np.ndarray) else value for value in values)


def equal(one: object, other: object) -> Any:
    """`__eq__`: both are of one class and have equal values."""
    return _values(one) == _values(other) if type(one) is type(other) else NotImplemented


def hash_of(one: object) -> int:
    """`__hash__`, of the values that `equal` compares."""
    return hash(_values(one))


def reduced(one: Any) -> tuple[Any, ...]:
    """`__reduce__`: copies and pickles are read by `_restored`."""
    return _restored, (type(one), *(getattr(one, each.name) for each in fields(one)))


def _restored(kind: Any, *values: object) -> object:
    """A result of values that were checked before; its arrays are read-only again."""
    one = object.__new__(kind)
    for each, value in zip(fields(kind), values, strict=True):
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
        object.__setattr__(one, each.name, value)
    return one
