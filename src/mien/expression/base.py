"""What reads expressions from faces: one network, or several that vote. All that reads goes through this."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import ModelInfo
from mien.results import Expression

__all__ = ["Classifier", "Images", "MemberLogits", "expressions"]

# Faces, each (H, W) grey or (H, W, 3) RGB, uint8.
Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]

# What each network of a classifier says of faces, view by view: logits (N x tta, C) float32 by the name of the head.
MemberLogits = Sequence[Mapping[str, NDArray[np.float32]]]


class Classifier(Protocol):
    """Reads expressions from cropped faces.

    Attributes:
        name: For print.
        emotions: The C classes, in the order of every probability.
        threshold: Top probabilities under it are uncertain.
        crop_specs: Entries of models that want differently framed faces, one for each crop_spec: size and landmarks say
            how a face that was found shall be cropped for `framed`.
    """

    name: str
    emotions: tuple[str, ...]
    threshold: float
    crop_specs: tuple[ModelInfo, ...]

    def with_classes(self, emotions: Sequence[str]) -> "Classifier":
        """The same, opened once, for other classes.

        Raises:
            ConfigError: It cannot tell them apart.
        """

    def member_logits(self, images: Images) -> MemberLogits:
        """What the networks say of faces that are framed as they are; `read` of every `reading` understands it."""

    def member_logits_of_crops(self, images: Sequence[Images]) -> MemberLogits:
        """The same of faces that were cropped once for each of `crop_specs`, in their order."""

    def proba_from(self, logits: MemberLogits) -> NDArray[np.float32]:
        """(N, C) float32, each row summing to 1."""

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """(N, C) float32, each row summing to 1, of faces that are framed as they are."""
        return self.proba_from(self.member_logits(images))

    def predict_proba_of_crops(self, images: Sequence[Images]) -> NDArray[np.float32]:
        """The same of faces that were cropped once for each of `crop_specs`, in their order."""
        return self.proba_from(self.member_logits_of_crops(images))

    def expressions(self, probabilities: NDArray[np.float32]) -> list[Expression]:
        """The expressions that rows of probabilities (N, C) are."""
        return expressions(probabilities, self.emotions, self.threshold)

    def __call__(self, images: Images) -> list[Expression]:
        """The expressions of faces that are framed as they are, each (H, W) grey or (H, W, 3) RGB uint8."""
        return self.expressions(self.predict_proba(images))


def expressions(probabilities: NDArray[np.float32], emotions: tuple[str, ...], threshold: float) -> list[Expression]:
    """Rows (N, C) as expressions, uncertain where the top probability lies under the threshold."""
    return [Expression(row, emotions, uncertain=bool(row.max() < threshold)) for row in probabilities]
