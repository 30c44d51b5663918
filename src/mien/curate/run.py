"""From a data set to what is suspicious in it: read, judge, collect, write."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.assets.manifest import quick_model
from mien.assets.recognise import recognise
from mien.curate.copies import Copies, find_copies, to_drop
from mien.curate.data import CurateOptions, read, was_trained_on
from mien.curate.finds import Curated, collect
from mien.curate.images import faceness, quality
from mien.curate.labels import Judged, grouped, judge, labels_of, read_predictions
from mien.datasets import Samples
from mien.datasets.class_names import NameOptions
from mien.datasets.samples import NO_LABEL
from mien.errors import ConfigError, DataError
from mien.evaluation.curation import Curation
from mien.evaluation.curation import curate as confident
from mien.expression import ClassifierOptions, OnnxClassifier
from mien.progress import Progress, Steps, unseen

_CHUNK: Final = 512
_FEW: Final = 20  # images of a class below which what is found of labels is a hint at most
_OPTIONS: Final = CurateOptions()


def curate(
    source: str | Path,
    options: CurateOptions = _OPTIONS,
    *,
    names: NameOptions | None = None,
    progress: Progress = unseen,
) -> Curated:
    """Looks for errors in a data set.

    Args:
        source: A store (.h5); class folders; a .csv list with the columns file and label, or a folder with it as
            label.csv; the folders of FER+; or fer2013.csv.
        options: What to look for, and how.
        names: What numbers and other words mean, for folders and lists.
        progress: Called with the work done so far and its total.

    Raises:
        InputError: The source cannot be read.
        DataError: It has another form, or no images.
        ConfigError: The model has no features of single images.
    """
    path = Path(source)
    samples = read(path, options, names or NameOptions())
    if options.split:
        samples = samples.only(options.split)
    if not len(samples) or not samples.images[0].size:
        raise DataError(f"{path}: has no images", hint="build it again from data with images")
    samples = replace(samples, labels=labels_of(samples))
    run = _Run(samples, options, progress)
    copies = run.copies() if options.looks_for("labels") or options.looks_for("copies") else None
    found, judged_labels = run.labels(copies) if options.looks_for("labels") and copies else (None, None)
    faces = faceness(samples, run.not_a_face(), run.steps.part()) if options.looks_for("faces") else None
    measured = quality(samples) if options.looks_for("quality") or options.looks_for("faces") else None
    if measured is not None and not options.looks_for("quality"):
        measured = replace(measured, trouble={})
    wanted = copies if options.looks_for("copies") else None
    too_many = to_drop(samples, wanted, _trust(samples, judged_labels)) if wanted else None
    finds = collect(samples, judged=found, copies=wanted, too_many=too_many, faces=faces, quality=measured)
    said = samples.about.get("left_out")
    return Curated(
        name=path.name,
        samples=samples,
        finds=tuple(finds),
        labels=found,
        judged_by=run.judged_by if found is not None else "",
        left_out=tuple(map(str, said)) if isinstance(said, list) and recognise(path).kind != "store" else (),
        notes=tuple(run.notes),
    )


def _trust(samples: Samples, judged_labels: Judged | None) -> NDArray[np.float64]:
    """The probability of each label (N,); nan if unknown."""
    found = np.full(len(samples), np.nan)
    if judged_labels is not None:
        rows = np.flatnonzero(judged_labels.labels >= 0)
        found[rows] = judged_labels.probabilities[rows, judged_labels.labels[rows]]
    return found


class _Run:
    """The steps that share a network, and the progress of all of them."""

    def __init__(self, samples: Samples, options: CurateOptions, progress: Progress) -> None:
        self.samples, self.options = samples, options
        self.notes: list[str] = []
        self.judged_by = ""
        self._seen: NDArray[np.float64] | None = None
        self._network_ran = False
        labels, faces = options.looks_for("labels"), options.looks_for("faces")
        parts = (labels or options.looks_for("copies"), faces or (labels and options.predictions is None), faces)
        self.steps = Steps(progress, len(samples) * sum(parts))

    def copies(self) -> Copies:
        """The copies in the data."""
        return find_copies(self.samples, self.steps.part())

    def not_a_face(self) -> NDArray[np.float64] | None:
        """What a network says of each image (N,), if it knows what is no face."""
        if not self._network_ran:
            self._outputs(OnnxClassifier(ClassifierOptions(model=quick_model(), threads=self.options.threads)))
        return self._seen

    def _outputs(
        self, network: OnnxClassifier
    ) -> tuple[NDArray[np.float32], dict[tuple[str, ...], list[NDArray[np.float32]]]]:
        """The features of the images, and by classes what the network says of them, if it knows these classes."""
        self._network_ran = True
        heads = {classes: _aimed(network, classes) for classes in (emotions.ALL, self.samples.classes)}
        report = self.steps.part()
        features, said = list[NDArray[np.float32]](), {classes: list[NDArray[np.float32]]() for classes in heads}
        for start in range(0, len(self.samples), _CHUNK):
            images = list(self.samples.images[start : start + _CHUNK])
            part, logits = network.features_and_logits(images)
            features.append(part)
            for classes, head in heads.items():
                if head is not None:
                    said[classes].append(head.proba_from(logits))
            report(start + len(images), len(self.samples))
        if said[emotions.ALL]:
            place = emotions.ALL.index("not_a_face")
            self._seen = np.concatenate(said[emotions.ALL])[:, place].astype(np.float64)
        return np.concatenate(features), said

    def labels(self, copies: Copies) -> tuple[Curation | None, Judged | None]:
        """Judges the labels; None if there is nothing to judge."""
        samples, options = self.samples, self.options
        if not (samples.labels != NO_LABEL).any():
            self.notes.append("no image has a label, so labels were not judged")
            return None, None
        if options.predictions is not None:
            judged_labels = read_predictions(options.predictions, samples)
            self.judged_by = f"judged by the predictions in {options.predictions.name}"
        else:
            judged_labels = self._by_features(copies)
        self.notes += judged_labels.notes
        if not (judged_labels.labels >= 0).any():
            return None, None
        counts = np.bincount(judged_labels.labels[judged_labels.labels >= 0], minlength=len(samples.classes))
        if few := [name for name, count in zip(samples.classes, counts, strict=True) if 0 < count < _FEW]:
            self.notes.append(f"fewer than {_FEW} images of {', '.join(few)}: what is found of them is a hint at most")
        unjudged = int(((samples.labels != NO_LABEL) & (judged_labels.labels < 0)).sum())
        if unjudged and options.predictions is None:
            self.notes.append(f"{unjudged:,} labels were not judged: their class has no other image")
        self._tell_agreement(judged_labels)
        return confident(judged_labels.probabilities, judged_labels.labels, samples.classes), judged_labels

    def _tell_agreement(self, found: Judged) -> None:
        """How often the judge, who has not seen a label, says the same; one who guesses finds errors everywhere."""
        judged = found.labels >= 0
        labels = found.labels[judged]
        agreement = float((found.probabilities[judged].argmax(axis=1) == labels).mean())
        self.judged_by += f"; it agrees with {agreement:.0%} of the labels"
        if agreement < (1 + np.bincount(labels).max() / len(labels)) / 2:  # nearer to guessing than to the labels
            self.notes.append(
                f"the judge agrees with {agreement:.0%} of the labels only, so most of what it finds may be right: "
                "look at the images before you leave any out, or give --predictions of a better network"
            )

    def _by_features(self, copies: Copies) -> Judged:
        """Judges the labels by the features of a network."""
        samples, options = self.samples, self.options
        network = OnnxClassifier(
            ClassifierOptions(model=options.model or quick_model(), emotions="model", threads=options.threads)
        )
        info = network.info
        if info.features is None or len(info.inputs) != 1 or info.inputs[0].frames != 1 or network.keypoint_scheme:
            raise ConfigError(
                f"the model '{info.name}' has no features of single images", hint="choose another --model"
            )
        features, said = self._outputs(network)
        known = was_trained_on(info, samples)
        start_from = None
        if said[samples.classes] and not known:
            start_from = np.log(np.maximum(np.concatenate(said[samples.classes]), 1e-4)).astype(np.float32)
        if known:
            self.notes.append(
                f"{info.name} was trained on FER2013, so its features have seen these labels and fewer errors are "
                "found; networks that have not: mien crossval, then --predictions"
            )
        found = judge(
            features,
            samples.labels,
            grouped(samples, copies.group),
            len(samples.classes),
            options.folds,
            start_from,
        )
        own = "" if start_from is None else ", which starts from what the network says"
        self.judged_by = (
            f"judged by a linear classifier of the features of {info.name}{own}, trained in {found.folds} folds"
        )
        return found


def _aimed(network: OnnxClassifier, classes: tuple[str, ...]) -> OnnxClassifier | None:
    try:
        return network.with_classes(classes)
    except ConfigError:
        return None
