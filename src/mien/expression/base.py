"""The contract of classifiers, and the options that choose one."""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from types import NoneType
from typing import Annotated, Final, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mien import emotions as vocabularies
from mien.assets.manifest import DEFAULT, ENSEMBLES, CropSpec, quick_model
from mien.errors import ConfigError, check_fraction, meant
from mien.expression.affect import AffectTable, coordinates
from mien.expression.affect import checked as checked_table
from mien.expression.observation import Observation, Seen
from mien.expression.prior import Prior
from mien.expression.prior import checked as checked_prior
from mien.expression.tta import TTA, Tta
from mien.results import Affect, Expression

# Cropped faces, each (H, W) grey or (H, W, 3) RGB, uint8; or what was seen of them in several frames.
Images = Sequence[Seen] | Sequence[NDArray[np.uint8]] | Sequence[Observation] | NDArray[np.uint8]

# For each network of a classifier, the logits (N x tta, C) float32 of each of its heads, by the head's name.
Logits = Sequence[Mapping[str, NDArray[np.float32]]]

# The classes: the vocabulary of that size; two or more by their names or aliases, in this order; "model" for those of
# the model's first head; None for the usual eight, or for those of the model's first head if it does not have the
# eight. Probabilities of some classes are conditional: the model's, renormalised over them.
Emotions = int | tuple[str, ...] | Literal["model"] | None

Vote = Literal["soft", "hard"]
VOTES: Final[tuple[Vote, ...]] = get_args(Vote)


@dataclass(frozen=True, slots=True)
class ClassifierOptions:
    """The options of classification; the command line derives its options and their help from these fields.

    Raises:
        ConfigError: An option has a value out of its range.
    """

    model: Annotated[
        str | Path | tuple[str | Path, ...] | None,
        "The name of a shipped model or a classic network (`mien models list`), or an exported .onnx file; A,B for an "
        "ensemble, where a command takes several. By default mien-x, the vote of two networks, for images, mien-m-int8 "
        "for videos, and mien-m where one network is needed.",
    ] = None
    vote: Annotated[
        Vote | None,
        "How the models of an ensemble vote: soft or hard. Given without --model, videos are read by a vote, too.",
    ] = None
    emotions: Annotated[
        Emotions,
        "Number of classes, 6, 7, 8 or 10; or names, with commas: happiness,sadness. Probabilities then sum to 1 over "
        "these. 'model' for the classes of the model's first head.",
    ] = None
    abstain: Annotated[
        float | None, "Mark emotions with a lower probability as uncertain: 0.5 or 50%.", {"fraction": True}
    ] = None
    tta: Annotated[Tta, "Test-time augmentation: none, flip or ten-crop."] = "none"
    prior: Annotated[
        Prior | Mapping[str, float] | None,
        "Class frequencies that the probabilities assume: training, those of the training data; uniform, all equal, "
        "which finds rare emotions; soft, half way; auto, soft where they are known; or a .json or .toml file with a "
        "share for each class. By default auto to analyze, training to evaluate.",
    ] = None
    affect_table: Annotated[
        Path | Mapping[str, tuple[float, float]] | None,
        "Valence and arousal of each emotion, -1 to 1: a .csv or .toml file, in place of the published ones.",
    ] = None
    batch_size: Annotated[int, "Number of faces that are classified together."] = 32
    threads: Annotated[int, "Threads of each network, at most one for each processor core."] = 1

    def __post_init__(self) -> None:
        if isinstance(self.model, list):
            object.__setattr__(self, "model", tuple(self.model))
        for model in self.model if isinstance(self.model, tuple) else (self.model,):
            if not isinstance(model, (str, Path, NoneType)):
                raise ConfigError(
                    f"model: expected a name or a path, got {type(model).__name__}", hint="for example 'mien-s'"
                )
            if isinstance(model, str) and not all(map(str.strip, model.split(","))):
                found = "an empty name between commas" if model.strip(" ,") else "the name is empty"
                raise ConfigError(f"model: {found}", hint="check the variable it comes from")
        object.__setattr__(self, "emotions", checked_emotions(self.emotions))
        if self.prior is not None:
            object.__setattr__(self, "prior", checked_prior(self.prior))
        object.__setattr__(self, "affect_table", checked_table(self.affect_table))
        for name, allowed in {"vote": (None, *VOTES), "tta": tuple(TTA)}.items():
            if getattr(self, name) not in allowed:
                known = ", ".join(value for value in allowed if value)
                near = meant(str(getattr(self, name)), filter(None, allowed))
                raise ConfigError(f"{name}: unknown value '{getattr(self, name)}'", hint=f"{near}choose one of {known}")
        if self.model == ():
            raise ConfigError("model: expected at least one name, got none")
        if self.abstain is not None:
            check_fraction("abstain", self.abstain)
        for name in ("batch_size", "threads"):
            check_count(name, getattr(self, name))

    @property
    def models(self) -> tuple[str | Path, ...]:
        """The models of the ensemble, or the one model; empty for the default.

        Text with commas names several, unless it is the path of a file that exists. A name of `ENSEMBLES` stands for
        several. `~` is the user's home.
        """
        given = self.model if isinstance(self.model, tuple) else () if self.model is None else (self.model,)
        named = (
            (name if isinstance(name, Path) or not name.startswith("~") else str(Path(name).expanduser()))
            for item in given
            for name in ((item,) if isinstance(item, Path) or Path(item).exists() else map(str.strip, item.split(",")))
        )
        return tuple(member for name in named for member in ENSEMBLES.get(str(name), (name,)))

    @property
    def members(self) -> tuple[str | Path, ...]:
        """`models`, or those of the default."""
        return self.models or ENSEMBLES[DEFAULT]

    def for_videos(self) -> "ClassifierOptions":
        """These options for videos and cameras: themselves if they say what reads, else with one network."""
        return self if self.models or self.vote else replace(self, model=quick_model())


