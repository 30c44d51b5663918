"""From what a user typed (files, folders, quoted globs) to the paths of images, in natural order."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mien.errors import InputError

# The suffixes of images in a folder; a file that is named itself is tried whatever its suffix. HEIF cannot be read, but
# is included, so that each file gives an error: without one, half of a phone's album would be missing silently.
SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"}
)


def find_images(paths: Sequence[str | Path], recursive: bool = True) -> list[Path]:
    """The images that `paths` name, each once, in the given order.

    A folder stands for its images, by suffix and in natural order (2 before 10), without hidden files and folders and
    without the images that mien has drawn (`*.annotated.*`). A glob pattern (`photos/*.jpg`; `**` crosses folders)
    stands for its matches, as in a shell. A path that does not exist, a pattern without a match and, beside other
    images, an empty folder stay in the list: reading them gives the error. "-" is standard input; a file of that name
    is "./-".

    Args:
        paths: Files, folders and patterns.
        recursive: Include the images in subfolders.

    Raises:
        InputError: There are only folders without images, or a folder cannot be listed.
    """
    found: dict[str, Path] = {}
    empty = None
    for path in map(_path, paths):
        images = _expand(path, recursive)
        if not images:
            empty, images = path, [path]
        for image in images:
            found.setdefault(os.path.abspath(image), image)
    if empty is not None and all(path.is_dir() for path in found.values()):
        raise InputError(
            f"no images in the folder '{empty}'", hint=f"image files end with {' '.join(sorted(SUFFIXES))}"
        )
    return list(found.values())


def _path(name: str | Path) -> Path:
    path = Path(name)
    # Path("./-") drops the folder, and would be standard input.
    return Path.cwd() / path if str(path) == "-" and str(name) != "-" else path


def _expand(path: Path, recursive: bool) -> list[Path]:
    if str(path) == "-":
        return [path]
    if os.path.isdir(path):
        return list(_inside(path, recursive))
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)), key=_natural_path)
    # It is no error if a folder that matches a pattern has no images.
    images = [image for match in matches for image in (_inside(match, recursive) if match.is_dir() else [match])]
    return images or [path]


def _inside(folder: Path, recursive: bool) -> Iterator[Path]:
    """The images of a folder in natural order: first its own, then those of its subfolders."""
    for parent, folders, files in os.walk(folder, onerror=_not_listed):
        # os.walk continues with what remains in `folders`.
        seen = [name for name in folders if recursive and not name.startswith(".")]
        folders[:] = sorted(seen, key=_natural)
        for name in sorted(files, key=_natural):
            stem, suffix = os.path.splitext(name)
            drawn = stem.endswith(".annotated")  # by an earlier run of mien
            if not name.startswith(".") and not drawn and suffix.lower() in SUFFIXES:
                yield Path(parent, name)


def _not_listed(error: OSError) -> None:
    raise InputError(f"the folder '{error.filename}' cannot be listed: {error.strerror}") from error


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A key that sorts `img2` before `img10`: runs of digits count as numbers, letters regardless of case."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", name.lower())
    return [(0, int(digits), "") if digits else (1, 0, text) for digits, text in parts], name


def _natural_path(path: Path) -> list[tuple[list[tuple[int, int, str]], str]]:
    return [_natural(part) for part in path.parts]
