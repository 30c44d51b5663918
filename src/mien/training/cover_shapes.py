"""Shapes of what covers faces: masks, sunglasses and hands, in the frame of a face.

In that frame the middle of the eyes is (0, 0), the subject's right eye (-0.5, 0), the left one (0.5, 0), and the chin
is near (0, 1.6). `expression/covers.py` draws these shapes on canvases that are warped onto the crops of a batch,
`detection/occlusion.py` draws them in whole images.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

# The five landmarks in the frame of the face, in the order of `results.LANDMARKS`.
FACE: Final = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.62], [-0.4, 1.05], [0.4, 1.05]])
SUBPIXEL: Final = 4  # bits after the binary point in OpenCV's drawing


def fixed_point(points: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
    """Pixels (N, 2) as fixed-point numbers with `SUBPIXEL` bits, for OpenCV; distant ones are clipped."""
    return np.asarray(np.clip((points - 0.5) * 2**SUBPIXEL, -(2**20), 2**20).round(), np.int32)


def mask_outline(top: float, nose: float, chin: float, wide: float, lower: tuple[float, float]) -> Points:
    """The outline (10, 2) of a mask, clockwise in the image from the bridge of the nose.

    Args:
        top: Height of the upper edge over the cheeks.
        nose: How far the edge rises over the nose.
        chin: Height of the lowest point.
        wide: Half the width.
        lower: The corner between cheek and chin, as shares of `wide` and `chin`.
    """
    half = np.array(
        [
            [0, top - nose],
            [wide * 0.55, top],
            [wide, top + 0.15],
            [wide * 0.95, chin * 0.72],
            [wide * lower[0], chin * lower[1]],
        ]
    )
    return np.concatenate([half, [[0, chin]], half[:0:-1] * (-1, 1)])


def ear_loops(rng: np.random.Generator, top: float, wide: float, reach: float) -> Iterator[Points]:
    """The lines (2, 2) from the edge of a mask to the ears, which are `reach` from the middle; each may be hidden."""
    for side in (-1, 1):
        if rng.random() < 0.6:
            yield np.array([[side * wide, top + 0.2], [side * reach, rng.uniform(-0.1, 0.3)]])


def lens_outline(radius: Points, power: float, count: int) -> Points:
    """The outline (count, 2) of a lens around (0, 0): round for the power 1, nearly square for 0.4 (superellipse)."""
    angle = np.linspace(0, 2 * np.pi, count + 1)[:-1]
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.asarray(np.sign(circle) * np.abs(circle) ** power * radius, np.float64)


def hand_pose(rng: np.random.Generator, heights: tuple[float, float]) -> tuple[Points, Points, Points]:
    """A hand at random before the face: the middle of its palm, and unit vectors along and across its fingers."""
    middle = np.array([rng.uniform(-0.8, 0.8), rng.uniform(*heights)])
    angle = rng.uniform(0, 2 * np.pi)
    return middle, np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])


def palm_outline(pose: tuple[Points, Points, Points], radius: float, stretch: float, count: int) -> Points:
    """The ellipse (count, 2) of a palm, `stretch` times as long as wide."""
    middle, along, across = pose
    circle = np.linspace(0, 2 * np.pi, count + 1)[:-1, None]
    return np.asarray(middle + radius * (np.cos(circle) * along * stretch + np.sin(circle) * across), np.float64)
