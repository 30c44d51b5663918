"""Codes and files of action units that are wrong: the message says what is wrong, and which units there are."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.action_units import ActionUnit, known_numbers, parse, parse_file, read_file
from mien.cli import build_app
from mien.errors import ConfigError, DataError, InputError, MienError


def _error(*words: str) -> MienError:
    found = CliRunner().invoke(build_app(), ["facs", *words]).exception
    assert isinstance(found, MienError), found
    return found


@pytest.mark.parametrize("code", ["3", "1+3", "47", "R60B", "99999999999999999999"])
def test_a_unit_that_does_not_exist_is_an_error_that_says_which_exist(code: str) -> None:
    error = _error(code)
    assert "there is no action unit " in error.message
    assert error.hint == f"there are {known_numbers()}"
    assert "1, 2, 4-46" in error.hint


@pytest.mark.parametrize("code", ["12F", "5x", "12+B14", "1++2+3-5", "12AB", "14L", "1+happy2", "-1", "1.5"])
def test_what_is_not_a_code_is_an_error_that_shows_one(code: str) -> None:
    error = _error("--", code)
    assert isinstance(error, ConfigError)
    assert "is not the code of an action unit" in error.message
    assert "1+2+5B" in error.hint


def test_a_code_longer_than_any_file_name_is_a_code() -> None:
    assert "is given twice" in _error("1+" * 3000 + "2").message


@pytest.mark.parametrize("code", ["1+1", "12A+12B", "12+R12A", "L12A+L12B", "0+1"])
def test_a_unit_that_is_given_twice_is_an_error(code: str) -> None:
    error = _error(code)
    assert "is given twice" in error.message or "there is no action unit 0" in error.message


def test_an_unknown_emotion_names_those_with_prototypes() -> None:
    error = _error("happyness")
    assert "neither an action unit nor an emotion" in error.message
    assert "did you mean happiness?" in error.hint
    assert "neutral" in _error("calm").hint
    for name in ("unknown", "not_a_face"):
        assert "contempt" in _error(name).hint


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 2\n3 0\n", "line 2: there is no action unit 3"),
        ("1.5 0\n", "line 1: expected the number of an action unit and its intensity, got '1.5 0'"),
        ("1 6\n", "line 1: expected an intensity 0-5, got 6"),
        ("1 -1\n", "line 1: expected an intensity 0-5, got -1"),
        ("1\n", "line 1: expected the number"),
        ("1 2 3\n", "line 1: expected the number"),
        ("nan 0\n", "line 1: expected the number"),
        ("1 inf\n", "line 1: expected the number"),
        ("happy\n", "line 1: expected the number"),
        ("4 1\n4 2\n", "the action unit 4 is given twice"),
    ],
)
def test_a_wrong_line_of_a_file_is_named(text: str, problem: str) -> None:
    with pytest.raises(DataError, match=r"^a\.txt") as caught:
        parse_file(text, "a.txt")
    assert problem in caught.value.message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing_facs"):
        read_file(tmp_path / "missing_facs.txt")
    assert "no such file" in _error(str(tmp_path / "missing_facs.txt")).message
    (tmp_path / "image.txt").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(DataError, match="it is not text"):
        read_file(tmp_path / "image.txt")
    assert parse_file("\n  \n") == ()  # nothing is coded


def test_a_unit_made_in_python_is_checked() -> None:
    for wrong in ({"number": 3}, {"number": 1, "intensity": "F"}, {"number": 1, "intensity": "AB"}):
        with pytest.raises(ConfigError):
            ActionUnit(**wrong)
    with pytest.raises(ConfigError, match="side"):
        ActionUnit(1, side="B")
    with pytest.raises(ConfigError, match="got none"):
        parse(" + ")


@pytest.mark.parametrize("name", ["12", "1+2+5B", "0", "R12A"])
def test_a_code_counts_before_a_file_with_its_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("4.0 2.0\n")
    as_code = json.loads(CliRunner().invoke(build_app(), ["facs", name, "--json"]).stdout)
    as_file = json.loads(CliRunner().invoke(build_app(), ["facs", f"./{name}", "--json"]).stdout)
    assert "file" not in as_code
    assert as_code["code"] == ("0" if name == "0" else name)
    assert as_file["code"] == "4B"
