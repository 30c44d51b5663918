"""The shape of a face from its keypoints: coordinates, distances and angles, invariant to shift, scale and roll.

As in classic programs that read expressions from landmarks: each point's place relative to the centre and the size of
the face, its distance to the centroid, and the angle under which the centroid sees it. They are computed in the network
itself, so an exported file takes keypoints as any landmark method gives them, in pixels of any image.
"""

from typing import Final

import torch
from torch import Tensor, nn

from mien.faces.keypoints import COUNTS, LEFT_EYE, POINTS_68, RIGHT_EYE

COUNT: Final = COUNTS[POINTS_68]
VALUES: Final = 5  # of a point: x, y, distance, cosine and sine of the angle
_LEAST: Final = 1e-6


def shape_features(points: Tensor) -> Tensor:
    """The shape features of keypoints.

    The origin is the centroid of the points; the unit is the root of their mean squared distance to it; the x axis goes
    from the subject's right eye to the left one. An angle is given by its cosine and its sine, because the angle itself
    jumps at 180 degrees.

    Args:
        points: (..., K, 2) x and y in any unit, K at least 68, of which the first 68 are used; a face with a nan in it
            is unknown.

    Returns:
        (..., 68, 5) float32: x, y, distance to the centroid, cosine and sine of the angle; zeros for an unknown face
        and for points that all coincide.
    """
    points = points[..., :COUNT, :].float()
    unknown = torch.isnan(points).any(dim=-1, keepdim=True).any(dim=-2, keepdim=True)  # (..., 1, 1)
    points = torch.where(unknown, torch.zeros_like(points), points)
    placed = points - points.mean(dim=-2, keepdim=True)
    size = placed.square().sum(dim=-1, keepdim=True).mean(dim=-2, keepdim=True).sqrt()  # (..., 1, 1)
    placed = placed / size.clamp(min=_LEAST)
    right, left = (placed[..., eye, :].mean(dim=-2, keepdim=True) for eye in (RIGHT_EYE, LEFT_EYE))
    axis = _unit(left - right)  # (..., 1, 2)
    across, down = axis[..., :1], axis[..., 1:]
    x = placed[..., :1] * across + placed[..., 1:] * down
    y = placed[..., 1:] * across - placed[..., :1] * down
    turned = torch.cat([x, y], dim=-1)  # (..., 68, 2)
    distance = _length(turned)
    return torch.cat([turned, distance, turned / distance.clamp(min=_LEAST)], dim=-1)


def _length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(dim=-1, keepdim=True).sqrt()


def _unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1; those without a length become (0, 0)."""
    return vectors / _length(vectors).clamp(min=_LEAST)


class ShapeNorm(nn.Module):
    """Shape features, each scaled by its mean and its spread over the training faces.

    Expressions move the points by a few hundredths of the unit, and faces differ little more: without scaling, a
    network needs many epochs to see any of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(COUNT * VALUES)

    def forward(self, points: Tensor) -> Tensor:
        """Keypoints (N, K, 2) -> (N, 5, 68)."""
        features = shape_features(points).transpose(1, 2)  # (N, 5, 68)
        scaled: Tensor = self.norm(features.flatten(1)).reshape(features.shape)
        return scaled
