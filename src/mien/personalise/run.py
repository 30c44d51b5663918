"""From labelled faces to a personalised file: read, fit, judge on held-out faces and on the general set, write."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien import __version__
from mien.assets.manifest import ModelInfo, default_model, shipped_models
from mien.assets.store import model_bytes
from mien.datasets import store
from mien.datasets.class_names import NameOptions
from mien.errors import ConfigError, DataError
from mien.evaluation.intervals import Estimate, McNemar, mcnemar, mean_estimate, wilson
from mien.expression import ClassifierOptions, OnnxClassifier
from mien.expression.classifier import head_for
from mien.faces.detectors import DetectorOptions
from mien.files import new_file, with_suffix, writable
from mien.personalise.adapt import (
    COST,
    DEEPER,
    FOLDS,
    Adaptation,
    Filter,
    Network,
    PersonaliseOptions,
    Seen,
    adapted,
    filters,
    folds,
    general_correct,
    logits_of,
    losses_of,
    neutral_baseline,
    offset_of,
)
from mien.personalise.faces import GivenFaces, read_faces
from mien.personalise.general import GeneralSet, make_general, shipped_general, spectrum_of, statistics_of
from mien.personalise.graph import filtered, linear_head, load_onnx, personalised

_OPTIONS: Final = PersonaliseOptions()
_INTERVAL: Final = 1.96  # standard errors from the middle of a 95% interval to its end


class NotHelpfulError(DataError):
    """The personalised model is not better on held-out faces, or costs too much on others; nothing was written.

    Attributes:
        left_out: Images that could not be used, with the reason: they may be why it does not help.
        notes: What was done that the user may not expect.
    """

    def __init__(
        self, message: str, *, hint: str = "", left_out: Sequence[tuple[str, str]] = (), notes: Sequence[str] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.left_out, self.notes = tuple(left_out), tuple(notes)


@dataclass(frozen=True, slots=True, eq=False)
class Personalised:
    """The result: what was changed, and what it changes.

    Attributes:
        model: Name of the original model.
        adaptation: What was changed, learnt from all faces.
        counts: Number of faces by emotion.
        before: Accuracy of the original model on the person's faces.
        after: Accuracy of the personalised model on the same faces, each held out from what it is classified with.
        change: `after` less `before`, with the interval of the paired difference.
        test: McNemar's test of the two.
        loss_change: Change of the mean cross-entropy of the held-out labels, with its interval; below 0, it helps.
        general_before: Accuracy of the original model on the general set.
        general_change: What personalising changes there; below 0, it costs.
        left_out: Images that could not be used, with the reason.
        notes: What was done that the user may not expect.
        out: The file written; None if none was.
    """

    model: str
    adaptation: Adaptation
    counts: dict[str, int]
    before: Estimate
    after: Estimate
    change: Estimate
    test: McNemar
    loss_change: Estimate
    general_before: Estimate
    general_change: Estimate
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    out: Path | None = None

    @property
    def helps(self) -> bool:
        """Whether it helps on held-out faces, at a cost to the general set of at most one point.

        Heads are fitted to labels, so they must help clearly: the cross-entropy of held-out faces falls, or their
        accuracy rises, by more than one standard error of the paired difference, and neither is worse by as much. A
        filter is only chosen, and only for images that are unlike the general set: for a filter alone it is enough that
        the cross-entropy falls and the accuracy is not clearly worse. Of a few dozen faces the cross-entropy tells
        sooner than the accuracy, which only changes by whole faces.
        """
        signs = (-_sign(self.loss_change), _sign(self.change))
        helps = min(signs) >= 0 and (max(signs) > 0 if self.adaptation.heads else self.loss_change.value < 0)
        return self.adaptation.changes and helps and self.general_change.value >= -COST

    def text(self) -> str:
        """The report."""
        faces = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return "\n".join(
            [
                f"faces: {sum(self.counts.values())} ({faces})",
                f"learnt: {self.adaptation.describe()}",
                f"accuracy on held-out faces: before {self.before}, after {self.after}",
                f"  change {_points(self.change)}; McNemar's test p = {self.test.p:.3f}",
                f"  change of the cross-entropy {_with_interval(self.loss_change)}",
                f"accuracy on the general set: before {self.general_before}",
                f"  change {_points(self.general_change)}",
            ]
        )

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON and into the file."""
        return {
            "learnt": self.adaptation.describe(),
            "faces": dict(self.counts),
            "held_out": {name: getattr(self, name).as_dict() for name in ("before", "after", "change", "loss_change")},
            "general": {"before": self.general_before.as_dict(), "change": self.general_change.as_dict()},
            "p": self.test.p,
        }


