"""Measures of a face that a person understands, from its keypoints: openings, heights, widths, where the irises are.

They are measurements of an image, not action units: a camera from below raises brows, and a turn of the head narrows an
eye. Lengths are divided by the distance of the outer eye corners, which is divided by the cosine of the yaw before,
because the eyes come closer in the image when the head turns.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.faces.keypoints import EYE_CORNERS, LEFT_BROW, LEFT_EYE, MOUTH_CORNERS, RIGHT_BROW, RIGHT_EYE
from mien.results import Measures

_LARGEST_YAW: Final = 60.0  # degrees; beyond it, the far eye is a guess and the cosine near 0
_LEAST: Final = 1e-3  # pixels
# Upper and lower lid of each eye, two pairs each; upper and lower inner lip, three pairs.
_RIGHT_LIDS: Final = ((37, 38), (41, 40))
_LEFT_LIDS: Final = ((43, 44), (47, 46))
_LIPS: Final = ((61, 62, 63), (67, 66, 65))
_RIGHT_CORNERS: Final = (36, 39)
_LEFT_CORNERS: Final = (42, 45)
_IRISES: Final = (68, 69)


def measures_of(points: NDArray[np.floating], yaw: float | None = None) -> Measures:
    """The measures of one face.

    Args:
        points: (68, 2) or (70, 2) keypoints in the order of `mien.faces.keypoints`; any unit.
        yaw: Of the head, in degrees; None if unknown.
    """
    place: NDArray[np.float64] = np.asarray(points, np.float64)
    across = _apart(place, *EYE_CORNERS)
    unit = across / math.cos(math.radians(min(abs(yaw or 0.0), _LARGEST_YAW)))
    heights = [
        _height(place[brow].mean(axis=0), place[eye].mean(axis=0), place)
        for brow, eye in ((RIGHT_BROW, RIGHT_EYE), (LEFT_BROW, LEFT_EYE))
    ]
    iris_x = iris_y = None
    if len(place) > _IRISES[1]:
        irises = np.array([_iris(place, *pair) for pair in ((_RIGHT_CORNERS, _IRISES[0]), (_LEFT_CORNERS, _IRISES[1]))])
        iris_x, iris_y = irises.mean(axis=0).tolist()
    return Measures(
        right_eye_openness=_gap(place, _RIGHT_LIDS) / _apart(place, *_RIGHT_CORNERS),
        left_eye_openness=_gap(place, _LEFT_LIDS) / _apart(place, *_LEFT_CORNERS),
        brow_height=float(np.mean(heights)) / unit,
        mouth_opening=_gap(place, _LIPS) / unit,
        smile_width=_apart(place, *MOUTH_CORNERS) / across,
        iris_x=iris_x,
        iris_y=iris_y,
    )


def _apart(points: NDArray[np.float64], one: int, other: int) -> float:
    return max(float(np.linalg.norm(points[one] - points[other])), _LEAST)


def _gap(points: NDArray[np.float64], pairs: tuple[tuple[int, ...], tuple[int, ...]]) -> float:
    """The mean distance of upper from lower points."""
    upper, lower = (points[list(each)] for each in pairs)
    return float(np.linalg.norm(upper - lower, axis=1).mean())


def _height(upper: NDArray[np.float64], lower: NDArray[np.float64], points: NDArray[np.float64]) -> float:
    """How far a point is above another, across the line of the eyes."""
    along = points[EYE_CORNERS[1]] - points[EYE_CORNERS[0]]
    up = np.array([along[1], -along[0]]) / max(float(np.linalg.norm(along)), _LEAST)
    return float((upper - lower) @ up)


def _iris(points: NDArray[np.float64], corners: tuple[int, int], iris: int) -> tuple[float, float]:
    """The place of an iris along the line from the first to the second corner, and above it, in eye widths."""
    first, second = points[list(corners)]
    along = second - first
    width = max(float(np.linalg.norm(along)), _LEAST)
    along /= width
    offset = (points[iris] - (first + second) / 2) / width
    return float(offset @ along), float(offset @ np.array([along[1], -along[0]]))
