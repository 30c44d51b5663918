"""The classifier with one network: an exported ONNX file."""

import copy
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions as vocabularies
from mien.assets.manifest import CropSpec, Head, ModelInfo
from mien.assets.session import Session
from mien.assets.signature import Features, ImageInput, KeypointInput, ValenceArousal
from mien.assets.store import open_model
from mien.errors import ConfigError
from mien.expression import affect, prior
from mien.expression.base import (
    Classifier,
    ClassifierOptions,
    ClassifierSource,
    Emotions,
    Images,
    Logits,
    as_options,
    softmax,
)
from mien.expression.observation import Observation, observed
from mien.expression.preprocess import fitted, normalised
from mien.expression.tta import TTA

_OTHER: Final = "or choose another --model"
USUAL: Final = vocabularies.vocabulary(8)


def head_for(info: ModelInfo, target: Sequence[str]) -> Head:
    """The head that knows all `target` emotions and has the fewest classes.

    So six and seven emotions come from a FER2013 head of seven, eight and ten from a head of ten votes.

    Raises:
        ConfigError: No head knows them all.
    """
    able = [head for head in info.heads if set(target) <= set(head.emotions)]
    if not able:
        known = sorted({len(head.emotions) for head in info.heads})
        own = {name: None for head in info.heads for name in head.emotions if name not in vocabularies.ALL}
        named = f" ({', '.join(own)})" if own else ""
        missing = [name for name in target if not any(name in head.emotions for head in info.heads)]
        lacks = f"it does not know {', '.join(missing)}; " if missing else ""
        raise ConfigError(
            f"the model '{info.name}' cannot tell these {len(target)} emotions apart: {', '.join(target)}",
            hint=f"{lacks}its heads have {' and '.join(map(str, known))} classes{named}; "
            "choose another --emotions or --model",
        )
    return min(able, key=lambda head: len(head.emotions))


def classes_of(emotions: Emotions | Sequence[str], models: Sequence[ModelInfo]) -> tuple[str, ...]:
    """The names of the classes that `emotions` means for these models; the first one counts for "model".

    Raises:
        ConfigError: There is no vocabulary of that size; or a name is none of a model's classes and no emotion, or two
            names mean the same class, or there is only one.
    """
    if isinstance(emotions, int):
        return vocabularies.vocabulary(emotions)
    if emotions is None:
        usual = any(set(USUAL) <= set(head.emotions) for info in models for head in info.heads)
        return USUAL if usual else models[0].heads[0].emotions
    if emotions == "model":
        return models[0].heads[0].emotions
    own = dict.fromkeys(name for info in models for head in info.heads for name in head.emotions)
    return vocabularies.selection(tuple(emotions), tuple(own))


