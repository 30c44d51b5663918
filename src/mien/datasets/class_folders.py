"""Class folders: which there are, in which splits, and which classes their names mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mien import emotions
from mien.errors import ConfigError, DataError, InputError
from mien.output.schema import table_columns

OWN: Final = "own"
SIZES: Final = (6, 7, 8)

# Names of the folders of splits.
_SPLITS: Final = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "publictest"),
    "test": ("test", "testing", "privatetest"),
}


class Tree(dict[str, dict[str, Path]]):
    """Class folders by split and name; all are in "train" if there are no folders of splits (`has_splits`)."""

    has_splits: bool = False


class Naming(NamedTuple):
    """The names of the classes, and the index of its class for each folder name."""

    classes: tuple[str, ...]
    place: dict[str, int]


def read_tree(root: Path) -> Tree:
    """The class folders below `root`, without hidden folders and files.

    Raises:
        InputError: The folder does not exist or cannot be listed.
        DataError: Folders of splits are mixed with others, a split has two folders, or a link forms a cycle.
    """
    tree = Tree()
    top = _folders(root)
    splits = {split: [name for name in top if name.lower() in known] for split, known in _SPLITS.items()}
    if not splits["train"]:
        tree["train"] = top
    else:
        tree.has_splits = True
        if others := [name for name in top if not any(name in names for names in splits.values())]:
            raise DataError(
                f"{root}: expected only folders of splits, found {', '.join(map(repr, others))} as well",
                hint="move class folders into train, val and test, or remove these",
            )
        for split, names in splits.items():
            if len(names) > 1:
                raise DataError(f"{root}: {' and '.join(names)} are the same split", hint="merge the two folders")
            if names:
                tree[split] = _folders(top[names[0]])
    if not any(tree.values()):
        raise DataError(
            f"{root}: contains no class folders", hint="expected files such as DIR/happy/*.jpg or DIR/train/happy/*.jpg"
        )
    return tree


def _folders(root: Path) -> dict[str, Path]:
    """The folders in a folder, by name, in order."""
    hint = "give the folder that contains the class folders"
    try:
        found = {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    except FileNotFoundError:
        raise InputError(f"{root}: no such folder", hint=hint) from None
    except NotADirectoryError:
        raise InputError(f"{root}: is not a folder", hint=hint) from None
    except OSError as error:
        raise InputError(
            f"{root}: cannot be listed: {error.strerror}", hint="check the folder's permissions"
        ) from error
    here = root.resolve()
    if cycles := [name for name, path in found.items() if here.is_relative_to(path.resolve())]:
        raise DataError(
            f"{root}: {', '.join(map(repr, cycles))} is a link to a folder that contains it", hint="remove the link"
        )
    return found


def naming(tree: Tree, wanted: str | None) -> Naming:
    """The classes that the folder names mean.

    Args:
        tree: The folders.
        wanted: "6", "7" or "8" emotions, "own" classes, or None for the smallest number of emotions that has a class
            for every folder.

    Raises:
        ConfigError: `wanted` has another value.
        DataError: Names are not classes, a class has no folder, or there is only one class.
    """
    names = list(dict.fromkeys(name for place in tree.values() for name in place))
    if len(names) < 2:
        raise DataError(f"there is only one class, '{names[0]}'", hint="give at least two class folders")
    if wanted == OWN:
        return _own(names)
    if wanted is None or wanted in map(str, SIZES):
        return _emotions(names, int(wanted) if wanted else None)
    raise ConfigError(f"classes: unknown '{wanted}'", hint=f"choose one of {', '.join(map(str, SIZES))}, {OWN}")


def _emotions(names: Sequence[str], size: int | None) -> Naming:
    nouns = {name: _noun(name) for name in names}
    sizes = SIZES if size is None else (size,)
    known = {each: {name: found for name, noun in nouns.items() if (found := _class(noun, each))} for each in sizes}
    fitting = [each for each in sizes if len(known[each]) == len(names)]
    if not fitting:
        strange = [name for name in names if name not in known[sizes[-1]]]
        raise DataError(
            f"the folder names {', '.join(map(repr, strange))} are not among {sizes[-1]} emotions",
            hint=f"known are {', '.join(emotions.vocabulary(sizes[-1]))} and their aliases; or use --classes {OWN}",
        )
    # Six emotions merge disgust into anger: only on request, not for data with a folder of disgust.
    chosen = next(each for each in fitting if size or set(nouns.values()) <= set(emotions.vocabulary(each)))
    classes = emotions.vocabulary(chosen)
    if missing := [name for name in classes if name not in known[chosen].values()]:
        raise DataError(
            f"{chosen} emotions need a folder for {', '.join(missing)}",
            hint=f"--classes {OWN} uses the {len(names)} folders as classes",
        )
    return Naming(classes, {name: classes.index(found) for name, found in known[chosen].items()})


def _noun(name: str) -> str:
    """The emotion that a folder name means; the name itself if it means none."""
    try:
        return emotions.parse(name)
    except ConfigError:
        return name


def _class(noun: str, size: int) -> str | None:
    """The class of a vocabulary that an emotion belongs to."""
    return noun if noun in emotions.vocabulary(size) else emotions.MERGED.get(noun)


def _own(names: Sequence[str]) -> Naming:
    """The folder names as classes; emotions get their nouns, so that the classes match those of other models."""
    nouns = [name if name.strip().isdecimal() else _noun(name) for name in names]
    classes = nouns if len(set(nouns)) == len(nouns) else list(names)
    taken = {column.lower() for column in table_columns(())}
    if strange := [name for name in classes if not (name.isprintable() and name.strip()) or name.lower() in taken]:
        raise DataError(
            f"{', '.join(map(repr, strange))} cannot be the name of a class: a column of the tables, or not printable",
            hint="rename the folder",
        )
    return Naming(tuple(classes), {name: index for index, name in enumerate(names)})