def checked_emotions(given: object) -> Emotions:
    """The classes as the options keep them: a number, a tuple of names, "model" or None.

    Raises:
        ConfigError: They are none of these, or cannot be right for any model.
    """
    if given is None or (isinstance(given, str) and given == "model"):
        return cast(Emotions, given)
    if isinstance(given, Integral) and not isinstance(given, bool):
        vocabularies.vocabulary(int(given))  # refuses other sizes
        return int(given)
    hint = "for example 7, or ('happiness', 'neutral')"
    if isinstance(given, str):
        given = given.split(",")
    if not isinstance(given, Collection) or not all(isinstance(name, str) for name in given):
        raise ConfigError(
            f"emotions: expected a number of classes, their names or 'model', got {given!r}"[:200], hint=hint
        )
    names = tuple(name.strip() for name in given if isinstance(name, str))
    if isinstance(given, Set):  # without an order
        names = tuple(sorted(names))
    if not names or not all(names):
        raise ConfigError(
            f"emotions: {'an empty name' if any(names) else 'expected at least one name, got none'}", hint=hint
        )
    return names


def check_count(name: str, value: object) -> None:
    """Refuses what is not a whole number from 1.

    Raises:
        ConfigError: The message names the option.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name}: expected a number from 1, got {value!r}", hint="for example 1")


# What names a classifier or has its options, and the types of these: all else is a ready one.
ClassifierSource = ClassifierOptions | str | Path | Sequence[str | Path] | None
NAMED: Final = (ClassifierOptions, str, Path, Sequence, NoneType)


def as_options(source: ClassifierSource, base: ClassifierOptions | None = None) -> ClassifierOptions:
    """The options of a classifier: given as they are, or `base` with another model or other models."""
    if isinstance(source, ClassifierOptions):
        return source
    model = source if source is None or isinstance(source, (str, Path)) else tuple(source)
    return replace(base or ClassifierOptions(), model=model)


class Classifier(Protocol):
    """Classifies the expressions of cropped faces: one network, or several that vote.

    Methods that take `*faces` expect the same faces once for each of `crop_specs`, cropped in that way; or once only,
    and then all networks see the same crops. One classifier can serve several threads.

    Attributes:
        name: For messages and tables.
        emotions: The C classes, in the order of every probability.
        threshold: Highest probabilities below it are uncertain.
        input_size: Side in pixels of the images that the (first) network sees.
        tta: Test-time augmentation.
        prior: The class frequencies that the probabilities assume, see `mien.expression.prior`.
        frames: Number of frames that it reads of each face: 1, or the length of a window.
        keypoint_scheme: The keypoints that it reads, see `mien.faces.keypoints`; None if it reads none.
        affect_table: The valence and arousal of the classes, see `mien.expression.affect`; None for the default.
    """

    name: str
    emotions: tuple[str, ...]
    threshold: float
    input_size: int
    tta: Tta
    prior: Prior = "training"
    frames: int = 1
    keypoint_scheme: str | None = None
    affect_table: AffectTable = None

    @property
    def assumed_shares(self) -> NDArray[np.float64] | None:
        """The class shares (C,) that `prior` assumes; None for those of the training data."""
        return None

    @property
    def crop_specs(self) -> tuple[CropSpec, ...]:
        """The different crops of a face that the networks were trained on; none if they read keypoints alone.

        Raises:
            ConfigError: A model does not know how its faces were cropped: it can only classify crops.
        """
        raise ConfigError(
            f"the classifier {type(self).__name__} does not say how its faces are cropped", hint="define crop_specs"
        )

    def with_classes(self, emotions: Emotions | Sequence[str]) -> "Classifier":
        """A classifier of other classes that shares the loaded networks.

        Raises:
            ConfigError: The networks cannot tell these classes apart, or a classifier of your own has only its own.
        """
        raise ConfigError(
            f"the classifier {type(self).__name__} has only its own classes",
            hint="leave out emotions, or define with_classes",
        )

    def logits(self, *faces: Images) -> Logits:
        """The output of the networks, from which `proba_from` of each `with_classes` computes probabilities."""

    def proba_from(self, logits: Logits) -> NDArray[np.float32]:
        """Calibrated probabilities (N, C) float32, each row summing to 1."""

    def features(self, *faces: Images) -> NDArray[np.float32]:
        """The features (N, F) float32 before the last layer, without test-time augmentation.

        Raises:
            ConfigError: A model does not give features.
        """
        raise ConfigError(f"the classifier {type(self).__name__} gives no features", hint="define features")

    def predict_proba(self, *faces: Images) -> NDArray[np.float32]:
        """Calibrated probabilities (N, C) float32, each row summing to 1."""
        return self.proba_from(self.logits(*faces))

    def affect_from(self, logits: Logits) -> NDArray[np.float32] | None:
        """The valence and arousal (N, 2) that a network predicts itself; None for the expectations.

        Your own `affect_table` counts more than the network.
        """
        return None

    def expressions(
        self, probabilities: NDArray[np.float32], predicted: NDArray[np.float32] | None = None
    ) -> list[Expression]:
        """Rows of probabilities (N, C) as expressions, with valence and arousal.

        Args:
            probabilities: (N, C).
            predicted: (N, 2) the valence and arousal; None for their expectations.
        """
        places = coordinates(self.emotions, self.affect_table)
        affects: Sequence[Affect | None] = [None] * len(probabilities)
        if predicted is not None:
            affects = [Affect.of(*row) for row in predicted.tolist()]
        elif places is not None:
            affects = places.expected(probabilities)
        return [
            Expression(row, self.emotions, uncertain=bool(row.max() < self.threshold), affect=affect)
            for row, affect in zip(probabilities, affects, strict=True)
        ]

    def __call__(self, *faces: Images) -> list[Expression]:
        """The expressions of faces."""
        logits = self.logits(*faces)
        return self.expressions(self.proba_from(logits), self.affect_from(logits))


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities (..., C) float32 of logits (..., C), each row summing to 1.

    Args:
        logits: (..., C) float32, finite.
        temperature: Above 1 the distribution becomes flatter, below 1 sharper; the most probable class stays the same
            (Guo et al. 2017, section 4.2).

    Raises:
        ValueError: The temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected a number above 0, got {temperature}")
    # Subtracting the maximum does not change the result and keeps exp() from overflowing.
    scaled = (logits - logits.max(axis=-1, keepdims=True)) / np.float32(temperature)
    powers: NDArray[np.float32] = np.exp(scaled, dtype=np.float32)
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers
