"""What is changed for a person: a filter before the network, the heads behind it, and when either is used.

From a handful of faces little can be learnt, so there are few choices, and the data must speak for each of them:

- A filter for blurred images: the blur is undone (Wiener's filter as a small convolution). How strong it is, the power
  spectrum of the images tells, without their labels. The filter is taken if the unchanged heads give the labels a
  higher likelihood with it. Filtered faces are read twice, also mirrored, and the features are averaged.
- The heads, linear in the features, move from their weights only as far as a penalty (L2, in units of each feature's
  spread) allows. Its strength is chosen by cross-validation, again by more than one standard error, or they stay. The
  mean features of each class in the original training data are mixed in as further examples.
- Both are gated: each applies only to an image that is more like the given faces than nearly all faces of the general
  set (a linear discriminant with a hard threshold). Other faces are classified as before.

Class shares of the given faces say nothing of how often a person shows an emotion, so the likelihood is that of the
head under the given shares, and the head stays one of its training shares (`mien.expression.prior`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.signature import Head
from mien.errors import ConfigError, check_flag
from mien.expression.base import check_count
from mien.personalise.general import GeneralSet

Array = NDArray[np.float64]

COST: Final = 0.01  # of accuracy on the general set, at most
DEEPER: Final = 100  # faces of each class from which training deeper layers is worth a try
STRENGTHS: Final = (100.0, 30.0, 10.0, 3.0, 1.0)  # of the penalty; smaller values let the heads move further
FOLDS: Final = 5
IMAGES_OPEN: Final = 0.005  # share of the general set whose images the gate of the filter mistakes
FACES_OPEN: Final = 0.02  # the same for the gate of the heads
_LEAST_OPEN: Final = 0.7  # share of the given faces that a gate must let through
_LEAST_BLUR: Final = 0.7  # sigma in pixels; less is not undone
_UNDONE: Final = 0.8  # share of the blur's sigma that is undone: more of it makes artefacts
_NOISE: Final = 0.005  # ratio of the powers of noise and signal for which a blur is undone
_LOW: Final = 4  # lowest frequencies, which tell the contrast
_MIXED: Final = 0.5  # weight of the mean features of one class, in faces
_STEPS: Final = 60  # of the descent


@dataclass(frozen=True, slots=True)
class PersonaliseOptions:
    """How a model is personalised; the command line derives its options and their help from these fields.

    Raises:
        ConfigError: An option has a value of another type or out of its range.
    """

    model: Annotated[
        str | Path | None,
        "The name of a shipped model or a classic network (`mien models list`), or an exported .onnx file; by default "
        "mien-m.",
    ] = None
    neutral: Annotated[bool, "Only learn from the neutral faces how the person looks without an expression."] = False
    force: Annotated[bool, "Write the model even if it does not help."] = False
    general: Annotated[
        Path | None, "A store with labels whose val split is the general set, for a model that ships without one."
    ] = None
    threads: Annotated[int, "Threads of the network."] = 2

    def __post_init__(self) -> None:
        check_count("threads", self.threads)
        for name in ("neutral", "force"):
            check_flag(name, getattr(self, name))
        if self.model is not None and not isinstance(self.model, (str, os.PathLike)):
            raise ConfigError(f"model: expected a name or a path, got {self.model!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """A filter of images with values 0-1: multiplied by `gain`, then convolved with a kernel that sums to 1."""

    name: str
    gain: float = 1.0
    kernel: NDArray[np.float32] = field(default_factory=lambda: np.ones((1, 1), np.float32))  # (K, K), K odd


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """Open for rows x (N, D) with x @ weights > threshold."""

    weights: Array
    threshold: float

    def __call__(self, rows: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether it is open for each row (N,)."""
        return np.asarray(rows @ self.weights > self.threshold)


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A head: logits = features @ weight.T + bias."""

    weight: Array  # (C, F)
    bias: Array  # (C,)

    def __call__(self, features: NDArray[np.floating]) -> Array:
        """The logits (N, C)."""
        return np.asarray(features @ self.weight.T + self.bias, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Adaptation:
    """What is changed; empty if the data do not ask for anything.

    Attributes:
        filter: The filter of images, with its gate.
        heads: By name, the heads that are used where their gate is open.
        strength: Of the penalty that was chosen; None for the neutral baseline, and without heads.
    """

    filter: tuple[Filter, Gate] | None = None
    heads: Mapping[str, Linear] = field(default_factory=dict)
    gate: Gate | None = None
    strength: float | None = None

    @property
    def changes(self) -> bool:
        """Whether anything changes."""
        return self.filter is not None or bool(self.heads)

    def describe(self) -> str:
        """One line in words."""
        parts = [f"images: {self.filter[0].name}"] if self.filter else []
        if self.heads:
            parts.append("heads: " + ("neutral baseline" if self.strength is None else f"penalty {self.strength:g}"))
        return "; ".join(parts) or "nothing"


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The given faces, as the network sees them.

    Attributes:
        filters: The filters to choose from, that of no filter, named "", first.
        features: By name of the filter, (N, F) of the faces; under a filter the mean with those of the mirrored ones.
        mirrored: The same of the mirrored faces.
        statistics: (N, STATISTICS) of their images.
        labels: (N,) the names of their classes.
    """

    filters: Sequence[Filter]
    features: Mapping[str, NDArray[np.float32]]
    mirrored: Mapping[str, NDArray[np.float32]]
    statistics: NDArray[np.float32]
    labels: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """What is known of the network: its heads, the main one first, and the general set."""

    heads: Sequence[tuple[Head, Linear]]
    general: GeneralSet


