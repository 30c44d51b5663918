"""The training module of a landmark network: losses of points, openings, pose and face score, and their metrics."""

from typing import Any, Final

import torch
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.faces.keypoints import JAW, LEFT_EYE, MOUTH_CORNERS, NOSE_TIP, RIGHT_EYE
from mien.models.landmarks.face_landmarks import FaceLandmarks, Found
from mien.training.degradation import degrade
from mien.training.landmarks.data import Batch
from mien.training.landmarks.placement import Crops, drawn, placed
from mien.training.landmarks.recipe import LandmarkRecipe
from mien.training.tasks import Sums, TrainingModule

MEAN: Final = 0.5
STD: Final = 0.25
# Where the error of a point turns from linear to squared, in eye distances.
_BEND: Final = 0.004
# Upper and lower points of the eyes and of the inner lips, whose distances are the openings.
_UPPER: Final = (37, 38, 43, 44, 61, 62, 63)
_LOWER: Final = (41, 40, 47, 46, 67, 66, 65)
# The jaw's points slide along the outline when the head turns: their weight falls to a third at this yaw.
_TURNED: Final = 45.0


def distances(found: Tensor, known: Tensor, unit: Tensor) -> Tensor:
    """Distances (N, K) of points (N, K, 2) from known ones, in units (N,)."""
    apart: Tensor = torch.linalg.vector_norm(found - known, dim=2)
    return apart / unit.clamp(min=1e-3)[:, None]


def smooth(distance: Tensor) -> Tensor:
    """The distance, with a squared bottom: sqrt(d^2 + b^2) - b (Charbonnier et al., ICIP 1994)."""
    return torch.sqrt(distance**2 + _BEND**2) - _BEND


def five_of(points: Tensor) -> Tensor:
    """Five landmarks (N, 5, 2) of dense points (N, 70, 2); as `mien.faces.keypoints.five_of`."""
    eyes = [points[:, eye].mean(dim=1, keepdim=True) for eye in (RIGHT_EYE, LEFT_EYE)]
    return torch.cat([*eyes, points[:, [NOSE_TIP, *MOUTH_CORNERS]]], dim=1)


class LandmarkModule(TrainingModule):
    """Trains points, pose and face score together."""

    network: FaceLandmarks

    def __init__(self, recipe: dict[str, Any], mean_shape: list[list[float]], room: float) -> None:
        super().__init__(recipe=recipe, mean_shape=mean_shape, room=room)
        self.recipe, self.room = LandmarkRecipe.model_validate(recipe), room
        try:
            self.network = FaceLandmarks(mean_shape, size=self.recipe.size, **self.recipe.model.options)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"the landmark network cannot be built: {reason}",
                hint="see the options of the network in [model.options]",
            ) from error

    def forward(self, images: Tensor) -> Found:
        """Crops (N, 1, size, size), values 0-1 -> what is found in them."""
        normal = ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        found: Found = self.network(normal)
        return found

    def _losses(self, crops: Crops, found: Found) -> dict[str, Tensor]:
        """The losses; those of points and pose are means over the faces for which they are known."""
        dense, sparse = crops.dense, crops.sparse
        nothing = found.points.sum() * 0
        losses = dict.fromkeys(("points", "openings", "pose", "five"), nothing)
        if dense.any():
            points, known = found.points[dense].float(), crops.points[dense]
            unit, inside, pose = crops.eye_distance[dense], crops.inside[dense], crops.pose[dense]
            weight = inside.clone()
            turned = (pose[:, :1].abs() / _TURNED).clamp(max=1)
            weight[:, JAW] *= self.recipe.loss.jaw * (1 - 2 / 3 * turned)
            losses["points"] = (smooth(distances(points, known, unit)) * weight).sum() / weight.sum().clamp(min=1)
            gap, true = (each[:, _UPPER] - each[:, _LOWER] for each in (points, known))
            both = inside[:, _UPPER] * inside[:, _LOWER]
            losses["openings"] = (smooth(distances(gap, true, unit)) * both).sum() / both.sum().clamp(min=1)
            losses["pose"] = nn.functional.smooth_l1_loss(found.pose[dense].float(), pose, beta=1.0)
        if sparse.any():
            apart = distances(five_of(found.points[sparse].float()), crops.five[sparse], crops.five_distance[sparse])
            losses["five"] = smooth(apart).mean()
        losses["score"] = nn.functional.binary_cross_entropy_with_logits(found.score.float(), crops.face)
        return losses

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        weights = self.recipe.loss
        return torch.stack([getattr(weights, name) * loss for name, loss in losses.items()]).sum()

    def training_step(self, batch: Batch) -> tuple[Tensor, Sums]:
        """The weighted sum of the losses on crops at random places, degraded."""
        count = len(batch.crops)
        crops = placed(batch, drawn(count, self.recipe), self.recipe.size, self.room)
        images = degrade(crops.images, self.recipe.augmentation)
        losses = self._losses(crops, self(images))
        total = self._total(losses)
        sums: Sums = {"train/loss": (total * count, count)}
        for name, loss in losses.items():
            sums[f"train/{name}"] = (loss * count, count)
        return total, sums

    def validation_step(self, batch: Batch) -> Sums:
        """The losses on crops at random places that are always the same, not degraded."""
        count = len(batch.crops)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(count)
            crops = placed(batch, drawn(count, self.recipe), self.recipe.size, self.room)
        found = self(crops.images)
        losses = self._losses(crops, found)
        sums: Sums = {
            "val/loss": (self._total(losses) * count, count),
            "val/score/loss": (losses["score"] * count, count),
        }
        apart = distances(found.points.float(), crops.points, crops.eye_distance) * crops.inside
        rest = torch.ones_like(apart)
        rest[:, JAW] = 0
        parts = {
            "image": (crops.dense & ~batch.fer2013, rest),
            "fer2013": (crops.dense & batch.fer2013, rest),
            "jaw": (crops.dense, 1 - rest),
        }
        for name, (chosen, counted) in parts.items():
            weight = crops.inside[chosen] * counted[chosen]
            if chosen.any():
                sums[f"val/{name}/loss"] = ((apart[chosen] * weight).sum(), weight.sum())
        if crops.dense.any():
            off = (found.pose[crops.dense].float() - crops.pose[crops.dense]).abs()
            sums["val/pose/loss"] = (off.sum(), off.new_tensor(off.numel()))
        right = (found.score > 0) == (crops.face > 0.5)
        return sums | {"val/score/right": (right.sum(), count)}
