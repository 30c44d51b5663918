"""Several models on the same faces: each judged as `evaluate_model` does, timed, counted, held against the first."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from mien.datasets import Samples
from mien.errors import ConfigError, MienError
from mien.evaluation.cost import Cost, cost_of
from mien.evaluation.intervals import McNemar, mcnemar
from mien.evaluation.predict import Evaluation, Predictions, evaluate_model
from mien.expression import ClassifierOptions, load_classifier
from mien.expression.base import VOTES, Vote
from mien.expression.tta import Tta

__all__ = ["Candidate", "Comparison", "Row", "candidates", "compare"]

_CHECKPOINT: Final = "best.ckpt"  # what a run's folder holds


@dataclass(frozen=True)
class Candidate:
    """What is to be compared.

    Attributes:
        name: For print; no two have the same.
        models: Names of shipped models or paths of exported files: one, or the members of an ensemble.
        members: Names of these members, for print; none for one model.
        error: Why it cannot take part; None if it can.
        part: It is judged alone only because an ensemble has it; data whose classes it has not all is no failure then.
    """

    name: str
    models: tuple[str | Path, ...]
    members: tuple[str, ...] = ()
    error: MienError | None = None
    part: bool = False


@dataclass(frozen=True)
class Row:
    """What was found of one candidate.

    Attributes:
        name: The candidate's.
        members: Of an ensemble, by name; of a model none.
        evaluation: Its scores; None if it failed.
        cost: What it costs; None if it failed.
        against: By protocol, the test against the first row; empty for that row, and where one of both has no classes
            for a protocol.
        error: Why it failed; None if it did not.
        part: Of an ensemble, not asked for alone; see `Candidate`.
    """

    name: str
    members: tuple[str, ...]
    evaluation: Evaluation | None
    cost: Cost | None
    against: dict[str, McNemar] = field(default_factory=dict)
    error: MienError | None = None
    part: bool = False

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return {
            "name": self.name,
            "members": list(self.members),
            "error": str(self.error) if self.error else None,
            "cost": self.cost.as_dict() if self.cost else None,
            "evaluation": self.evaluation.as_dict() if self.evaluation else None,
            "against_first": {name: found.as_dict() for name, found in self.against.items()},
        }


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        rows: One a candidate, in the order given.
        split: "train", "val" or "test".
        tta: How often each face was looked at.
        protocols: Titles by name, of those that at least one row has.
        vote: How ensembles voted.
    """

    rows: tuple[Row, ...]
    split: str
    tta: str
    protocols: dict[str, str]
    vote: str

    @property
    def good(self) -> tuple[Row, ...]:
        """The rows that did not fail."""
        return tuple(row for row in self.rows if row.evaluation)

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that did."""
        return tuple(row for row in self.rows if row.error)

    def predictions(self, row: Row, protocol: str) -> Predictions | None:
        """What a row read under a protocol; None if it has no classes for it."""
        return row.evaluation.predictions.get(protocol) if row.evaluation else None

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return {
            "split": self.split,
            "tta": self.tta,
            "vote": self.vote,
            "protocols": self.protocols,
            "rows": [row.as_dict() for row in self.rows],
        }


def candidates(
    models: Sequence[str], ensembles: Sequence[str], export: Callable[[Path, Path], object], place: Path
) -> list[Candidate]:
    """What a user has named.

    Args:
        models: Names of shipped models, paths of exported files, or folders of runs.
        ensembles: Each several of these, parted by commas; their members are judged alone as well.
        export: Writes the ONNX file of a run's folder to a path; it may fail with a MienError.
        place: An empty folder for these files.

    Returns:
        The models, the members that are not among them, the ensembles; a run that cannot be exported has an error, and
        so has an ensemble that needs it.
    """
    together = [list(map(str, ClassifierOptions(word).models)) for word in ensembles]
    alone = list(dict.fromkeys([*models, *(name for names in together for name in names)]))
    files = {name: _file(name, export, place / str(number)) for number, name in enumerate(alone)}
    found: list[Candidate] = []
    shown: dict[str, str] = {}
    for name in alone:
        shown[name] = _unlike([_short(name), name], shown.values())
        file = files[name]
        if isinstance(file, MienError):
            found.append(Candidate(shown[name], (), error=file))
        else:
            found.append(Candidate(shown[name], (file,), part=name not in models))
    for names in together:
        members = tuple(shown[name] for name in names)
        title = _unlike([" + ".join(members)], [each.name for each in found])
        errors = [file for name in names if isinstance(file := files[name], MienError)]
        usable = tuple(file for name in names if not isinstance(file := files[name], MienError))
        found.append(Candidate(title, usable, members, errors[0] if errors else None))
    return found


def _file(name: str, export: Callable[[Path, Path], object], place: Path) -> str | Path | MienError:
    """The file of a model, exported if it is a run's folder; why there is none, if it cannot be."""
    folder = Path(name)
    if not folder.is_dir():
        return name
    if not (folder / _CHECKPOINT).is_file():
        return ConfigError(
            f"{folder}: is no run: it has no {_CHECKPOINT}", hint="give the folder that `mien train` made"
        )
    try:
        place.mkdir()
        export(folder, place / "run.onnx")
    except MienError as error:
        return error
    return place / "run.onnx"


