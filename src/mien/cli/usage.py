"""How commands and groups read their words: what typer would refuse in general terms, or accept without a word.

- An option that takes one value and is given twice is refused: otherwise the first value would be ignored.
- A word without an option, where an option is missing, is named together with this option.
- An unknown command that is a file, and an unknown option that is a key of a recipe, name what was meant.
- All that is refused is told like every other error: one line for what is wrong, and one for what to do.
- An empty value, such as that of an unset variable, is refused: it would mean the current folder or the default.
- `~` in `--option=~/file` and in quoted words is the user's home, as in words that the shell expands.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from mien.errors import ConfigError, InputError, nearest

# The class of typer's usage errors; newer versions of typer have a copy of click inside.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class Command(TyperCommand):
    """A command with the checks above."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See the module."""
        given = list(args)
        if ctx.resilient_parsing:  # for completion
            return super().parse_args(ctx, args)
        _check_settings(given)
        try:
            values, _, order = self.make_parser(ctx).parse_args(args=list(args))
            _check_repeats(order)
            left = super().parse_args(ctx, args)
        except UsageError as error:
            raise self._explained(error, ctx, given) from None
        _check_empty(values, ctx.params, order)
        return left

    def _explained(self, error: Exception, ctx: Any, given: list[str]) -> Exception:
        """The error, or one that says what was probably meant."""
        kind = type(error).__name__
        if kind == "MissingParameter" and (param := getattr(error, "param", None)) and param.opts[0].startswith("--"):
            loose = self._loose(ctx, given)
            if loose:
                return ConfigError(
                    f"option {param.opts[0]} is missing, and '{loose[0]}' is given without an option",
                    hint=f"write {param.opts[0]} {loose[0]}, or see {_command(ctx)} --help",
                )
        return _told(error, ctx, given, {option for param in self.get_params(ctx) for option in param.opts})

    def _loose(self, ctx: Any, given: list[str]) -> Sequence[str]:
        """The words that belong to no option, beyond the arguments that the command has."""
        _, words, _ = self.make_parser(ctx).parse_args(args=given)
        return list(words)


class Group(TyperGroup):
    """A group of commands that says what an unknown command may have meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See the module."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            known = {option for param in self.get_params(ctx) for option in param.opts}
            raise _told(error, ctx, given, known) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """See the module."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise ConfigError(f"there is no command '{_command(ctx)} {name}'", hint=self._meant(ctx, name))
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: Any, name: str) -> str:
        known = self.list_commands(ctx)
        if near := nearest(name, known):
            return f"did you mean {near}? known: {', '.join(known)}"
        if Path(name).expanduser().exists():
            example = {"mien": f"mien analyze {name}", "build": f"mien data build fer2013 --csv {name}"}
            return example.get(self.name or "mien", f"known: {', '.join(known)}")
        return f"known: {', '.join(known)}"


def _command(ctx: Any) -> str:
    """The words that call a command: "mien data build"."""
    return f"mien{ctx.command_path.removeprefix(ctx.find_root().command_path)}"  # the root may be python -m mien


def _told(error: Exception, ctx: Any, given: Sequence[str], known: set[str]) -> Exception:
    """The error in the form of all others, without typer's frame and usage line.

    Args:
        error: Typer's.
        ctx: Of the command.
        given: The words of the command.
        known: The options of the command.
    """
    kind, param = type(error).__name__, getattr(error, "param", None)
    if kind == "NoArgsIsHelpError":  # the help, which is no error
        return error
    hint = f"see {_command(ctx)} --help"
    if kind == "NoSuchOption":
        option = _unknown_option(str(getattr(error, "option_name", "")), given)
        if near := nearest(option, known):
            hint = f"did you mean {near}?"
        elif "--set" in known:
            key = option.removeprefix("--").replace("-", "_")
            hint = f"if it is a key of the recipe: --set {key}=..., see docs/training.md"
        return ConfigError(f"No such option: {option}", hint=hint)
    is_option = param is not None and param.param_type_name == "option"
    name = "" if param is None else max(param.opts, key=len) if is_option else str(param.name).upper()
    if kind == "MissingParameter" and name:
        return ConfigError(f"{'option' if is_option else 'the argument'} {name} is missing", hint=hint)
    text = str(getattr(error, "message", error)).removeprefix("Value error, ").rstrip(".")
    text = f"{text[:1].lower()}{text[1:]}"
    return ConfigError(f"{name}: {text}" if name else text, hint=hint)


def _unknown_option(option: str, given: Sequence[str]) -> str:
    """The option as it was written: typer reads `-help` as `-h -e -l -p`, and names the first that it does not know."""
    if option.startswith("--"):
        return option
    words = (word for word in given if word[:1] == "-" and word[1:2] != "-" and option[1:] in word[1:])
    return next(words, option)


def _check_settings(given: Sequence[str]) -> None:
    """Refuses `--set epochs 3`, whose second word would be taken for an argument.

    Raises:
        ConfigError: A setting has no value.
    """
    for place, word in enumerate(given[:-1]):
        setting = given[place + 1]
        if word == "--set" and "=" not in setting:
            following = given[place + 2] if place + 2 < len(given) else ""
            value = following if following and not following.startswith("-") else "VALUE"
            raise ConfigError(f"--set {setting}: has no value", hint=f"write --set {setting}={value}")


def _check_repeats(order: Sequence[Any]) -> None:
    """Refuses an option with one value that is given twice.

    Raises:
        ConfigError: There is one.
    """
    for param, count in Counter(order).items():
        if count > 1 and param.param_type_name == "option" and not param.multiple and not param.is_flag:
            option = max(param.opts, key=len)
            several = "; several models are written A,B" if option == "--model" else ""
            raise ConfigError(
                f"{option} is given {count} times, but takes one value", hint=f"leave out all but one{several}"
            )


_PATHS: Final = ("path", "file", "directory")  # names of click's types of paths


def _check_empty(words: Mapping[str, Any], values: Mapping[str, Any], order: Sequence[Any]) -> None:
    """Refuses options, and arguments that are paths, with an empty value.

    Args:
        words: The values as they were written, by parameter.
        values: The same after their conversion: an empty path is the current folder.
        order: The parameters that were given.

    Raises:
        ConfigError: An option has one.
        InputError: An argument has one.
    """
    for param in order:
        if "" not in _several(words.get(param.name)):
            continue
        converted = any(isinstance(value, Path) for value in _several(values.get(param.name)))
        is_path = (
            converted or getattr(getattr(param, "type", None), "name", "") in _PATHS
        )  # older versions of typer convert later
        message, hint = f"the {'path' if is_path else 'value'} is empty", "check the variable it comes from"
        if param.param_type_name == "option":
            raise ConfigError(f"{max(param.opts, key=len)}: {message}", hint=hint)
        if is_path:
            raise InputError(message, hint=f"{hint}; the current folder is .")


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def expanded(words: Sequence[str]) -> list[str]:
    """The words of a command line with `~` as the user's home where the shell leaves it.

    A shell does not expand `--table=~/x.csv` and `'~/faces/*.jpg'`. A file whose name begins with `~` stays itself.
    """
    found = []
    for word in words:
        option, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if value.startswith(("~/", "~\\")) and not Path(value).exists():
            value = str(Path(value).expanduser())
        found.append(f"{option}{sign}{value}")
    return found
