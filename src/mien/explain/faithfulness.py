"""Whether a map is right about the network: deletion of what it marks must lower the score faster than random deletion.

Petsiuk et al., "RISE", BMVC 2018, section 4.3: the parts are replaced by the baseline, those with the highest values
first, and the area under the curve of the class's probability is compared with that of random orders. The parts of an
image are squares: single pixels that are replaced here and there would add edges that no face has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from mien.explain.attribution import FaceInputs, Maps
from mien.explain.networks import ExplainedModel

CELLS: Final = 12  # squares along the side of an image
STEPS: Final = 18  # of a curve
RANDOM: Final = 10  # random orders


@dataclass(frozen=True, eq=False)
class Deletion:
    """Curves of the probability of a class while parts of the face are deleted.

    Attributes:
        shares: (S,) share of the parts that is deleted, 0-1.
        curves: (S,) probability for each map, by the name of its method.
        random: (S,) mean probability over the random orders.
    """

    shares: NDArray[np.float64]
    curves: dict[str, NDArray[np.float64]]
    random: NDArray[np.float64]

    @property
    def areas(self) -> dict[str, float]:
        """The area under each curve, 0-1: the lower, the more faithful the map."""
        return {name: self.area(curve) for name, curve in self.curves.items()}

    @property
    def random_area(self) -> float:
        """The area under the random curve."""
        return self.area(self.random)

    def area(self, curve: NDArray[np.float64]) -> float:
        """The area under a curve (trapezoidal rule)."""
        heights = (curve[1:] + curve[:-1]) / 2
        return float((heights * np.diff(self.shares)).sum())


def deletion(
    model: ExplainedModel,
    face: FaceInputs,
    maps: Mapping[str, Maps],
    wanted: int,
    *,
    seed: int = 0,
    orders: int = RANDOM,
) -> Deletion:
    """Measures the maps of a face.

    Args:
        model: The model.
        face: The face.
        maps: By method; see `attributions`.
        wanted: Index of the class in the classifier's `emotions`, whose probability is followed.
        seed: Of the random orders.
        orders: How many random orders there are.
    """
    rng = np.random.default_rng(seed)
    masks = _part_masks(face)
    count = sum(map(len, masks))
    steps = np.unique(np.linspace(0, count, min(STEPS, count) + 1).round().astype(int))
    ranked = [np.argsort(-_values(each, masks), kind="stable") for each in maps.values()]
    drawn = [rng.permutation(count) for _ in range(orders)]
    curves = [_curve(model, face, masks, order, steps, wanted) for order in (*ranked, *drawn)]
    named = dict(zip(maps, curves, strict=False))
    return Deletion(steps / count, named, np.mean(curves[len(maps) :], axis=0))


def _part_masks(face: FaceInputs) -> list[torch.Tensor]:
    """For each input the parts (P, H, W) of its images or (P, K) of its points, as masks of bool."""
    masks = []
    for array, is_image in zip(face.arrays, face.are_images, strict=True):
        if not is_image:
            masks.append(torch.eye(array.shape[-2], dtype=torch.bool))
            continue
        side = array.shape[-1]
        cells = min(CELLS, side)
        place = torch.arange(side) * cells // side  # of each row and column
        number = place[:, None] * cells + place[None]
        masks.append(number[None] == torch.arange(cells * cells)[:, None, None])
    return masks


def _values(maps: Maps, masks: Sequence[torch.Tensor]) -> NDArray[np.float64]:
    """The value of every part: the mean of the map in it; parts of an input without a map come last."""
    found = []
    for each, mask in zip(maps, masks, strict=True):
        if each is None:
            found.append(np.full(len(mask), -np.inf))
        else:
            weights = mask.numpy().reshape(len(mask), -1).astype(np.float64)
            found.append(weights @ each.reshape(-1) / weights.sum(axis=1))
    return np.concatenate(found)


def _curve(
    model: ExplainedModel,
    face: FaceInputs,
    masks: Sequence[torch.Tensor],
    order: NDArray[np.int64],
    steps: NDArray[np.int64],
    wanted: int,
) -> NDArray[np.float64]:
    """(S,) the probability after deleting the first parts of an order."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    deleted = torch.from_numpy(rank[None] < steps[:, None])  # (S, parts)
    arrays, start = [], 0
    for array, baseline, mask, is_image in zip(face.arrays, face.baseline, masks, face.are_images, strict=True):
        own = deleted[:, start : start + len(mask)].float()
        start += len(mask)
        gone = (own @ mask.reshape(len(mask), -1).float()).reshape(-1, *mask.shape[1:]) > 0  # (S, H, W) or (S, K)
        if not is_image:
            gone = gone[..., None]
        while gone.ndim < array.ndim:
            gone = gone[:, None]
        arrays.append(torch.where(gone, baseline, array))
    with torch.no_grad():
        logits = model.forward(*arrays)
    return np.asarray(model.probabilities(logits)[:, wanted], np.float64)
