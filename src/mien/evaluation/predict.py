"""Evaluates a classifier on samples, under every protocol that both allow, through the same code that users run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.analyzer.record import classifier_record
from mien.assets.store import open_model
from mien.datasets import Samples
from mien.datasets.canvas import find_and_crop, rgb
from mien.datasets.examples import examples_of, faces_of
from mien.datasets.folds import division_unit, persons
from mien.datasets.samples import SPLITS
from mien.errors import ConfigError, DataError
from mien.evaluation.affect import AffectScores, affect_scores, predicted_affect, predicts_affect
from mien.evaluation.groups import Answers, Columns, Grouping, group_scores
from mien.evaluation.intervals import ALONE, Resampling, mean_estimate
from mien.evaluation.protocols import Protocol, printed_split, restricted, select_protocols, votes_for
from mien.evaluation.robustness import AccuracyDrop, accuracy_drops, corrupted, select_corruptions
from mien.evaluation.score import Scores, assumed_error, compute_scores
from mien.expression import Classifier, ClassifierOptions, ClassifierSource, load_classifier
from mien.expression.base import NAMED, Images, Logits, as_options
from mien.expression.prior import name_of
from mien.expression.tta import Tta
from mien.faces.align import Aligner, CropAligner, aligned
from mien.faces.detectors import DetectorOptions
from mien.progress import Progress, Steps, unseen

_CHUNK: Final = 512  # images between two reports of progress
_CHUNK_DETECTED: Final = 16  # the same with a detector, which takes some milliseconds per image
# Of the same networks, by their classes.
_Classifiers = Mapping[tuple[str, ...], Classifier]
_Probabilities = dict[tuple[str, ...], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The predictions of a model under one protocol.

    Attributes:
        title: Of the protocol, in words.
        classes: The C classes.
        rows: (N,) indices of the faces in the samples that `evaluate_model` was given; of windows, the last frame of
            each.
        labels: (N,) indices of the true classes.
        probabilities: (N, C) float32.
        threshold: A face with a top probability below it is `uncertain`.
        how: How the faces are resampled for intervals: persons are drawn with all of their faces if they are known.
        missed: (M,) such indices of the faces that the detector did not find; None without a detector.
    """

    title: str
    classes: tuple[str, ...]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    threshold: float
    how: Resampling = ALONE
    missed: NDArray[np.int64] | None = None

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The top probability of each face (N,)."""
        top: NDArray[np.float32] = self.probabilities.max(axis=1)
        return top

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the top class of each face is the true one (N,)."""
        right: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return right


