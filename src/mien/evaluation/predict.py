"""Judges a model on samples, under every protocol that both allow, through the code that users run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.datasets import Samples
from mien.datasets.builders.fer2013 import USAGE
from mien.datasets.canvas import find_and_crop_each
from mien.errors import ConfigError, DataError
from mien.evaluation.corruptions import chosen as corruptions_of
from mien.evaluation.corruptions import corrupted
from mien.evaluation.intervals import mean_estimate
from mien.evaluation.protocols import Protocol, protocols_of
from mien.evaluation.robustness import AccuracyDrop, losses
from mien.evaluation.score import Scores, judge
from mien.expression import Classifier, load_classifier
from mien.expression.base import Images
from mien.faces import detectors

__all__ = ["Evaluation", "Predictions", "evaluate_model"]

_CHUNK: Final = 512  # images between two reports
_Classifiers = Mapping[tuple[str, ...], Classifier]  # by what they tell apart; all of the same networks
# What the splits of FER2013 are called in print.
_PRINTED = {ours: theirs for theirs, ours in USAGE.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a model read under one protocol, face by face.

    Attributes:
        title: The protocol's, in words.
        classes: The C classes.
        rows: (N,) indices of the faces in the samples.
        labels: (N,) indices of the true classes.
        probabilities: (N, C) float32.
        threshold: Top probabilities under it are uncertain.
    """

    title: str
    classes: tuple[str, ...]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    threshold: float

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The top probability of each face (N,)."""
        top: NDArray[np.float32] = self.probabilities.max(axis=1)
        return top

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Which faces were read rightly (N,)."""
        right: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return right


