"""Which class folders there are, in which splits, and what their names mean."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien import emotions
from mien.errors import ConfigError, DataError, InputError
from mien.output.schema import table_columns

__all__ = ["OWN", "Naming", "Tree", "naming", "read_tree"]

OWN: Final = "own"
SIZES: Final = (6, 7, 8)

# What folders of splits are called.
_SPLITS: Final = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "publictest": "val",
    "test": "test",
    "testing": "test",
    "privatetest": "test",
}


class Tree(dict[str, dict[str, Path]]):
    """Class folders: path by name, by split; all of them "train" where there are no folders of splits.

    Attributes:
        given: The splits are folders.
    """

    given: bool = False


@dataclass(frozen=True, slots=True)
class Naming:
    """What the folders' names mean.

    Attributes:
        classes: Names of the classes.
        place: Index of its class by a folder's name.
    """

    classes: tuple[str, ...]
    place: dict[str, int]


def read_tree(root: Path) -> Tree:
    """The class folders below `root`.

    Hidden ones are passed over, and so are loose files.

    Raises:
        InputError: There is no such folder, or it cannot be listed.
        DataError: Folders of splits lie beside other ones, a split has two, or a link leads round.
    """
    tree = Tree()
    top = _folders(root)
    splits: dict[str, list[str]] = {}
    for name in top:
        splits.setdefault(_SPLITS.get(name.lower(), ""), []).append(name)
    if "train" not in splits:
        tree["train"] = top
    else:
        tree.given = True
        if stray := splits.pop("", []):
            raise DataError(
                f"{root}: beside the folders of the splits lie {', '.join(map(repr, stray))}",
                hint="put class folders into train, val and test, or leave these out",
            )
        if twice := [names for names in splits.values() if len(names) > 1]:
            raise DataError(f"{root}: {' and '.join(twice[0])} are one split", hint="join the two")
        for split in ("train", "val", "test"):
            if split in splits:
                tree[split] = _folders(top[splits[split][0]])
    if not any(tree.values()):
        raise DataError(f"{root}: holds no class folders", hint="it wants DIR/happy/*.jpg or DIR/train/happy/*.jpg")
    return tree


def _folders(root: Path) -> dict[str, Path]:
    """The folders in one, by name, in order."""
    try:
        found = {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    except FileNotFoundError:
        raise InputError(f"{root}: no such folder", hint="give the folder that holds the class folders") from None
    except NotADirectoryError:
        raise InputError(f"{root}: is no folder", hint="give the folder that holds the class folders") from None
    except OSError as error:
        raise InputError(f"{root}: cannot be listed: {error.strerror}") from error
    here = root.resolve()
    if round_ := [name for name, path in found.items() if here.is_relative_to(path.resolve())]:
        raise DataError(
            f"{root}: {', '.join(map(repr, round_))} leads back to the folder it lies in", hint="remove the link"
        )
    return found


def naming(tree: Tree, wanted: str | None) -> Naming:
    """What the folders' names mean.

    Args:
        tree: The folders.
        wanted: "6", "7" or "8" emotions, "own" classes, or None for the smallest of the first three that has a place
            for every folder.

    Raises:
        ConfigError: None of these is wanted.
        DataError: Names that are no classes, all of them told; a class without a folder; or only one class.
    """
    names = list(dict.fromkeys(name for place in tree.values() for name in place))
    if len(names) < 2:
        raise DataError(
            f"there is one class, '{names[0]}': nothing to tell apart", hint="give at least two class folders"
        )
    if wanted == OWN:
        return _own(names)
    if wanted is None or wanted in map(str, SIZES):
        return _emotions(names, int(wanted) if wanted else None)
    raise ConfigError(f"there are no classes '{wanted}'", hint=f"choose one of {', '.join(map(str, SIZES))}, {OWN}")


def _emotions(names: Sequence[str], size: int | None) -> Naming:
    nouns = {name: _noun(name) for name in names}
    sizes = SIZES if size is None else (size,)
    places = {each: {name: _place(noun, each) for name, noun in nouns.items()} for each in sizes}
    fitting = [each for each in sizes if _known(places[each]) == names]
    if not fitting:
        strange = [name for name in names if name not in _known(places[sizes[-1]])]
        raise DataError(
            f"{', '.join(map(repr, strange))}: no folder names of {sizes[-1]} emotions",
            hint=f"known: {', '.join(emotions.vocabulary(sizes[-1]))} and their aliases; or take --classes {OWN}",
        )
    # Six hold disgust in anger; that is for those who ask, not for those who have a folder of it.
    apart = [each for each in fitting if size or set(nouns.values()) <= set(emotions.vocabulary(each))]
    chosen = apart[0]
    classes = emotions.vocabulary(chosen)
    place = {name: classes.index(noun) for name, noun in places[chosen].items() if noun is not None}
    if missing := [name for index, name in enumerate(classes) if index not in place.values()]:
        raise DataError(
            f"of {chosen} emotions {', '.join(missing)} {'has' if len(missing) == 1 else 'have'} no folder",
            hint=f"--classes {OWN} keeps the {len(names)} that are there",
        )
    return Naming(classes, place)


def _known(places: dict[str, str | None]) -> list[str]:
    return [name for name, noun in places.items() if noun is not None]


def _noun(name: str) -> str | None:
    try:
        return emotions.parse(name)
    except ConfigError:
        return None


def _place(noun: str | None, size: int) -> str | None:
    """The class of a vocabulary that an emotion belongs to."""
    if noun is None:
        return None
    known = emotions.vocabulary(size)
    return noun if noun in known else next((to for name, to in emotions.MERGED.items() if name == noun), None)


def _own(names: Sequence[str]) -> Naming:
    """The folders' names as they are, but emotions by their nouns, so that the classes meet those of other models."""
    nouns = [name if name.strip().isdecimal() else _noun(name) or name for name in names]
    classes = nouns if len(set(nouns)) == len(nouns) else list(names)
    taken = {column.lower() for column in table_columns(())}
    if strange := [name for name in classes if not _usable(name, taken)]:
        raise DataError(
            f"{', '.join(map(repr, strange))} cannot name a class: tables have a column of that name, "
            "or it cannot be printed",
            hint="rename the folder",
        )
    return Naming(tuple(classes), {name: index for index, name in enumerate(names)})


def _usable(name: str, taken: Iterable[str]) -> bool:
    return name.isprintable() and bool(name.strip()) and name.lower() not in taken
