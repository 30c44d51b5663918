"""Names and numbers of classes in the files of data sets, and the classes that they mean.

Names are words ("happy", "3_happy", "Happy (3)"), which mean the same everywhere, or bare numbers, which every data set
assigns differently: 0 is anger in FER2013 and neutral in AffectNet. A bare number therefore needs `numbers`, the data
set whose numbers they are.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NamedTuple, get_args

from mien import emotions
from mien.errors import ConfigError, DataError
from mien.output.schema import table_columns
from mien.results import AFFECT

OWN: Final = "own"
SIZES: Final = (6, 7, 8)

Numbering = Literal["fer2013", "ferplus", "affectnet", "rafdb", "ck"]

# The emotions by the numbers of the published data sets. FER+ and AffectNet also have numbers for faces without an
# expression (8 and above), which are no classes here.
NUMBERINGS: Final[dict[str, dict[int, str]]] = {
    name: dict(enumerate(words.split(), start))
    for name, (start, words) in {
        # Goodfellow et al., "Challenges in representation learning", ICONIP 2013; the codes of fer2013.csv.
        "fer2013": (0, "anger disgust fear happiness sadness surprise neutral"),
        # Barsoum et al., "Training deep networks for facial expression recognition with crowd-sourced label
        # distribution", ICMI 2016; the column order of fer2013new.csv.
        "ferplus": (0, "neutral happiness surprise sadness anger disgust fear contempt"),
        # Mollahosseini, Hasani and Mahoor, "AffectNet", IEEE Transactions on Affective Computing 10(1), 2019.
        "affectnet": (0, "neutral happiness sadness surprise fear disgust anger contempt"),
        # Li, Deng and Du, "Reliable crowdsourcing and deep locality-preserving learning for expression recognition in
        # the wild", CVPR 2017; the basic emotions of RAF-DB.
        "rafdb": (1, "surprise fear disgust happiness sadness anger neutral"),
        # Lucey et al., "The extended Cohn-Kanade dataset (CK+)", CVPR Workshops 2010; the *_emotion.txt files.
        "ck": (0, "neutral anger contempt disgust fear happiness sadness surprise"),
    }.items()
}

# A number, alone or with a word that says what is counted ("class_3", "3.0" as pandas writes whole numbers).
_NUMBER: Final = re.compile(r"(?:(?:class|label|emotion|expression|category)[\s_.-]*)?(\d{1,3})(?:\.0+)?", re.I)
# Numbers and punctuation around a word: "0_angry", "1-disgust", "angry (0)".
_AROUND: Final = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_SHOWN: Final = 12  # names that a message lists


@dataclass(frozen=True, slots=True)
class NameOptions:
    """What the names of classes in the source mean.

    Raises:
        ConfigError: A numbering does not exist, or a name is mapped to something that is no emotion, or twice.
    """

    numbers: Annotated[Numbering | None, "Data set whose numbers are the names of the classes."] = None
    map: Annotated[
        tuple[str, ...] | None, "Emotion that a name or number means, such as wut=anger; may be repeated."
    ] = None

    def __post_init__(self) -> None:
        if self.numbers is not None and self.numbers not in NUMBERINGS:
            raise ConfigError(
                f"numbers: unknown '{self.numbers}'", hint=f"choose one of {', '.join(get_args(Numbering))}"
            )
        self.mapped()

    def mapped(self) -> dict[str, str]:
        """The emotions of `map` by name, in lower case."""
        found: dict[str, str] = {}
        for text in self.map or ():
            name, sign, emotion = text.rpartition("=")
            key = _key(name)
            if not sign or not key:
                raise ConfigError(f"map: expected NAME=EMOTION, got '{text}'", hint="for example --map wut=anger")
            try:
                noun = emotions.parse(emotion)
            except ConfigError as error:
                raise ConfigError(f"map: in '{text}', {error.message}", hint=error.hint) from None
            if found.setdefault(key, noun) != noun:
                raise ConfigError(f"map: '{name}' is both {found[key]} and {noun}", hint="map each name once")
        return found

    def emotion(self, name: str) -> str | None:
        """The emotion that a name means; None if it is an unknown word or a number that `numbers` does not explain."""
        if noun := self.mapped().get(_key(name)):
            return noun
        if (number := number_in(name)) is not None:
            return NUMBERINGS[self.numbers].get(number) if self.numbers else None
        for word in (name, _AROUND.sub("", name)):
            try:
                return emotions.parse(word.replace("_", " "))
            except ConfigError:
                pass
        return None


@dataclass(frozen=True, slots=True)
class ClassOptions(NameOptions):
    """Which classes the names are, and what they mean.

    Raises:
        ConfigError: As `NameOptions`.
    """

    classes: Annotated[
        str | None, "6, 7 or 8 emotions, or own: the names of the source; by default chosen from the names."
    ] = None


class Naming(NamedTuple):
    """The names of the classes, and the index of its class for each name in the source."""

    classes: tuple[str, ...]
    place: dict[str, int]


def number_in(name: str) -> int | None:
    """The number of a name that says nothing else, such as "3", "03" or "class_3"; else None."""
    found = _NUMBER.fullmatch(name.strip())
    return int(found[1]) if found else None


def is_emotion(name: str) -> bool:
    """Whether a name is a word that means an emotion."""
    return NameOptions().emotion(name) is not None


def naming(
    names: Sequence[str],
    options: ClassOptions | None = None,
    count: Callable[[str], int] | None = None,
    *,
    what: str = "folder",
) -> Naming:
    """The classes that the names mean.

    Args:
        names: Each name of the source once.
        options: Which classes they are, by default those of the smallest number of emotions that has a class for every
            name; and what numbers and other names mean.
        count: Number of images of a name, for the error of numbers without a meaning.
        what: What has these names, for messages: "folder" or "label".

    Raises:
        ConfigError: An option has another value, or applies to no name.
        DataError: Names are not classes, a class has no name, or there is only one class.
    """
    options = options or ClassOptions()
    wanted = options.classes
    if wanted not in (None, OWN, *map(str, SIZES)):
        raise ConfigError(f"classes: unknown '{wanted}'", hint=f"choose one of {', '.join(map(str, SIZES))}, {OWN}")
    if len(names) < 2:
        raise DataError(f"there is only one class, '{names[0]}'", hint=f"give at least two, one {what} for each")
    _check_used(names, options)
    if wanted == OWN:
        return _own(names, options)
    check_numbers(names, options, "class folders" if what == "folder" else "labels", count, own=True)
    return _emotions(names, int(wanted) if wanted else None, options, what)


def _check_used(names: Sequence[str], options: NameOptions) -> None:
    """Options that no name needs are mistakes, of a folder or of its spelling."""
    mapped = options.mapped()
    if stray := set(mapped) - {_key(name) for name in names}:
        raise ConfigError(
            f"--map: there is no {', '.join(map(repr, sorted(stray)))}", hint=f"the names are {listed(names)}"
        )
    numbers = [name for name in names if number_in(name) is not None and _key(name) not in mapped]
    if options.numbers and not numbers:
        raise ConfigError(
            f"--numbers: no name is a bare number; found {listed(names)}", hint="leave out --numbers: words need none"
        )


def check_numbers(
    names: Sequence[str],
    options: NameOptions,
    what: str,
    count: Callable[[str], int] | None = None,
    *,
    own: bool = False,
) -> None:
    """Makes sure that bare numbers have a meaning; `own`: they may also be classes of the user's own.

    Raises:
        DataError: They have none; the message shows what each data set calls them.
    """
    unclear = [name for name in names if number_in(name) is not None and options.emotion(name) is None]
    if not unclear:
        return
    if options.numbers:
        known = ", ".join(f"{number} {name}" for number, name in NUMBERINGS[options.numbers].items())
        raise DataError(
            f"the {what} {listed(unclear)} are not numbers of {options.numbers}: {known}",
            hint=f"choose another --numbers, add --map {unclear[0]}=EMOTION, or remove these",
        )
    fitting = [name for name, known in NUMBERINGS.items() if {number_in(each) for each in unclear} <= set(known)]
    raise DataError(
        f"the {what} {listed(unclear)} are numbers, and data sets number the emotions differently:\n"
        + numbering_table(unclear, count),
        hint=f"say whose they are: --numbers {'|'.join(fitting or NUMBERINGS)}; or --map {unclear[0]}=EMOTION for each"
        + (f"; or --classes {OWN} if they are classes of your own" if own else ""),
    )


def numbering_table(names: Sequence[str], count: Callable[[str], int] | None = None) -> str:
    """What each data set calls these numbers, one indented line each, with the number of images."""
    rows = [["number", *(["images"] if count else []), *NUMBERINGS]]
    for name in names:
        number = number_in(name)
        cells = [known.get(-1 if number is None else number, "-") for known in NUMBERINGS.values()]
        rows.append([name, *([f"{count(name):,}"] if count else []), *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _emotions(names: Sequence[str], size: int | None, options: NameOptions, what: str) -> Naming:
    nouns = {name: options.emotion(name) or name for name in names}
    sizes = SIZES if size is None else (size,)
    known = {each: {name: found for name, noun in nouns.items() if (found := _class(noun, each))} for each in sizes}
    fitting = [each for each in sizes if len(known[each]) == len(names)]
    if not fitting:
        strange = [name for name in names if name not in known[sizes[-1]]]
        raise DataError(
            f"the {_plural(what)} {listed(strange, quote=True)} are not among {sizes[-1]} emotions",
            hint=f"known are {', '.join(emotions.vocabulary(sizes[-1]))} and their aliases; "
            f"say what others mean with --map NAME=EMOTION, or use --classes {OWN}",
        )
    # Six emotions merge disgust into anger: only on request, not for data with a folder of disgust.
    chosen = next(each for each in fitting if size or set(nouns.values()) <= set(emotions.vocabulary(each)))
    classes = emotions.vocabulary(chosen)
    if missing := [name for name in classes if name not in known[chosen].values()]:
        raise DataError(
            f"{chosen} emotions need a {what} for {', '.join(missing)}",
            hint=f"--classes {OWN} uses the {len(names)} {what}s as classes",
        )
    return Naming(classes, {name: classes.index(found) for name, found in known[chosen].items()})


def _plural(what: str) -> str:
    return "folder names" if what == "folder" else f"{what}s"


def _class(noun: str, size: int) -> str | None:
    """The class of a vocabulary that an emotion belongs to."""
    return noun if noun in emotions.vocabulary(size) else emotions.MERGED.get(noun)


def _own(names: Sequence[str], options: NameOptions) -> Naming:
    """The names as classes; emotions get their nouns, so that the classes match those of other models."""
    nouns = [options.emotion(name) or name for name in names]
    explained = options.numbers or options.map  # then two names may be one class
    classes = nouns if explained or len(set(nouns)) == len(nouns) else list(names)
    # With a class such as "positive", tables have no columns for valence and arousal.
    taken = {column.lower() for column in table_columns(()) if column not in AFFECT}
    if strange := [name for name in classes if not (name.isprintable() and name.strip()) or name.lower() in taken]:
        raise DataError(
            f"{', '.join(map(repr, strange))} cannot be the name of a class: a column of the tables, or not printable",
            hint="rename it",
        )
    unique = tuple(dict.fromkeys(classes))
    return Naming(unique, {name: unique.index(found) for name, found in zip(names, classes, strict=True)})


def listed(names: Sequence[str], *, quote: bool = False) -> str:
    """Names for a message: the first few, and how many more there are."""
    shown = [repr(name) if quote else name for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip()).casefold()
