"""Finds the files of the classic networks, which are not in the package.

`classics.toml` describes them. Their files are in the folder `weights` of a clone of the project, from which
`mien models fetch NAME --from FOLDER` copies them into the cache of an installed `mien`. The clone's file counts before
the cache's, so that a clone needs no command.
"""

from pathlib import Path
from typing import Final

from mien.assets.manifest import FOLDER, ModelInfo, classic_models
from mien.errors import ConfigError, WeightsError
from mien.files import cache_folder

WEIGHTS: Final = "weights"


def clone_folder() -> Path | None:
    """The folder with the files, if this `mien` is a clone's; None for an installed one."""
    root = FOLDER.parents[2]
    return root / WEIGHTS if (root / "pyproject.toml").is_file() and (root / "src" / "mien") == FOLDER.parent else None


def cached_file(info: ModelInfo) -> Path:
    """Where `mien models fetch` puts the file."""
    return cache_folder() / info.name / info.file


def classic(name: str) -> ModelInfo:
    """The description of the classic network `name`.

    Raises:
        ConfigError: There is none.
    """
    if found := classic_models().get(name):
        return found
    known = ", ".join(classic_models()) or "none yet"
    raise ConfigError(f"there are no weights of a classic network '{name}'", hint=f"there are: {known}")


def classic_file(info: ModelInfo) -> Path:
    """The file of a classic network: that of the clone, else that of the cache.

    Raises:
        WeightsError: It is in neither. The hint names the command that fetches it, and the one that trains it.
    """
    clone = clone_folder()
    places = [*([clone / info.file] if clone else []), cached_file(info)]
    for place in places:
        if place.is_file():
            return place
    raise WeightsError(
        f"the weights of '{info.name}' are not here: there is no {' and no '.join(map(str, places))}",
        hint=repair(info),
    )


def repair(info: ModelInfo) -> str:
    """How to get the file of a classic network."""
    folder = f"CLONE/{WEIGHTS}"
    return (
        f"mien models fetch {info.name} --from {folder}, where CLONE is a clone of mien; or give the file itself: "
        f"--model {folder}/{info.file}; or train it: mien train {info.name} --data fer.h5"
    )


def state(info: ModelInfo) -> str:
    """Where the file of a classic network is, in words."""
    try:
        return f"in {classic_file(info)}"
    except WeightsError:
        return f"not here: {repair(info)}"