class OnnxClassifier(Classifier):
    """Classifies cropped faces with one network.

    Args:
        source: Options with one model; or the name of a shipped model, or the path of an exported ONNX file; None for
            `default_model`.
        opened: The description and the session of a network that is open already, or in no ONNX file, such as a
            checkpoint of a run; in the place of the model of the options.

    Attributes:
        info: All that is known of the model.
        head: The head that the probabilities come from.
        temperature: Of its softmax, under the prior of the options.
        factors: (C,) by which the prior changes the probabilities, before they are renormalised; None: it does not.

    Raises:
        ConfigError: There is no such model, or it has no head for the emotions of the options.
        WeightsError: The weights are missing or damaged.
    """

    def __init__(self, source: ClassifierSource = None, *, opened: tuple[ModelInfo, Session] | None = None) -> None:
        options = as_options(source)
        models = options.models
        if len(models) > 1:
            raise ConfigError(
                f"expected one model, got {len(models)}: {', '.join(map(str, models))}", hint="name one of them"
            )
        self.options = options
        self.info, self._session = opened or open_model(models[0] if models else None, threads=options.threads)
        self.name = self.info.name
        self._takes_images = any(isinstance(part, ImageInput) for part in self.info.inputs)
        points = [part for part in self.info.inputs if isinstance(part, KeypointInput)]
        self.keypoint_scheme = points[0].scheme if points else None
        self._mirrored = points[0].mirrored if points else ()
        self.frames = self.info.inputs[0].frames
        self.input_size = self.info.input.size if self._takes_images else 1
        self.tta = options.tta
        self.affect_table = affect.loaded(options.affect_table)  # type: ignore[arg-type]  # a mapping became rows
        self._aim(classes_of(options.emotions, [self.info]))

    def _aim(self, emotions: tuple[str, ...]) -> None:
        self.emotions = emotions
        self.head = head_for(self.info, emotions)
        wanted: prior.Prior = self.options.prior or "training"  # type: ignore[assignment]  # a mapping became pairs
        self.prior: prior.Prior = prior.resolved(wanted, self.head, emotions)
        self.temperature, threshold = prior.fitted(self.head, self.prior)
        self.factors = prior.factors(self.head, emotions, self.prior, self.name)
        affect.coordinates(emotions, self.affect_table)  # refuses a table that lacks a class
        self.threshold = threshold if self.options.abstain is None else self.options.abstain

    @property
    def opened(self) -> tuple[ModelInfo, Session]:
        """The network, for another classifier that reads it in another way."""
        return self.info, self._session

    @property
    def files(self) -> Mapping[str, str]:
        """The file of the network with its SHA-256; empty if it comes from no ONNX file."""
        return self._session.files if isinstance(self._session, Session) else {}

    @property
    def assumed_shares(self) -> NDArray[np.float64] | None:
        """See `Classifier.assumed_shares`."""
        if self.prior == "training":
            return None
        learned = prior.learned_shares(self.head, self.emotions, self.name)
        return prior.assumed_shares(self.emotions, learned, self.prior)

    @property
    def crop_specs(self) -> tuple[CropSpec, ...]:
        """See `Classifier.crop_specs`."""
        return (self.info.crop_spec,) if self._takes_images else ()

    def with_classes(self, emotions: Emotions | Sequence[str]) -> "OnnxClassifier":
        """See `Classifier.with_classes`."""
        return self.aimed_at(classes_of(emotions, [self.info]))

    def aimed_at(self, classes: tuple[str, ...], options: ClassifierOptions | None = None) -> "OnnxClassifier":
        """`with_classes` for names as the model spells them; a member of an ensemble may know only one of the target.

        Args:
            classes: The names.
            options: In the place of those of this classifier, with the same model.

        Raises:
            ConfigError: No head of the network knows them all, or the prior does not fit them.
        """
        other = copy.copy(self)
        other.options = options or self.options
        other._aim(classes)
        return other

    def logits(self, *faces: Images) -> Logits:
        """See `Classifier.logits`."""
        (images,) = faces
        views = [view for face in images for view in observed(face).augmented(self.options.tta, self._mirrored)]
        affect_output = self.info.affect
        return [self._outputs(views, (*self.info.heads, *([affect_output] if affect_output else [])))]

    def inputs(self, faces: Images) -> list[NDArray[np.float32]]:
        """The arrays that the network gets for some faces, in the order of its inputs.

        Raises:
            ConfigError: The network reads keypoints, or images, which the faces do not have.
        """
        windows = [observed(face).last(self.frames) for face in faces]
        arrays = []
        for part in self.info.inputs:
            values = self._pixels(windows) if isinstance(part, ImageInput) else self._keypoints(windows, part)
            arrays.append(values[:, 0] if self.frames == 1 else values)
        return arrays

    def _pixels(self, windows: Sequence[Observation]) -> NDArray[np.float32]:
        """Normalised images (N, T, C, size, size)."""
        if not all(window.images for window in windows):
            raise ConfigError(f"the model '{self.name}' reads images of faces, got keypoints alone", hint=_OTHER)
        spec = self.info.input
        images = normalised(fitted([image for window in windows for image in window.images], spec), spec)
        return images.reshape(-1, self.frames, *images.shape[1:])

    def _keypoints(self, windows: Sequence[Observation], part: KeypointInput) -> NDArray[np.float32]:
        """Keypoints (N, T, K, 2)."""
        points = [window.keypoints for window in windows]
        shape = (self.frames, part.count, 2)
        for each in points:
            if each is None:
                raise ConfigError(
                    f"the model '{self.name}' reads keypoints ({part.scheme}), got images of faces alone",
                    hint=f"give `Observation`s with keypoints, or use `mien analyze`, which finds them; {_OTHER}",
                )
            if each.shape != shape:
                raise ConfigError(
                    f"the model '{self.name}' reads keypoints of the shape {shape}, got {each.shape}", hint=_OTHER
                )
        return np.array(points, np.float32).reshape(-1, *shape)

    def _outputs(
        self, images: Images, outputs: Sequence[Head | Features | ValenceArousal]
    ) -> dict[str, NDArray[np.float32]]:
        """The network's outputs (N, size) by name."""
        parts = {output.name: [np.empty((0, output.shape[1] or 0), np.float32)] for output in outputs}
        for start in range(0, len(images), self.options.batch_size):
            batch = self.inputs(images[start : start + self.options.batch_size])
            for name, values in self._session.run(*batch, outputs=list(parts)).items():
                parts[name].append(values)
        return {name: np.concatenate(values) for name, values in parts.items()}

    def proba_from(self, logits: Logits) -> NDArray[np.float32]:
        """See `Classifier.proba_from`; the mean over the views of test-time augmentation."""
        (by_head,) = logits
        probabilities = softmax(by_head[self.head.name], self.temperature)
        converted = vocabularies.convert(probabilities, self.head.emotions, self.emotions)
        mean: NDArray[np.float32] = converted.reshape(-1, TTA[self.options.tta], len(self.emotions)).mean(axis=1)
        return prior.under(mean, self.factors)

    def affect_from(self, logits: Logits) -> NDArray[np.float32] | None:
        """See `Classifier.affect_from`; the mean over the views of test-time augmentation."""
        output = self.info.affect
        if output is None or self.affect_table is not None:
            return None
        (by_output,) = logits
        mean = by_output[output.name].reshape(-1, TTA[self.options.tta], 2).mean(axis=1)
        return np.asarray(np.clip(mean, -1, 1), np.float32)

    @property
    def _features(self) -> Features:
        """The output with the features.

        Raises:
            ConfigError: The model does not give features.
        """
        if self.info.features is None:
            raise ConfigError(
                f"the model '{self.name}' does not give features", hint="export it again with `mien export`"
            )
        return self.info.features

    def features(self, *faces: Images) -> NDArray[np.float32]:
        """See `Classifier.features`."""
        (images,) = faces
        output = self._features
        return self._outputs(images, [output])[output.name]

    def features_and_logits(self, images: Images) -> tuple[NDArray[np.float32], Logits]:
        """The features (N, F) of images without test-time augmentation, and their logits, from one run of the network.

        Raises:
            ConfigError: The model does not give features.
        """
        output = self._features
        found = self._outputs(images, [output, *self.info.heads])
        return found.pop(output.name), [found]

    def features_of(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The features (N, F) of normalised images (N, C, size, size), as `inputs` gives them.

        Raises:
            ConfigError: The model does not give features.
        """
        output = self._features
        size = self.options.batch_size
        parts = [
            self._session.run(inputs[start : start + size], outputs=[output.name])
            for start in range(0, len(inputs), size)
        ]
        return np.concatenate([np.empty((0, output.size), np.float32), *(each[output.name] for each in parts)])