def filters(spectrum: NDArray[np.floating], general: NDArray[np.floating]) -> tuple[Filter, ...]:
    """The filters to choose from, "" first: no filter.

    Args:
        spectrum: That of the given images, see `general.spectrum_of`.
        general: That of the general set.
    """
    found = [Filter("")]
    if (sigma := blur_of(spectrum, general)) >= _LEAST_BLUR:
        found.append(Filter(f"deblurring {sigma:.1f} px", kernel=_wiener(_UNDONE * sigma, _NOISE)))
    return tuple(found)


def blur_of(spectrum: NDArray[np.floating], general: NDArray[np.floating]) -> float:
    """The sigma in pixels of the Gaussian blur that explains the spectrum of some images best; 0 for none.

    The spectrum is that of the general set times a contrast and the blur's transfer function, plus white noise. The
    contrast follows from the lowest frequencies; blur and noise are found on a grid, by the squared difference of the
    logarithms.
    """
    places = np.arange(1, len(general) - 1)
    own, usual = np.asarray(spectrum, np.float64)[places], np.asarray(general, np.float64)[places]
    frequency = places / (2 * (len(general) - 1))
    best, found = np.inf, 0.0
    for sigma in np.arange(0.0, 3.05, 0.1):
        passed = usual * np.exp(-((2 * np.pi * sigma * frequency) ** 2))
        for noise in np.geomspace(1e-6, 0.3, 50):
            contrast = np.exp(np.mean(np.log(np.maximum(own - noise, 1e-9) / passed)[:_LOW]))
            error = float(((np.log(contrast * passed + noise) - np.log(own)) ** 2).mean())
            if error < best:
                best, found = error, float(sigma)
    return found