def _with_interval(change: Estimate) -> str:
    return f"{change.value:+.3f} (95% interval {change.low:+.3f} to {change.high:+.3f})"


def _sign(change: Estimate) -> int:
    """1 for a rise and -1 for a fall by more than one standard error, else 0."""
    error = (change.high - change.low) / (2 * _INTERVAL)
    return (change.value > error) - (change.value < -error)


def _points(change: Estimate) -> str:
    low, high = 100 * change.low, 100 * change.high
    return f"{100 * change.value:+.1f} points (95% interval {low:+.1f} to {high:+.1f})"


def personalise(
    source: str | Path,
    out: str | Path | None = None,
    options: PersonaliseOptions = _OPTIONS,
    *,
    names: NameOptions | None = None,
    detector: DetectorOptions | None = None,
) -> Personalised:
    """Makes a model better on the given faces, and measures it on faces that it did not learn from.

    Args:
        source: Class folders; a folder with a label.csv; or a .csv table with the columns `source` and `emotion`, as
            `mien analyze --table` writes it, with the emotions corrected.
        out: The .onnx file to write; None to write none.
        options: The model, and how.
        names: What numbers and other words mean.
        detector: Finds the faces.

    Returns:
        What was learnt, with before and after on held-out faces and on the general set.

    Raises:
        InputError: The source cannot be read.
        DataError: It has another form, unknown labels, or too few faces or classes.
        NotHelpfulError: The model is not better for it; nothing was written.
        ConfigError: The model has no features or no general set, or `out` is not an .onnx file.
        UnsupportedError: The heads of the model are not linear in its features.
        MissingExtraError: onnx is not installed.
        OutputError: The file cannot be written.
    """
    load_onnx()
    target = None if out is None else Path(out)
    if target is not None:
        check_model_file(target)
    classifier = OnnxClassifier(ClassifierOptions(model=options.model, emotions="model", threads=options.threads))
    info = classifier.info
    if info.features is None or info.inputs[0].frames != 1 or len(info.inputs) != 1:
        raise ConfigError(f"the model '{info.name}' has no features of single images", hint="choose another --model")
    classes = tuple(dict.fromkeys(name for head in info.heads for name in head.emotions))
    given = read_faces(Path(source), info.crop_spec, classes, names=names, detector=detector)
    _leave_out_lone(given, options)
    _check(given, source, options)
    general = _general(classifier, options)
    done = fit_faces(classifier, given.crops, given.labels, general, neutral=options.neutral)
    done = replace(done, left_out=tuple(given.left_out), notes=(*given.notes, *done.notes))
    if target is None:
        return done
    if not done.helps and not options.force:
        raise NotHelpfulError(_why_not(done), hint=_what_then(done, options), left_out=done.left_out, notes=done.notes)
    content = personalised(
        model_bytes(options.model or default_model()), info, done.adaptation, _described(info, done, target)
    )
    with new_file(target, "wb") as file:
        file.write(content)
    return replace(done, out=target)


def check_model_file(target: Path) -> None:
    """Makes sure that the personalised model can be written.

    Raises:
        ConfigError: It is not an .onnx file.
        OutputError: The file cannot be written.
    """
    if target.suffix != ".onnx":
        raise ConfigError(f"{target}: a model is an .onnx file", hint=f"--out {with_suffix(target, '.onnx')}")
    writable(target)