@dataclass(frozen=True)
class Evaluation:
    """The results of one model.

    Attributes:
        model: Its name.
        split: "train", "val" or "test".
        scores: By name of the protocol.
        predictions: By name of the protocol, what the scores are computed from.
        tta: Test-time augmentation: "none", "flip" or "ten-crop".
        detector: The detector that had to find the faces; None if they were classified as stored.
        accuracy_drops: By name of the protocol, the accuracy drop under each requested corruption.
        prior: The class frequencies that the probabilities assume.
        aligned: Whether stored faces were aligned where they are sure.
        affect: The scores of valence and arousal; None if the data has no labels of them.
        record: How the scores were produced, as JSON can hold it: the networks with the hashes of their files,
            versions, and the resamples of the intervals.
        groups: By name of the protocol, the scores of groups of faces, from `with_groups`.
    """

    model: str
    split: str
    scores: dict[str, Scores]
    predictions: dict[str, Predictions]
    tta: Tta = "none"
    detector: str | None = None
    accuracy_drops: Mapping[str, Sequence[AccuracyDrop]] = field(default_factory=dict)
    prior: str = "training"
    aligned: bool = False
    affect: AffectScores | None = None
    record: Mapping[str, object] = field(default_factory=dict)
    groups: Mapping[str, Sequence[Grouping]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        found = {name: scores.as_dict() for name, scores in self.scores.items()}
        for name, drops in self.accuracy_drops.items():
            found[name]["corruptions"] = [drop.as_dict() for drop in drops]
        for name, groupings in self.groups.items():
            found[name]["groups"] = [grouping.as_dict() for grouping in groupings]
        conditions = {"model": self.model, "split": self.split, "tta": self.tta, "detector": self.detector}
        more: dict[str, object] = {} if self.affect is None else {"affect": self.affect.as_dict()}
        if self.record:
            more["record"] = dict(self.record)
        return {**conditions, "prior": self.prior, "aligned": self.aligned, "protocols": found, **more}

    def with_groups(self, columns: Columns) -> "Evaluation":
        """The same with the scores of groups of faces.

        Args:
            columns: What `mien.evaluation.groups.read_groups` returned for the samples that `evaluate_model` was given.
        """
        groups = {
            name: [
                group_scores(
                    column,
                    Answers(
                        found.classes,
                        found.probabilities,
                        found.labels,
                        values[found.rows],
                        None if found.missed is None else values[found.missed],
                        found.how,
                    ),
                )
                for column, values in columns.values.items()
            ]
            for name, found in self.predictions.items()
        }
        return replace(self, groups=groups)

    def headline(self) -> dict[str, object]:
        """The scores that are stored with the weights; the accuracy has digits enough to be rounded only once."""
        return {
            f"{self.split}_{name}": {
                "protocol": scores.protocol,
                "faces": scores.n,
                "accuracy": round(scores.accuracy.value, 6),
                "macro_f1": round(scores.macro_f1.value, 4),
                "mean_recall": round(scores.mean_recall.value, 4),
                "calibration_error": round(scores.calibration_error.value, 4),
                "perfect_calibration_error": round(scores.perfect_error.value, 4),
            }
            for name, scores in self.scores.items()
        }


def evaluate_model(
    classifier: Classifier | ClassifierSource,
    samples: Samples,
    *,
    split: str,
    protocols: Sequence[str] | None = None,
    corruptions: Sequence[str] = (),
    detector: DetectorOptions | str | None = None,
    align: bool = False,
    progress: Progress = unseen,
) -> Evaluation:
    """Evaluates a shipped or exported model, or an ensemble.

    Args:
        classifier: A ready classifier or its options; or the model: a name, a path, several for an ensemble, None for
            the default. Its classes are those of each protocol. If the options have `emotions`, only these are told
            apart, and only faces whose true label is one of them are scored.
        samples: The faces; those of other splits are left out, unless there are no others.
        split: Name of the split that is scored.
        protocols: Names of protocols; None for all that the data and the model allow.
        corruptions: Names from `mien.evaluation.robustness`, "all" for all of them: the faces are classified again
            after each of these corruptions.
        detector: A detector that has to find the faces first, on a canvas with a margin around them; faces that it
            misses are counted and excluded from the scores. None classifies the images as they are stored.
        align: Whether stored faces are aligned first where the landmark network is sure of them, as `mien analyze
            --faces-are-crops` does.
        progress: Called with the number of predictions made so far and their total.

    Raises:
        ConfigError: The data or the model do not allow a protocol or the emotions, an option is unknown, or corruptions
            are combined with a detector.
        WeightsError: The weights are missing or damaged.
        DataError: The detector finds none of the faces, or no face has one of the emotions.
        UnsupportedError: The detector cannot run here.
    """
    places = np.arange(len(samples))
    if len(np.unique(samples.split)) > 1:
        places, samples = np.flatnonzero(samples.split == SPLITS.index(split)), samples.only(split)
    store, examples = samples, examples_of(samples, _frames(classifier))
    samples, places = examples.samples, places[examples.rows[:, -1]]
    how = _resampling(samples)
    chosen = _requested(classifier, select_protocols(samples, protocols), required=protocols is not None)
    ways = select_corruptions(corruptions)
    if ways and detector:
        raise ConfigError(
            "corruptions cannot be combined with a detector",
            hint="evaluate with --corruption and with --detector separately",
        )
    if align and detector:
        raise ConfigError("align: has no effect with a detector, which always aligns", hint="leave out one of the two")
    classifiers = _by_classes(classifier, chosen, samples, required=protocols is not None)
    network = next(iter(classifiers.values()))
    if (network.keypoint_scheme or network.frames > 1) and (align or detector):
        raise ConfigError(
            f"the model '{network.name}' reads {'sequences' if network.frames > 1 else 'keypoints'}: it can only be "
            "evaluated on faces as they are stored",
            hint="leave out --detector and --align",
        )
    crop_aligner = CropAligner(network.crop_specs) if align else None
    predictor = _Predictor(classifiers, Steps(progress, len(samples) * (1 + len(ways))), crop_aligner)
    predictor.rates = samples.affect is not None
    finder, found = None, None
    if detector:
        aligner = Aligner(detector, network.crop_specs)
        finder = aligner.detector.name
        probabilities, found = predictor.detected(samples.images, aligner)
    else:
        probabilities = predictor.stored(faces_of(store, examples, network.keypoint_scheme))
    rated = None
    if samples.affect is not None:
        truth = samples.affect if found is None else np.where(found[:, None], samples.affect, np.float32(np.nan))
        rated = affect_scores(np.concatenate(predictor.affects), truth, predicts_affect(network), how)
    predictor.rates = False  # corrupted faces are only classified
    under = {
        each.name: predictor.stored(
            faces_of(store, examples, network.keypoint_scheme, corrupted(store.images, each.name))
        )
        for each in ways
    }

    predictions, scores, drops = {}, {}, {}
    for protocol in (each for each in chosen if each.classes in classifiers):
        rows = np.flatnonzero(protocol.kept if found is None else protocol.kept & found)
        if not len(rows):
            raise DataError(
                f"the detector '{finder}' finds none of the faces of the protocol {protocol.title}",
                hint="choose another --detector, or evaluate without one",
            )
        predicted = Predictions(
            title=protocol.title,
            classes=protocol.classes,
            rows=places[rows],
            labels=protocol.labels[rows],
            probabilities=probabilities[protocol.classes][rows],
            threshold=classifiers[protocol.classes].threshold,
            how=how.of(rows),
            missed=None if found is None else places[protocol.kept & ~found],
        )
        votes = votes_for(samples, protocol.classes)
        found_scores = compute_scores(
            predicted.probabilities,
            predicted.labels,
            predicted.classes,
            protocol=f"{protocol.title}, {printed_split(samples, split)}, "
            f"{_conditions(network, finder, align)}, {network.name}",
            votes=None if votes is None else votes[rows],
            dropped=int((~protocol.kept).sum()),
            how=predicted.how,
        )
        if (assumed := classifiers[protocol.classes].assumed_shares) is not None:
            error = assumed_error(predicted.probabilities, predicted.labels, assumed, predicted.how)
            found_scores = replace(found_scores, assumed_error=error)
        if found is not None:
            found_scores = replace(found_scores, found=mean_estimate(found[protocol.kept] * 1.0, how.of(protocol.kept)))
        predictions[protocol.name], scores[protocol.name] = predicted, found_scores
        if ways:
            corrupt = {name: values[protocol.classes][rows] for name, values in under.items()}
            drops[protocol.name] = accuracy_drops(predicted.labels, predicted.probabilities, corrupt, predicted.how)
    record = {**classifier_record(network), "bootstrap": {"draws": ALONE.draws, "seed": ALONE.seed}}
    return Evaluation(
        network.name,
        split,
        scores,
        predictions,
        network.tta,
        finder,
        drops,
        name_of(network.prior),
        align,
        rated,
        record,
    )


def _resampling(samples: Samples) -> Resampling:
    """How the faces of samples are resampled: with the others of the same person or clip."""
    unit: str = division_unit(samples)
    if unit == "persons" and samples.subjects is not None and (samples.subjects == "").any():
        unit = "persons and single faces"
    return Resampling.together(persons(samples), unit)


def _conditions(network: Classifier, finder: str | None, align: bool) -> str:
    """How the faces were read, in words."""
    views = "single view" if network.tta == "none" else network.tta
    conditions = f"{views}, {finder} on a canvas" if finder else views
    if align:
        conditions += ", aligned where sure"
    return conditions if network.prior == "training" else f"{conditions}, prior {name_of(network.prior)}"


def _frames(source: Classifier | ClassifierSource) -> int:
    """The number of frames that a classifier, or the model of its options, reads of each face."""
    if isinstance(source, NAMED):
        files = [model for model in as_options(source).models if Path(model).suffix == ".onnx"]
        return max((open_model(model)[0].inputs[0].frames for model in files), default=1)
    return source.frames


def _requested(
    source: Classifier | ClassifierSource, protocols: Sequence[Protocol], required: bool
) -> Sequence[Protocol]:
    """The protocols for the emotions that the options request; those that lack some are left out unless required."""
    if not isinstance(source, ClassifierOptions) or source.emotions is None:
        return protocols
    classes = load_classifier(source).emotions
    found = {protocol.name: restricted(protocol, classes) for protocol in protocols}
    lacking = [protocol for protocol in protocols if found[protocol.name] is None]
    if lacking and (required or len(lacking) == len(protocols)):
        missing = [name for name in classes if name not in lacking[0].classes]
        raise ConfigError(
            f"emotions: the labels of {lacking[0].title} do not have {', '.join(missing)}",
            hint=f"choose among {', '.join(lacking[0].classes)}",
        )
    kept = [protocol for protocol in found.values() if protocol is not None and protocol.kept.any()]
    if not kept:
        raise DataError(
            f"the data has no faces of {', '.join(classes)} in this split", hint="choose other --emotions, or --split"
        )
    return kept


def _by_classes(
    source: Classifier | ClassifierSource, protocols: Sequence[Protocol], samples: Samples, required: bool
) -> _Classifiers:
    """A classifier for each set of classes; classes that it cannot tell apart are left out unless required."""
    options: ClassifierOptions | None = None
    ready: Classifier | None = None
    if isinstance(source, NAMED):
        options = as_options(source)
    else:
        ready = source
    found: dict[tuple[str, ...], Classifier] = {}
    for classes in dict.fromkeys(protocol.classes for protocol in protocols):
        try:
            if ready:
                found[classes] = ready.with_classes(classes)
            elif options:
                ready = found[classes] = load_classifier(replace(options, emotions=classes))
        except ConfigError:
            if required:
                raise
    if not found:
        if options:
            load_classifier(replace(options, emotions=None))  # raises the error of a model that cannot be opened
        raise ConfigError(
            f"the model has no head for the classes of the data: {', '.join(samples.classes)}",
            hint="choose another model, or build the data with its classes",
        )
    return found


class _Predictor:
    """Predicts for several sets of classes at once, and reports its progress."""

    def __init__(
        self,
        classifiers: _Classifiers,
        steps: Steps,
        crop_aligner: CropAligner | None = None,
    ) -> None:
        self._classifiers, self._steps = classifiers, steps
        self._crop_aligner = crop_aligner
        self._network = next(iter(classifiers.values()))  # all have the same networks
        self.affects: list[NDArray[np.float32]] = []  # (N, 2) of each batch while `rates` is set
        self.rates = False

    def stored(self, images: Images) -> _Probabilities:
        """The probabilities (N, C) of faces as they are stored, or aligned where they are sure."""
        chunks = (images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK))
        if self._crop_aligner is None:
            return self._joined((len(chunk), self._network.logits(chunk)) for chunk in chunks)
        whole = ([rgb(np.asarray(face)) for face in chunk] for chunk in chunks)
        prepared = ((len(chunk), aligned(chunk, self._crop_aligner)) for chunk in whole)
        return self._joined((count, self._network.logits(*crops)) for count, crops in prepared)

    def detected(self, images: NDArray[np.uint8], aligner: Aligner) -> tuple[_Probabilities, NDArray[np.bool_]]:
        """The same for faces that a detector finds on a canvas, and which faces (N,) it finds."""
        found: list[NDArray[np.bool_]] = []

        def logits() -> Iterator[tuple[int, Logits]]:
            for start in range(0, len(images), _CHUNK_DETECTED):
                crops, seen = find_and_crop(images[start : start + _CHUNK_DETECTED], aligner)
                found.append(seen)
                yield len(seen), self._network.logits(*crops)

        return self._joined(logits()), np.concatenate(found)

    def _joined(self, parts: Iterable[tuple[int, Logits]]) -> _Probabilities:
        joined: dict[tuple[str, ...], list[NDArray[np.float32]]] = {classes: [] for classes in self._classifiers}
        for count, logits in parts:
            for classes, classifier in self._classifiers.items():
                joined[classes].append(classifier.proba_from(logits))
            if self.rates:
                self.affects.append(predicted_affect(self._network, logits))
            self._steps.add(count)
        return {classes: np.concatenate(rows) for classes, rows in joined.items()}
