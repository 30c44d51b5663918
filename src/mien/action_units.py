"""Action units of the Facial Action Coding System (FACS): codes such as "1+2+5B", and the emotions they are typical of.

The rules are the prototypes and major variants of Ekman, Friesen and Hager, "Facial Action Coding System,
Investigator's Guide" (2002), table 10-1. For contempt they are 12 and 14 on one side, as in EMFACS, and 14 alone, as in
the labels of CK+ (Lucey et al., "The Extended Cohn-Kanade Dataset (CK+)", CVPR Workshops 2010, table 1).

In a rule, `26/27` is either unit, `5A-B` a range of intensities, `R12` one side only. A rule without intensity or side
accepts all. A code without intensity ("present, not graded") fits every range except those of D and E alone.

The score of a rule is Tversky's index ("Features of similarity", Psychological Review 84, 1977) of the given units and
the rule: p / (p + m + a/2), with p parts of the rule present, m missing, and a given units against it: those that are
in no rule of the emotion and do not go with every emotion. Units that go with every emotion do not count alone.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from mien import emotions
from mien.errors import ConfigError, DataError, InputError

# FACS: the units of the face, then head and eyes, visibility and gross behaviour. 41, 42 and 44 are of the edition of
# 1978, by which CK+ was coded.
NAMES: Final = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    8: "lips toward each other",
    9: "nose wrinkler",
    10: "upper lip raiser",
    11: "nasolabial deepener",
    12: "lip corner puller",
    13: "sharp lip puller",
    14: "dimpler",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    18: "lip pucker",
    19: "tongue show",
    20: "lip stretcher",
    21: "neck tightener",
    22: "lip funneler",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    27: "mouth stretch",
    28: "lip suck",
    29: "jaw thrust",
    30: "jaw sideways",
    31: "jaw clencher",
    32: "lip bite",
    33: "cheek blow",
    34: "cheek puff",
    35: "cheek suck",
    36: "tongue bulge",
    37: "lip wipe",
    38: "nostril dilator",
    39: "nostril compressor",
    40: "sniff",
    41: "lid droop",
    42: "slit",
    43: "eyes closed",
    44: "squint",
    45: "blink",
    46: "wink",
    50: "speech",
    51: "head turn left",
    52: "head turn right",
    53: "head up",
    54: "head down",
    55: "head tilt left",
    56: "head tilt right",
    57: "head forward",
    58: "head back",
    61: "eyes turn left",
    62: "eyes turn right",
    63: "eyes up",
    64: "eyes down",
    65: "walleye",
    66: "cross-eye",
    68: "upward rolling of the eyes",
    69: "eyes on another person",
    70: "brows and forehead not visible",
    71: "eyes not visible",
    72: "lower face not visible",
    73: "entire face not visible",
    74: "unscorable",
    80: "swallow",
    81: "chewing",
    82: "shoulder shrug",
    84: "head shake",
    85: "head nod",
    91: "flash",
    92: "partial flash",
    97: "shiver or tremble",
    98: "fast up-down look",
}

INTENSITIES: Final = "ABCDE"  # trace, slight, marked or pronounced, severe or extreme, maximum
SIDES: Final = {"L": "left", "R": "right"}  # of the face, the subject's

# The prototypes, then the major variants. Anger's variants are its prototypes without one of 4, 5 and 7.
RULES: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "anger": (
        (
            "4+5+7+10+22+23+25/26",
            "4+5+7+10+23+25/26",
            "4+5+7+23+25/26",
            "4+5+7+17+23/24",
            "4+5+7+23/24",
        ),
        ("5+7+23/24", "4+7+23/24", "4+5+23/24"),
    ),
    "disgust": (("9", "9+15+16", "9+16", "9+17", "10", "10+15+16", "10+16", "10+17"), ()),
    "fear": (("1+2+4+5+20+25/26/27", "1+2+4+5+25/26/27"), ("1+2+4+5", "1+2+5E", "5+20")),
    "happiness": (("6+12",), ("12C-D",)),
    "sadness": (("1+4+11+15A-B", "1+4+15", "6+15"), ("1+4+11", "11+15A-B", "11+17")),
    "surprise": (("1+2+5A-B+26/27",), ("1+2+5A-B", "1+2+26/27", "5A-B+26/27")),
    "contempt": (("R12A+R14A", "L12A+L14A"), ("14",)),
}

# Units that go with every emotion: open lips, blinks, eyes, head, what is not visible.
_NEUTRAL: Final = frozenset({25, 26, 43, 45, *range(50, 75)})
_MISSING, _AGAINST = 1.0, 0.5  # weights of Tversky's index

_CODE: Final = re.compile(r"(?:AU)?\s*([LR]?)(?:AU)?(\d+)([A-E]?)", re.IGNORECASE)
_PART: Final = re.compile(r"([LR]?)(\d+(?:/\d+)*)(?:([A-E])(?:-([A-E]))?)?")
_WRITTEN: Final = "write numbers joined by +, with an intensity A-E behind and a side L or R in front: 1+2+5B, R12A"


@dataclass(frozen=True, slots=True)
class ActionUnit:
    """One coded unit; `str` gives its code, such as "R12A".

    Attributes:
        number: A key of `NAMES`.
        intensity: "A" (trace) to "E" (maximum); None if it is present and not graded.
        side: "L" or "R", of the subject, if only one side of the face shows it; else None.

    Raises:
        ConfigError: On making it, there is no such unit, intensity or side.
    """

    number: int
    intensity: str | None = None
    side: str | None = None

    def __post_init__(self) -> None:
        if self.number not in NAMES:
            raise ConfigError(f"there is no action unit {self.number}", hint=f"there are {known_numbers()}")
        if self.intensity is not None and (self.intensity not in INTENSITIES or len(self.intensity) != 1):
            raise ConfigError(f"intensity: expected one of A, B, C, D, E or None, got {self.intensity!r}")
        if self.side is not None and self.side not in SIDES:
            raise ConfigError(f"side: expected L, R or None, got {self.side!r}")

    @property
    def name(self) -> str:
        """Its name, with its side if it has one."""
        return f"{SIDES[self.side]} {NAMES[self.number]}" if self.side else NAMES[self.number]

    def __str__(self) -> str:
        return f"{self.side or ''}{self.number}{self.intensity or ''}"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a rule.

    Attributes:
        numbers: The units of which one must be there.
        intensities: The intensities that are accepted.
        side: The only side that is accepted; None for both and for either.
        text: As it is written in the rule.
    """

    numbers: tuple[int, ...]
    intensities: str
    side: str | None
    text: str

    def fits(self, unit: ActionUnit) -> bool:
        """Whether a unit is this part."""
        graded = self.intensities[0] < "D" if unit.intensity is None else unit.intensity in self.intensities
        return unit.number in self.numbers and graded and self.side in (None, unit.side)


