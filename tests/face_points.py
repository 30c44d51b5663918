"""A drawn face whose 70 points are known exactly, in any place, turn and pose of its features."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.keypoints import COUNTS, POINTS_70


def face_points(
    *, eyes: float = 0.3, mouth: float = 0.2, brows: float = 0.5, smile: float = 1.0
) -> NDArray[np.float64]:
    """70 points of an upright face in its own frame: the middles of the eyes at (-0.5, 0) and (0.5, 0), y down.

    Args:
        eyes: Distance of the lids, relative to the eye's width.
        mouth: Distance of the inner lips.
        brows: Height of the brows above the eyes.
        smile: Width of the mouth.
    """
    points = np.zeros((COUNTS[POINTS_70], 2))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([1.15 * np.cos(angle), 0.1 + 1.65 * np.sin(angle)], axis=1)
    for start, side in ((17, -0.5), (22, 0.5)):
        points[start : start + 5] = np.stack([np.linspace(-0.3, 0.3, 5) + side, np.full(5, -brows)], axis=1)
    points[27:31] = np.stack([np.zeros(4), np.linspace(0.05, 0.62, 4)], axis=1)
    points[31:36] = np.stack([np.linspace(-0.2, 0.2, 5), np.full(5, 0.72)], axis=1)
    wide = 0.36  # an eye
    lid = eyes * wide / 2
    eye = np.array([[-wide / 2, 0], [-0.06, -lid], [0.06, -lid], [wide / 2, 0], [0.06, lid], [-0.06, lid]])
    points[36:42], points[42:48] = eye - np.array([0.5, 0]), eye + np.array([0.5, 0])
    half, middle = smile / 2, np.array([0, 1.05])
    outer = np.linspace(np.pi, -np.pi, 13)[:-1]
    points[48:60] = middle + np.stack([half * np.cos(outer), -(mouth / 2 + 0.1) * np.sin(outer)], axis=1)
    inner = [[-0.8 * half, 0], [-0.1, -mouth / 2], [0, -mouth / 2], [0.1, -mouth / 2]]
    inner += [[0.8 * half, 0], [0.1, mouth / 2], [0, mouth / 2], [-0.1, mouth / 2]]
    points[60:68] = middle + np.array(inner)
    points[68:70] = [[-0.5, 0], [0.5, 0]]
    return points


def placed(points: NDArray[np.float64], *, scale: float, turn: float, at: tuple[float, float]) -> NDArray[np.float64]:
    """Points of the frame in an image: scaled, turned clockwise by degrees, moved."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return np.asarray(points @ (scale * np.array([[cos, sin], [-sin, cos]])) + at)


def drawn_face(size: tuple[int, int], points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """An image (H, W, 3) with a face whose features are at these points of the image."""
    high, wide = size
    image = np.full((high, wide, 3), rng.uniform(30, 90), np.uint8)
    skin, dark = float(rng.uniform(150, 220)), float(rng.uniform(10, 60))

    def polygon(rows: NDArray[np.float64], value: float) -> None:
        cv2.fillPoly(image, [np.rint((rows - 0.5) * 16).astype(np.int32)], (value,) * 3, cv2.LINE_AA, 4)

    unit = float(np.linalg.norm(points[45] - points[36]))
    up = np.array([points[45, 1] - points[36, 1], -(points[45, 0] - points[36, 0])]) / unit
    polygon(np.concatenate([points[:17], points[26:16:-1] + up * 0.4 * unit]), skin)
    for brow in (slice(17, 22), slice(22, 27)):
        polygon(np.concatenate([points[brow], points[brow][::-1] - up * 0.06 * unit]), dark)
    polygon(points[31:36] + up * 0.02 * unit * np.array([[0], [1], [2], [1], [0]]), dark)
    for eye, iris in ((slice(36, 42), 68), (slice(42, 48), 69)):
        polygon(points[eye], 245)
        centre = tuple(np.rint((points[iris] - 0.5) * 16).astype(int).tolist())
        cv2.circle(image, centre, round(0.05 * unit * 16), (dark,) * 3, -1, cv2.LINE_AA, 4)
    polygon(points[48:60], 0.6 * skin)
    polygon(points[60:68], dark)
    noise = rng.normal(0, 4, (high, wide, 1))
    return np.clip(image + noise, 0, 255).astype(np.uint8)
