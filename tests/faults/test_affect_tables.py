"""Tables of valence and arousal that are wrong: the message says what is wrong, and in which file."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien import ClassifierOptions
from mien.cli import build_app
from mien.errors import ConfigError
from mien.expression import load_classifier
from mien.results import Affect

ALL_BUT_FEAR = "\n".join(
    f"{name},0.1,0.1" for name in ("anger", "disgust", "joy", "sad", "surprise", "neutral", "contempt")
)


def _error(path: Path, astronaut: Path) -> ConfigError:
    result = CliRunner().invoke(build_app(), ["analyze", str(astronaut), "--affect-table", str(path)])
    assert isinstance(result.exception, ConfigError), result.output
    assert str(path) in result.exception.message or "has no row" in result.exception.message
    return result.exception


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", f"emotion,valence,arousal\n{ALL_BUT_FEAR}\n", "has no row for fear"),
        ("a.toml", "happiness = [0.5, 0.5]\n", "has no row for anger, disgust, fear, sadness"),
        ("b.csv", "emotion,valence,arousal\nfear,1.5,0\n", "'fear': expected a valence and an arousal from -1 to 1"),
        ("c.csv", "emotion,valence,arousal\nfear,nan,0\n", "'fear': expected a valence and an arousal from -1 to 1"),
        ("d.csv", "emotion,valence,arousal\nfear,high,0\n", "'fear': expected a valence and an arousal"),
        ("e.csv", "emotion,valence\nfear,0.5\n", "has no column arousal"),
        ("f.csv", "", "has no column emotion, valence, arousal"),
        ("g.csv", "emotion,valence,arousal\n", "has no emotions"),
        ("h.csv", "emotion,valence,arousal\nfear,0.5\n", "line 2: expected 3 cells"),
        ("i.csv", "emotion,valence,arousal\nfear,0,5,0,3\n", "line 2: expected 3 cells"),
        ("j.csv", "emotion,valence,arousal\nhappy,0,0\njoy,0,0\n", "'happy' and 'joy' are the same emotion"),
        ("k.toml", "happiness = 0.5\n", "'happiness': expected a valence and an arousal from -1 to 1, got 0.5"),
        ("l.toml", "happiness = [0.5, true]\n", "'happiness': expected a valence and an arousal"),
        ("m.toml", "happiness = [0.5\n", "is not TOML"),
        ("n.json", "{}", "expected a .csv or .toml file, found '.json'"),
    ],
)
def test_a_wrong_table_is_an_error(name: str, text: str, problem: str, tmp_path: Path, astronaut: Path) -> None:
    (tmp_path / name).write_text(text)
    error = _error(tmp_path / name, astronaut)
    assert problem in error.message
    assert error.hint


def test_a_table_that_cannot_be_read_is_an_error(tmp_path: Path, astronaut: Path) -> None:
    assert "cannot be read: No such file" in _error(tmp_path / "missing.csv", astronaut).message
    (tmp_path / "image.csv").write_bytes(b"\xff\xfe\x00\x01")
    assert "is not CSV" in _error(tmp_path / "image.csv", astronaut).message


def test_a_table_in_python_is_checked() -> None:
    for wrong in ({}, {"joy": 0.5}, {"joy": (0.5, 2.0)}, 5, {"joy": (0.1, 0.1), "happy": (0.2, 0.2)}):
        with pytest.raises(ConfigError, match="affect_table"):
            ClassifierOptions(affect_table=wrong)  # type: ignore[arg-type]
    for models in ("mien-s", ("mien-s", "mien-m")):
        with pytest.raises(ConfigError, match="has no row for anger"):
            load_classifier(ClassifierOptions(model=models, affect_table={"joy": (0.5, 0.5)}))


def test_dimensions_out_of_their_range_are_refused() -> None:
    for values in ((1.1, 0, 0, 0), (0, -1.1, 0, 0), (0, 0, -0.1, 0), (float("nan"), 0, 0, 0)):
        with pytest.raises(ValueError, match="expected a number from"):
            Affect(*values)