def _short(name: str) -> str:
    """A name for print: of a file or a folder its own, without where it lies."""
    path = Path(name)
    return path.resolve().name if path.is_dir() else path.stem if path.suffix == ".onnx" else name


def _unlike(names: Sequence[str], taken: Collection[str]) -> str:
    """The first of the names that is not taken, or the last one with a number."""
    tries = (*names, *(f"{names[-1]} ({number})" for number in range(2, len(taken) + 3)))
    return next(each for each in tries if each not in taken)


def compare(
    given: Iterable[Candidate],
    samples: Samples,
    *,
    split: str,
    protocols: Sequence[str] | None = None,
    tta: Tta = "none",
    vote: str = "soft",
    repeats: int = 50,
    begun: Callable[[str], object] = lambda name: None,
) -> Comparison:
    """Judges candidates on the same faces. One that fails has a row that says why, and the others go on.

    Args:
        given: What to compare; the first that does not fail is what the others are held against.
        samples: One split.
        split: Its name, for print.
        protocols: Names; None for all that data and models allow.
        tta: How often each face is looked at.
        vote: How ensembles vote: "soft" or "hard".
        repeats: Of the timing of one face.
        begun: Told each candidate's name when its turn comes.

    Raises:
        MienError: No candidate can be judged; the first one's error.
        ConfigError: There is none, or no such vote.
    """
    if vote not in VOTES:
        raise ConfigError(f"there is no vote '{vote}'", hint=f"choose one of {', '.join(VOTES)}")
    rows: list[Row] = []
    first: Row | None = None
    for candidate in given:
        begun(candidate.name)
        row = _row(candidate, samples, split, protocols, tta, vote, repeats, first)
        rows.append(row)
        first = first or (row if row.evaluation else None)
    if not rows:
        raise ConfigError("there is nothing to compare", hint="name models, files or runs")
    if first is None and rows[0].error:
        raise rows[0].error
    found = {
        name: predicted.title
        for row in rows
        if row.evaluation
        for name, predicted in row.evaluation.predictions.items()
    }
    return Comparison(tuple(rows), split, tta, found, vote)


def _row(
    candidate: Candidate,
    samples: Samples,
    split: str,
    protocols: Sequence[str] | None,
    tta: Tta,
    vote: str,
    repeats: int,
    first: Row | None,
) -> Row:
    if candidate.error:
        return Row(candidate.name, candidate.members, None, None, error=candidate.error)
    model = None if candidate.members else candidate.models[0]
    ensemble, voting = (candidate.models, vote) if candidate.members else ((), None)
    try:
        evaluation = evaluate_model(
            model, samples, split=split, protocols=protocols, tta=tta, ensemble=ensemble, vote=voting
        )
        classes = next(iter(evaluation.predictions.values())).classes
        chosen = ClassifierOptions(candidate.models, vote=cast("Vote | None", voting), emotions=classes, tta=tta)
        classifier = load_classifier(chosen)
        cost = cost_of(candidate.models, classifier, tta=tta, repeats=repeats)
    except MienError as error:
        part = candidate.part and isinstance(error, ConfigError)
        return Row(candidate.name, candidate.members, None, None, error=error, part=part)
    against = {}
    if first and first.evaluation:
        for name, predicted in evaluation.predictions.items():
            if name in first.evaluation.predictions:
                against[name] = mcnemar(first.evaluation.predictions[name].correct, predicted.correct)
    return Row(candidate.name, candidate.members, evaluation, cost, against)
