"""Finds the files of the classic networks, which are not in the package.

`classics.toml` describes them. Their files are in the folder `weights` of a clone of the project, from which
`mien models fetch NAME --from FOLDER` copies them into the cache of an installed `mien`. The clone's file counts before
the cache's, so that a clone needs no command; a damaged file does not hide a good one.
"""

from pathlib import Path
from typing import Final, Literal

from mien.assets.manifest import FOLDER, ModelInfo, classic_models
from mien.assets.recipes import recipes_of
from mien.errors import ConfigError, WeightsError
from mien.files import cache_folder, has_hash

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
    """The file of a classic network: that of the clone or, if it is missing or damaged, that of the cache.

    If all are damaged it is the first of them, whose hash the caller checks and reports.

    Raises:
        WeightsError: There is none. The hint names the command that fetches it, and the one that trains it.
    """
    here = [place for place in _places(info) if place.is_file()]
    if not here:
        raise WeightsError(
            f"the weights of '{info.name}' are not here: there is no {' and no '.join(map(str, _places(info)))}",
            hint=repair(info),
        )
    return next((place for place in here if has_hash(place, info.sha256)), here[0])


def _places(info: ModelInfo) -> list[Path]:
    """Where the file may be; the first counts."""
    clone = clone_folder()
    return [*([clone / info.file] if clone else []), cached_file(info)]


def repair(info: ModelInfo) -> str:
    """How to get the file of a classic network."""
    training = "".join(f"; or {brief.training}" for brief in recipes_of(info.name)[:1])
    return f"{ways(info.name, info.file)}; or give the file itself: --model CLONE/{WEIGHTS}/{info.file}{training}"


def ways(name: str = "NAME", file: str = "") -> str:
    """How to get files of classic networks that are missing or damaged.

    Args:
        name: Of the network.
        file: The name of its file; empty for all files.
    """
    fetched = f"mien models fetch {name} --from CLONE/{WEIGHTS}, where CLONE is a clone of this version of mien"
    clone = clone_folder()
    if clone is None:
        return fetched
    return f"in the clone {clone.parent}: git checkout -- {Path(WEIGHTS, file).as_posix()}; or {fetched}"


def state(info: ModelInfo) -> Literal["here", "damaged", "not here"]:
    """Whether the file of a classic network is here, by its hash."""
    try:
        return "here" if has_hash(classic_file(info), info.sha256) else "damaged"
    except WeightsError:
        return "not here"


def where(info: ModelInfo) -> str:
    """Whether and where the file of a classic network is, in words."""
    found = state(info)
    return found if found == "not here" else f"{'in' if found == 'here' else 'damaged:'} {classic_file(info)}"
