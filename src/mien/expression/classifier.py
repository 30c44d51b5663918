"""The classifier: faces in, expressions out, over one exported network."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions as vocabularies
from mien.assets.manifest import Head, ModelInfo
from mien.assets.store import open_model
from mien.errors import ConfigError
from mien.expression.base import Classifier, Images, MemberLogits
from mien.expression.preprocess import fitted, normalised
from mien.expression.probabilities import softmax
from mien.expression.tta import TTA, tta_images

__all__ = ["OnnxClassifier", "head_for", "usual_emotions"]

# What is read where nothing is asked for, by a model that can.
USUAL: Final = vocabularies.vocabulary(8)


def head_for(info: ModelInfo, target: Sequence[str]) -> Head:
    """The head that speaks of all `target` emotions with the fewest others besides.

    Six and seven emotions are thus read from a FER2013 head of seven, eight and ten from a votes head of ten.

    Raises:
        ConfigError: No head knows them all.
    """
    able = [head for head in info.heads if set(target) <= set(head.emotions)]
    if not able:
        known = sorted({len(head.emotions) for head in info.heads})
        own = {name: None for head in info.heads for name in head.emotions if name not in vocabularies.ALL}
        named = f" ({', '.join(own)})" if own else ""
        raise ConfigError(
            f"the model '{info.name}' cannot tell {len(target)} emotions apart",
            hint=f"its heads have {' and '.join(map(str, known))}{named}; choose another --emotions or --model",
        )
    return min(able, key=lambda head: len(head.emotions))


def usual_emotions(info: ModelInfo) -> tuple[str, ...]:
    """What a model reads where nothing is asked for: the eight emotions, or its first head's classes if it lacks one.

    A model of one's own classes thus shows these.
    """
    able = any(set(USUAL) <= set(head.emotions) for head in info.heads)
    return USUAL if able else info.heads[0].emotions


class OnnxClassifier(Classifier):
    """Reads expressions from cropped faces.

    Args:
        model: Name of a shipped model, or path of an exported ONNX file; None for the default.
        emotions: Size of the vocabulary: 6, 7, 8 or 10; or the classes by name; None for those of the model's first
            head as they are.
        abstain: Top probabilities under it are `uncertain`; None for the model's own threshold.
        batch_size: Faces that the network sees at once.
        threads: For the network.
        tta: How often each face is looked at: "single", "flip" or "ten-crop"; see `tta_images`.

    Raises:
        ConfigError: There is no such model, vocabulary or tta, or the model has no head for the vocabulary.
        WeightsError: The weights are missing or damaged.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        emotions: int | Sequence[str] | None = 8,
        abstain: float | None = None,
        batch_size: int = 32,
        threads: int = 1,
        tta: str = "single",
    ) -> None:
        if tta not in TTA:
            raise ConfigError(f"there are no tta '{tta}'", hint=f"choose one of {', '.join(TTA)}")
        self.info, self._session = open_model(model, threads=threads)
        if emotions is None:
            emotions = self.info.heads[0].emotions
        self.name = self.info.name
        self.crop_specs: tuple[ModelInfo, ...] = (self.info,)
        self.batch_size = batch_size
        self.tta = tta
        self._abstain = abstain
        self._aim(vocabularies.vocabulary(emotions) if isinstance(emotions, int) else tuple(emotions))

    def _aim(self, emotions: tuple[str, ...]) -> None:
        self.emotions = emotions
        self.head = head_for(self.info, emotions)
        self.threshold = self.head.threshold if self._abstain is None else self._abstain

    def with_classes(self, emotions: Sequence[str]) -> "OnnxClassifier":
        """The same model, opened once, that reads other classes.

        Raises:
            ConfigError: The model has no head that knows them all.
        """
        other = copy.copy(self)
        other._aim(tuple(emotions))
        return other

    def logits(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """What each head says of faces, each (H, W) grey or (H, W, 3) RGB uint8: (N, C) float32 by head's name."""
        spec = self.info.input
        parts: dict[str, list[NDArray[np.float32]]] = {
            head.name: [np.empty((0, len(head.emotions)), np.float32)] for head in self.info.heads
        }
        for start in range(0, len(images), self.batch_size):
            batch = fitted(images[start : start + self.batch_size], spec)
            for name, values in self._session.run(normalised(batch, spec)).items():
                parts[name].append(values)
        return {name: np.concatenate(values) for name, values in parts.items()}

    def member_logits(self, images: Images) -> MemberLogits:
        """What the network says of all tta of faces; any `reading` of this model makes probabilities of it."""
        return [self.logits([view for image in images for view in tta_images(image, self.tta)])]

    def member_logits_of_crops(self, images: Sequence[Images]) -> MemberLogits:
        """The same of faces that were cropped for the one crop_spec of this model."""
        (one,) = images
        return self.member_logits(one)

    def proba_from(self, logits: MemberLogits) -> NDArray[np.float32]:
        """(N, C) float32 over `emotions`, each row summing to 1: the mean over the tta."""
        (head_logits,) = logits
        shares = softmax(head_logits[self.head.name], self.head.temperature)
        read = vocabularies.convert(shares, self.head.emotions, self.emotions)
        mean: NDArray[np.float32] = read.reshape(-1, TTA[self.tta], len(self.emotions)).mean(axis=1)
        return mean
