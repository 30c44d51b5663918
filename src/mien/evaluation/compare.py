"""Compares models on the same faces: scores, McNemar's test against the first model, size and speed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from mien.assets.manifest import ensemble_name
from mien.assets.recognise import recognise
from mien.assets.store import open_model
from mien.datasets import Samples
from mien.errors import ConfigError, MienError
from mien.evaluation.cost import Cost, cost_of
from mien.evaluation.intervals import Estimate, McNemar, mcnemar, mean_estimate
from mien.evaluation.predict import Evaluation, evaluate_model
from mien.expression import ClassifierOptions, load_classifier
from mien.expression.prior import checked, name_of
from mien.progress import Progress, unseen

_CHECKPOINT: Final = "best.ckpt"  # what a run's folder holds


@dataclass(frozen=True)
class Candidate:
    """A model or an ensemble to compare.

    Attributes:
        name: Unique name for the report.
        models: Names of shipped models or paths of exported files: one, or the members of an ensemble.
        members: Names of the members for the report; empty for a single model.
        error: Why it cannot be evaluated; None if it can.
        part: It is evaluated alone only because it is a member of an ensemble; if it lacks classes of the data, this is
            not an error.
    """

    name: str
    models: tuple[str | Path, ...]
    members: tuple[str, ...] = ()
    error: MienError | None = None
    part: bool = False


@dataclass(frozen=True)
class Row:
    """The results of one candidate.

    Attributes:
        name: Of the candidate.
        members: Names of the members of an ensemble; empty for a single model.
        evaluation: None if it failed.
        cost: None if it failed.
        against: By protocol, the test against the first successful row; empty for that row, and without protocols for
            which either lacks classes.
        differences: By the same protocols, the accuracy less that of the first successful row, on the same faces, with
            the interval of the paired difference.
        error: Why it failed; None if it did not.
        part: See `Candidate`.
    """

    name: str
    members: tuple[str, ...]
    evaluation: Evaluation | None
    cost: Cost | None
    against: dict[str, McNemar] = field(default_factory=dict)
    differences: dict[str, Estimate] = field(default_factory=dict)
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
            "against_first": {
                name: {**found.as_dict(), "accuracy_difference": self.differences[name].as_dict()}
                for name, found in self.against.items()
            },
        }


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        rows: One per candidate, in their order.
        split: "train", "val" or "test".
        tta: Test-time augmentation: "none", "flip" or "ten-crop".
        protocols: Titles by name, of the protocols that at least one row has.
        vote: How ensembles vote: "soft" or "hard".
        prior: The class frequencies that the probabilities assume.
    """

    rows: tuple[Row, ...]
    split: str
    tta: str
    protocols: dict[str, str]
    vote: str
    prior: str = "training"

    @property
    def good(self) -> tuple[Row, ...]:
        """The rows without an error."""
        return tuple(row for row in self.rows if row.evaluation)

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows with an error."""
        return tuple(row for row in self.rows if row.error)

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return {
            "split": self.split,
            "tta": self.tta,
            "vote": self.vote,
            "prior": self.prior,
            "protocols": self.protocols,
            "rows": [row.as_dict() for row in self.rows],
        }


def candidates(models: Sequence[str], export: Callable[[Path, Path], object], place: Path) -> list[Candidate]:
    """The candidates that a user names.

    Args:
        models: Names of shipped models, paths of exported files, or folders of runs; several separated by commas name
            an ensemble, whose members are also evaluated alone.
        export: Writes the ONNX file of a run's folder to a path; it may raise a MienError.
        place: An empty folder for these files.

    Returns:
        In the order of the user: the others are tested against the first. The members of an ensemble that are not named
        alone follow it. A model that cannot be opened and a run that cannot be exported have an error, and so has an
        ensemble that contains them.
    """
    words = [[str(name) for name in ClassifierOptions(word).models] for word in models]
    single = [names[0] for names in words if len(names) == 1]
    together = [names for names in words if len(names) > 1]
    alone = list(dict.fromkeys([*single, *(name for names in together for name in names)]))
    files = {name: _file(name, export, place / str(number)) for number, name in enumerate(alone)}
    shown: dict[str, str] = {}
    for name in alone:
        shown[name] = _unique([_short(name), name], shown.values())
    found: dict[str, Candidate] = {}
    for names in words:
        if len(names) > 1:
            members = tuple(shown[name] for name in names)
            title = _unique([ensemble_name(names) or " + ".join(members)], [*shown.values(), *found])
            errors = [file for name in names if isinstance(file := files[name], MienError)]
            usable = tuple(file for name in names if not isinstance(file := files[name], MienError))
            found[title] = Candidate(title, usable, members, errors[0] if errors else None)
        for name in names:
            if len(names) > 1 and name in single:
                continue  # it has a place of its own
            file = files[name]
            error = file if isinstance(file, MienError) else None
            usable = () if isinstance(file, MienError) else (file,)
            part = error is None and name not in single
            found.setdefault(shown[name], Candidate(shown[name], usable, error=error, part=part))
    return list(found.values())


def _file(name: str, export: Callable[[Path, Path], object], place: Path) -> str | Path | MienError:
    """The file of a model, exported if it is a run's folder or best checkpoint; the error if there is none."""
    folder = Path(name)
    if folder.name == _CHECKPOINT and (run := recognise(folder).run):
        folder = run
    if not folder.is_dir():
        try:
            open_model(name)  # a wrong name is told now, not when the models before it have been evaluated
        except MienError as error:
            return error
        return name
    if not (folder / _CHECKPOINT).is_file():
        return ConfigError(
            f"'{folder}' is not the folder of a run: it has no {_CHECKPOINT}",
            hint="give the folder that `mien train` made",
        )
    try:
        place.mkdir()
        export(folder, place / "run.onnx")
    except MienError as error:
        return error
    return place / "run.onnx"


