"""Options of commands, derived from the code that uses them, so that each is named and explained in one place.

There are two sources: the fields of an option dataclass (`DetectorOptions`, `ClassifierOptions`, ...), and the
arguments of a function (the data set builders). Both are annotated `Annotated[type, "help text"]`. The option is called
like the field; further text names other flags (`"--quiet", "-q"`), and a dict has further arguments of `typer.Option`,
`fraction` for a number 0-1 that may be written as a percentage, or `time` for seconds that may be written as 1:02:03.
"""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, is_dataclass
from enum import Enum
from functools import cached_property, partial
from keyword import iskeyword
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import typer

from mien.errors import ConfigError
from mien.faces import detectors, landmarks
from mien.files import check_inputs_stay

# Options that several commands share.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]

# Fields whose option has another name: a command has no object around them.
_RENAMED: Final[Mapping[str, str]] = {
    "DetectorOptions.name": "--detector",
    "DetectorOptions.weights": "--detector-weights",
    "DetectorOptions.max_side": "--detect-size",
    "LandmarkOptions.name": "--landmarks",
    "LandmarkOptions.weights": "--landmark-weights",
}

# Options whose values are the names of files in a folder.
_VALUES: Final[Mapping[str, Callable[[], tuple[str, ...]]]] = {
    "--detector": detectors.names,
    "--landmarks": landmarks.names,
}

# Options that name a file to write; all others are inputs or settings.
_WRITTEN: Final = ("out", "report")

# Where an error names a second field.
_COMBINED: Final = re.compile(r"(?<=combined with )\w+")


class Only(frozenset[str]):
    """In `Annotated[SomeOptions, Only({"a", "b"})]`: the command has only these options of the dataclass."""


def option_name(kind: type, name: str) -> str:
    """The option of a field: `--detector-weights` for the field `weights` of `DetectorOptions`."""
    return _RENAMED.get(f"{kind.__name__}.{name}", f"--{name.replace('_', '-')}")