@dataclass(frozen=True, slots=True)
class Rule:
    """A combination of units that is typical of an emotion.

    Attributes:
        emotion: The emotion.
        text: As it is published: "1+2+5A-B+26/27".
        kind: "prototype" or "variant".
        parts: What must be there.
    """

    emotion: str
    text: str
    kind: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """How well units fit an emotion, by the rule that they fit best.

    Attributes:
        emotion: The emotion.
        score: 0-1; 1 if the rule is complete and nothing is against it.
        rule: The rule.
        present: The given units that are parts of the rule.
        missing: The parts of the rule that are not given.
        against: The given units that belong to no rule of this emotion.
    """

    emotion: str
    score: float
    rule: Rule
    present: tuple[ActionUnit, ...]
    missing: tuple[Part, ...]
    against: tuple[ActionUnit, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return {
            "emotion": self.emotion,
            "score": round(self.score, 4),
            "kind": self.rule.kind,
            "rule": self.rule.text,
            "present": [str(unit) for unit in self.present],
            "missing": [part.text for part in self.missing],
            "against": [str(unit) for unit in self.against],
        }


def known_numbers() -> str:
    """The numbers of all units, in ranges: "1, 2, 4-46, ..."."""
    runs: list[list[int]] = []
    for number in NAMES:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def parse(text: str) -> tuple[ActionUnit, ...]:
    """The units of a code: "1+2+5B", "R12A", "6 + 12", "AU12C, AU25"; "0" is a neutral face, without units.

    Raises:
        ConfigError: The text is no such code, a unit does not exist, or one is given twice.
    """
    words = [word for word in re.split(r"[+,;]|\s+(?=[LRA]?U?\d)", text.strip(), flags=re.IGNORECASE) if word.strip()]
    if not words:
        raise ConfigError("expected action units, got none", hint=_WRITTEN)
    if [word.strip() for word in words] == ["0"]:
        return ()
    units = []
    for word in words:
        found = _CODE.fullmatch(word.strip())
        if found is None:
            raise ConfigError(f"'{word.strip()[:40]}' is not the code of an action unit", hint=_WRITTEN)
        side, number, intensity = found.groups()
        if len(number) > 4:
            raise ConfigError(f"there is no action unit {number[:20]}", hint=f"there are {known_numbers()}")
        units.append(ActionUnit(int(number), intensity.upper() or None, side.upper() or None))
    return _unique(units)


def format_units(units: Sequence[ActionUnit]) -> str:
    """The code of some units, which `parse` reads: "1+2+5B"; "0" for none."""
    return "+".join(map(str, units)) or "0"


def parse_file(text: str, origin: str = "FACS file") -> tuple[ActionUnit, ...]:
    """The units of a FACS file as CK+ has them: one a line, its number and its intensity, "4.0000000e+00 2.0e+00".

    The intensities 1 to 5 are A to E; 0 is "present, not graded". An empty file has no units.

    Args:
        text: The content.
        origin: Name of the file, for errors.

    Raises:
        DataError: A line is not two such numbers, a unit does not exist, or one is given twice.
    """
    units = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.replace(",", " ").split()
        if not cells:
            continue
        try:
            unit, intensity = (_whole(cell) for cell in cells)
        except ValueError:
            raise DataError(
                f"{origin}, line {number}: expected the number of an action unit and its intensity, got "
                f"'{line.strip()[:60]}'",
                hint="for example 1.2000000e+01 3.0000000e+00",
            ) from None
        if not 0 <= intensity <= len(INTENSITIES):
            raise DataError(
                f"{origin}, line {number}: expected an intensity 0-5, got {intensity}",
                hint="1 to 5 are A to E; 0 is present and not graded",
            )
        if unit not in NAMES:
            raise DataError(
                f"{origin}, line {number}: there is no action unit {unit}", hint=f"there are {known_numbers()}"
            )
        units.append(ActionUnit(unit, INTENSITIES[intensity - 1] if intensity else None))
    try:
        return _unique(units)
    except ConfigError as error:
        raise DataError(f"{origin}: {error.message}", hint=error.hint) from None


def read_file(path: Path) -> tuple[ActionUnit, ...]:
    """The units of a file; see `parse_file`.

    Raises:
        InputError: It cannot be read.
        DataError: It is not in that format.
    """
    try:
        return parse_file(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise InputError(f"cannot read '{path}': {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}' is not a FACS file: it is not text", hint="give a file such as *_facs.txt"
        ) from error


def _whole(cell: str) -> int:
    """A whole number, also in scientific notation.

    Raises:
        ValueError: It is none.
    """
    value = float(cell)
    if not value.is_integer() or abs(value) > 1e6:  # also refuses nan and inf
        raise ValueError(cell)
    return int(value)


def _unique(units: Sequence[ActionUnit]) -> tuple[ActionUnit, ...]:
    """The units, each given once; the two sides may have one each.

    Raises:
        ConfigError: One is given twice.
    """
    sides: dict[int, list[str | None]] = {}
    for unit in units:
        before = sides.setdefault(unit.number, [])
        if before and (unit.side in before or None in (*before, unit.side)):
            raise ConfigError(
                f"the action unit {unit.number} is given twice", hint="give each once, or once for each side: L12A+R12C"
            )
        before.append(unit.side)
    return tuple(units)


@cache
def rules(emotion: str) -> tuple[Rule, ...]:
    """The prototypes and then the variants of an emotion, named as in `mien.emotions`; none for neutral.

    Raises:
        ConfigError: The emotion has no rules.
    """
    if emotion != "neutral" and emotion not in RULES:
        raise ConfigError(
            f"there are no prototypes for '{emotion}'", hint=f"choose one of {', '.join((*RULES, 'neutral'))}"
        )
    prototypes, variants = RULES.get(emotion, ((), ()))
    kinds = (("prototype", prototypes), ("variant", variants))
    return tuple(Rule(emotion, text, kind, _parts(text)) for kind, texts in kinds for text in texts)


def _parts(text: str) -> tuple[Part, ...]:
    parts = []
    for word in text.split("+"):
        found = _PART.fullmatch(word)
        if found is None:
            raise ValueError(f"'{word}' in the rule '{text}'")
        side, numbers, low, high = found.groups()
        first, last = INTENSITIES.index(low or "A"), INTENSITIES.index(high or low or "E")
        accepted = INTENSITIES[first : last + 1]
        parts.append(Part(tuple(map(int, numbers.split("/"))), accepted, side or None, word))
    return tuple(parts)


def infer(units: Iterable[ActionUnit]) -> list[Match]:
    """The emotions that units are typical of, each by its best rule, best first; those with a score of 0 are left out.

    A face without units is neutral.
    """
    units = tuple(units)
    if not units:
        return [Match("neutral", 1.0, Rule("neutral", "0", "prototype", ()), (), (), ())]
    order = emotions.ALL.index
    found = [max((_match(units, rule) for rule in rules(name)), key=_rank) for name in RULES]
    kept = [match for match in found if match.score > 0]
    return sorted(kept, key=lambda match: (*(-value for value in _rank(match)), order(match.emotion)))


def classify(units: Iterable[ActionUnit]) -> str | None:
    """The emotion of units if it is plain: its best rule is complete, and no other emotion scores as high; else None.

    For sequences whose units are coded and whose emotion is not labelled.
    """
    matches = infer(units)
    if not matches or matches[0].missing or (len(matches) > 1 and matches[1].score >= matches[0].score):
        return None
    return matches[0].emotion


def _rank(match: Match) -> tuple[float, int, bool]:
    """What is better has a higher rank: the score, the number of units it explains, a prototype."""
    return round(match.score, 6), len(match.present), match.rule.kind == "prototype"


def _match(units: Sequence[ActionUnit], rule: Rule) -> Match:
    present = tuple(unit for unit in units if any(part.fits(unit) for part in rule.parts))
    missing = tuple(part for part in rule.parts if not any(part.fits(unit) for unit in units))
    own = [part for each in rules(rule.emotion) for part in each.parts]
    against = tuple(unit for unit in units if unit.number not in _NEUTRAL and not any(part.fits(unit) for part in own))
    given = len(rule.parts) - len(missing)
    score = given / (given + _MISSING * len(missing) + _AGAINST * len(against))
    if all(unit.number in _NEUTRAL for unit in present):
        score = 0.0
    return Match(rule.emotion, score, rule, present, missing, against)
