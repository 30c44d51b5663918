"""What is wrong with a recipe, in words; and how the rest of it can be looked at all the same."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

__all__ = ["Place", "follows", "meant", "mend", "mistake"]

# Keys from the outside in; numbers in lists.
Place: TypeAlias = tuple[int | str, ...]

# What stands for a required key that is missing or wrong while the others are looked at.
_STAND_INS: Final[Mapping[Place, Any]] = {
    ("name",): "recipe",
    ("model",): {"name": "plain"},
    ("model", "name"): "plain",
    ("heads",): {"labels": {"source": "labels"}},
}
_SOURCE: Final = "labels"  # of a head
_LONG: Final = 60  # characters of a value that are shown
_LIST: Final = 12  # known keys that are listed; of more, the nearest alone


def mistake(item: ErrorDetails, form: type[BaseModel]) -> str:
    """One of pydantic's findings in the words of a recipe: the key, dotted, and what is wrong with it."""
    place = item["loc"]
    key = ".".join(str(part) for part in place if part != "[key]")
    kind, text = item["type"], item["msg"]
    if kind == "extra_forbidden":
        text = f"there is no such key{meant(str(place[-1]), _keys(form, place[:-1]))}"
    elif kind == "missing":
        text = "is missing"
    elif kind == "value_error":
        text = text.removeprefix("Value error, ")
    else:
        shown = str(item["input"])
        text = f"{text[:1].lower()}{text[1:]}, got {shown if len(shown) <= _LONG else shown[: _LONG - 3] + '...'}"
    return f"{key}: {text}" if key else text


def meant(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that says what a wrong word may have meant."""
    names = sorted(known)
    if near := difflib.get_close_matches(word, names, n=1):
        return f", did you mean {near[0]}?"
    return f", known: {', '.join(names)}" if names and len(names) <= _LIST else ""


def follows(item: ErrorDetails, replaced: set[Place]) -> bool:
    """Whether a finding is only due to what was replaced: it was told already, or compares a key that was."""
    place = item["loc"]
    if place:
        return any(other[: len(place)] == place for other in replaced)
    return any(other[0] in ("heads", "model") for other in replaced)  # what is compared with `select` and its like


def mend(rest: dict[str, Any], place: Place) -> bool:
    """Makes `rest` right at `place`: takes the value out, so that the default counts, or puts in what stands for it.

    Args:
        rest: The recipe in its plain form, changed here.
        place: Of the mistake. One in a list takes the whole list out.

    Returns:
        Whether something was changed.
    """
    table: Any = rest
    for number, name in enumerate(place):
        last = number == len(place) - 1
        if not isinstance(table, dict):
            return False
        if name not in table:
            return _put_stand_in(table, place[: number + 1]) if last else False
        inside = table[name]
        if last or not isinstance(inside, dict) or place[number + 1] == "[key]":
            del table[name]
            return True
        table = inside
    return False


def _put_stand_in(table: dict[str, Any], place: Place) -> bool:
    if place in _STAND_INS:
        table[str(place[-1])] = _STAND_INS[place]
        return True
    if len(place) == 3 and place[0] == "heads" and place[2] == "source":
        table["source"] = _SOURCE
        return True
    return False


def _keys(form: type[BaseModel], place: Place) -> Sequence[str]:
    """The keys of the table at `place`."""
    table = form
    for name in place:
        if name in table.model_fields:  # else it is the name of a head, or the number of a round
            found = _model_in(table.model_fields[str(name)].annotation)
            if found is None:
                return ()
            table = found
    return tuple(table.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
