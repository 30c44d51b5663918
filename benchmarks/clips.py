"""Videos with known people, made of photographs: heads that move, turn, grow and cross on a textured background.

A `Head` is cut out of a photograph; a `Part` moves it. `frames` draws them, later parts in front of earlier ones, and
says where each face is and how much of it is visible.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.results import Frame

FPS: Final = 25.0
# The area of a head around the box of its face: hair, ears and chin.
_ACROSS, _UP, _DOWN = 0.38, 0.45, 0.2


@dataclass(frozen=True, eq=False)
class Head:
    """A head: its pixels (H, W, 3) uint8 RGB, and the box (4,) of the face in them."""

    pixels: NDArray[np.uint8]
    box: NDArray[np.float32]

    @property
    def size(self) -> float:
        """The root of the area of the face's box."""
        return float(np.sqrt(np.prod(self.box[2:] - self.box[:2])))


@dataclass(frozen=True)
class Pose:
    """Where a head is: the centre of its face, its size in pixels, its turn in degrees, and its brightness."""

    x: float
    y: float
    size: float
    turn: float = 0.0
    light: float = 1.0


@dataclass(frozen=True, eq=False)
class Part:
    """What a person does in a clip: the pose at each time in seconds; None while the person is away."""

    person: int
    head: Head
    pose: Callable[[float], Pose | None]


@dataclass(frozen=True, eq=False)
class Seen:
    """A person in a frame: the centre and size of the face, and the share of its area that is visible."""

    person: int
    x: float
    y: float
    size: float
    visible: float


def background(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """A quiet room: soft patches of a few colours, (H, W, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    base, coarse = rng.uniform(70, 170, 3), rng.normal(0, 30, (5, 8, 3))
    fine = rng.normal(0, 8, (height // 12, width // 12, 3))
    layers = (cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) for layer in (coarse, fine))
    return np.clip(base + sum(layers), 0, 255).astype(np.uint8)


def frames(
    parts: Sequence[Part],
    seconds: float,
    room: NDArray[np.uint8],
    *,
    fps: float = FPS,
    noise: float = 2.0,
    seed: int = 0,
) -> Iterator[tuple[Frame, list[Seen]]]:
    """The frames of a clip, and who is in each.

    Args:
        parts: The people; later ones are in front.
        seconds: The length.
        room: The background, (H, W, 3) uint8 RGB.
        fps: Frames per second.
        noise: Standard deviation of the camera's noise, in grey levels.
        seed: Of the noise.
    """
    rng = np.random.default_rng(seed)
    for index in range(round(seconds * fps)):
        time = index / fps
        canvas, owner = room.astype(np.float32), np.full(room.shape[:2], -1, np.int16)
        placed = []
        for number, part in enumerate(parts):
            pose = part.pose(time)
            if pose is not None:
                placed.append((number, part.person, pose, _paste(canvas, owner, number, part.head, pose)))
        seen = [
            Seen(person, pose.x, pose.y, pose.size, float((owner.ravel()[area] == number).sum() / full))
            for number, person, pose, (area, full) in placed
        ]
        canvas += noise * rng.standard_normal(canvas.shape, np.float32)
        yield Frame(np.clip(canvas, 0, 255).astype(np.uint8), "clip.mp4", index, time), seen


def _paste(
    canvas: NDArray[np.float32], owner: NDArray[np.int16], number: int, head: Head, pose: Pose
) -> tuple[NDArray[np.int64], float]:
    """Draws a head; gives the pixels of its face in the frame, and how many they would be without the border."""
    high, wide = canvas.shape[:2]
    centre = (head.box[:2] + head.box[2:]) / 2
    scale = pose.size / head.size
    across, down = (head.box[2:] - head.box[:2]).tolist()
    reach = scale * max(across * (1 + _ACROSS), down * (1 + _UP + _DOWN))
    x0, y0 = max(0, int(pose.x - reach)), max(0, int(pose.y - reach))
    x1, y1 = min(wide, int(pose.x + reach)), min(high, int(pose.y + reach))
    full = math.pi / 4 * across * down * scale**2
    if x0 >= x1 or y0 >= y1:
        return np.empty((0,), np.int64), full
    middle = (float(centre[0]), float(centre[1]))
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, -pose.turn, scale), np.float64)
    matrix[:, 2] += (pose.x - x0, pose.y - y0) - centre
    size = (x1 - x0, y1 - y0)
    pixels = cv2.GaussianBlur(head.pixels, (0, 0), 0.4 / scale) if scale < 1 else head.pixels
    drawn = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR).astype(np.float32)
    below = (middle[0], middle[1] + down * (_DOWN - _UP) / 2)
    rim = _ellipse(head, below, across * (1 + _ACROSS), down * (1 + _UP + _DOWN))
    alpha = cv2.warpAffine(cv2.GaussianBlur(rim, (0, 0), 1.5), matrix, size, flags=cv2.INTER_LINEAR)
    face = _ellipse(head, middle, across, down)
    rows, columns = np.nonzero(cv2.warpAffine(face, matrix, size, flags=cv2.INTER_NEAREST) > 0.5)
    part = canvas[y0:y1, x0:x1]
    part += alpha[..., None] * (drawn * pose.light - part)
    owner[y0:y1, x0:x1][alpha > 0.5] = number
    return (rows + y0) * wide + columns + x0, full


def _ellipse(head: Head, middle: tuple[float, float], across: float, down: float) -> NDArray[np.float32]:
    """1 inside an ellipse of that size on the head's pixels, else 0."""
    mask = np.zeros(head.pixels.shape[:2], np.float32)
    cv2.ellipse(mask, (middle, (float(across), float(down)), 0.0), 1.0, -1)
    return mask


def sway(x: float, y: float, size: float, phase: float, *, light: float = 1.0) -> Callable[[float], Pose]:
    """Someone who sits: the head moves by a tenth of its size, turns and comes nearer."""

    def pose(time: float) -> Pose:
        one, other = math.sin(1.3 * time + phase), math.sin(0.9 * time + 2.1 * phase + 1)
        near = 1 + 0.04 * math.sin(0.7 * time + phase)
        return Pose(x + 0.12 * size * one, y + 0.06 * size * other, size * near, 5 * other, light)

    return pose


def walk(
    start: tuple[float, float], end: tuple[float, float], size: float, seconds: float, *, begin: float = 0.0
) -> Callable[[float], Pose | None]:
    """Someone who walks from one place to another, bobbing, and is away before and after."""

    def pose(time: float) -> Pose | None:
        share = (time - begin) / seconds
        if not 0 <= share <= 1:
            return None
        x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
        return Pose(x, y + 0.05 * size * math.sin(11 * time), size, 2 * math.sin(5 * time))

    return pose