def fit_faces(
    classifier: OnnxClassifier,
    crops: Sequence[NDArray[np.uint8]],
    labels: Sequence[str],
    general: GeneralSet,
    *,
    neutral: bool = False,
) -> Personalised:
    """Adapts a model to cropped faces.

    Args:
        classifier: The model.
        crops: (H, W) grey or (H, W, 3) RGB uint8 each.
        labels: Their emotions, as the model spells them.
        general: Its general set.
        neutral: Only learn the neutral baseline.

    Raises:
        UnsupportedError: The heads of the model are not linear in its features.
        ConfigError: No head knows all the emotions.
    """
    info = classifier.info
    seen = see(classifier, crops, np.array(labels, np.str_), general)
    return fit_seen(seen, network_of(classifier, list(dict.fromkeys(labels)), general), info.name, neutral=neutral)


def network_of(classifier: OnnxClassifier, labels: Sequence[str], general: GeneralSet) -> Network:
    """The heads of a model, the one for these emotions first, and its general set.

    Raises:
        UnsupportedError: The heads are not linear in the features.
        ConfigError: No head knows all the emotions.
    """
    info = classifier.info
    content = model_bytes(classifier.options.models[0] if classifier.options.models else default_model())
    main = head_for(info, labels)
    ordered = [main, *(head for head in info.heads if head != main)]
    return Network([(head, linear_head(content, info, head)) for head in ordered], general)


def fit_seen(seen: Seen, network: Network, name: str, *, neutral: bool = False) -> Personalised:
    """Adapts a network to faces that it has seen, and judges it fold by fold; `name` is that of the model."""
    head, old = network.heads[0]
    general = network.general
    fit = neutral_baseline if neutral else adapted
    parts = folds(seen.labels, min(FOLDS, len(seen)))
    right, losses = np.zeros((2, len(seen)), bool), np.zeros((2, len(seen)))
    offset = offset_of(head, seen.labels)
    for part in np.unique(parts):
        held = np.flatnonzero(parts == part)
        trained = fit(seen, np.flatnonzero(parts != part), network)
        for row, each in enumerate((Adaptation(), trained)):
            logits = logits_of(each, seen, held, head, old)
            right[row, held] = np.asarray(head.emotions)[logits.argmax(axis=1)] == seen.labels[held]
            losses[row, held] = losses_of(logits, head, seen.labels[held], offset)
    final = fit(seen, np.arange(len(seen)), network)
    usual = general_correct(Adaptation(), head, old, general).astype(float)
    still = general_correct(final, head, old, general).astype(float)
    return Personalised(
        model=name,
        adaptation=final,
        counts=dict(Counter(seen.labels.tolist())),
        before=wilson(int(right[0].sum()), len(seen)),
        after=wilson(int(right[1].sum()), len(seen)),
        change=mean_estimate(right[1].astype(float) - right[0]),
        test=mcnemar(right[0], right[1]),
        loss_change=mean_estimate(losses[1] - losses[0]),
        general_before=mean_estimate(usual),
        general_change=mean_estimate(still - usual),
    )


def see(
    classifier: OnnxClassifier, crops: Sequence[NDArray[np.uint8]], labels: NDArray[np.str_], general: GeneralSet
) -> Seen:
    """What the network computes of faces, under each filter that may help."""
    info = classifier.info
    pixels = classifier.inputs(crops)[0]
    choice = filters(spectrum_of(pixels), general.spectrum)
    choice = choice if info.input.illumination == "none" else choice[:1]
    straight, mirrored = {}, {}
    for each in choice:
        straight[each.name], mirrored[each.name] = features_under(classifier, pixels, each)
    return Seen(choice, straight, mirrored, statistics_of(pixels), labels)


