"""Places crops at random around their best place: one matrix and one resampling a batch; the labels move along."""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from mien.datasets.landmark_faces import DENSE, FIVE, NO_FACE
from mien.faces.keypoints import MIRRORED
from mien.training.landmarks.data import Batch
from mien.training.landmarks.recipe import LandmarkRecipe, PlacementRecipe

_MIRRORED_FIVE: Final = [1, 0, 2, 4, 3]
# Distance of the outer eye corners in a crop that is placed exactly; there are .28 between the middles of the eyes.
_FIVE_DISTANCE: Final = 0.40
_SPREADS: Final = tuple(PlacementRecipe.model_fields)


class Crops(NamedTuple):
    """What the network gets, and what it should find; lengths are fractions of the side of the crop.

    Attributes:
        images: (B, 1, size, size) float32, values 0-1.
        points: (B, 70, 2).
        inside: (B, 70).
        five: (B, 5, 2).
        pose: (B, 3) degrees.
        eye_distance: (B,) for the points.
        five_distance: (B,) for the five landmarks.
        dense: (B,) bool: points and pose are known.
        sparse: (B,) bool: only the five landmarks are known.
        face: (B,) 1 for a face, 0 for none.
    """

    images: Tensor
    points: Tensor
    inside: Tensor
    five: Tensor
    pose: Tensor
    eye_distance: Tensor
    five_distance: Tensor
    dense: Tensor
    sparse: Tensor
    face: Tensor


class Placements(NamedTuple):
    """(N,) each: mirrored or not (-1 or 1), turn in radians, size of the part that is shown, shift (N, 2)."""

    mirror: Tensor
    turn: Tensor
    scale: Tensor
    shift: Tensor


def drawn(count: int, recipe: LandmarkRecipe) -> Placements:
    """Random placements by the recipe, from torch's generator: those of `wide` for a share, else those of `close`."""
    wide = torch.rand(count) < recipe.wide_share
    spread = {name: torch.where(wide, getattr(recipe.wide, name), getattr(recipe.close, name)) for name in _SPREADS}
    return Placements(
        mirror=torch.where(torch.rand(count) < recipe.flip, -1.0, 1.0),
        turn=torch.deg2rad(torch.randn(count) * spread["turn"]),
        scale=torch.exp((torch.randn(count) * spread["scale"]).clamp(-0.6, 0.6)),
        shift=torch.randn(count, 2) * spread["shift"][:, None],
    )


def placed(batch: Batch, chosen: Placements, size: int, room: float) -> Crops:
    """The crops (size, size) at these placements, with their labels.

    Args:
        batch: The stored crops.
        chosen: Where in them the network's crops lie.
        size: Side of the network's crops.
        room: How many times the side of a network's crop, placed exactly, a stored crop shows.
    """
    cos, sin = torch.cos(chosen.turn), torch.sin(chosen.turn)
    linear = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)  # (B, 2, 2)
    linear = linear * (chosen.scale / room)[:, None, None]
    linear = torch.stack([linear[:, :, 0] * chosen.mirror[:, None], linear[:, :, 1]], dim=2)
    shift = chosen.shift / room
    # From places in the new crop to places in the stored one, both relative to the middle; the side is 2 for torch.
    matrices = torch.cat([linear, 2 * shift[:, :, None]], dim=2).to(batch.points)
    images = batch.crops.float() / 255
    grid = nn.functional.affine_grid(matrices, [len(images), 1, size, size], align_corners=False)
    inverse = torch.linalg.inv(linear).to(batch.points)
    mirrored = (chosen.mirror < 0).to(batch.points.device)

    def moved(points: Tensor, order: list[int]) -> Tensor:
        new = (points - 0.5 - shift[:, None].to(points)) @ inverse.transpose(1, 2) + 0.5
        return torch.where(mirrored[:, None, None], new[:, order], new)

    zoom = (room / chosen.scale).to(batch.points)
    mirror = chosen.mirror.to(batch.pose)
    yaw, pitch, roll = batch.pose.unbind(dim=1)
    turned = roll - torch.rad2deg(chosen.turn).to(roll)
    order = MIRRORED.tolist()
    return Crops(
        images=nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False),
        points=moved(batch.points, order),
        inside=torch.where(mirrored[:, None], batch.inside[:, order], batch.inside),
        five=moved(batch.five, _MIRRORED_FIVE),
        pose=torch.stack([mirror * yaw, pitch, mirror * turned], dim=1),
        eye_distance=batch.eye_distance * zoom,
        five_distance=_FIVE_DISTANCE / chosen.scale.to(batch.points),
        dense=batch.kind == DENSE,
        sparse=batch.kind == FIVE,
        face=(batch.kind != NO_FACE).float(),
    )
