"""The HDF5 store: one file per data set, written atomically and read into memory.

Layout (format `mien-store`): the columns of `Samples` under their names; `votes`, `soft_labels`, `soft_votes`,
`keypoints`, `subjects`, `weights`, `affect`, `clips`, `frames` and `clip_labels` only if the samples have them. The
attributes are `format`, `version`, `classes` (JSON), `keypoint_scheme` and `about` (JSON). A store with clips has
version 3, any other version 2, so that versions of mien that know no clips still read those without.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from mien.assets.recognise import wrong_store
from mien.datasets.samples import COLUMNS, SPLITS, Samples
from mien.errors import ConfigError, DataError, InputError, MissingExtraError, OutputError, meant
from mien.files import replacing

try:
    import h5py
except ImportError:  # the inference flow works without it
    h5py = None

FORMAT: Final = "mien-store"
VERSION: Final = 3
WITHOUT_CLIPS: Final = 2  # version of a store without clips
_TEXTS: Final = ("names", "subjects", "clips")


def save(samples: Samples, path: str | Path) -> None:
    """Writes `samples` to `path`; an existing file is replaced only when the new one is complete.

    Raises:
        OutputError: The file cannot be written.
        MissingExtraError: h5py is not installed.
    """
    _need_h5py()
    with replacing(Path(path)) as partial:
        try:
            with h5py.File(partial, "w") as file:
                file.attrs["format"] = FORMAT
                file.attrs["version"] = WITHOUT_CLIPS if samples.clips is None else VERSION
                file.attrs["classes"] = json.dumps(samples.classes)
                file.attrs["keypoint_scheme"] = samples.keypoint_scheme
                file.attrs["about"] = json.dumps(samples.about)
                for name in COLUMNS:
                    column = getattr(samples, name)
                    if name in _TEXTS and column is not None:
                        file.create_dataset(name, data=column.tolist(), dtype=h5py.string_dtype())
                    elif column is not None:
                        file.create_dataset(name, data=column)
        except (OSError, RuntimeError) as error:  # h5py raises RuntimeError if the disk is full
            partial.unlink(missing_ok=True)
            raise OutputError(
                f"{path}: cannot be written: {_line(error)}", hint="check the free space, or choose another --out"
            ) from error


def load(path: str | Path, split: str | None = None) -> Samples:
    """Reads a store, or one split of it ("train", "val", "test"), into memory.

    Raises:
        InputError: The file does not exist.
        ConfigError: No split has that name.
        DataError: The file is not a store of this version, is damaged, or has no rows in that split.
        MissingExtraError: h5py is not installed.
    """
    _need_h5py()
    if split is not None and split not in SPLITS:
        raise ConfigError(f"unknown split '{split}'", hint=f"{_split_meant(split)}choose one of {', '.join(SPLITS)}")
    path = Path(path)
    if wrong := wrong_store(path):
        raise wrong
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint="make a store with `mien data build`")
    try:
        with h5py.File(path, "r") as file:
            _check_version(path, file.attrs)
            columns: dict[str, Any] = {
                name: np.asarray(file[name].asstr()[()], np.str_) if name in _TEXTS else file[name][()]
                for name in COLUMNS
                if name in file
            }
            samples = Samples(
                **columns,
                classes=tuple(json.loads(file.attrs["classes"])),
                keypoint_scheme=file.attrs["keypoint_scheme"],
                about=json.loads(file.attrs["about"]),
            )
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:  # h5py raises them all
        raise DataError(
            f"{path}: is not a store, or is damaged: {_line(error)}", hint="build it again with `mien data build`"
        ) from error
    return samples.only(split) if split else samples


def _split_meant(word: str) -> str:
    """The start of a hint; FER2013's names in print count, too."""
    plain = word.lower().replace("_", "").replace("-", "")
    known = {"publictest": "val", "validation": "val", "privatetest": "test", "training": "train"}
    return f"did you mean {known[plain]}? " if plain in known else meant(word, SPLITS)


def _check_version(path: Path, attributes: "h5py.AttributeManager") -> None:
    found, version = attributes.get("format"), attributes.get("version")
    if found != FORMAT:
        raise DataError(f"{path}: is not a {FORMAT} file", hint="make a store with `mien data build`")
    if version not in (WITHOUT_CLIPS, VERSION):
        data_set = json.loads(attributes.get("about", "{}")).get("data_set", "DATA_SET")
        raise DataError(
            f"{path}: is a store of version {version}, but this mien reads versions {WITHOUT_CLIPS} and {VERSION}",
            hint=f"build it again: mien data build {data_set} ... --out {path}",
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())  # h5py writes several lines


def _need_h5py() -> None:
    if h5py is None:
        raise MissingExtraError("the data store", "data")