def _wiener(sigma: float, noise: float, radius: int = 8) -> NDArray[np.float32]:
    """The kernel that undoes a Gaussian blur, for a ratio of the powers of noise and signal."""
    frequency = np.fft.fftfreq(64)
    blur = np.exp(-2 * (np.pi * sigma) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    whole = np.fft.fftshift(np.fft.ifft2(blur / (blur**2 + noise)).real)
    kernel = whole[32 - radius : 33 + radius, 32 - radius : 33 + radius]
    return np.asarray(kernel / kernel.sum(), np.float32)


def adapted(seen: Seen, rows: NDArray[np.int64], network: Network) -> Adaptation:
    """What the faces at `rows` ask for."""
    chosen = _chosen_filter(seen, rows, network)
    name = chosen[0].name if chosen else ""
    gate = _feature_gate(seen.features[name][rows], seen.labels[rows], network.general)
    if gate is None:
        return Adaptation(chosen)
    strength = _chosen_strength(seen, name, rows, network)
    if strength is None:
        return Adaptation(chosen)
    heads = {
        head.name: moved
        for head, old in network.heads
        if (moved := moved_head(seen, name, rows, head, old, network, strength))
    }
    return Adaptation(chosen, heads, gate, strength)


def neutral_baseline(seen: Seen, rows: NDArray[np.int64], network: Network) -> Adaptation:
    """The heads moved so that the neutral faces among `rows` are where neutral faces of the training data are.

    Their mean is shrunk towards that of training by its own uncertainty (James and Stein 1961).
    """
    neutral = rows[seen.labels[rows] == "neutral"]
    general = network.general
    features = seen.features[""][neutral].astype(np.float64)
    gate = _feature_gate(features, seen.labels[neutral], general)
    if gate is None or not len(neutral):
        return Adaptation()
    shift = features.mean(axis=0) - general.means[general.classes.index("neutral")]
    doubt = np.trace(general.covariance) / len(neutral)
    shift *= max(0.0, 1 - doubt / max(float(shift @ shift), 1e-12))
    heads = {head.name: Linear(old.weight, old.bias - old.weight @ shift) for head, old in network.heads}
    return Adaptation(None, heads, gate)


def logits_of(adaptation: Adaptation, seen: Seen, rows: NDArray[np.int64], head: Head, old: Linear) -> Array:
    """The logits (N, C) that the adapted network gives for the faces at `rows`, under one of its heads."""
    features = seen.features[""][rows].copy()
    if adaptation.filter:
        shape, gate = adaptation.filter
        opened = gate(seen.statistics[rows])
        features[opened] = seen.features[shape.name][rows][opened]
    return _through(adaptation, features, head, old)


def general_correct(adaptation: Adaptation, head: Head, old: Linear, general: GeneralSet) -> NDArray[np.bool_]:
    """Which faces of the general set (N,) the adapted network gets right, at least.

    Faces whose image the gate of the filter mistakes for the person's are counted as errors: of them only the features
    of the unfiltered image are known.
    """
    right = np.asarray(head.emotions)[_through(adaptation, general.features, head, old).argmax(axis=1)]
    correct = right == np.asarray(general.classes)[general.labels]
    if adaptation.filter:
        correct &= ~adaptation.filter[1](general.statistics)
    return np.asarray(correct)


def folds(labels: NDArray[np.str_], count: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """The fold (N,) of each face, 0 to count - 1; each class is spread over all of them."""
    found = np.zeros(len(labels), np.int64)
    rng = np.random.default_rng(seed)
    start = 0
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        found[rows] = (start + np.arange(len(rows))) % count
        start += len(rows)
    return found


def _through(adaptation: Adaptation, features: NDArray[np.float32], head: Head, old: Linear) -> Array:
    found = old(features)
    if adaptation.gate is not None and head.name in adaptation.heads:
        opened = adaptation.gate(features)
        found[opened] = adaptation.heads[head.name](features[opened])
    return found


def offset_of(head: Head, labels: NDArray[np.str_]) -> Array:
    """What turns logits under the shares of training into those under the shares of the given faces (C,)."""
    counts = np.array([(labels == name).sum() for name in head.emotions]) + 0.5
    shares = np.full(len(counts), 1 / len(counts)) if head.classes is None else np.asarray(head.classes.shares)
    return np.asarray(np.log(counts / counts.sum()) - np.log(np.maximum(shares, 1e-3)))


def losses_of(logits: Array, head: Head, labels: NDArray[np.str_], offset: Array) -> Array:
    """Cross-entropy (N,) of the labels."""
    places = np.array([head.emotions.index(label) for label in labels], np.int64)
    scaled = logits / head.temperature + offset
    scaled -= scaled.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(places)), places])


def _clearly_less(one: Array, other: Array) -> bool:
    """Whether the mean of `one` is below that of `other`, by more than one standard error of the paired difference."""
    gain = other - one
    return bool(gain.mean() > gain.std() / max(np.sqrt(len(gain) - 1), 1))


def _chosen_filter(seen: Seen, rows: NDArray[np.int64], network: Network) -> tuple[Filter, Gate] | None:
    (head, old), labels = network.heads[0], seen.labels[rows]
    offset = offset_of(head, labels)
    losses = {name: losses_of(old(found[rows]), head, labels, offset) for name, found in seen.features.items()}
    best = min(losses, key=lambda name: float(losses[name].mean()))
    if not best:
        return None
    general = network.general.statistics
    middle = general.mean(axis=0)
    spread = np.cov(general.T) + 1e-4 * np.eye(general.shape[1])
    weights = np.linalg.solve(spread, (seen.statistics[rows] - middle).mean(axis=0))
    gate = Gate(weights, float(np.quantile(general @ weights, 1 - IMAGES_OPEN)))
    if gate(seen.statistics[rows]).mean() < _LEAST_OPEN:
        return None
    return next(each for each in seen.filters if each.name == best), gate


