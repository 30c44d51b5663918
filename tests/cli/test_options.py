"""Options of commands are derived from dataclasses and signatures: names, types, defaults, help and errors."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from mien.cli import build_app
from mien.cli.options import Only, command, option_name
from mien.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LampOptions:
    kind: Annotated[Literal["led", "neon"] | None, "Kind of lamp."] = None
    classes: Annotated[int | tuple[str, ...] | Literal["own"] | None, "A number, or names."] = None
    source: Annotated[str | Path | tuple[str, ...] | None, "Name or path; A,B for several."] = None
    level: Annotated[float, "Brightness."] = 0.5
    any_rotation: Annotated[bool, "Turned lamps too."] = False
    file: Annotated[Path | None, "A file."] = None
    internal: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 1:
            raise ConfigError(f"level: expected a number 0-1, got {self.level}", hint="dim it")


def run(function: Any, *arguments: str) -> Any:
    app = typer.Typer()
    app.command()(function)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})


def shown(function: Any) -> set[str]:
    click_command = typer.main.get_command(_app(function))
    return {option for parameter in click_command.params for option in parameter.opts if option.startswith("--")}


def _app(function: Any) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return app


def lit(lamp: LampOptions, name: Annotated[str, typer.Argument()] = "x", *, twice: bool = False) -> None:
    """Lights a lamp.

    Args:
        lamp: Is not shown in the help.
    """
    print(lamp, name, twice)


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        ([], {}),
        (["--kind", "neon"], {"kind": "neon"}),
        (["--classes", "7"], {"classes": 7}),
        (["--classes", "own"], {"classes": "own"}),
        (["--classes", "red, green"], {"classes": ("red", "green")}),
        (["--source", "a,b"], {"source": "a,b"}),
        (["--source", "7"], {"source": "7"}),
        (["--level", "1"], {"level": 1.0}),
        (["--any-rotation", "--file", "x.h5"], {"any_rotation": True, "file": Path("x.h5")}),
    ],
)
def test_options_fill_the_fields(typed: list[str], fields: dict[str, Any]) -> None:
    result = run(command(lit), *typed)
    assert result.exit_code == 0, result.output
    assert result.output == f"{LampOptions(**fields)} x False\n"


def test_an_optional_dataclass_is_none_unless_an_option_is_given() -> None:
    def dim(lamp: Annotated[LampOptions | None, Only({"level", "kind", "any_rotation"})] = None) -> None:
        print(lamp)

    assert run(command(dim)).output == "None\n"
    assert run(command(dim), "--kind", "led").output == f"{LampOptions(kind='led')}\n"
    assert run(command(dim), "--any-rotation").output == f"{LampOptions(any_rotation=True)}\n"
    assert "default: 0.5" not in run(command(dim), "--help").output


def test_fields_without_help_and_fields_that_are_not_listed_are_no_options() -> None:
    assert shown(command(lit)) - {"--help"} == {
        "--kind", "--classes", "--source", "--level", "--any-rotation", "--file", "--twice",
    }  # fmt: skip

    def dim(lamp: Annotated[LampOptions, Only({"level"})]) -> None:
        print(lamp)

    assert shown(command(dim)) - {"--help"} == {"--level"}


def test_the_help_is_that_of_the_fields_and_of_the_docstring() -> None:
    text = run(command(lit), "--help").output
    for line in ("Lights a lamp.", "Brightness.", "[default: 0.5]", "Kind of lamp.", "led|neon"):
        assert line in text
    assert "Is not shown" not in text
    assert "None" not in text


def test_errors_name_the_option_and_suggest_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"--level: expected a number 0-1, got 2\.0") as caught:
        command(lit)(**dict.fromkeys(("kind", "classes", "source", "file")), level=2.0, any_rotation=False)
    assert caught.value.hint == "dim it"
    wrong = run(command(lit), "--kind", "gas")
    assert wrong.exit_code == 2
    assert "'led', 'neon'" in wrong.output
    unknown = run(command(lit), "--any-rotatoin")
    assert unknown.exit_code == 2
    assert "--any-rotation" in unknown.output


def test_arguments_of_a_function_become_arguments_and_options() -> None:
    def build(
        folder: Annotated[Path, "the folder"],
        *,
        size: Annotated[int, "in pixels"] = 48,
        names: Annotated[str | None, "n"] = None,
    ) -> str:
        """Builds it."""
        return f"{folder} {size} {names}"

    def print_it(*, out: Path, **given: Any) -> None:
        print(build(**given), out)

    option = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Path, typer.Option("--out")])
    made = command(build, print_it, option)
    assert run(made, "here", "--size", "3", "--out", "there").output == "here 3 None there\n"
    assert run(made, "here").exit_code == 2


def test_names_of_options_say_what_they_belong_to() -> None:
    from mien.faces.detectors import DetectorOptions

    assert option_name(DetectorOptions, "weights") == "--detector-weights"
    assert option_name(DetectorOptions, "min_face") == "--min-face"


@pytest.mark.parametrize("words", ["analyze", "compare", "quantize", "personalise", "data distil"])
def test_the_help_names_every_kind_of_model(words: str) -> None:
    shown = CliRunner().invoke(build_app(), [*words.split(), "--help"], env={"COLUMNS": "400"}).output
    assert all(kind in shown for kind in ("shipped model", "classic network", ".onnx file"))


def test_a_command_alone_is_the_same_command() -> None:
    def commands(only: str | None = None) -> dict[str, Any]:
        found: Any = typer.main.get_command(build_app(only))
        return dict(found.commands)

    def options(found: Any) -> list[Any]:
        inside = [options(each) for each in getattr(found, "commands", {}).values()]
        return [found.name, *((each.name, each.opts, each.help) for each in found.params if each.opts), *inside]

    everything = commands()
    for name, found in everything.items():
        assert [options(each) for each in commands(name).values()] == [options(found)]
    assert list(commands("nose")) == list(commands("usage")) == list(everything)
