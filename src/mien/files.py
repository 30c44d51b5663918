"""Files that appear completely or not at all: atomic writes, staging folders, the cache folder, hashes.

Also the checks of a command before its work: whether its outputs can be written, and would replace none of its inputs.
"""

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs

from mien.errors import ConfigError, OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class DiscardError(Exception):
    """Ends a block of `replacing` without a file: nothing in it is worth keeping, and an existing file stays."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yields the path to write, `<name>.partial`, which is renamed to `target` if the block ends without an error.

    An existing file is replaced in one step. After an exception or a crash it is unchanged, and what was written so
    far is in `<name>.partial` beside it; after a `DiscardError` this is removed.

    Raises:
        OutputError: The folder is missing, the target is a folder or a device, or the file cannot be renamed.
    """
    target, partial = writable(target), partial_of(target)
    try:
        yield partial
    except DiscardError:
        partial.unlink(missing_ok=True)
        raise
    try:
        os.replace(partial, target)
    except OSError as error:
        raise cannot_write(target, error) from error


def partial_of(target: Path) -> Path:
    """The file in which an output grows until it gets its name; for a link, beside the file that it points to."""
    place = target.resolve()
    return place.with_name(f"{place.name}.partial")


def writable(target: Path) -> Path:
    """The file that can be created or replaced under this name; for a link, the file it points to.

    Raises:
        OutputError: The folder is missing or read-only, or the name belongs to a folder, a device or a pipe.
    """
    if not target.parent.is_dir():
        raise OutputError(
            f"cannot write '{target}': there is no folder '{target.parent}'", hint="make the folder first"
        )
    if target.is_dir():
        raise OutputError(f"cannot write '{target}': it is a folder", hint="give a file name")
    if target.exists() and not target.is_file():  # a rename would replace, say, /dev/null by a file
        raise OutputError(f"cannot write '{target}': it is not a regular file", hint="use - for standard output")
    place = target.resolve()
    _check_access(target, place.parent)
    return place


def check_folder(folder: Path) -> None:
    """Makes sure that files can be written into a folder, which may be missing: it is made later, with its parents.

    Raises:
        OutputError: It is a file or in one, or it is read-only.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not nearest.is_dir():
        where = "it" if nearest == folder else f"'{nearest}'"
        raise OutputError(f"cannot write into '{folder}': {where} is a file", hint="give another --out")
    _check_access(folder, nearest)


def _check_access(target: Path, folder: Path) -> None:
    """Refuses a folder in which no file can be made."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise cannot_write(target, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def check_inputs_stay(outputs: Mapping[str, Path], inputs: Iterable[Path]) -> None:
    """Refuses outputs that would replace an input, also through a link, and two outputs in one file.

    Args:
        outputs: The files to write, by what messages call them: "the table", "--out".
        inputs: What is read; those that are no files do not matter.

    Raises:
        ConfigError: There is one.
    """
    older = {name: place for name, place in outputs.items() if place.is_file()}
    for path in inputs if older else ():
        for name, place in older.items():
            with suppress(OSError, ValueError):  # not a file: a name, a camera, an address
                if os.path.samefile(place, path):
                    raise ConfigError(f"{name} would replace the input '{place}'", hint=f"give {name} another name")
    names = dict[Path, str]()
    for name, place in outputs.items():
        if (other := names.setdefault(place.resolve(), name)) != name:
            raise ConfigError(f"{other} and {name} are the same file, '{place}'", hint="give one of them another name")


def with_suffix(path: Path, suffix: str) -> Path:
    """The path with another suffix, for hints; for a path without a name, such as `.`, a file in it."""
    return path.with_suffix(suffix) if path.name else path / f"out{suffix}"


@contextmanager
def new_file(target: str | Path, mode: str, **options: Any) -> Iterator[Any]:
    """Opens a file that is renamed to `target` if the block ends without an error, as in `replacing`.

    Args:
        target: The path.
        mode: "w" or "wb"; "r+b" to go on with what `partial_of` has.
        options: Further arguments of `open`. In text, bytes of a name that are not UTF-8 are written as `\\udcff`.

    Raises:
        OutputError: The file cannot be created, another process is writing it, or closing it cannot write what is left.
    """
    if "b" not in mode:
        options.setdefault("errors", "backslashreplace")
    with ExitStack() as locks, replacing(Path(target)) as partial:  # released when the file has its name
        with write_errors(target):
            stream = open(partial, mode, opener=_locking_opener(locks), **options)  # noqa: SIM115
        try:
            yield stream
        finally:
            with write_errors(target):
                stream.close()


