"""Codes of action units, and the emotions that FACS connects with them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mien import emotions
from mien.action_units import (
    INTENSITIES,
    NAMES,
    RULES,
    ActionUnit,
    classify,
    format_units,
    infer,
    parse,
    parse_file,
    read_file,
    rules,
)
from mien.cli import build_app

RUN = CliRunner()

# The prototypes as data sets quote them, written out: what a coder would give, and the emotion.
KNOWN = {
    "6+12": "happiness",
    "1+4+15": "sadness",
    "1+4+11": "sadness",
    "1+2+5B+26": "surprise",
    "1+2+5B+27": "surprise",
    "1+2+4+5+20+25": "fear",
    "1+2+4+5+20+26": "fear",
    "1+2+4+5+20+27": "fear",
    "4+5+7+23": "anger",
    "4+5+7+24": "anger",
    "9": "disgust",
    "10": "disgust",
    "9+15": "disgust",
    "9+16": "disgust",
    "9+17": "disgust",
    "10+15": "disgust",
    "10+16": "disgust",
    "10+17": "disgust",
    "R12A+R14A": "contempt",
    "14": "contempt",
}

# A side and an intensity may be missing; a unit may stand once, or once for each side.
_UNITS = st.lists(
    st.builds(
        ActionUnit,
        st.sampled_from(sorted(NAMES)),
        st.none() | st.sampled_from(list(INTENSITIES)),
        st.none() | st.sampled_from("LR"),
    ),
    unique_by=lambda unit: unit.number,
    max_size=12,
).map(tuple)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1+2+5B", [(1, None, None), (2, None, None), (5, "B", None)]),
        ("R12A", [(12, "A", "R")]),
        ("L14", [(14, None, "L")]),
        ("6 + 12", [(6, None, None), (12, None, None)]),
        ("12C+25", [(12, "C", None), (25, None, None)]),
        ("AU1, AU2; au5b", [(1, None, None), (2, None, None), (5, "B", None)]),
        ("4 l10 R12e", [(4, None, None), (10, None, "L"), (12, "E", "R")]),
        ("L12A+R12C", [(12, "A", "L"), (12, "C", "R")]),
        ("0", []),
    ],
)
def test_codes_are_read(text: str, expected: list[tuple[int, str | None, str | None]]) -> None:
    assert [(unit.number, unit.intensity, unit.side) for unit in parse(text)] == expected


@given(units=_UNITS, joined=st.sampled_from(["+", " + ", ", ", " ", ";"]))
def test_a_code_is_read_as_it_was_written(units: tuple[ActionUnit, ...], joined: str) -> None:
    assert parse(format_units(units).replace("+", joined)) == units


@given(units=_UNITS)
def test_a_file_is_read_as_it_was_written(units: tuple[ActionUnit, ...]) -> None:
    graded = [(unit.number, INTENSITIES.index(unit.intensity) + 1 if unit.intensity else 0) for unit in units]
    text = "".join(f"   {number:.7e}   {intensity:.7e}\n" for number, intensity in graded)
    assert parse_file(text) == tuple(ActionUnit(unit.number, unit.intensity) for unit in units)


@given(units=_UNITS)
def test_scores_are_fractions_and_reasons_account_for_every_unit(units: tuple[ActionUnit, ...]) -> None:
    matches = infer(units)
    assert [match.score for match in matches] == sorted((match.score for match in matches), reverse=True)
    for match in matches:
        assert 0 < match.score <= 1
        assert (match.score == 1) == (not match.missing and not match.against)
        assert not set(match.present) & set(match.against)
        assert set(match.present) | set(match.against) <= set(units)


@pytest.mark.parametrize(("code", "emotion"), KNOWN.items())
def test_the_known_prototypes_give_their_emotion(code: str, emotion: str) -> None:
    best, *others = infer(parse(code))
    assert (best.emotion, best.score) == (emotion, 1.0)
    assert all(other.score < 1 for other in others)
    assert classify(parse(code)) == emotion


def test_an_emotion_lists_its_known_prototypes() -> None:
    """The other way: some rule that the command lists for the emotion is complete for the code."""
    for emotion in RULES:
        listed = json.loads(RUN.invoke(build_app(), ["facs", emotion, "--json"]).stdout)
        assert [rule["rule"] for rule in listed["rules"]] == [rule.text for rule in rules(emotion)]
    for code, emotion in KNOWN.items():
        complete = [rule for rule in rules(emotion) if all(any(map(part.fits, parse(code))) for part in rule.parts)]
        assert complete, code


@pytest.mark.parametrize("emotion", RULES)
def test_each_rule_gives_its_emotion_a_full_score(emotion: str) -> None:
    for rule in rules(emotion):
        units = tuple(ActionUnit(part.numbers[-1], part.intensities[-1], part.side) for part in rule.parts)
        scores = {match.emotion: match.score for match in infer(units)}
        assert scores[emotion] == 1, rule.text
    assert all(name in emotions.vocabulary(8) for name in RULES)


def test_the_reasons_name_what_is_missing_and_what_is_against() -> None:
    found = {match.emotion: match for match in infer(parse("1+2+5B"))}
    assert found["surprise"].score == 1
    assert found["surprise"].rule.kind == "variant"
    assert [part.text for part in found["fear"].missing] == ["4"]
    assert found["fear"].score == pytest.approx(3 / 4)
    assert [str(unit) for unit in found["sadness"].against] == ["2", "5B"]
    assert found["sadness"].score == pytest.approx(1 / (1 + 2 + 2 / 2))


def test_intensity_tells_surprise_from_fear() -> None:
    assert classify(parse("1+2+5A")) == classify(parse("1+2+5")) == "surprise"
    assert classify(parse("1+2+5E")) == "fear"


def test_what_fits_two_emotions_equally_is_not_classified() -> None:
    assert classify(parse("12+14")) is None
    assert classify(parse("63+45")) is None  # eyes up and a blink: no emotion
    assert classify(parse("1+4")) is None  # incomplete
    assert classify(()) == "neutral"


def test_the_command_prints_score_and_reason() -> None:
    text = RUN.invoke(build_app(), ["facs", "1+2+5B"]).stdout
    rows = [line.split() for line in text.splitlines()]
    assert ["5B", "upper", "lid", "raiser"] in rows
    assert ["surprise", "1.00", "variant", "1+2+5A-B", "1", "2", "5B", "-", "-"] in rows
    assert ["fear", "0.75", "variant", "1+2+4+5", "1", "2", "5B", "4", "-"] in rows


def test_the_command_takes_several_words_and_aliases_of_emotions() -> None:
    assert RUN.invoke(build_app(), ["facs", "6", "+", "12"]).stdout == RUN.invoke(build_app(), ["facs", "6+12"]).stdout
    happy = RUN.invoke(build_app(), ["facs", "Happy"]).stdout
    assert happy == RUN.invoke(build_app(), ["facs", "joy"]).stdout
    assert "6+12" in happy
    assert "cheek raiser" in happy
    assert "lip corner puller" in happy
    assert "no action units" in RUN.invoke(build_app(), ["facs", "neutral"]).stdout
    assert "nose wrinkler" in RUN.invoke(build_app(), ["facs"]).stdout


def test_the_command_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "S005_001_00000011_facs.txt"
    path.write_text("   9.0000000e+00   5.0000000e+00\n   1.7000000e+01   0.0000000e+00\n\n")
    assert format_units(read_file(path)) == "9E+17"
    found = json.loads(RUN.invoke(build_app(), ["facs", str(path), "--json"]).stdout)
    assert found["code"] == "9E+17"
    assert found["units"][0] == {"code": "9E", "unit": 9, "intensity": "E", "side": None, "name": "nose wrinkler"}
    assert found["emotions"][0]["emotion"] == "disgust"
    assert found["emotions"][0]["rule"] == "9+17"
