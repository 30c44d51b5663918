"""Cross-validation by person: a recipe is trained once for each fold and measured on people that it has never seen.

If the data does not say who is who, the folds are by clip or by image.

Each fold is the test set of one run, the next fold chooses its best epoch, and the others train it. The scores are
those of the exported files, as everywhere. The folder holds, for each fold K, `fold-K` with the run, `model.onnx` and
`predictions.json`, and at its root `recipe.toml`, `data.json` and at last `crossval.json` with the scores of the folds
and of all their predictions together (pooled). A fold whose predictions are there is not trained again, and a run that
was stopped is resumed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.datasets import Samples
from mien.datasets.folds import Unit, division_unit, labelled, persons, subject_folds
from mien.datasets.samples import SPLITS, mark_duplicates
from mien.errors import ConfigError, DataError, OutputError, StoppedError
from mien.evaluation import evaluate_model
from mien.evaluation.intervals import Estimate, Resampling, resamples
from mien.evaluation.metrics import accuracy, confusion_matrix, mean_recall
from mien.files import new_file
from mien.training.expression.export import export_run
from mien.training.expression.recipe import ExpressionRecipe
from mien.training.fit import FitOptions, fit
from mien.training.recipe import RunRecipe, to_toml
from mien.training.tasks import task_spec

LEAST: Final = 3  # folds: one to test, one to choose the epoch, one to train
RESULT: Final = "crossval.json"

Score = Callable[[NDArray[np.int64]], NDArray[np.float64]]
_SCORES: Final[dict[str, Score]] = {"accuracy": accuracy, "mean_recall": mean_recall}


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Predictions for some examples under one protocol, and whom they show.

    Attributes:
        classes: The C classes.
        persons: (N,) identifiers; of the clips or the images if the persons are not known.
        names: (N,) of the images or the clips.
        labels: (N,) indices of the true classes.
        probabilities: (N, C).
    """

    classes: tuple[str, ...]
    persons: NDArray[np.str_]
    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    @classmethod
    def joined(cls, pools: Sequence["Pool"]) -> "Pool":
        """The predictions of several folds as one."""
        columns = ("persons", "names", "labels", "probabilities")
        return cls(pools[0].classes, *(np.concatenate([getattr(each, name) for each in pools]) for name in columns))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (C, C): row = true class."""
        return confusion_matrix(self.labels, self.probabilities.argmax(axis=1), len(self.classes))

    def scores(self) -> dict[str, Estimate]:
        """Accuracy and mean recall with their 95% intervals.

        The intervals are bootstrapped over persons, not over images: images of one person are alike, so resampling
        images would make the intervals too narrow (Davison and Hinkley 1997, section 3.8).
        """
        how = Resampling.together(self.persons, "persons")
        predicted = self.probabilities.argmax(axis=1)
        resampled = resamples(self.labels, predicted, len(self.classes), how)
        return {
            name: Estimate.from_draws(float(score(self.confusion)), score(resampled)) for name, score in _SCORES.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain types, as written to JSON."""
        return {
            "classes": list(self.classes),
            "persons": self.persons.tolist(),
            "names": self.names.tolist(),
            "labels": self.labels.tolist(),
            "probabilities": [[round(value, 6) for value in row] for row in self.probabilities.tolist()],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Pool":
        """The inverse of `as_dict`."""
        return cls(
            tuple(plain["classes"]),
            np.asarray(plain["persons"], np.str_),
            np.asarray(plain["names"], np.str_),
            np.asarray(plain["labels"], np.int64),
            np.asarray(plain["probabilities"], np.float32).reshape(-1, len(plain["classes"])),
        )


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The result.

    Attributes:
        folds: The predictions of each fold by name of the protocol.
        unit: What is counted: "images" or "clips".
        division: What is never divided between two folds, and what the intervals are over.
    """

    folds: Sequence[Mapping[str, Pool]]
    unit: str
    division: Unit = "persons"

    @property
    def pooled(self) -> dict[str, Pool]:
        """The predictions of all folds by name of the protocol."""
        return {name: Pool.joined([fold[name] for fold in self.folds]) for name in self.folds[0]}

    def as_dict(self) -> dict[str, Any]:
        """Plain types, as written to JSON."""
        return {
            "unit": self.unit,
            "division": self.division,
            "folds": [{name: _scored(pool, self.division) for name, pool in fold.items()} for fold in self.folds],
            "pooled": {
                name: {
                    **_scored(pool, self.division),
                    "confusion": pool.confusion.tolist(),
                    "classes": list(pool.classes),
                }
                for name, pool in self.pooled.items()
            },
        }


def _scored(pool: Pool, division: Unit) -> dict[str, Any]:
    return {
        "examples": len(pool.labels),
        division: len(set(pool.persons.tolist())),
        **{name: estimate.as_dict() for name, estimate in pool.scores().items()},
    }


def divided(samples: Samples, count: int) -> Iterator[Samples]:
    """The samples with the splits of each fold; training images that are also in val or test are left out.

    Raises:
        ConfigError: There are fewer than three folds.
        DataError: There are fewer persons than folds.
    """
    if count < LEAST:
        raise ConfigError(
            f"folds: expected a number from {LEAST}, got {count}",
            hint="one fold is the test, the next chooses the best epoch, and the others train",
        )
    folds = subject_folds(samples, count)
    for fold in range(count):
        split = np.full(len(samples), SPLITS.index("train"), np.uint8)
        split[folds == fold] = SPLITS.index("test")
        split[folds == (fold + 1) % count] = SPLITS.index("val")
        duplicate = mark_duplicates(samples.images, split)
        moved = replace(samples, split=split, duplicate=duplicate)
        yield moved.subset(~(duplicate & (split == SPLITS.index("train"))))


@dataclass
class CrossValidator:
    """Trains and measures the folds of a recipe on samples.

    Args:
        recipe: An expression recipe.
        samples: All rows; their splits do not matter.
        count: Number of folds.
        folder: For the runs and the scores; an earlier run of the same in it is continued.
        options: How each run is carried out; `resume` has no effect.

    Raises:
        ConfigError: The recipe is for another task, there are fewer than three folds, or a fold is impossible.
        DataError: There are fewer persons than folds.
        OutputError: The folder holds something else.
    """

    recipe: RunRecipe
    samples: Samples
    count: int
    folder: Path
    options: FitOptions = field(default_factory=FitOptions)

    def __post_init__(self) -> None:
        if not isinstance(self.recipe, ExpressionRecipe):
            raise ConfigError(
                f"the recipe '{self.recipe.name}' is for the task '{self.recipe.task}'",
                hint="cross-validation needs a recipe that classifies expressions",
            )
        self._divided = list(divided(self.samples, self.count))
        self.recipe, notes = task_spec(self.recipe.task).adapt(self.recipe, self.samples)
        for note in notes:
            self.options.tell(note)
        if (unit := division_unit(self.samples)) != "persons":
            self.options.tell(
                f"the data does not say who is who: folds are by {unit.removesuffix('s')}, so scores may be too high"
            )
        self._claim()

    @property
    def frames(self) -> int:
        """Number of frames in a window of the network; 1 for images."""
        return int(getattr(self.recipe.input, "frames", 1)) if isinstance(self.recipe, ExpressionRecipe) else 1

    def _claim(self) -> None:
        """Notes in the folder what it is for, or makes sure that an earlier run was for the same."""
        plan = {
            "recipe.toml": to_toml(self.recipe),
            "data.json": json.dumps({"folds": self.count, **_fingerprint(self.samples)}, indent=1) + "\n",
        }
        for name, text in plan.items():
            path = self.folder / name
            if path.is_file():
                if path.read_text(encoding="utf-8") != text:
                    what = "another recipe" if name == "recipe.toml" else "other data or another number of folds"
                    raise OutputError(
                        f"{self.folder}: contains a cross-validation of {what}", hint="choose another --out"
                    )
                continue
            if self.folder.is_dir() and any(self.folder.iterdir()) and name == "recipe.toml":
                raise OutputError(f"{self.folder}: is not empty", hint="choose another --out")
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(
                    f"{self.folder}: cannot be made: {error.strerror}", hint="choose another --out"
                ) from error
            with new_file(path, "w", encoding="utf-8") as file:
                file.write(text)

    def run(self, done: Callable[[int, Mapping[str, Pool], bool], None] = lambda *_: None) -> CrossValidation:
        """Trains and measures each fold that is not done yet, and writes `crossval.json`.

        Args:
            done: Called after each fold with its number from 1, its predictions, and whether they were there already.

        Raises:
            StoppedError: Ctrl-C or SIGTERM came; what is done is kept.
            MienError: See `fit`, `export_run` and `evaluate_model`.
        """
        folds = []
        for number, samples in enumerate(self._divided, 1):
            before = self._known(number)
            try:
                pools = before or self._measured(number, samples)
            except KeyboardInterrupt:  # between two trainings; during one, `fit` handles it
                raise StoppedError(f"stopped by Ctrl-C in fold {number}", hint="to continue: run it again") from None
            folds.append(pools)
            done(number, pools, before is not None)
        unit = "images" if self.frames == 1 else "clips"
        result = CrossValidation(folds, unit, division_unit(self.samples))
        with new_file(self.folder / RESULT, "w", encoding="utf-8") as file:
            plain = {"recipe": self.recipe.name, "data": dict(self.samples.about), **result.as_dict()}
            file.write(json.dumps(plain, indent=1) + "\n")
        return result

    def _known(self, number: int) -> dict[str, Pool] | None:
        """The predictions of a fold that is done."""
        try:
            plain = json.loads((self.folder / f"fold-{number}" / "predictions.json").read_text(encoding="utf-8"))
            return {name: Pool.from_dict(pool) for name, pool in plain.items()}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.folder}/fold-{number}/predictions.json: is damaged",
                hint="remove it: the fold is measured again",
            ) from error

    def _measured(self, number: int, samples: Samples) -> dict[str, Pool]:
        """The predictions of a fold: trains, exports and evaluates it."""
        folder = self.folder / f"fold-{number}"
        started = (folder / "recipe.toml").is_file()
        fit(self.recipe, samples, folder, replace(self.options, resume=started))
        model = folder / "model.onnx"
        export_run(folder, samples.only("val"), model, trained=samples.only("train"))
        test = samples.only("test")
        who = persons(test)
        names = test.names if self.frames == 1 or test.clips is None else test.clips
        found = evaluate_model(str(model), test, split="test")
        pools = {
            name: Pool(
                each.classes,
                np.array([f"{number}: {person}" for person in who[each.rows]], np.str_),
                names[each.rows],
                each.labels,
                each.probabilities,
            )
            for name, each in found.predictions.items()
        }
        with new_file(folder / "predictions.json", "w", encoding="utf-8") as file:
            file.write(json.dumps({name: pool.as_dict() for name, pool in pools.items()}) + "\n")
        return pools


def _fingerprint(samples: Samples) -> dict[str, Any]:
    """What tells one data set from another, whatever its splits are."""
    digest = hashlib.sha256()
    for name in ("images", "targets", "votes", "keypoints", "subjects", "clip_labels", "frames"):
        if (column := getattr(samples, name)) is not None:
            digest.update(np.ascontiguousarray(column).tobytes())
    return {"rows": len(samples), "labelled": int(labelled(samples).sum()), "sha256": digest.hexdigest()}