def _locking_opener(locks: ExitStack) -> Callable[[str, int], int]:
    """The `opener` of `open` that empties a file only when no other process is writing it.

    Args:
        locks: The file is locked until this is closed; on systems that have such locks.
    """

    def opener(path: str, flags: int) -> int:
        while True:
            opened = os.open(path, flags & ~os.O_TRUNC | os.O_CREAT, 0o666)
            try:
                if not _locked(opened):
                    raise OutputError(
                        f"cannot write '{path.removesuffix('.partial')}': another process is writing it",
                        hint="wait for its end, or give another name",
                    )
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(opened), os.stat(path)):
                        if fcntl is not None:  # a lock lasts until the last copy is closed
                            locks.callback(os.close, os.dup(opened))
                        if flags & os.O_TRUNC:
                            os.ftruncate(opened, 0)
                        return opened
            except BaseException:
                os.close(opened)
                raise
            os.close(opened)  # another process has just given it its name

    return opener


def _locked(opened: int) -> bool:
    """Locks an open file; False if another process has done so. Where there are no locks, nothing is locked."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # EBADF: a network file system (NFS) locks nothing that is open for reading only, so no folder.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EBADF):
            raise
    return True


@contextmanager
def locked_folder(folder: Path, what: str) -> Iterator[None]:
    """Keeps other processes out of a folder during the block; on systems whose folders have locks.

    Args:
        folder: It exists.
        what: What works in it, for the error: "a search".

    Raises:
        OutputError: Another process, or another block of this one, is in it.
    """
    if fcntl is None:
        yield
        return
    with write_errors(folder):
        opened = os.open(folder, os.O_RDONLY)
    try:
        if not _locked(opened):
            raise OutputError(f"{folder}: {what} is running there", hint="wait for its end, or choose another --out")
        yield
    finally:
        os.close(opened)


@contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `out`, so that finished files can be moved to `out` by renaming.

    Raises:
        OutputError: The system refuses to write there, or to move a file to `out`.
    """
    with write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".staging-") as name:
            yield Path(name)


@contextmanager
def write_errors(target: object) -> Iterator[None]:
    """Turns an OSError into an OutputError; a BrokenPipeError, from a reader that has gone, passes.

    Args:
        target: A path, or a stream.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        is_path = isinstance(target, (str, Path))
        raise cannot_write(target if is_path else getattr(target, "name", "the stream"), error) from error


def cannot_write(target: object, error: OSError) -> OutputError:
    """The error to raise if the system refused to write `target`."""
    reason = (error.strerror or str(error)).lower()
    if str(target) == "-":
        return OutputError(f"cannot write to standard output: {reason}", hint="check the free space at its destination")
    return OutputError(f"cannot write '{target}': {reason}", hint="check the folder's permissions and the free space")


def cache_folder() -> Path:
    """Where downloaded weights are kept: `MIEN_CACHE`, or `mien` in the user's cache folder; read at each call."""
    if override := os.environ.get("MIEN_CACHE"):
        return Path(override).expanduser()
    folder = platformdirs.user_cache_path("mien", appauthor=False)
    # A relative XDG_CACHE_HOME is invalid and to be ignored (XDG Base Directory Specification).
    return folder if folder.is_absolute() else Path.home() / ".cache" / "mien"


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_hash(path: Path, expected: str) -> bool:
    """Whether there is a file that can be read and has this SHA-256."""
    try:
        return sha256(path) == expected
    except OSError:
        return False


def append(file: io.FileIO, content: bytes) -> None:
    """Writes all of it, or leaves the file as it was: a full disk must not cut a row."""
    start, rest = file.tell(), memoryview(content)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except BaseException:
        with suppress(OSError):
            file.truncate(start)
            file.seek(start)
        raise
