"""Occlusions of faces: masks, sunglasses, hands and bars, drawn over an image at the landmarks of a face.

Every cover is a polygon in the frame of the face (`cover_shapes`). An affine map fitted to the five landmarks places it
in the image, so that it follows the pose of the face.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.training.cover_shapes import (
    FACE,
    SUBPIXEL,
    Points,
    ear_loops,
    fixed_point,
    hand_pose,
    lens_outline,
    mask_outline,
    palm_outline,
)


def cover(image: NDArray[np.uint8], landmarks: NDArray[np.floating], rng: np.random.Generator) -> None:
    """Draws one cover, chosen at random, over a face.

    Args:
        image: (H, W, 3) uint8 RGB; changed in place.
        landmarks: (5, 2) of the face, in pixels.
        rng: The random generator.
    """
    to_image = _frame(np.asarray(landmarks, np.float64))
    kind = rng.choice(4, p=(0.55, 0.15, 0.2, 0.1))
    (_mask, _sunglasses, _hand, _bar)[kind](image, to_image, rng)


def _frame(landmarks: Points) -> Points:
    """(3, 2) affine map from the frame of the face into the image, in least squares."""
    known = np.column_stack([FACE, np.ones(len(FACE))])
    return np.asarray(np.linalg.lstsq(known, landmarks, rcond=None)[0], np.float64)


def _mask(image: NDArray[np.uint8], to_image: Points, rng: np.random.Generator) -> None:
    """A surgical, folded or cloth mask: from the bridge of the nose to under the chin, ear to ear."""
    top, nose = rng.uniform(0.18, 0.6), rng.uniform(0.05, 0.25)
    chin, wide = rng.uniform(1.45, 1.8), rng.uniform(0.75, 1.05)
    # From the cheek on, so that a seed draws the same mask as in earlier versions.
    outline = np.roll(mask_outline(top, nose, chin, wide, (0.55, 0.95)), 2, axis=0) + rng.normal(0, 0.03, (10, 2))
    white = rng.random() < 0.3
    base = rng.uniform(190, 250, 1).repeat(3) if white else _colour(rng)
    for loop in ear_loops(rng, top, wide, 1.25):
        _line(image, _placed(loop, to_image), base * 0.9)
    _fill(image, _placed(outline, to_image), base, rng, shaded=True)
    for _ in range(int(rng.integers(0, 4))):  # folds
        height = rng.uniform(top + 0.15, chin - 0.15)
        fold = np.array([[-wide * 0.9, height], [0, height + rng.uniform(-0.05, 0.15)], [wide * 0.9, height]])
        _line(image, _placed(fold, to_image), base * rng.uniform(0.6, 0.95))


def _sunglasses(image: NDArray[np.uint8], to_image: Points, rng: np.random.Generator) -> None:
    radius, dark = rng.uniform(0.24, 0.42, 2), rng.uniform(0, 60) * np.ones(3)
    shape = lens_outline(radius, rng.uniform(0.5, 1.0), 16)
    for side in (-0.5, 0.5):
        _fill(image, _placed(shape + np.array([side, 0.02]), to_image), dark, rng)
    _line(image, _placed(np.array([[-1.1, -0.08], [0, -0.06], [1.1, -0.08]]), to_image), dark)


def _hand(image: NDArray[np.uint8], to_image: Points, rng: np.random.Generator) -> None:
    """A hand before mouth, cheek or eye: a palm with fingers, coloured like skin."""
    skin = np.array([225, 180, 150.0]) * rng.uniform(0.3, 1.1)
    middle, along, across = pose = hand_pose(rng, (0.1, 1.6))
    palm = palm_outline(pose, rng.uniform(0.3, 0.5), 1.0, 12)
    _fill(image, _placed(palm, to_image), skin, rng, shaded=True)
    for number in range(int(rng.integers(2, 5))):
        start = middle + (number - 1.5) * 0.2 * across + 0.3 * along
        tip = start + rng.uniform(0.5, 0.9) * along
        finger = np.stack([start - 0.09 * across, tip - 0.07 * across, tip + 0.07 * across, start + 0.09 * across])
        _fill(image, _placed(finger, to_image), skin * rng.uniform(0.85, 1.1), rng)


def _bar(image: NDArray[np.uint8], to_image: Points, rng: np.random.Generator) -> None:
    """Anything in front of the face: an edge, a phone, a scarf."""
    middle, size = rng.uniform((-0.9, -0.9), (0.9, 1.7)), rng.uniform(0.25, 0.7, 2)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    _fill(image, _placed(corners @ turn + middle, to_image), _colour(rng), rng)


def _colour(rng: np.random.Generator) -> Points:
    """Often blue, grey or black, like masks and cloth; otherwise any colour."""
    kind = rng.random()
    if kind < 0.35:
        return np.array([110, 165, 200.0]) * rng.uniform(0.6, 1.25)
    if kind < 0.55:
        return np.full(3, rng.uniform(5, 80))
    return rng.uniform(10, 245, 3)


def _placed(points: Points, to_image: Points) -> Points:
    return np.column_stack([points, np.ones(len(points))]) @ to_image


def _fill(
    image: NDArray[np.uint8], points: Points, colour: Points, rng: np.random.Generator, *, shaded: bool = False
) -> None:
    """Fills a polygon; if `shaded`, brighter at the top and with the texture of cloth."""
    height, width = image.shape[:2]
    low = np.clip(np.floor(points.min(axis=0)).astype(int) - 1, 0, (width, height))
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + 2, 0, (width, height))
    if (high <= low).any():
        return
    part = image[low[1] : high[1], low[0] : high[0]]
    if not shaded:
        painted = np.ascontiguousarray(part)
        cv2.fillPoly(painted, [fixed_point(points - low)], colour.tolist(), cv2.LINE_AA, SUBPIXEL)
        part[:] = painted
        return
    share = np.zeros(part.shape[:2], np.uint8)
    cv2.fillPoly(share, [fixed_point(points - low)], 255, cv2.LINE_AA, SUBPIXEL)
    light = np.linspace(rng.uniform(0.9, 1.15), rng.uniform(0.6, 1.0), part.shape[0])[:, None, None]
    cloth = colour * light + rng.normal(0, rng.uniform(0, 8), (*part.shape[:2], 1))
    weight = share[:, :, None] / 255.0
    part[:] = np.clip(part * (1 - weight) + cloth * weight, 0, 255).astype(np.uint8)


def _line(image: NDArray[np.uint8], points: Points, colour: Points) -> None:
    length = float(np.abs(np.diff(points, axis=0)).sum())
    cv2.polylines(
        image,
        [fixed_point(points)],
        False,
        np.clip(colour, 0, 255).tolist(),
        max(1, round(length / 40)),
        cv2.LINE_AA,
        SUBPIXEL,
    )