def _feature_gate(features: NDArray[np.floating], labels: NDArray[np.str_], general: GeneralSet) -> Gate | None:
    """Linear discriminant of the given faces and the general ones, without what distinguishes the classes."""
    shifts = [
        features[labels == name].mean(axis=0) - general.means[general.classes.index(name)]
        for name in np.unique(labels)
        if name in general.classes and np.isfinite(general.means[general.classes.index(name)]).all()
    ]
    if not shifts:
        return None
    size = len(general.covariance)
    spread = general.covariance + 0.1 * np.trace(general.covariance) / size * np.eye(size)
    weights = np.linalg.solve(spread.astype(np.float64), np.mean(shifts, axis=0))
    gate = Gate(weights, float(np.quantile(general.features @ weights, 1 - FACES_OPEN)))
    return gate if gate(features).mean() >= _LEAST_OPEN else None


def _chosen_strength(seen: Seen, name: str, rows: NDArray[np.int64], network: Network) -> float | None:
    """The penalty with the lowest cross-validated loss of the main head; None if the old head is about as good."""
    (head, old), labels = network.heads[0], seen.labels[rows]
    offset = offset_of(head, labels)
    parts = folds(labels, min(FOLDS, len(rows)), seed=1)
    before = losses_of(old(seen.features[name][rows]), head, labels, offset)
    losses = {strength: before.copy() for strength in STRENGTHS}
    for part in np.unique(parts):
        held, rest = parts == part, rows[parts != part]
        for strength, found in losses.items():
            moved = moved_head(seen, name, rest, head, old, network, strength)
            if moved is not None:
                logits = moved(seen.features[name][rows[held]])
                found[held] = losses_of(logits, head, labels[held], offset)
    best = min(losses, key=lambda strength: float(losses[strength].mean()))
    return best if _clearly_less(losses[best], before) else None


def moved_head(
    seen: Seen, name: str, rows: NDArray[np.int64], head: Head, old: Linear, network: Network, strength: float
) -> Linear | None:
    """The head after training on the faces at `rows` that it has a class for; None if there are none."""
    rows = rows[np.isin(seen.labels[rows], head.emotions)]
    if not len(rows):
        return None
    general = network.general
    kept = [
        place
        for place, each in enumerate(general.classes)
        if each in head.emotions and np.isfinite(general.means[place, 0])
    ]
    features = np.concatenate([seen.features[name][rows], seen.mirrored[name][rows], general.means[kept]]).astype(float)
    own = np.concatenate([seen.labels[rows], seen.labels[rows]])
    labels = [*own, *(general.classes[place] for place in kept)]
    targets = np.eye(len(head.emotions))[[head.emotions.index(label) for label in labels]]
    weights = np.concatenate([np.full(len(own), 0.5), np.full(len(kept), _MIXED)])
    weights /= weights.sum()
    # Own faces have the shares that were given, class means those of training.
    offsets = np.zeros_like(targets)
    offsets[: len(own)] = offset_of(head, seen.labels[rows])
    spread = np.sqrt(np.maximum(np.diag(general.covariance), 1e-8)).astype(np.float64)
    inputs = np.concatenate([features / spread, np.ones((len(features), 1))], axis=1)
    start = old(features) / head.temperature + offsets
    change = _descended(inputs, start, targets, weights, strength / len(rows)) * head.temperature
    return Linear(old.weight + change[:, :-1] / spread, old.bias + change[:, -1])


def _descended(inputs: Array, start: Array, targets: Array, weights: Array, penalty: float) -> Array:
    """The change D (C, F) of weights that minimises the cross-entropy of `start + inputs @ D.T` plus a penalty.

    Accelerated gradient descent (Nesterov 1983), with the step that the largest curvature allows.
    """
    change = np.zeros((targets.shape[1], inputs.shape[1]))
    ahead = change
    gram = (inputs * weights[:, None]) @ inputs.T
    step = 1 / (0.5 * float(np.linalg.norm(gram, 2)) + 2 * penalty)
    for number in range(_STEPS):
        logits = start + inputs @ ahead.T
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = (powers / powers.sum(axis=1, keepdims=True) - targets) * weights[:, None]
        following = ahead - step * (error.T @ inputs + 2 * penalty * ahead)
        ahead = following + number / (number + 3) * (following - change)
        change = following
    return change
