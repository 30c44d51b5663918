"""Files that appear whole or not at all: atomic writes, staging folders, the cache folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mien.errors import OutputError

__all__ = ["cannot_write", "new_file", "refusals", "replacing", "writable"]


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Gives the path to write, `<name>.partial`; at a clean end that file takes the name of `target`.

    A file that had this name is replaced in one step. After an exception, or a crash, it is still there as it
    was, and what was written so far lies beside it as `<name>.partial`.

    Raises:
        OutputError: The folder is missing, the target is a folder or a device, or the file cannot be renamed.
    """
    target = writable(target)
    partial = target.with_name(target.name + ".partial")
    yield partial
    try:
        os.replace(partial, target)
    except OSError as error:
        raise cannot_write(target, error) from error


def writable(target: Path) -> Path:
    """The file that may be made or replaced under this name; of a link, the file behind it.

    Raises:
        OutputError: The folder is missing, or a folder, a device or a pipe has the name.
    """
    if not target.parent.is_dir():
        raise OutputError(
            f"cannot write '{target}': there is no folder '{target.parent}'", hint="make the folder first"
        )
    if target.is_dir():
        raise OutputError(f"cannot write '{target}': it is a folder", hint="give a file name")
    if target.exists() and not target.is_file():  # a rename would put a file in the place of, say, /dev/null
        raise OutputError(f"cannot write '{target}': it is not a regular file", hint="use - for standard output")
    return target.resolve()


@contextmanager
def new_file(target: str | Path, mode: str, **options: str) -> Iterator[Any]:
    """The file, open, that takes the name of `target` at a clean end, as in `replacing`.

    Args:
        target: The path.
        mode: "w" or "wb".
        options: Further ones of `open`.

    Raises:
        OutputError: It cannot be made, or closing it cannot write what is left.
    """
    with replacing(Path(target)) as partial:
        with refusals(target):
            stream = open(partial, mode, **options)  # type: ignore[call-overload]  # noqa: SIM115
        try:
            yield stream
        finally:
            with refusals(target):
                stream.close()


@contextmanager
def refusals(target: object) -> Iterator[None]:
    """Turns what the system refuses into an OutputError; a reader who has left stays a BrokenPipeError.

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
    """The error to raise where the system refused to write `target`."""
    reason = (error.strerror or str(error)).lower()
    if str(target) == "-":
        return OutputError(f"cannot write to standard output: {reason}", hint="check the free space where it goes")
    return OutputError(f"cannot write '{target}': {reason}", hint="check the folder's permissions and the free space")
