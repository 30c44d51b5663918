"""Weights that do not ship with mien: which there are, whether they are in the cache, and how they get there.

`remote.toml` is the only list. A download that broke off is resumed, and a file gets its name only once its hash is
right. Only `fetch` uses the network. It uses urllib: pooch cannot resume, and needs requests.
"""

import http.client
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from mien.assets.classics import WEIGHTS, classic, clone_folder, ways
from mien.assets.manifest import FOLDER, classic_models, meant_model, shipped_models, without_file
from mien.assets.store import read_weights, verified
from mien.errors import ConfigError, OutputError, WeightsError
from mien.files import cache_folder, has_hash, sha256

State = Literal["fetched", "partly fetched", "damaged", "not fetched"]
# Called with the name of a file, the number of its bytes that are here, and its size.
Progress = Callable[[str, int, int], None]

_CHUNK: Final = 2**16
_TIMEOUT: Final = 30.0  # seconds without a byte


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Attributes:
        name: Its name in the cache.
        url: Its https address, at a fixed commit or tag; empty if there is none, and `--from` must say where it is.
        sha256: Hash of its content.
        size: Number of its bytes.
    """

    name: str
    url: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith("https://"):
            raise ValueError(f"url: expected an https address, got {self.url}")
        if len(self.sha256) != 64 or self.size < 1:
            raise ValueError(f"{self.name}: expected a sha256 and a size above 0")


@dataclass(frozen=True)
class RemoteWeights:
    """Weights to download.

    Attributes:
        name: As given to `mien models fetch`.
        description: One sentence.
        licence: Of the weights.
        files: The files they consist of.
        option: Of the command that uses them: it takes the path of a file, too.
    """

    name: str
    description: str
    licence: str
    files: tuple[RemoteFile, ...]
    option: str = "--detector-weights"

    @property
    def folder(self) -> Path:
        """The folder of the files in the cache."""
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
        """Whether the files are in the cache, by their hashes; the worst state of a file counts."""
        states = {self._file_state(file) for file in self.files}
        if len(states) == 1:
            return states.pop()
        return "damaged" if "damaged" in states else "partly fetched"

    def _file_state(self, file: RemoteFile) -> State:
        path = self.folder / file.name
        if path.exists():
            return "fetched" if has_hash(path, file.sha256) else "damaged"
        part = _part(path)
        return "partly fetched" if part.exists() and part.stat().st_size else "not fetched"


def _part(path: Path) -> Path:
    """The name of a file that is not yet complete."""
    return path.with_name(f"{path.name}.part")


@cache
def list_remote() -> Mapping[str, RemoteWeights]:
    """All weights that can be downloaded, by name."""
    tables = tomllib.loads((FOLDER / "remote.toml").read_text(encoding="utf-8"))
    return {
        name: RemoteWeights(**{"name": name, **table, "files": tuple(RemoteFile(**file) for file in table["files"])})
        for name, table in tables.items()
    }


def remote_weights(name: str) -> RemoteWeights:
    """The weights of that name, with - or _.

    Raises:
        ConfigError: There are none.
    """
    for known in (name, name.replace("_", "-")):
        if known in classic_models():
            return _classic(known)
        if known in list_remote():
            return list_remote()[known]
    names = [*list_remote(), *classic_models()]
    known = f"choose one of {', '.join(names)}"
    if name in shipped_models():
        raise ConfigError(
            f"there are no weights '{name}' to fetch", hint=f"the model {name} is in the package; or {known}"
        )
    if untrained := without_file(name):
        reason, training = untrained
        raise ConfigError(f"there are no weights '{name}' to fetch: {reason}", hint=f"{training}; or {known}")
    raise ConfigError(f"there are no weights '{name}' to fetch", hint=f"{meant_model(name, names)}{known}")


def _classic(name: str) -> RemoteWeights:
    """A classic network as weights to fetch: it has no address of its own."""
    info = classic(name)
    table = tomllib.loads((FOLDER / "classics.toml").read_text(encoding="utf-8"))["sizes"]
    file = RemoteFile(info.file, "", info.sha256, table[name])
    return RemoteWeights(name, info.description, info.licence, (file,), "--model")


def cached(name: str) -> dict[str, bytes]:
    """The files of downloaded weights by name, each checked against its hash.

    Raises:
        ConfigError: There are no weights of that name.
        WeightsError: They have not been downloaded, or are damaged.
    """
    weights = remote_weights(name)
    missing = [file.name for file in weights.files if not (weights.folder / file.name).exists()]
    if missing:
        raise WeightsError(
            f"the weights '{name}' have not been fetched: {weights.folder} lacks {' and '.join(missing)}",
            hint=f"mien models fetch {name}; {weights.by_hand}",
        )
    hint = f"mien models fetch {name}"
    return {file.name: verified(weights.folder / file.name, file.sha256, hint=hint) for file in weights.files}


def fetch(name: str, source: str | None = None, *, progress: Progress = lambda name, done, size: None) -> list[Path]:
    """Downloads weights into the cache; complete files that are there already are kept.

    Args:
        name: Of the weights, as in `remote.toml`.
        source: A mirror to use instead of the pinned address: an address or path of the file, or of a folder that holds
            the files under their names (the address of a folder ends in /). Its files must have the same hashes.
        progress: Called after every piece.

    Returns:
        Paths of the files.

    Raises:
        ConfigError: There are no weights of that name; or, unless all files are there already, they have no address
            and no `source` is given, or `source` is not valid.
        WeightsError: The network failed, or the source has another file.
        OutputError: The cache cannot be written.
    """
    weights = remote_weights(name)
    paths = [weights.folder / file.name for file in weights.files]
    try:
        lacking = [
            (file, path) for file, path in zip(weights.files, paths, strict=True) if not has_hash(path, file.sha256)
        ]
        origins = [_origin(weights, file, source) for file, _ in lacking]
        for (file, path), origin in zip(lacking, origins, strict=True):
            _fetch_file(weights, file, origin, path, progress)
    except OSError as error:  # errors of the network have become WeightsErrors by now
        raise OutputError(
            f"{weights.folder}: cannot be written: {error.strerror}",
            hint=f"name another cache folder in MIEN_CACHE, or give the file itself: {weights.option} FILE",
        ) from error
    return paths


def _origin(weights: RemoteWeights, file: RemoteFile, source: str | None) -> str | Path:
    """Where a file comes from: an address or a path."""
    if source is None and not file.url:
        clone = clone_folder()
        if clone is None or not (clone / file.name).is_file():
            raise ConfigError(
                f"'{weights.name}' has no public address",
                hint=f"it is in the folder `{WEIGHTS}` of a clone of mien: {ways(weights.name, file.name)}",
            )
        return clone / file.name
    if source is None:
        return file.url
    address = "://" in source
    if address and not source.startswith(("https://", "http://")):
        raise ConfigError(f"--from {source}: expected an address with https:// or http://, or a path")
    if source.endswith("/") if address else Path(source).is_dir():
        return source + file.name if address else _in_folder(Path(source), file.name)
    if len(weights.files) > 1:
        folder = "the address of a folder, ending in /" if address else "a folder"
        raise ConfigError(f"--from {source}: '{weights.name}' has {len(weights.files)} files, expected {folder}")
    return source if address else Path(source)


def _in_folder(folder: Path, name: str) -> Path:
    """The file in a folder, or in the folder `weights` of a clone."""
    inner = folder / WEIGHTS / name
    return inner if inner.is_file() and not (folder / name).exists() else folder / name


def _fetch_file(weights: RemoteWeights, file: RemoteFile, origin: str | Path, path: Path, progress: Progress) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    if isinstance(origin, Path):
        part.write_bytes(read_weights(origin))
    elif not (part.exists() and part.stat().st_size == file.size):
        _download(weights, file, origin, part, progress)
    found = sha256(part)
    if found != file.sha256:
        part.unlink()
        raise _another(weights, file, origin, found)
    part.replace(path)


def _another(weights: RemoteWeights, file: RemoteFile, origin: str | Path, found: str) -> WeightsError:
    """The error for a file with the hash `found`, which is another one."""
    hashes = f"sha256 {found[:12]}..., expected {file.sha256[:12]}..."
    removed = "" if isinstance(origin, Path) else ", and the download was removed"
    message = f"{origin}: is not the expected {file.name}{removed}: {hashes}"
    if not file.url:
        return WeightsError(
            f"{message}; it is damaged, or of a clone of another version", hint=ways(weights.name, file.name)
        )
    again = "try another source" if isinstance(origin, Path) else "try again, or another source"
    return WeightsError(message, hint=f"{again}: mien models fetch {weights.name} --from ADDRESS_OR_FILE")


def _download(weights: RemoteWeights, file: RemoteFile, url: str, part: Path, progress: Progress) -> None:
    """Appends to `part` what is missing of the file."""
    with part.open("ab") as out:
        try:
            for offset, chunk in _chunks(url, out.tell()):
                if offset < out.tell():  # the server starts again at the beginning
                    out.truncate(offset)
                    out.seek(offset)
                out.write(chunk)
                progress(file.name, out.tell(), file.size)
                if out.tell() > file.size:
                    break  # another file, which its hash will show
        except _NetworkError as error:
            so_far = f"after {out.tell():,} of {file.size:,} bytes: " if out.tell() else ""
            raise WeightsError(
                f"{file.name}: cannot be fetched from {urllib.parse.urlsplit(url).netloc}: {so_far}{error}",
                hint=f"mien models fetch {weights.name}, which resumes the download; {weights.by_hand}",
            ) from error


class _NetworkError(Exception):
    """The server cannot be reached, refuses, or stops sending."""


def _chunks(url: str, start: int) -> Iterator[tuple[int, bytes]]:
    """Yields offsets and pieces of a file from `start` on, or from 0 if the server does not support ranges."""
    headers = {"User-Agent": "mien"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as response:
            offset = start if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            left = int(response.headers.get("Content-Length", 0))
            while chunk := response.read(_CHUNK):
                yield offset, chunk
                offset += len(chunk)
                left -= len(chunk)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            yield from _chunks(url, 0)
            return
        raise _NetworkError(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _NetworkError(str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _NetworkError(str(error) or type(error).__name__) from error
    if left > 0:
        raise _NetworkError("the connection broke")
