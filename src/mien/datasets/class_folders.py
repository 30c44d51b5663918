"""Class folders: where they are in what was downloaded, and in which splits.

Archives are often wrapped in one more folder, or have junk beside the data; splits lie above the class folders
(`train/happy`) or below them (`happy/train`). Everything that is not taken literally gives a note.
"""

import os
from pathlib import Path
from typing import Final

from mien.datasets.class_names import is_emotion
from mien.datasets.splits import split_of
from mien.errors import DataError, InputError
from mien.media.find import IMAGE_SUFFIXES

# Folders that archivers and file servers add.
_JUNK: Final = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information"})
_ARCHIVES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".rar", ".7z", ".gz")


class Tree(dict[str, dict[str, list[Path]]]):
    """Class folders by split and name; all are in "train" if there are no splits (`has_splits`).

    A class is a list of folders: with splits below the classes, a split may have several of one class.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_splits = False
        self.notes: list[str] = []

    @property
    def names(self) -> list[str]:
        """The names of the classes, each once."""
        return list(dict.fromkeys(name for place in self.values() for name in place))


def read_tree(root: Path) -> Tree:
    """The class folders below `root`, without hidden folders and files.

    Raises:
        InputError: The folder does not exist or cannot be listed.
        DataError: There are no class folders, splits are mixed with other folders, a split has two folders, or a link
            forms a cycle.
    """
    tree = Tree()
    place = root
    while inner := _wrapped(place):
        place = inner
    if place != root:
        tree.notes.append(f"the class folders are in {place}")
    top = _folders(place)
    _note_loose(tree, place)
    if top and _are_splits(top):
        tree.has_splits = True
        _fill(tree, place, top)
    elif below := _splits_below(place, top):
        tree.has_splits = True
        tree.update(below)
        tree.notes.append(f"the splits are inside the class folders: {', '.join(tree)}")
    else:
        tree["train"] = {name: [path] for name, path in top.items()}
    if not tree.names:
        raise DataError(f"{place}: contains no class folders", hint=_hint_without_folders(place))
    _check_layout(place, tree)
    return tree


def _are_splits(top: dict[str, Path]) -> bool:
    return any(split_of(name) == "train" for name in top) or all(split_of(name) for name in top)


def _fill(tree: Tree, place: Path, top: dict[str, Path]) -> None:
    """Adds the class folders of each split."""
    if others := [name for name in top if split_of(name) is None]:
        raise DataError(
            f"{place}: expected only folders of splits, found {', '.join(map(repr, others))} as well",
            hint="move class folders into train, val and test, or remove these",
        )
    parts: dict[str, Path] = {}
    for name, path in top.items():
        split = split_of(name) or ""
        if split in parts:
            raise DataError(
                f"{place}: {parts[split].name} and {name} are the same split, {split}",
                hint="merge the two folders, or remove one",
            )
        parts[split] = path
    wrapped = {split: inner for split, path in parts.items() if (inner := _wrapped(path, split))}
    plain = {name for split, path in parts.items() if split not in wrapped for name in _folders(path)}
    for split in sorted(parts, key=("train", "val", "test").index):
        path = parts[split]
        while (inner := _wrapped(path, split)) and inner.name not in plain:
            path = inner
        if path != parts[split]:
            tree.notes.append(f"the class folders of {split} are in {path}")
        _note_loose(tree, path)
        tree[split] = {name: [found] for name, found in _folders(path).items()}


def _wrapped(place: Path, split: str | None = None) -> Path | None:
    """The only folder in a folder, if it is no class and no other split than `split`, and holds folders in turn."""
    found = _folders(place)
    if len(found) != 1:
        return None
    ((name, path),) = found.items()
    return None if split_of(name) not in (None, split) or is_emotion(name) or not _folders(path, cycles=True) else path


def _splits_below(place: Path, top: dict[str, Path]) -> Tree | None:
    """The tree of class folders that hold the splits, such as happy/train and happy/test; None if they do not.

    Raises:
        DataError: Only some class folders do.
    """
    below = {name: _folders(path, cycles=True) for name, path in top.items()}
    split = {name for name, parts in below.items() if len({split_of(part) for part in parts} - {None}) > 1}
    if not split:
        return None
    if strange := [name for name in top if not below[name] or not all(map(split_of, below[name]))]:
        raise DataError(
            f"{place}: {', '.join(sorted(split))} contain folders of splits, but {', '.join(strange)} do not",
            hint="arrange all class folders in the same way",
        )
    tree = Tree()
    for wanted in ("train", "val", "test"):
        for name, parts in below.items():
            if paths := [path for part, path in parts.items() if split_of(part) == wanted]:
                tree.setdefault(wanted, {})[name] = paths
    return tree


def _folders(root: Path, *, cycles: bool = False) -> dict[str, Path]:
    """The folders in a folder, by name, in order; with `cycles`, links that form one are left out silently."""
    hint = "give the folder that contains the class folders"
    try:
        found = {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and not _is_junk(path.name)}
    except FileNotFoundError:
        raise InputError(f"{root}: no such folder", hint=hint) from None
    except NotADirectoryError:
        packed = root.name.lower().endswith(_ARCHIVES)
        raise InputError(
            f"{root}: is not a folder", hint="unpack the archive first, and give the folder" if packed else hint
        ) from None
    except OSError as error:
        raise InputError(
            f"{root}: cannot be listed: {error.strerror}", hint="check the folder's permissions"
        ) from error
    here = root.resolve()
    round_again = [name for name, path in found.items() if here.is_relative_to(path.resolve())]
    if round_again and not cycles:
        raise DataError(
            f"{root}: {', '.join(map(repr, round_again))} is a link to a folder that contains it",
            hint="remove the link",
        )
    return {name: path for name, path in found.items() if name not in round_again}


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _note_loose(tree: Tree, place: Path) -> None:
    """Notes the images beside the class folders, which belong to no class."""
    loose = [
        name
        for name in sorted(os.listdir(place))
        if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")
    ]
    if loose and _folders(place):
        several = len(loose) > 1
        tree.notes.append(
            f"{place}: {len(loose):,} {'images' if several else 'image'} beside the class folders "
            f"{'belong to no class and are' if several else 'belongs to no class and is'} not used: "
            + ", ".join(loose[:3])
            + (", ..." if len(loose) > 3 else "")
        )


def _hint_without_folders(place: Path) -> str:
    """What to do with a folder that has no folders."""
    files = sorted(path.name for path in place.iterdir() if path.is_file() and not _is_junk(path.name))
    if tables := [name for name in files if name.lower().endswith(".csv")]:
        return (
            f"for a CSV file with pixels: mien data build fer2013 --csv {place / tables[0]}; "
            "images need class folders, such as DIR/happy/*.jpg"
        )
    if archives := [name for name in files if name.lower().endswith(_ARCHIVES)]:
        return f"unpack {archives[0]} first, and give the new folder"
    return "expected files such as DIR/happy/*.jpg or DIR/train/happy/*.jpg"


def _check_layout(place: Path, tree: Tree) -> None:
    """Names the known layouts that are not class folders.

    Raises:
        DataError: It is one of them.
    """
    names = {name.lower() for name in tree.names}
    lists = [
        path for part in tree.values() for paths in part.values() for path in paths if (path / "label.csv").is_file()
    ]
    if lists:
        raise DataError(
            f"{place}: has lists of votes ({lists[0].name}/label.csv), the folders of FER+, not class folders",
            hint=f"mien data build labelcsv --folder {place}",
        )
    if names == {"images", "labels"}:
        raise DataError(
            f"{place}: has images and labels apart (the layout of YOLO's detectors), not class folders",
            hint="sort the images into one folder per class, such as DIR/train/happy/*.jpg",
        )
    if "emolabel" in names:
        raise DataError(
            f"{place}: has images and a list of labels apart (the layout of RAF-DB), not class folders",
            hint="sort the images of Image/aligned into train/1 to test/7 by EmoLabel/list_patition_label.txt, "
            "and use --numbers rafdb",
        )
    if names == {"images", "annotations"}:
        raise DataError(
            f"{place}: has images and annotations apart (the layout of AffectNet), not class folders",
            hint="sort the images into folders by the number in annotations/*_exp.npy, and use --numbers affectnet",
        )
