"""The HDF5 store: one file per data set, written whole or not at all, read into memory.

Layout (format `mien-store`, version 1): data sets named as the arrays of `Samples`, and the attributes `format`,
`version`, `classes` and `about` (JSON).
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from mien.datasets.samples import SPLITS, Samples
from mien.errors import ConfigError, DataError, InputError, MissingExtraError, OutputError
from mien.files import writable

try:
    import h5py
except ImportError:  # the reading flow works without
    h5py = None

__all__ = ["read", "write"]

FORMAT: Final = "mien-store"
VERSION: Final = 1
_ARRAYS: Final = ("images", "labels", "split", "targets", "votes", "duplicate", "soft_labels", "soft_votes")


def write(samples: Samples, path: str | Path) -> None:
    """Writes `samples` to `path`, replacing a file that is there only once the new one is complete.

    Raises:
        OutputError: The file cannot be written.
        MissingExtraError: h5py is not installed.
    """
    _need_h5py()
    path = writable(Path(path))
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with h5py.File(partial, "w") as file:
            file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
            file.attrs["classes"] = json.dumps(samples.classes)
            file.attrs["about"] = json.dumps(samples.about)
            for name in _ARRAYS:
                array = getattr(samples, name)
                if array is not None:
                    file.create_dataset(name, data=array)
            file.create_dataset("names", data=samples.names.tolist(), dtype=h5py.string_dtype())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # h5py raises the second when the disk is full
        raise OutputError(
            f"{path}: cannot be written: {_line(error)}", hint="choose another place with --out"
        ) from error
    finally:
        with suppress(OSError):  # it is there only after a failure, and not even then where the folder is none
            partial.unlink(missing_ok=True)


def read(path: str | Path, split: str | None = None) -> Samples:
    """Reads a store, or one split of it ("train", "val", "test"), into memory.

    Raises:
        InputError: There is no such file.
        ConfigError: There is no split of that name.
        DataError: The file is no store of this version, is damaged, or has no rows of that split.
        MissingExtraError: h5py is not installed.
    """
    _need_h5py()
    if split is not None and split not in SPLITS:
        raise ConfigError(f"there is no split '{split}'", hint=f"choose one of {', '.join(SPLITS)}")
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint="make one with `mien data build`")
    try:
        with h5py.File(path, "r") as file:
            found = (file.attrs.get("format"), file.attrs.get("version"))
            if found != (FORMAT, VERSION):
                raise DataError(
                    f"{path}: expected a {FORMAT} of version {VERSION}, found {found[0]} {found[1]}",
                    hint="build it again with `mien data build`",
                )
            arrays = {name: file[name][()] for name in _ARRAYS if name in file}
            samples = Samples(
                **arrays,
                names=np.asarray(file["names"].asstr()[()], np.str_),
                classes=tuple(json.loads(file.attrs["classes"])),
                about=json.loads(file.attrs["about"]),
            )
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:  # h5py raises them all
        raise DataError(
            f"{path}: is no store, or a damaged one: {_line(error)}", hint="build it again with `mien data build`"
        ) from error
    return samples.only(split) if split else samples


def _line(error: Exception) -> str:
    """What h5py says, which may come in several lines, in one."""
    return " ".join(str(error).split())


def _need_h5py() -> None:
    if h5py is None:
        raise MissingExtraError("the data store", "data")
