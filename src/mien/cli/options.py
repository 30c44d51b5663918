"""Options of commands, derived from the code that uses them, so that each is named and explained in one place.

There are two sources: the fields of an option dataclass (`DetectorOptions`, `ClassifierOptions`, ...), and the
arguments of a function (the data set builders). Both are annotated `Annotated[type, "help text"]`.
"""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import typer

from mien.errors import ConfigError
from mien.faces import detectors

__all__ = ["AsJson", "Only", "Quiet", "command", "option_name"]

# Options that several commands share.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]

# Fields whose option has another name: a command has no object around them.
_RENAMED: Final[Mapping[str, str]] = {"DetectorOptions.name": "detector", "DetectorOptions.weights": "detector_weights"}

# Options whose values are the names of files in a folder.
_VALUES: Final[Mapping[str, Callable[[], tuple[str, ...]]]] = {"detector": detectors.names}


class Only(frozenset[str]):
    """In `Annotated[SomeOptions, Only({"a", "b"})]`: the command has only these options of the dataclass."""


def option_name(kind: type, name: str) -> str:
    """The option of a field: `--detector-weights` for the field `weights` of `DetectorOptions`."""
    return f"--{_RENAMED.get(f'{kind.__name__}.{name}', name).replace('_', '-')}"


def command(
    function: Callable[..., Any], run: Callable[..., None] | None = None, *more: inspect.Parameter
) -> Callable[..., None]:
    """The command that a function is.

    - An argument that is an option dataclass becomes one option for each field: with
      `classifier: Annotated[ClassifierOptions, Only({"model", "tta"})]`, `--model` and `--tta`. The function gets the
      dataclass; an error of the dataclass names the option instead of the field. With `DetectorOptions | None` it gets
      None if none of the options is given.
    - An argument `Annotated[type, "help text"]` becomes an option if it is keyword-only, else an argument.
    - Any other argument is annotated for typer.

    Args:
        function: Its docstring, up to the first section, is the command's help.
        run: Called instead of `function`, by keyword.
        more: Further parameters of `run`, annotated for typer.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, _Group] = {}
    single: list[_Option] = []
    for name, parameter in inspect.signature(function).parameters.items():
        hint = get_type_hints(function, include_extras=True)[name]
        kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if held := next((each for each in _members(kind) if isinstance(each, type) and is_dataclass(each)), None):
            groups[name] = _Group(held, next((each for each in notes if isinstance(each, Only)), None), kind != held)
            parameters += [option.parameter() for option in groups[name].options]
        elif notes and isinstance(notes[0], str):
            single.append(_Option(name, kind, notes[0], parameter.default))
            derived = single[-1].parameter()
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                derived = derived.replace(annotation=Annotated[kind, typer.Argument(help=notes[0], show_default=False)])
            parameters.append(derived)
        else:
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
    parameters += more

    def called(**values: Any) -> None:
        values |= {option.name: option.value(values[option.name]) for option in single}
        values |= {name: group.filled(values) for name, group in groups.items()}
        (run or function)(**values)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    called.__doc__ = re.split(r"\n\s*(?:Args|Returns|Raises):", function.__doc__ or "")[0]
    return called


@dataclass(frozen=True, slots=True)
class _Option:
    """One option of a command.

    Attributes:
        name: Its name in Python: `--detector-weights` is `detector_weights`.
        kind: The type of the value.
        help: One line.
        default: `inspect.Parameter.empty` if the option is required.
        field: The field of the dataclass that gets the value.
        panel: The heading under which the help shows it.
    """

    name: str
    kind: Any
    help: str
    default: Any
    field: str = ""
    panel: str | None = None

    def parameter(self) -> inspect.Parameter:
        """The parameter from which typer makes the option."""
        members = [each for each in _members(self.kind) if each is not NoneType]
        accepted: Any = str
        default = self.default
        if len(members) == 1 and get_origin(members[0]) is Literal:
            accepted = _choice(self.name, get_args(members[0]))
            default = default and accepted(default)
        elif len(members) == 1 and members[0] in (bool, int, float, str, Path):
            accepted = members[0]
        elif len(members) == 1 and get_origin(members[0]) in (list, tuple):
            accepted = list[get_args(members[0])[0]]  # type: ignore[misc]
        text = self.help
        if self.field and (values := _VALUES.get(self.name)):
            text = f"{text.removesuffix('.')}: {', '.join(values())}."
        flag = f"--{self.name.replace('_', '-')}"
        shown = default is not None and not isinstance(default, bool)
        info = typer.Option(flag, help=text, show_default=shown, rich_help_panel=self.panel)
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[accepted | None if default is None else accepted, info],
        )

    def value(self, typed: Any) -> Any:
        """What the field gets: text becomes a number or several names where the field takes them and no other text."""
        members = _members(self.kind)
        if isinstance(typed, Enum):
            return typed.value
        if not isinstance(typed, str) or str in members or any(typed in get_args(each) for each in members):
            return typed
        if int in members and typed.isdecimal():
            return int(typed)
        if any(get_origin(each) is tuple for each in members):
            return tuple(part.strip() for part in typed.split(","))
        return typed


def _choice(name: str, values: Iterable[str]) -> Any:
    """The values of a `Literal` as an enumeration, which every version of typer understands."""
    return Enum(name, {value: value for value in values})


def _members(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return (kind,) if get_origin(kind) in (Literal, list, tuple) else get_args(kind) or (kind,)


class _Group:
    """The options of a dataclass, in the order of its fields.

    Args:
        kind: The dataclass.
        only: Names of the fields that become options; None for all with a help text.
        optional: There may be no object: then no option has a default.
    """

    def __init__(self, kind: type, only: Collection[str] | None, optional: bool) -> None:
        self.kind = kind
        self.optional = optional
        self.options: list[_Option] = []
        panel = re.sub(r"(?<=[a-z])([A-Z])", lambda found: f" {found[1].lower()}", kind.__name__)
        for name, hint in get_type_hints(kind, include_extras=True).items():
            kept, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            if notes and (only is None or name in only):
                default = None if optional and kept is not bool else kind.__dataclass_fields__[name].default  # type: ignore[attr-defined]
                named = option_name(kind, name).removeprefix("--").replace("-", "_")
                self.options.append(_Option(named, kept, notes[0], default, name, panel))

    def filled(self, values: dict[str, Any]) -> Any:
        """The dataclass made of the values of its options, which are taken out of `values`; or None."""
        given = {option.field: option.value(values.pop(option.name)) for option in self.options}
        if self.optional:
            given = {name: value for name, value in given.items() if value not in (None, False)}
            if not given:
                return None
        try:
            return self.kind(**given)
        except ConfigError as error:
            field, colon, rest = error.message.partition(":")
            message = option_name(self.kind, field) + colon + rest if field in given else error.message
            raise ConfigError(message, hint=error.hint) from None
