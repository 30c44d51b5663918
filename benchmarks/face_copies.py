"""Copies of labelled pictures as life spoils them: shrunk, darkened, turned, faces under masks.

Made with code of their own, not with that of the training scenes, and always the same: the picture's name is the seed.
"""

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_images import FacePicture
from mien.evaluation.detection import sides
from mien.faces.scaling import resized

__all__ = ["COPIES", "darkened", "enlarged_to", "masked", "shrunk_to", "turned"]


CLOTHS: Final = ((150, 190, 215), (235, 238, 240), (35, 35, 40), (200, 170, 160))


def _rng(picture: FacePicture) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(picture.source.encode()))


def shrunk_to(picture: FacePicture, side: float) -> FacePicture:
    """The picture scaled down so that its largest face has that side, if it was larger."""
    scale = min(1.0, side / max(sides(picture.boxes), default=side))
    image, factor = resized(picture.image, scale)
    return _scaled(picture, image, factor)


def _scaled(picture: FacePicture, image: NDArray[np.uint8], factor: NDArray[np.float64]) -> FacePicture:
    return replace(
        picture,
        image=image,
        boxes=picture.boxes * np.tile(factor, 2),
        landmarks=picture.landmarks * factor,
        ignore=picture.ignore * np.tile(factor, 2),
    )


def enlarged_to(picture: FacePicture, side: float) -> FacePicture:
    """The picture scaled up so that its largest face has that side, if it was smaller; pictures of small faces stay."""
    largest = max(sides(picture.boxes), default=0.0)
    if not 90 <= largest < side:
        return picture
    image, factor = resized(picture.image, side / largest)
    return _scaled(picture, image, factor)


def darkened(picture: FacePicture) -> FacePicture:
    """A fifth of the light, and the noise of a small sensor."""
    noise = _rng(picture).normal(0, 3, picture.image.shape)
    return replace(picture, image=np.clip(picture.image * 0.2 + noise, 0, 255).astype(np.uint8))


def turned(picture: FacePicture, degrees: float) -> FacePicture:
    """Turned about its middle on a sheet that holds all of it; every second picture the other way.

    A face's box becomes that of the ellipse inside the old one: faces have no corners.
    """
    degrees *= 1 if zlib.crc32(picture.source.encode()) % 2 else -1
    high, wide = picture.image.shape[:2]
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    size = np.ceil(np.abs(linear) @ (wide, high)).astype(int)
    shift = size / 2 - linear @ (wide / 2, high / 2)
    to_pixels = shift + linear @ (0.5, 0.5) - 0.5  # OpenCV counts from the centre of the first pixel
    image = cv2.warpAffine(
        picture.image,
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
        picture,
        image=np.asarray(image, np.uint8),
        boxes=boxes(picture.boxes),
        landmarks=picture.landmarks @ linear.T + shift,
        ignore=boxes(picture.ignore),
    )


def masked(picture: FacePicture) -> FacePicture:
    """A mask over every face, from under the eyes to under the chin, in one of a few colours, with shading."""
    rng = _rng(picture)
    image = picture.image.copy()
    for points in picture.landmarks:
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
        # Its shading: what little the light on the face says, and pleats.
        light = cv2.GaussianBlur(picture.image.mean(axis=2), (0, 0), max(1.0, float(np.linalg.norm(down)) / 2))
        light = light / max(float(light[cloth > 0].mean()) if cloth.any() else 1.0, 1.0)
        rows = np.arange(image.shape[0])[:, None] / max(2.0, float(np.linalg.norm(down)) / 3)
        pleats = 1 + 0.05 * np.sin(2 * np.pi * rows)
        paint = colour * (light * pleats).clip(0.4, 1.3)[:, :, None]
        image = np.clip(image * (1 - share) + paint * share, 0, 255).astype(np.uint8)
    return replace(picture, image=image)


COPIES: Final[dict[str, Callable[[FacePicture], FacePicture]]] = {
    "as they are": lambda picture: picture,
    "shrunk to 50 px": lambda picture: shrunk_to(picture, 50),
    "shrunk to 28 px": lambda picture: shrunk_to(picture, 28),
    "enlarged to 450 px": lambda picture: enlarged_to(picture, 450),
    "darkened": darkened,
    "turned 20": lambda picture: turned(picture, 20),
    "turned 45": lambda picture: turned(picture, 45),
    "masked": masked,
    "masked, shrunk to 50 px": lambda picture: shrunk_to(masked(picture), 50),
}