@dataclass(frozen=True)
class Evaluation:
    """What was found of one model.

    Attributes:
        model: Its name.
        split: "train", "val" or "test".
        scores: By protocol's name.
        predictions: Likewise, what they judge.
        tta: How often each face was looked at: "single", "flip" or "ten-crop".
        detector: What had to find the faces; None where they were read as they are.
        losses: By protocol, what each corruption asked for takes of the accuracy.
    """

    model: str
    split: str
    scores: dict[str, Scores]
    predictions: dict[str, Predictions]
    tta: str = "single"
    detector: str | None = None
    losses: Mapping[str, Sequence[AccuracyDrop]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        found = {name: scores.as_dict() for name, scores in self.scores.items()}
        for name, lost in self.losses.items():
            found[name]["corruptions"] = [loss.as_dict() for loss in lost]
        return {
            "model": self.model,
            "split": self.split,
            "tta": self.tta,
            "detector": self.detector,
            "protocols": found,
        }

    def headline(self) -> dict[str, object]:
        """The figures that travel with the weights."""
        return {
            f"{self.split}_{name}": {
                "protocol": scores.protocol,
                "faces": scores.n,
                "accuracy": round(scores.accuracy.value, 4),
                "macro_f1": round(scores.macro_f1.value, 4),
                "calibration_error": round(scores.calibration_error.value, 4),
                "perfect_calibration_error": round(scores.perfect_error.value, 4),
            }
            for name, scores in self.scores.items()
        }


def evaluate_model(
    model: str | Path | None,
    samples: Samples,
    *,
    split: str,
    protocols: Sequence[str] | None = None,
    tta: str = "single",
    detector: str | None = None,
    detector_weights: str | Path | None = None,
    ensemble: Sequence[str | Path] = (),
    vote: str | None = None,
    corruptions: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Judges a shipped or exported model, or an ensemble.

    Args:
        model: A name, the path of an ONNX file, or None for the default.
        samples: One split.
        split: Its name, for print.
        protocols: Names; None for all that data and model allow.
        tta: "single", "flip" or "ten-crop": what is averaged over; see `expression.tta`.
        detector: Name of a detector that has to find the faces first, on a canvas with more around them; those that it
            misses are left out of the scores and counted. None reads the images as they are.
        detector_weights: File of the detector's network, where it needs one; None for the fetched one.
        ensemble: Members to judge together instead of a model; see `mien.expression.Ensemble`.
        vote: Of the ensemble: "soft" (default) or "hard".
        corruptions: Names of `mien.evaluation.corruptions`, "all" for all of them: the faces are read again spoilt.
        progress: Called with the number of predictions done and of all.

    Raises:
        ConfigError: A protocol is none that the data and the model allow, an option is none that exists, or
            corruptions go with a detector.
        WeightsError: The weights are missing or damaged.
        DataError: The detector finds none of the faces.
        UnsupportedError: The detector cannot run here.
    """
    chosen = _chosen(samples, protocols)
    ways = corruptions_of(corruptions)
    if ways and detector:
        raise ConfigError(
            "corruptions are applied to faces as they are, a detector has to find them",
            hint="judge with --corruption and with --detector one after the other",
        )
    classifiers: dict[tuple[str, ...], Classifier] = {}
    for classes in dict.fromkeys(protocol.classes for protocol in chosen):
        try:
            if classifiers:
                classifiers[classes] = next(iter(classifiers.values())).with_classes(classes)
            else:
                classifiers[classes] = load_classifier(model, ensemble, vote=vote, emotions=classes, tta=tta)
        except ConfigError:
            if protocols:
                raise
    if not classifiers:
        load_classifier(model, ensemble, vote=vote, tta=tta)  # says so where not the classes are to blame
        raise ConfigError(
            f"the model has no head for the data's classes: {', '.join(samples.classes)}",
            hint="choose another model, or build the data with its classes",
        )
    some = next(iter(classifiers.values()))
    in_chunks = _Chunks(classifiers, progress, len(samples) * (1 + len(ways)))
    if detector:
        crop_specs = [info.crop_spec for info in some.crop_specs]
        options = detectors.DetectorOptions(weights=None if detector_weights is None else Path(detector_weights))
        framed, found = find_and_crop_each(samples.images, detectors.load(detector, options), crop_specs)
        logits = some.member_logits_of_crops(framed)
        read = {classes: classifier.proba_from(logits) for classes, classifier in classifiers.items()}
    else:
        found = None
        read = in_chunks(samples.images)

    seen = "single view" if tta == "single" else tta
    way = f"{seen}, {detector} on a canvas" if detector else seen
    predictions, scores = {}, {}
    for protocol in chosen:
        if protocol.classes in classifiers:
            rows = np.flatnonzero(protocol.kept if found is None else protocol.kept & found)
            if not len(rows):
                raise DataError(
                    f"the detector '{detector}' finds none of the faces of {protocol.title}",
                    hint="choose another --detector, or none",
                )
            predicted = Predictions(
                title=protocol.title,
                classes=protocol.classes,
                rows=rows,
                labels=protocol.labels[rows],
                probabilities=read[protocol.classes][rows],
                threshold=classifiers[protocol.classes].threshold,
            )
            line = f"{protocol.title}, {_printed(samples, split)}, {way}, {some.name}"
            predictions[protocol.name] = predicted
            scores[protocol.name] = _judged(predicted, protocol, samples, line, found)
    spoilt = {corruption.name: in_chunks(corrupted(samples.images, corruption.name)) for corruption in ways}
    meanings = {corruption.name: corruption.meaning for corruption in ways}
    lost = {
        name: losses(
            predicted.labels,
            predicted.probabilities,
            {way: values[predicted.classes][predicted.rows] for way, values in spoilt.items()},
            meanings,
        )
        for name, predicted in predictions.items()
        if ways
    }
    return Evaluation(some.name, split, scores, predictions, tta, detector, lost)


class _Chunks:
    """Reads for all kinds of classes in pieces, and tells how far it is."""

    def __init__(self, classifiers: _Classifiers, progress: Callable[[int, int], None], total: int) -> None:
        self._readers, self._progress, self._total, self._done = classifiers, progress, total, 0

    def __call__(self, images: Images) -> dict[tuple[str, ...], NDArray[np.float32]]:
        parts: dict[tuple[str, ...], list[NDArray[np.float32]]] = {classes: [] for classes in self._readers}
        some = next(iter(self._readers.values()))
        for start in range(0, len(images), _CHUNK):
            chunk = images[start : start + _CHUNK]
            logits = some.member_logits(chunk)
            for classes, classifier in self._readers.items():
                parts[classes].append(classifier.proba_from(logits))
            self._done += len(chunk)
            self._progress(self._done, self._total)
        return {classes: np.concatenate(read) for classes, read in parts.items()}


def _chosen(samples: Samples, names: Sequence[str] | None) -> list[Protocol]:
    possible = {protocol.name: protocol for protocol in protocols_of(samples)}
    if unknown := [name for name in names or () if name not in possible]:
        raise ConfigError(
            f"the data allows no protocol {', '.join(unknown)}", hint=f"possible here: {', '.join(possible)}"
        )
    return [possible[name] for name in names or possible]


def _judged(
    predicted: Predictions, protocol: Protocol, samples: Samples, line: str, found: NDArray[np.bool_] | None
) -> Scores:
    votes = None
    if samples.votes is not None and set(predicted.classes) <= set(emotions.ALL):
        columns = [emotions.ALL.index(name) for name in predicted.classes]
        votes = samples.votes[predicted.rows][:, columns]
    return judge(
        predicted.probabilities,
        predicted.labels,
        predicted.classes,
        protocol=line,
        votes=votes,
        dropped=int((~protocol.kept).sum()),
        found=None if found is None else mean_estimate(found[protocol.kept].astype(np.float64)),
    )


def _printed(samples: Samples, split: str) -> str:
    return _PRINTED[split] if samples.about.get("data_set") == "fer2013" else split
