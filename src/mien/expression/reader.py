"""What reads expressions from faces: one network, or several that vote. All that reads goes through this."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import Entry
from mien.results import Expression

__all__ = ["Pictures", "Reader", "expressions"]

# Faces, each (H, W) grey or (H, W, 3) RGB, uint8.
Pictures = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]


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

    def probabilities(self, pictures: Pictures) -> NDArray[np.float32]:
        """(N, C) float32, each row summing to 1, of faces that are framed as they are."""

    def framed(self, pictures: Sequence[Pictures]) -> NDArray[np.float32]:
        """The same of faces that were cropped once for each of `framings`, in their order."""

    def expressions(self, probabilities: NDArray[np.float32]) -> list[Expression]:
        """The expressions that rows of probabilities (N, C) are."""

    def __call__(self, pictures: Pictures) -> list[Expression]:
        """The expressions of faces that are framed as they are."""


def expressions(probabilities: NDArray[np.float32], emotions: tuple[str, ...], threshold: float) -> list[Expression]:
    """Rows (N, C) as expressions, uncertain where the top probability lies under the threshold."""
    return [Expression(row, emotions, uncertain=bool(row.max() < threshold)) for row in probabilities]
