"""Fetches weights into the cache: resumed where it broke off, and verified before a file gets its name.

Written on urllib, not pooch: pooch starts anew what broke off, and brings requests with it.
"""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from mien.assets.remote import Fetchable, RemoteFile, fetchable
from mien.assets.store import read_weights
from mien.errors import ConfigError, OutputError, WeightsError
from mien.files import sha256

__all__ = ["Progress", "fetch"]

# Called with a file's name, the bytes of it that are here, and its size.
Progress = Callable[[str, int, int], None]

_CHUNK: Final = 2**16
_SECONDS_OF_SILENCE: Final = 30.0


def fetch(name: str, source: str | None = None, *, progress: Progress | None = None) -> list[Path]:
    """Brings the files of some weights into the cache; whole ones that lie there already are left alone.

    Args:
        name: Of the weights, as in `fetchable.toml`.
        source: A mirror instead of the pinned address: an address or path of the file, or of a folder that holds the
            files by their names (an address of a folder ends in /). What comes from there must have the same hash.
        progress: Told how far it has got.

    Returns:
        Their paths.

    Raises:
        ConfigError: There are no weights of that name, or `source` cannot be one.
        WeightsError: The network failed, or what came is another file.
        OutputError: The cache cannot be written.
    """
    wanted = fetchable(name)
    origins = [_origin(wanted, file, source) for file in wanted.files]
    paths = [wanted.folder / file.name for file in wanted.files]
    try:
        for file, origin, path in zip(wanted.files, origins, paths, strict=True):
            if not (path.exists() and sha256(path) == file.sha256):
                _fetch_file(wanted, file, origin, path, progress or _silent)
    except OSError as error:  # the network's own errors have become WeightsErrors on the way
        raise OutputError(
            f"{wanted.folder}: cannot be written: {error.strerror}",
            hint="name another cache folder in MIEN_CACHE, or give the file itself: --detector-weights FILE",
        ) from error
    return paths


def _origin(wanted: Fetchable, file: RemoteFile, source: str | None) -> str | Path:
    """Where a file comes from: an address or a path."""
    if source is None:
        return file.url
    address = "://" in source
    if address and not source.startswith(("https://", "http://")):
        raise ConfigError(f"--from {source}: expected an address with https:// or http://, or a path")
    if source.endswith("/") if address else Path(source).is_dir():
        return source + file.name if address else Path(source, file.name)
    if len(wanted.files) > 1:
        folder = "the address of a folder, ending in /" if address else "a folder"
        raise ConfigError(f"--from {source}: '{wanted.name}' has {len(wanted.files)} files, expected {folder}")
    return source if address else Path(source)


def _fetch_file(wanted: Fetchable, file: RemoteFile, origin: str | Path, path: Path, progress: Progress) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    if isinstance(origin, Path):
        part.write_bytes(read_weights(origin))
    elif not (part.exists() and part.stat().st_size == file.size):
        _download(wanted, file, origin, part, progress)
    found = sha256(part)
    if found != file.sha256:
        part.unlink()
        raise WeightsError(
            f"{origin}: gave another file than {file.name}, which was removed: "
            f"sha256 {found[:12]}..., expected {file.sha256[:12]}...",
            hint=f"try again, or another source: mien models fetch {wanted.name} --from ADDRESS_OR_FILE",
        )
    part.replace(path)


def _download(wanted: Fetchable, file: RemoteFile, url: str, part: Path, progress: Progress) -> None:
    """Writes a file to `part`, going on from what is there."""
    with part.open("ab") as out:
        try:
            for offset, chunk in _chunks(url, out.tell()):
                if offset < out.tell():  # the server starts anew
                    out.truncate(offset)
                    out.seek(offset)
                out.write(chunk)
                progress(file.name, out.tell(), file.size)
                if out.tell() > file.size:
                    break  # it is another file: its hash will say so
        except _BrokenError as error:
            so_far = f"after {out.tell():,} of {file.size:,} bytes: " if out.tell() else ""
            raise WeightsError(
                f"{file.name}: cannot be fetched from {urllib.parse.urlsplit(url).netloc}: {so_far}{error}",
                hint=f"mien models fetch {wanted.name}, which goes on from where it broke off; {wanted.by_hand}",
            ) from error


class _BrokenError(Exception):
    """The server cannot be reached, refuses, or falls silent."""


def _chunks(url: str, start: int) -> Iterator[tuple[int, bytes]]:
    """The bytes of an address from `start` on, or from 0 if the server gives no parts: offsets and pieces."""
    headers = {"User-Agent": "mien"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_SECONDS_OF_SILENCE
        ) as response:
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
        raise _BrokenError(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _BrokenError(str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(str(error) or type(error).__name__) from error
    if left > 0:
        raise _BrokenError("the connection broke")


def _silent(name: str, done: int, size: int) -> None:
    """Nobody watches."""