def _short(name: str) -> str:
    """The name for the report: of a file or a folder, without its path."""
    path = Path(name)
    return path.resolve().name if path.is_dir() else path.stem if path.suffix == ".onnx" else name


def _unique(names: Sequence[str], taken: Collection[str]) -> str:
    """The first of the names that is not taken, or the last one with a number."""
    tries = (*names, *(f"{names[-1]} ({number})" for number in range(2, len(taken) + 3)))
    return next(each for each in tries if each not in taken)


def compare(
    given: Sequence[Candidate],
    samples: Samples,
    *,
    split: str,
    protocols: Sequence[str] | None = None,
    options: ClassifierOptions | None = None,
    repeats: int = 50,
    progress: Progress = unseen,
) -> Comparison:
    """Evaluates candidates on the same faces. One that fails has a row with its error, and the others continue.

    Args:
        given: The candidates; the others are tested against the first that does not fail.
        samples: The faces of one split.
        split: Name of that split, for the report.
        protocols: Names of protocols; None for all that the data and the models allow.
        options: For every candidate, except for `model`; `vote` is that of the ensembles, `emotions` as for
            `evaluate_model`.
        repeats: Number of timed calls.
        progress: Called with the number of predictions made so far and the total of all candidates.

    Raises:
        MienError: No candidate can be evaluated; the error of the first one.
        ConfigError: There are no candidates.
    """
    options = options or ClassifierOptions()
    rows: list[Row] = []
    first: Evaluation | None = None
    for number, candidate in enumerate(given):

        def report(done: int, total: int, number: int = number) -> None:
            progress(number * total + done, len(given) * total)

        mine = replace(options, model=candidate.models or None, vote=options.vote if candidate.members else None)
        try:
            if candidate.error:
                raise candidate.error
            evaluation = evaluate_model(mine, samples, split=split, protocols=protocols, progress=report)
            classes = next(iter(evaluation.predictions.values())).classes
            cost = cost_of(candidate.models, load_classifier(replace(mine, emotions=classes)), repeats=repeats)
        except MienError as error:
            part = candidate.part and isinstance(error, ConfigError)
            rows.append(Row(candidate.name, candidate.members, None, None, error=error, part=part))
            continue
        pairs = {
            name: (first.predictions[name].correct, predicted.correct, predicted.how)
            for name, predicted in evaluation.predictions.items()
            if first and name in first.predictions and np.array_equal(first.predictions[name].rows, predicted.rows)
        }
        against = {name: mcnemar(one, other) for name, (one, other, _) in pairs.items()}
        differences = {
            name: mean_estimate(other.astype(np.float64) - one.astype(np.float64), how)
            for name, (one, other, how) in pairs.items()
        }
        rows.append(Row(candidate.name, candidate.members, evaluation, cost, against, differences))
        first = first or evaluation
    if not rows:
        raise ConfigError("no models to compare", hint="name models, .onnx files or folders of runs")
    if first is None and rows[0].error:
        raise rows[0].error
    titles = {
        name: predicted.title
        for row in rows
        if row.evaluation
        for name, predicted in row.evaluation.predictions.items()
    }
    prior = name_of(checked(options.prior or "training"))
    return Comparison(tuple(rows), split, options.tta, titles, options.vote or "soft", prior)
