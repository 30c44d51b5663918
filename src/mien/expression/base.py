"""What reads expressions from faces: one network, or several that vote. All that reads goes through this."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import Entry
from mien.results import Expression

__all__ = ["Looked", "Pictures", "Reader", "expressions"]

# Faces, each (H, W) grey or (H, W, 3) RGB, uint8.
Pictures = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]

# What each network of a reader says of faces, view by view: logits (N x views, C) float32 by the name of the head.
Looked = Sequence[Mapping[str, NDArray[np.float32]]]


class Reader(Protocol):
    """Reads expressions from cropped faces.

    Attributes:
        name: For print.
        emotions: The C classes, in the order of every probability.
        threshold: Top probabilities under it are uncertain.
        framings: Entries of models that want differently framed faces, one for each framing: size and landmarks say
            how a face that was found shall be cropped for `framed`.
    """

    name: str
    emotions: tuple[str, ...]
    threshold: float
    framings: tuple[Entry, ...]

    def reading(self, emotions: Sequence[str]) -> "Reader":
        """The same, opened once, for other classes.

        Raises:
            ConfigError: It cannot tell them apart.
        """

    def look(self, pictures: Pictures) -> Looked:
        """What the networks say of faces that are framed as they are; `read` of every `reading` understands it."""

    def look_framed(self, pictures: Sequence[Pictures]) -> Looked:
        """The same of faces that were cropped once for each of `framings`, in their order."""

    def read(self, looked: Looked) -> NDArray[np.float32]:
        """(N, C) float32, each row summing to 1."""

    def probabilities(self, pictures: Pictures) -> NDArray[np.float32]:
        """(N, C) float32, each row summing to 1, of faces that are framed as they are."""
        return self.read(self.look(pictures))

    def framed(self, pictures: Sequence[Pictures]) -> NDArray[np.float32]:
        """The same of faces that were cropped once for each of `framings`, in their order."""
        return self.read(self.look_framed(pictures))

    def expressions(self, probabilities: NDArray[np.float32]) -> list[Expression]:
        """The expressions that rows of probabilities (N, C) are."""
        return expressions(probabilities, self.emotions, self.threshold)

    def __call__(self, pictures: Pictures) -> list[Expression]:
        """The expressions of faces that are framed as they are, each (H, W) grey or (H, W, 3) RGB uint8."""
        return self.expressions(self.probabilities(pictures))


def expressions(probabilities: NDArray[np.float32], emotions: tuple[str, ...], threshold: float) -> list[Expression]:
    """Rows (N, C) as expressions, uncertain where the top probability lies under the threshold."""
    return [Expression(row, emotions, uncertain=bool(row.max() < threshold)) for row in probabilities]
