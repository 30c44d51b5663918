"""From what a user typed (files, folders, quoted globs) to the paths of images and videos, in natural order.

What a folder has besides is counted by kind: a collection of photographs must not seem complete while a part of it was
passed over.
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mien.errors import InputError
from mien.media import kinds
from mien.media.formats import PREFIX, SUFFIXES, is_image
from mien.media.kinds import Kind

# The suffixes of images in a folder; a file that is named itself is tried whatever its suffix.
IMAGE_SUFFIXES: Final = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)

# Files and folders of operating systems and storage boxes, beside the hidden ones: their images are thumbnails.
_SYSTEM: Final = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"}
)

_HIDDEN: Final = Kind("a hidden file or folder", "hidden files and folders")
_DRAWN: Final = Kind("an image drawn by mien", "images drawn by mien")
_EMPTY: Final = Kind("an empty file", "empty files")
_NOT_A_FILE: Final = Kind("a pipe or device", "pipes and devices")
_BROKEN: Final = Kind("a broken link", "broken links")
_SUBFOLDER: Final = Kind("a subfolder", "subfolders")
_AGAIN: Final = Kind("a link to a folder that is read anyway", "links to folders that are read anyway")
_UPWARDS: Final = Kind("a link to a folder above it", "links to folders above them")

_SHOWN: Final = 4  # suffixes of a kind


@dataclass(frozen=True, slots=True)
class Found:
    """What some paths name.

    Attributes:
        images: The images, and the videos if they were asked for, each once.
        passed_over: What was passed over in folders, one text for each kind: "3 videos (.mp4): ...".
        folders: The folders that were named, or matched a pattern.
    """

    images: tuple[Path, ...]
    passed_over: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()


# One path or several.
Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def several(paths: Paths) -> list[str | os.PathLike[str]]:
    """The paths; a single one is no list of letters."""
    return [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)


def find_images(paths: Paths, recursive: bool = True) -> list[Path]:
    """The images that `paths` name, as `find` gives them."""
    return list(find(paths, recursive).images)


def find(paths: Paths, recursive: bool = True, *, videos: bool = False) -> Found:
    """The images that `paths` name, each once, in the given order, and what was passed over.

    A folder stands for its images in natural order (2 before 10): the files with the suffix of an image, and those
    without a suffix that begin as an image. Hidden and system files and the images that mien has drawn
    (`*.annotated.*`) are passed over. Links to folders are followed, after the other subfolders; a folder that was
    reached before, or that is above the link, is not read again. A glob pattern (`photos/*.jpg`; `**` crosses folders)
    stands for its matches, as in a shell. A path that does not exist, a pattern without a match, and, beside other
    images, a folder that is empty or cannot be listed stay in the list: reading them gives the error. "-" is standard
    input; a file of that name is "./-".

    Args:
        paths: Files, folders and patterns, one or several.
        recursive: Include the images in subfolders.
        videos: Include the videos in folders, by their suffix.

    Raises:
        InputError: There are only folders without images, or that cannot be listed; or a path is empty.
    """
    found: dict[str, Path] = {}
    empty = None
    walk = _Walk(recursive, videos)
    for path in map(_path, several(paths)):
        images = _expand(path, walk)
        if images is None:
            empty, images = path, [path]
        for image in images:
            found.setdefault(os.path.abspath(image), image)
    passed_over = walk.passed_over()
    if empty is not None and all(path.is_dir() for path in found.values()):
        for folder, error in walk.closed.items():
            raise InputError(f"the folder '{folder}' cannot be listed: {error.strerror}") from error
        others = f", only {'; '.join(passed_over)}" if passed_over else ""
        wanted = "images or videos" if videos else "images"
        raise InputError(
            f"no {wanted} in the folder '{empty}'{others}",
            hint=f"image files end with {' '.join(sorted(IMAGE_SUFFIXES))}",
        )
    return Found(tuple(found.values()), passed_over, tuple(walk.named))


def _path(name: str | os.PathLike[str]) -> Path:
    if str(name) == "":  # pathlib takes it for the current folder
        raise InputError("the path is empty", hint="check the variable it comes from; the current folder is .")
    path = Path(name)
    # Path("./-") drops the folder, and would be standard input.
    return Path.cwd() / path if str(path) == "-" and str(name) != "-" else path


def _expand(path: Path, walk: "_Walk") -> list[Path] | None:
    """The images that a path or a pattern stands for; None for a folder without images."""
    if str(path) == "-":
        return [path]
    if os.path.isdir(path):
        return walk.images(path)
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)), key=_natural_path)
    images: list[Path] = []
    for match in matches:
        # It is no error if a folder that matches a pattern has no images.
        found = walk.images(match) if match.is_dir() else [match]
        images += [match] if match in walk.closed else found or []
    return images or [path]


@dataclass
class _Walk:
    """Lists folders, each once, and counts what it passes over.

    Attributes:
        recursive: Whether subfolders are listed.
        videos: Whether videos are taken.
        seen: The real paths of the folders that were listed.
        counts: What was passed over, by kind.
        suffixes: The suffixes of the files that were passed over, by kind.
        named: The folders that were named and listed.
        closed: The folders that were named and cannot be listed, with the reason.
        listed_before: Whether a part of the folder that is being listed was listed before.
    """

    recursive: bool
    videos: bool = False
    seen: set[str] = field(default_factory=set)
    counts: Counter[Kind] = field(default_factory=Counter)
    suffixes: dict[Kind, Counter[str]] = field(default_factory=dict)
    named: list[Path] = field(default_factory=list)
    closed: dict[Path, OSError] = field(default_factory=dict)
    listed_before: bool = False

    def images(self, folder: Path) -> list[Path] | None:
        """The images of a folder that was named; None if it has none or is closed; [] if it was listed before."""
        self.listed_before = os.path.realpath(folder) in self.seen
        if self.listed_before:
            return []
        try:
            os.scandir(folder).close()
        except OSError as error:
            self.closed[folder] = error
            return None
        self.named.append(folder)
        links: list[Path] = []
        found = list(self._inside(folder, links))
        while links:  # the folders behind links may have links themselves
            link = links.pop(0)
            if _is_above(os.path.realpath(link), os.path.realpath(link.parent)):
                self._pass(_UPWARDS)
            elif os.path.realpath(link) in self.seen:
                self._pass(_AGAIN)
            else:
                found += self._inside(link, links)
        return found or ([] if self.listed_before else None)

    def _inside(self, folder: Path, links: list[Path]) -> Iterator[Path]:
        """The images of a folder in natural order: first its own, then those of its subfolders.

        Links to folders are added to `links`: they come last, so that an image has the name of its real folder.
        """
        self.seen.add(os.path.realpath(folder))
        try:
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: _natural(entry.name))
        except OSError:
            yield folder  # reading it gives the error
            return
        folders = []
        for entry in entries:
            path = Path(folder, entry.name)
            if entry.name.startswith(".") or entry.name.lower() in _SYSTEM:
                self._pass(_HIDDEN)
            elif os.path.isdir(path):  # unlike entry.is_dir(), also False for links that form a circle
                folders.append((path, entry.is_symlink()))
            elif self._is_wanted(path):
                yield path
        for path, is_link in folders:
            if not self.recursive:
                self._pass(_SUBFOLDER)
            elif is_link:
                links.append(path)
            elif os.path.realpath(path) in self.seen:  # it was named before
                self.listed_before = True
            else:
                yield from self._inside(path, links)

    def _is_wanted(self, path: Path) -> bool:
        """Whether a file is taken for an image or a video; if not, it is counted."""
        suffix, is_file = path.suffix.lower(), os.path.isfile(path)
        if path.stem.endswith(".annotated"):  # by an earlier run of mien
            self._pass(_DRAWN)
        elif not is_file and os.path.exists(path):
            self._pass(_NOT_A_FILE)
        elif suffix in IMAGE_SUFFIXES or (
            self.videos and is_file and kinds.by_suffix(path.name) is kinds.VIDEO
        ):  # a broken link as well: reading it gives the error
            return True
        elif not is_file:
            self._pass(_BROKEN)
        elif kind := kinds.by_suffix(path.name):
            self._pass(kind, suffix)
        else:
            prefix = _start(path)
            kind = _kind(prefix, path.name)
            if (is_image(prefix, path.name) and not suffix) or (self.videos and kind is kinds.VIDEO):
                return True
            self._pass(kind, suffix)
        return False

    def _pass(self, kind: Kind, suffix: str = "") -> None:
        self.counts[kind] += 1
        if suffix:
            self.suffixes.setdefault(kind, Counter())[suffix] += 1

    def passed_over(self) -> tuple[str, ...]:
        """One text for each kind: images that mien cannot read first, then by number."""
        texts = []
        for kind, number in sorted(self.counts.items(), key=lambda item: (not item[0].is_image, -item[1])):
            suffixes = [suffix for suffix, _ in self.suffixes.get(kind, Counter()).most_common(_SHOWN + 1)]
            if len(suffixes) > _SHOWN:
                suffixes[_SHOWN:] = ["..."]
            named = f" ({', '.join(suffixes)})" if suffixes else ""
            texts.append(f"{kind.counted(number)}{named}{f': {kind.advice}' if kind.advice else ''}")
        return tuple(texts)


def _is_above(folder: str, other: str) -> bool:
    """Whether a folder is another or contains it; both are real paths."""
    return other == folder or other.startswith(folder.rstrip(os.sep) + os.sep)


def _start(path: Path) -> bytes:
    """The first bytes of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(PREFIX)
    except OSError:
        return b""


def _kind(prefix: bytes, name: str) -> Kind:
    """The kind of a file with an unknown suffix or none."""
    if not prefix:
        return _EMPTY
    return kinds.RENAMED if is_image(prefix, name) else kinds.by_content(prefix) or kinds.OTHER


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A key that sorts `img2` before `img10`: runs of digits count as numbers, letters regardless of case."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", name.lower())
    return [(0, int(digits), "") if digits else (1, 0, text) for digits, text in parts], name


def _natural_path(path: Path) -> list[tuple[list[tuple[int, int, str]], str]]:
    return [_natural(part) for part in path.parts]
