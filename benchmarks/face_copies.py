"""Degraded copies of labelled images: shrunk, darkened, rotated, with masks over the faces.

The code is independent of that of the training scenes, and repeatable: the name of the sample is the seed.
"""

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_images import FaceImage
from mien.evaluation.detection import sides
from mien.opencv import resized

__all__ = ["COPIES", "darkened", "enlarged_to", "masked", "shrunk_to", "turned"]


CLOTHS: Final = ((150, 190, 215), (235, 238, 240), (35, 35, 40), (200, 170, 160))


def _rng(sample: FaceImage) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(sample.source.encode()))


def shrunk_to(sample: FaceImage, side: float) -> FaceImage:
    """Scales the image down so that its largest face has this side, if it is larger."""
    scale = min(1.0, side / max(sides(sample.boxes), default=side))
    image, factor = resized(sample.image, scale)
    return _scaled(sample, image, factor)


def _scaled(sample: FaceImage, image: NDArray[np.uint8], factor: NDArray[np.float64]) -> FaceImage:
    return replace(
        sample,
        image=image,
        boxes=sample.boxes * np.tile(factor, 2),
        landmarks=sample.landmarks * factor,
        ignore=sample.ignore * np.tile(factor, 2),
    )


def enlarged_to(sample: FaceImage, side: float) -> FaceImage:
    """Scales the image up so that its largest face has this side, if it is smaller; not images of small faces."""
    largest = max(sides(sample.boxes), default=0.0)
    if not 90 <= largest < side:
        return sample
    image, factor = resized(sample.image, side / largest)
    return _scaled(sample, image, factor)


def darkened(sample: FaceImage) -> FaceImage:
    """20% brightness, with the noise of a small sensor."""
    noise = _rng(sample).normal(0, 3, sample.image.shape)
    return replace(sample, image=np.clip(sample.image * 0.2 + noise, 0, 255).astype(np.uint8))


def turned(sample: FaceImage, degrees: float) -> FaceImage:
    """Rotates the image about its centre, enlarging it so that nothing is cut off; every second one the other way.

    The new box of a face is that of the rotated ellipse inside the old box.
    """
    degrees *= 1 if zlib.crc32(sample.source.encode()) % 2 else -1
    high, wide = sample.image.shape[:2]
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    size = np.ceil(np.abs(linear) @ (wide, high)).astype(int)
    shift = size / 2 - linear @ (wide / 2, high / 2)
    to_pixels = shift + linear @ (0.5, 0.5) - 0.5  # OpenCV counts from the centre of the first pixel
    image = cv2.warpAffine(
        sample.image,
        np.column_stack([linear, to_pixels]),
        size.tolist(),
        flags=cv2.INTER_LINEAR,
        borderValue=(110,) * 3,
    )

    def boxes(old: NDArray[np.float64]) -> NDArray[np.float64]:
        middle = (old[:, :2] + old[:, 2:]) / 2 @ linear.T + shift
        across, down = ((old[:, 2:] - old[:, :2]) / 2).T
        half = np.stack([np.hypot(across * cos, down * sin), np.hypot(across * sin, down * cos)], axis=1)
        return np.concatenate([middle - half, middle + half], axis=1)

    return replace(
        sample,
        image=np.asarray(image, np.uint8),
        boxes=boxes(sample.boxes),
        landmarks=sample.landmarks @ linear.T + shift,
        ignore=boxes(sample.ignore),
    )


def masked(sample: FaceImage) -> FaceImage:
    """Draws a mask over every face, from below the eyes to below the chin, in one of a few colours, with shading."""
    rng = _rng(sample)
    image = sample.image.copy()
    for points in sample.landmarks:
        right_eye, left_eye, nose, right_mouth, left_mouth = points
        eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
        down = mouth - eyes
        across = (left_eye - right_eye) * rng.uniform(0.8, 0.95)
        bridge = eyes + down * 0.3 + (nose - eyes) * 0.1
        side = eyes + down * 0.4
        chin = mouth + down * rng.uniform(0.6, 0.75)
        curve = np.array(
            [
                side - across,
                bridge - across * 0.3,
                bridge - down * 0.06,
                bridge + across * 0.3,
                side + across,
                mouth + across * 0.95 + down * 0.1,
                chin + across * 0.5,
                chin + down * 0.05,
                chin - across * 0.5,
                mouth - across * 0.95 + down * 0.1,
            ]
        )
        colour = np.array(CLOTHS[int(rng.integers(len(CLOTHS)))], float)
        cloth = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(cloth, [np.round(curve * 16 - 8).astype(np.int32)], 255, cv2.LINE_AA, 4)
        share = cloth[:, :, None] / 255
        # Shading from the light on the face, and pleats.
        light = cv2.GaussianBlur(sample.image.mean(axis=2), (0, 0), max(1.0, float(np.linalg.norm(down)) / 2))
        light = light / max(float(light[cloth > 0].mean()) if cloth.any() else 1.0, 1.0)
        rows = np.arange(image.shape[0])[:, None] / max(2.0, float(np.linalg.norm(down)) / 3)
        pleats = 1 + 0.05 * np.sin(2 * np.pi * rows)
        paint = colour * (light * pleats).clip(0.4, 1.3)[:, :, None]
        image = np.clip(image * (1 - share) + paint * share, 0, 255).astype(np.uint8)
    return replace(sample, image=image)


COPIES: Final[dict[str, Callable[[FaceImage], FaceImage]]] = {
    "unchanged": lambda sample: sample,
    "shrunk to 50 px": lambda sample: shrunk_to(sample, 50),
    "shrunk to 28 px": lambda sample: shrunk_to(sample, 28),
    "enlarged to 450 px": lambda sample: enlarged_to(sample, 450),
    "darkened": darkened,
    "turned 20": lambda sample: turned(sample, 20),
    "turned 45": lambda sample: turned(sample, 45),
    "turned 90": lambda sample: turned(sample, 90),
    "masked": masked,
    "masked, shrunk to 50 px": lambda sample: shrunk_to(masked(sample), 50),
}