def command(
    function: Callable[..., Any], run: Callable[..., None] | None = None, *more: inspect.Parameter
) -> Callable[..., None]:
    """The command that a function is.

    - An argument that is an option dataclass becomes one option for each field: with
      `classifier: Annotated[ClassifierOptions, Only({"model", "tta"})]`, `--model` and `--tta`. The function gets the
      dataclass; an error of the dataclass names the option instead of the field. With `DetectorOptions | None` it gets
      None if none of the options is given.
    - An argument `Annotated[type, "help text"]` becomes an option if it is keyword-only, else an argument.
    - An argument that is a function, such as `progress`, is none of the command: `run` gives it.
    - Any other argument is annotated for typer.

    A file that --out or --report would write must not be one that another option or argument names.

    Args:
        function: Its docstring, up to the first section, is the command's help.
        run: Called instead of `function`, by keyword.
        more: Further parameters of `run`, annotated for typer.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, _Group] = {}
    single: dict[str, _Option] = {}
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, notes = _parts(hints[name])
        if get_origin(kind) is Callable:
            continue
        if held := next((each for each in _members(kind) if isinstance(each, type) and is_dataclass(each)), None):
            groups[name] = _Group(held, next((each for each in notes if isinstance(each, Only)), None), kind != held)
            parameters += [option.parameter for option in groups[name].options.values()]
        elif notes and isinstance(notes[0], str) and parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            single[name] = _Option(f"--{name.replace('_', '-')}", kind, notes, parameter.default)
            parameters.append(single[name].parameter)
        else:
            if notes and isinstance(notes[0], str):
                notes = [typer.Argument(help=notes[0], show_default=False)]
            annotation = Annotated[(kind, *notes)] if notes else kind
            parameters.append(parameter.replace(annotation=annotation, kind=inspect.Parameter.KEYWORD_ONLY))
    parameters += more

    def called(**values: Any) -> None:
        _check_inputs_stay(values)
        made = {name: group.filled(values) for name, group in groups.items()}
        made |= {name: option.value(values.pop(option.name)) for name, option in single.items()}
        try:
            (run or function)(**values, **made)
        except ConfigError as error:  # of the object that the options belong to: the detector refuses `max_side`
            raise _named(error, groups.values()) from error

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    text = re.split(r"\n\s*(?:Args|Returns|Raises):", function.__doc__ or "")[0]
    called.__doc__ = "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))
    return called


def _check_inputs_stay(values: Mapping[str, Any]) -> None:
    """Refuses an output that would replace an input."""
    outputs = {f"--{name}": values[name] for name in _WRITTEN if isinstance(values.get(name), Path)}
    read = [value for name, value in values.items() if name not in _WRITTEN]
    several = [item for value in read for item in (value if isinstance(value, (list, tuple)) else (value,))]
    texts = [part for item in several if isinstance(item, str) for part in {item, *item.split(",")} if part]
    check_inputs_stay(outputs, [*(item for item in several if isinstance(item, Path)), *map(Path, texts)])


def _parts(hint: Any) -> tuple[Any, list[Any]]:
    """The type and the notes of an `Annotated`; any other type has no notes."""
    kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    return kind, notes


def _members(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return (kind,) if get_origin(kind) in (Literal, list, tuple) else get_args(kind) or (kind,)


def _choice(name: str, values: Collection[str]) -> Any:
    return Enum(name, {value: value for value in values}, type=str)  # click before 8.2 compares them with text


class _Option:
    """One option of a command.

    Args:
        flag: Its name, unless the notes have flags.
        kind: The type of the value.
        notes: The help text, other flags, a dict with further arguments of `typer.Option`.
        default: The default; `inspect.Parameter.empty` if the option is required.
        panel: The heading under which the help shows it.
    """

    def __init__(self, flag: str, kind: Any, notes: list[Any], default: Any, panel: str | None = None) -> None:
        text, *flags = [note for note in notes if isinstance(note, str)]
        flags = flags or [flag]
        if values := _VALUES.get(flags[0]):
            text = f"{text.removesuffix('.')}: {', '.join(values())}."
        self.kind = kind
        self.name = flags[0].removeprefix("--").replace("-", "_")
        self.name += "_" * iskeyword(self.name)
        members = [each for each in _members(kind) if each is not NoneType]
        accepted: Any = str  # of several types, text from which `value` chooses
        if len(members) == 1 and get_origin(members[0]) is Literal:  # which only new versions of typer understand
            accepted = _choice(self.name, get_args(members[0]))
            default = default if default in (None, inspect.Parameter.empty) else accepted(default)
        elif len(members) == 1 and get_origin(members[0]) in (list, tuple):
            accepted = list[get_args(members[0])[0]]  # type: ignore[misc]
        elif len(members) == 1 and members[0] in (bool, int, float, str, Path):
            accepted = members[0]
        extras = {key: each[key] for each in notes if isinstance(each, dict) for key in each}
        if extras.pop("fraction", False):
            extras |= {"parser": _fraction, "metavar": "<float>"}
        if extras.pop("time", False):
            extras |= {"parser": _time, "metavar": "<time>"}
        shown = default not in (None, ()) and not isinstance(default, bool)
        extra = {"show_default": shown} | extras
        info = typer.Option(*flags, help=text, rich_help_panel=panel, **extra)
        annotation: Any = Annotated[accepted | None if default is None else accepted, info]
        self.parameter = inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )

    def value(self, typed: Any) -> Any:
        """What the field gets: text becomes a number or several names where the field takes them and no other text."""
        members = _members(self.kind)
        if isinstance(typed, Enum):
            return typed.value
        if isinstance(typed, list):
            return tuple(typed) or None
        if not isinstance(typed, str) or str in members or any(typed in get_args(each) for each in members):
            return typed
        if int in members and typed.isdecimal():
            return int(typed)
        if any(get_origin(each) is tuple for each in members):
            return tuple(part.strip() for part in typed.split(","))
        return typed


@dataclass(frozen=True)
class _Group:
    """The options of a dataclass.

    Attributes:
        kind: The dataclass.
        only: Names of the fields that become options; None for all with a help text.
        optional: There may be no object: then no option has a default.
    """

    kind: type
    only: Collection[str] | None
    optional: bool

    @cached_property
    def options(self) -> dict[str, _Option]:
        """The options by field, in order."""
        panel = re.sub(r"(?<=[a-z])([A-Z])", lambda found: f" {found[1].lower()}", self.kind.__name__)
        found = {}
        for name, hint in get_type_hints(self.kind, include_extras=True).items():
            kind, notes = _parts(hint)
            if notes and (self.only is None or name in self.only):
                default = self.kind.__dataclass_fields__[name].default  # type: ignore[attr-defined]
                default = inspect.Parameter.empty if default is MISSING else default
                default = None if self.optional and kind is not bool else default
                found[name] = _Option(option_name(self.kind, name), kind, notes, default, panel)
        return found

    def filled(self, values: dict[str, Any]) -> Any:
        """The dataclass made of the values of its options, which are taken out of `values`; or None."""
        given = {name: option.value(values.pop(option.name)) for name, option in self.options.items()}
        if self.optional:
            given = {name: value for name, value in given.items() if value not in (None, False)}
            if not given:
                return None
        try:
            return self.kind(**given)
        except ConfigError as error:
            raise _named(error, [self]) from None


def _named(error: ConfigError, groups: Iterable["_Group"]) -> ConfigError:
    """The error with options in the place of the fields of a dataclass, if its message begins with one."""
    field, colon, rest = error.message.partition(":")
    for group in groups:
        if colon and field in group.options:
            rest = _COMBINED.sub(partial(_option_in, group), rest)
            return ConfigError(f"{option_name(group.kind, field)}{colon}{rest}", hint=error.hint)
    return error


def _option_in(group: "_Group", found: re.Match[str]) -> str:
    """The option of a field that a message names; any other word as it is."""
    return option_name(group.kind, found[0]) if found[0] in group.options else found[0]


def _fraction(text: str | float) -> float:
    """A number 0-1, or a percentage: "0.5", "50%"; typer also passes the default, a number.

    Raises:
        typer.BadParameter: It is neither.
    """
    if not isinstance(text, str):
        return text
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        return float(number) / (100 if percent else 1)
    except ValueError:
        hint = f"; write {number.replace(',', '.')}" if re.fullmatch(r"\d+,\d+", number) else ""
        raise typer.BadParameter(f"'{text}' is not a number{hint or ', such as 0.5 or 50%'}") from None


def _time(text: str | float) -> float:
    """A time in seconds; typer also passes the default.

    Raises:
        typer.BadParameter: It is none.
    """
    from mien.media.picking import seconds

    try:
        return seconds(text) if isinstance(text, str) else text
    except ConfigError as error:
        raise typer.BadParameter(error.message) from None
