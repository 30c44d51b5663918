"""Weights that do not ship with mien: which there are, where they lie once fetched, and whether they are whole.

`fetchable.toml` is the only list. Fetching them is `mien.assets.download`; nothing here touches the network.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from mien.assets.manifest import FOLDER
from mien.assets.store import verified
from mien.errors import ConfigError, WeightsError
from mien.files import cache_folder

__all__ = ["Fetchable", "RemoteFile", "State", "cached", "fetchable", "fetchables"]

State = Literal["here", "partly here", "damaged", "not here"]


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch.

    Attributes:
        name: Of the file in its folder of the cache.
        url: Its one https address, at a fixed commit or tag.
        sha256: Of its bytes.
        size: Number of its bytes.
    """

    name: str
    url: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise ValueError(f"url: expected an https address, got {self.url}")
        if len(self.sha256) != 64 or self.size < 1:
            raise ValueError(f"{self.name}: expected a sha256 and a size above 0")


@dataclass(frozen=True)
class Fetchable:
    """Weights to fetch.

    Attributes:
        name: What `mien models fetch` takes.
        description: One sentence.
        licence: Of the weights.
        files: What they consist of.
    """

    name: str
    description: str
    licence: str
    files: tuple[RemoteFile, ...]

    @property
    def folder(self) -> Path:
        """Where the files lie once fetched."""
        return cache_folder() / self.name

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def by_hand(self) -> str:
        """What to do on a machine without a network."""
        each = "; ".join(f"{self.folder / file.name} (sha256 {file.sha256})" for file in self.files)
        return f"on a machine without a network, put there by hand: {each}"

    def state(self) -> State:
        """Whether the files are in the cache, by their hashes; the worst of them counts."""
        states = {self._file_state(file) for file in self.files}
        if len(states) == 1:
            return states.pop()
        return "damaged" if "damaged" in states else "partly here"

    def _file_state(self, file: RemoteFile) -> State:
        path = self.folder / file.name
        if not path.exists():
            part = path.with_name(f"{file.name}.part")
            return "partly here" if part.exists() and part.stat().st_size else "not here"
        try:
            verified(path, file.sha256)
        except WeightsError:
            return "damaged"
        return "here"


@cache
def fetchables() -> Mapping[str, Fetchable]:
    """All weights that can be fetched, by name."""
    tables = tomllib.loads((FOLDER / "fetchable.toml").read_text(encoding="utf-8"))
    return {name: _from_table(name, table) for name, table in tables.items()}


def _from_table(name: str, table: Mapping[str, Any]) -> Fetchable:
    files = tuple(RemoteFile(**file) for file in table["files"])
    return Fetchable(name, table["description"], table["licence"], files)


def fetchable(name: str) -> Fetchable:
    """The weights of that name.

    Raises:
        ConfigError: There are none.
    """
    try:
        return fetchables()[name]
    except KeyError:
        raise ConfigError(
            f"there are no weights '{name}' to fetch", hint=f"choose one of {', '.join(fetchables())}"
        ) from None


def cached(name: str) -> dict[str, bytes]:
    """The files of fetched weights by name, each checked against its hash.

    Raises:
        ConfigError: There are no weights of that name.
        WeightsError: They have not been fetched, or are damaged.
    """
    wanted = fetchable(name)
    missing = [file.name for file in wanted.files if not (wanted.folder / file.name).exists()]
    if missing:
        raise WeightsError(
            f"the weights '{name}' are not here: {wanted.folder} lacks {' and '.join(missing)}",
            hint=f"mien models fetch {name}; {wanted.by_hand}",
        )
    hint = f"mien models fetch {name}"
    return {file.name: verified(wanted.folder / file.name, file.sha256, hint=hint) for file in wanted.files}