def features_under(
    classifier: OnnxClassifier, pixels: NDArray[np.float32], shape: Filter
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The features (N, F) of input images and of the mirrored ones; under a filter both are their mean."""
    images = filtered(pixels, shape, classifier.info) if shape.name else pixels
    straight = classifier.features_of(images)
    mirrored = classifier.features_of(np.ascontiguousarray(images[..., ::-1]))
    if shape.name:
        mean = np.asarray((straight + mirrored) / 2, np.float32)
        return mean, mean
    return straight, mirrored


def _general(classifier: OnnxClassifier, options: PersonaliseOptions) -> GeneralSet:
    if options.general is not None:
        return make_general(classifier, store.load(options.general))
    if (found := shipped_general(classifier.info)) is None:
        raise ConfigError(
            f"the model '{classifier.name}' ships without a general set, on which to see what it forgets",
            hint="give a store with labels: --general STORE.h5; or choose --model "
            + " or ".join(name for name, info in shipped_models("expression").items() if info.general_file),
        )
    return found


def _leave_out_lone(given: GivenFaces, options: PersonaliseOptions) -> None:
    """Leaves out emotions with a single face, of which none could be held out, if two or more others are left."""
    counts = Counter(given.labels)
    lone = [name for name in counts if counts[name] == 1]
    if options.neutral or len(counts) - len(lone) < 2:
        return
    kept = [row for row, label in enumerate(given.labels) if label not in lone]
    reason = "is the only face of {}; of each emotion it takes two, one to learn from and one to test"
    given.left_out += [
        (name, reason.format(label)) for name, label in zip(given.names, given.labels, strict=True) if label in lone
    ]
    given.crops, given.labels, given.names = (
        [given.crops[row] for row in kept],
        [given.labels[row] for row in kept],
        [given.names[row] for row in kept],
    )


def _check(given: GivenFaces, source: str | Path, options: PersonaliseOptions) -> None:
    """Too little to learn from is an error.

    Raises:
        DataError: There are too few faces, or too few classes.
    """
    counts = Counter(given.labels)
    said = f": {', '.join(f'{name} {count}' for name, count in counts.items())}" if counts else ""
    reasons = "".join(f"\n  {name}: {reason}" for name, reason in given.left_out[:5])
    if options.neutral:
        if counts["neutral"] < 2:
            raise DataError(
                f"{source}: --neutral needs at least 2 neutral faces, found {counts['neutral']}{said}{reasons}",
                hint="add images of the face without an expression",
            )
        return
    if len(given.labels) and len(counts) < 2:
        hint = "add another emotion" + ("; or learn from neutral faces alone: --neutral" * ("neutral" in counts))
        raise DataError(f"{source}: expected faces of at least two emotions, found one{said}{reasons}", hint=hint)
    if few := [name for name in counts if counts[name] < 2] or ([] if counts else ["any emotion"]):
        raise DataError(
            f"{source}: expected at least 2 faces of each emotion, one to learn from and one to test; "
            f"too few of {', '.join(few)}{said}{reasons}",
            hint="five or more of each are useful; remove an emotion with one image",
        )


def _why_not(done: Personalised) -> str:
    if not done.adaptation.changes:
        return f"nothing was learnt that holds for other faces, so nothing was written\n  {_indented(done)}"
    if done.general_change.value < -COST:
        return f"it costs the general set more than one point, so nothing was written\n  {_indented(done)}"
    if done.change.value > 0 or done.loss_change.value < 0:
        return f"the gain on held-out faces may be luck, so nothing was written\n  {_indented(done)}"
    return f"held-out faces are classified no better than before, so nothing was written\n  {_indented(done)}"


def _indented(done: Personalised) -> str:
    return done.text().replace("\n", "\n  ")


def _what_then(done: Personalised, options: PersonaliseOptions) -> str:
    most = min(done.counts.values())
    if most >= DEEPER and not options.neutral:
        start = done.model
        if options.model is not None and Path(options.model).suffix == ".onnx":
            start = shlex.quote(str(Path(options.model).with_suffix(".safetensors")))
        return f"with so many faces, train deeper layers: mien train --from {start} --data STORE.h5; or use --force"
    return "add images, or write it anyway with --force"


def _described(info: ModelInfo, done: Personalised, out: Path) -> ModelInfo:
    """The entry of the new file: its own name, where it comes from, and what was measured."""
    faces = sum(done.counts.values())
    return replace(
        info,
        name=out.stem,
        description=f"{info.name}, personalised on {faces} faces by mien {__version__}: {done.adaptation.describe()}",
        data=f"{info.data}; and {faces} faces given to mien personalise",
        pretrained={"name": info.name, "sha256": info.sha256, "licence": info.licence, "source": "mien personalise"},
        scores={"personal": done.as_dict()},
    )
