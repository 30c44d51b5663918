"""`mien facs`: from codes of action units to emotions, and back."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mien import emotions
from mien.action_units import NAMES, RULES, ActionUnit, format_units, infer, parse, read_file, rules
from mien.cli import print_line, print_table
from mien.cli.options import AsJson, command
from mien.errors import ConfigError, InputError

# What ends such an argument when a file is meant that is not there.
_SUFFIXES: Final = (".txt", ".csv")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("facs")(command(facs))


def facs(
    code: Annotated[
        list[str] | None,
        typer.Argument(
            help="Action units such as 1+2+5B, a FACS file as CK+ has them, or an emotion.", show_default=False
        ),
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """Prints the emotions that action units are typical of, or the action units of an emotion.

    The emotions are scored by the prototypes and variants of FACS, each with its reason: the units that are there,
    that are missing, and that speak against it. Without an argument, the action units are listed with their names. A
    code counts before a file with the same name: write ./12 for the file.
    """
    text = " ".join(code or ()).strip()
    if not code:
        found, show = _names(), _show_names
    elif _is_code(text):  # a file that is named like a code is read as ./12
        found, show = _from_code(text), _show_units
    elif os.path.isfile(text) or text.lower().endswith(_SUFFIXES):
        found, show = _from_file(Path(text)), _show_units
    elif any(letter.isdecimal() for letter in text):
        found, show = _from_code(text), _show_units  # raises the error of a wrong code
    else:
        found, show = _emotion(text), _show_emotion
    if json:
        print_line(_to_json(found))
    else:
        show(found)


def _is_code(text: str) -> bool:
    """Whether a text names action units that exist, whatever files there are."""
    try:
        parse(text)
    except ConfigError:
        return False
    return True


def _to_json(found: dict[str, Any]) -> str:
    return json.dumps(found)


def _names() -> dict[str, Any]:
    return {"units": [{"unit": number, "name": name} for number, name in NAMES.items()]}


def _from_file(path: Path) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise InputError(f"cannot read '{path}': no such file", hint="give a FACS file, or a code such as 1+2+5B")
    return {"file": str(path), **_inferred(read_file(path))}


def _from_code(text: str) -> dict[str, Any]:
    return _inferred(parse(text))


def _inferred(units: tuple[ActionUnit, ...]) -> dict[str, Any]:
    return {
        "code": format_units(units),
        "units": [
            {"code": str(unit), "unit": unit.number, "intensity": unit.intensity, "side": unit.side, "name": unit.name}
            for unit in units
        ],
        "emotions": [match.as_dict() for match in infer(units)],
    }


def _emotion(text: str) -> dict[str, Any]:
    try:
        emotion = emotions.find(text, (*RULES, "neutral"))
    except ConfigError as error:
        raise ConfigError(
            f"'{text[:40]}' is neither an action unit nor an emotion",
            hint=f"write 1+2+5B or happiness; {error.hint}",
        ) from None
    found = rules(emotion)
    return {
        "emotion": emotion,
        "rules": [
            {
                "kind": rule.kind,
                "rule": rule.text,
                "units": [
                    {"code": part.text, "names": [NAMES[number] for number in part.numbers]} for part in rule.parts
                ],
            }
            for rule in found
        ],
    }


def _show_names(found: dict[str, Any]) -> None:
    print_table(("unit", "name"), [(str(each["unit"]), each["name"]) for each in found["units"]], right=(0,))


def _show_units(found: dict[str, Any]) -> None:
    if found["units"]:
        print_line(f"action units {found['code']}:")
        print_table(("unit", "name"), [(each["code"], each["name"]) for each in found["units"]])
    else:
        print_line("no action units")
    if not found["emotions"]:
        print_line("no prototype or variant of an emotion has any of them")
        return
    print_line("emotions:")
    print_table(
        ("emotion", "score", "by", "rule", "present", "missing", "against"),
        [
            (
                each["emotion"],
                f"{each['score']:.2f}",
                each["kind"],
                each["rule"],
                *(" ".join(each[key]) or "-" for key in ("present", "missing", "against")),
            )
            for each in found["emotions"]
        ],
        right=(1,),
    )


def _show_emotion(found: dict[str, Any]) -> None:
    if not found["rules"]:
        print_line(f"{found['emotion']}: no action units")
        return
    print_line(f"{found['emotion']}:")
    print_table(
        ("by", "rule"),
        [(each["kind"], each["rule"]) for each in found["rules"]],
    )
    names = {unit["code"]: " or ".join(unit["names"]) for each in found["rules"] for unit in each["units"]}
    print_line("action units:")
    print_table(("unit", "name"), names.items())
