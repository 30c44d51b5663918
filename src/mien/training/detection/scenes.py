"""Training scenes: labelled images, rotated, scaled and set side by side, covered, relit and degraded as by cameras.

Most labelled images hold one large face. A scene is a canvas divided into cells, each with an image that is scaled so
that one of its faces has a side drawn uniformly in the logarithm: from 10 pixels to more than the canvas.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_images import MIRRORED, FaceImage
from mien.evaluation.detection import sides
from mien.training.detection.occlusion import cover
from mien.training.detection.recipe import SceneRecipe


@dataclass(frozen=True)
class Scene:
    """A canvas and its faces.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        boxes: (N, 4) float32 xyxy, clipped to the canvas.
        landmarks: (N, 5, 2) float32; NaN if they are not known well enough to learn from.
        ignore: (M, 4) float32: boxes whose content is neither a face nor background.
        scores: (N,) float32: scores that a teacher gave the faces, 0-1; NaN if unknown.
        natural: Whether it is a photograph in its own light, as a teacher knows them: one image, not darkened.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    ignore: NDArray[np.float32]
    scores: NDArray[np.float32]
    natural: bool = False


@dataclass(frozen=True)
class Pyramid:
    """A labelled image at full, half, quarter size and so on, so that shrinking it does not alias."""

    levels: tuple[NDArray[np.uint8], ...]
    labels: FaceImage


def pyramid(image: FaceImage, smallest: int = 12) -> Pyramid:
    """The image with its smaller copies."""
    levels = [image.image]
    while min(levels[-1].shape[:2]) >= 2 * smallest:
        height, width = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.uint8))
    return Pyramid(tuple(levels), image)


@dataclass(frozen=True)
class Pool:
    """The images that scenes are made of.

    Attributes:
        faces: Images with faces (or with boxes to ignore).
        empty: Images without faces.
        chances: (F,) cumulative weights with which `faces` are drawn.
        whole: (F + E,) cumulative weights with which all images, `faces` first, are drawn for scenes of one image.
    """

    faces: tuple[Pyramid, ...]
    empty: tuple[Pyramid, ...]
    chances: NDArray[np.float64]
    whole: NDArray[np.float64]


def pool(images: Sequence[Pyramid], recipe: SceneRecipe) -> Pool:
    """Sorts the images into those with and without faces.

    Raises:
        ValueError: No image has a face.
    """
    holds = [bool(len(image.labels.boxes) or len(image.labels.ignore)) for image in images]
    faces = tuple(image for image, has in zip(images, holds, strict=True) if has)
    if not faces:
        raise ValueError("images: expected some with faces")
    empty = tuple(image for image, has in zip(images, holds, strict=True) if not has)
    chances = [recipe.favoured if _small(image.labels) else 1.0 for image in faces]
    hard = [recipe.hard if len(image.labels.mistakes) else 1.0 for image in (*faces, *empty)]
    return Pool(
        faces=faces,
        empty=empty,
        chances=np.cumsum(chances),
        whole=np.cumsum(np.array([*chances, *(1.0 for _ in empty)]) * hard),
    )


def compose(images: Pool, side: int, recipe: SceneRecipe, rng: np.random.Generator) -> Scene:
    """One random scene.

    Args:
        images: The images.
        side: Of the canvas, in pixels.
        recipe: Ranges and probabilities.
        rng: The random generator.
    """
    if recipe.whole and rng.random() < recipe.whole:
        return _whole(images, side, recipe, rng)
    canvas = np.empty((side, side, 3), np.uint8)
    grid = _drawn(recipe.grids, rng)
    boxes, landmarks, ignore, scores = [], [], [], []
    for x0, y0, x1, y1 in _cells(side, grid, rng):
        cell = canvas[y0:y1, x0:x1]
        _background(cell, images.empty, rng)
        if images.empty and rng.random() < recipe.empty:
            _distract(cell, images.empty, recipe, rng)
            continue
        image = images.faces[_weighted(images.chances, rng)]
        found = _paste(cell, image, recipe, rng)
        offset = np.array([x0, y0], np.float64)
        boxes.append(found.boxes + np.tile(offset, 2))
        landmarks.append(found.landmarks + offset)
        ignore.append(found.ignore + np.tile(offset, 2))
        scores.append(found.scores)
    photo = _photographed(canvas, recipe, rng)
    return Scene(
        image=photo,
        boxes=_joined(boxes, (4,)),
        landmarks=_joined(landmarks, (5, 2)),
        ignore=_joined(ignore, (4,)),
        scores=_joined(scores, ()),
    )


def _whole(images: Pool, side: int, recipe: SceneRecipe, rng: np.random.Generator) -> Scene:
    """A window of one image at about its own scale: whole people with their hands, and rooms, as photographs show them.

    What the image does not cover is black, like the padding of a search.
    """
    number = _weighted(images.whole, rng)
    many = len(images.faces)
    image = images.faces[number] if number < many else images.empty[number - many]
    labels = image.labels
    size = np.array(image.levels[0].shape[1::-1])
    scale = float(np.exp(rng.uniform(*np.log(recipe.zoom))))
    scale = max(scale, _COVERED * side / size.max())
    angle = np.radians(rng.normal(0, recipe.tilt / 2))
    mirrored = rng.random() < recipe.flip
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        linear = linear @ np.diag([-1.0, 1.0])
    shown = labels.mistakes if len(labels.mistakes) else labels.boxes
    centre = size * rng.uniform(0, 1, 2)
    if len(shown) and rng.random() < recipe.focus:
        box = shown[rng.integers(len(shown))]
        centre = (box[:2] + box[2:]) / 2 + rng.uniform(-0.4, 0.4, 2) * side / scale
    # The window stays on the image as far as the image is large enough.
    reach = np.minimum(side / scale, size) / 2
    centre = np.clip(centre, reach, size - reach)
    target = np.array([side, side]) / 2 + rng.uniform(-0.5, 0.5, 2) * np.maximum(0, side - scale * size)
    matrix = np.column_stack([linear, target - linear @ centre])
    canvas = np.zeros((side, side, 3), np.uint8)
    _warp(image, matrix, canvas)
    moved = _moved(labels, matrix, float(angle), mirrored=mirrored)
    darkened = _degrade(canvas, recipe, rng)
    seen = _visible(moved, canvas)
    return Scene(
        image=_photographed(canvas, recipe, rng),
        boxes=_joined([seen.boxes], (4,)),
        landmarks=_joined([seen.landmarks], (5, 2)),
        ignore=_joined([seen.ignore], (4,)),
        scores=_joined([seen.scores], ()),
        natural=not darkened,
    )


def _small(labels: FaceImage) -> bool:
    """Whether the image holds small faces as a camera recorded them; shrunk large ones are not quite the same."""
    return bool(len(labels.boxes)) and float(sides(labels.boxes).min()) < _SMALL


def _weighted(chances: NDArray[np.float64], rng: np.random.Generator) -> int:
    """An index, drawn by cumulative weights."""
    return int(np.searchsorted(chances, rng.uniform(0, chances[-1]), side="right").clip(0, len(chances) - 1))


def _drawn(chances: dict[int, float], rng: np.random.Generator) -> int:
    weights = np.array(list(chances.values()), float)
    return int(rng.choice(list(chances), p=weights / weights.sum()))


def _joined(parts: Sequence[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.concatenate([*parts, np.empty((0, *shape))]).astype(np.float32)


def _cells(side: int, grid: int, rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
    """Rectangles that fill the canvas: `grid` columns, each with its own rows, at random positions."""

    def lines() -> list[int]:
        inner = (np.arange(1, grid) + rng.uniform(-0.25, 0.25, grid - 1)) * side / grid
        return [0, *inner.round().astype(int).tolist(), side]

    columns = lines()
    cells = []
    for x0, x1 in pairwise(columns):
        rows = lines()
        cells += [(x0, y0, x1, y1) for y0, y1 in pairwise(rows)]
    return cells


def _background(cell: NDArray[np.uint8], empty: Sequence[Pyramid], rng: np.random.Generator) -> None:
    """Part of an image without faces, or one colour."""
    height, width = cell.shape[:2]
    if not empty or rng.random() < 0.12:
        cell[:] = rng.integers(0, 256, 3)
        return
    image = empty[int(rng.integers(len(empty)))]
    tall, wide = image.levels[0].shape[:2]
    least = max(height / tall, width / wide)
    scale = least * np.exp(rng.uniform(0, np.log(2.5)))
    room = np.array([wide * scale - width, tall * scale - height])
    start = rng.uniform(0, np.maximum(room, 1e-6))
    matrix = np.array([[scale, 0, -start[0]], [0, scale, -start[1]]])
    _warp(image, matrix, cell, replicate=True)


def _distract(cell: NDArray[np.uint8], empty: Sequence[Pyramid], recipe: SceneRecipe, rng: np.random.Generator) -> None:
    """A small image without a face, so that the edge of a patch does not reveal faces."""
    image = empty[int(rng.integers(len(empty)))]
    size = np.array(image.levels[0].shape[1::-1])
    scale = min(cell.shape[:2]) * np.exp(rng.uniform(np.log(0.2), np.log(1.5))) / size.max()
    angle = np.radians(rng.normal(0, 20))
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = rng.uniform(0, 1, 2) * cell.shape[1::-1]
    _warp(image, np.column_stack([linear, target - linear @ (size / 2)]), cell)
    _degrade(cell, recipe, rng)


def _warp(image: Pyramid, matrix: NDArray[np.float64], cell: NDArray[np.uint8], *, replicate: bool = False) -> None:
    """Draws an image into a cell by an affine map of continuous coordinates, from the copy that fits its scale."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    level = int(np.clip(np.floor(np.log2(max(1.0, 1 / max(scale, 1e-6))) + 0.3), 0, len(image.levels) - 1))
    pixels = image.levels[level]
    factor = np.array(pixels.shape[1::-1]) / image.levels[0].shape[1::-1]
    linear = matrix[:, :2] / factor
    shift = matrix[:, 2] + linear @ (0.5, 0.5) - 0.5  # OpenCV counts from the centre of the first pixel
    painted = np.ascontiguousarray(cell)
    cv2.warpAffine(
        pixels,
        np.column_stack([linear, shift]),
        cell.shape[1::-1],
        dst=painted,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if replicate else cv2.BORDER_TRANSPARENT,
    )
    cell[:] = painted


def _paste(cell: NDArray[np.uint8], image: Pyramid, recipe: SceneRecipe, rng: np.random.Generator) -> FaceImage:
    """Draws an image into a cell with one face at a random size and place; returns the labels in the cell."""
    labels = image.labels
    height, width = cell.shape[:2]
    boxes = labels.boxes if len(labels.boxes) else labels.ignore
    chosen = boxes[rng.integers(len(boxes))]
    side = float(sides(chosen[None])[0])
    least = max(recipe.smallest, 0.07 * min(height, width))
    largest = max(min(1.15 * min(height, width), 3 * side), least + 1)
    wanted = np.exp(rng.uniform(np.log(least), np.log(largest)))
    if side < _SMALL and rng.random() < recipe.as_taken:
        wanted = side * np.exp(rng.uniform(-0.35, 0.35))
    scale = wanted / max(side, 1)
    angle = rng.uniform(-recipe.turn, recipe.turn) if rng.random() < recipe.turned else rng.normal(0, recipe.tilt)
    cos, sin = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    linear = np.array([[cos, -sin], [sin, cos]])
    mirrored = rng.random() < recipe.flip
    if mirrored:
        linear = linear @ np.diag([-1.0, 1.0])
    # The face's centre falls anywhere in the cell, a large one near the middle.
    room = np.maximum(np.array([width, height]) - 0.8 * wanted, 0.1 * wanted)
    target = np.array([width, height]) / 2 + rng.uniform(-0.5, 0.5, 2) * room
    shift = target - linear @ ((chosen[:2] + chosen[2:]) / 2)
    matrix = np.column_stack([linear, shift])
    _warp(image, matrix, cell, replicate=rng.random() < 0.4)
    moved = _moved(labels, matrix, np.radians(angle), mirrored=mirrored)
    for box, points in zip(moved.boxes, moved.landmarks, strict=True):
        large = np.prod(box[2:] - box[:2]) >= 14**2
        if large and np.isfinite(points).all() and rng.random() < recipe.covered:
            painted = np.ascontiguousarray(cell)
            cover(painted, points, rng)
            cell[:] = painted
    _degrade(cell, recipe, rng)
    return _visible(moved, cell)


def _moved(labels: FaceImage, matrix: NDArray[np.float64], angle: float, *, mirrored: bool) -> FaceImage:
    """Labels after a similarity. A rotated box is that of the ellipse in the old box, because faces have no corners."""
    points = labels.landmarks @ matrix[:, :2].T + matrix[:, 2]
    return FaceImage(
        image=labels.image,
        boxes=_turned(labels.boxes, matrix, angle),
        landmarks=points[:, MIRRORED] if mirrored else points,
        ignore=_turned(labels.ignore, matrix, angle),
        scores=labels.scores,
    )


def _turned(boxes: NDArray[np.float64], matrix: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    wide, high = (scale * (boxes[:, 2:] - boxes[:, :2]) / 2).T
    cos, sin = np.cos(angle), np.sin(angle)
    half = np.stack([np.hypot(wide * cos, high * sin), np.hypot(wide * sin, high * cos)], axis=1)
    return np.concatenate([centre - half, centre + half], axis=1)


# Faces with a smaller side, in pixels, are small.
_SMALL: Final = 36.0
# The least share of the side of a scene that one image covers.
_COVERED: Final = 0.75
# The share of a face's box that must be in the cell for the face to count, and for it to be ignored.
_SEEN: Final = 0.4
_GUESSED: Final = 0.05
_TINY: Final = 8.0
# The standard deviation of grey levels below which a face is invisible, and the mean of an image that is dark already.
_FAINT: Final = 5.0
_NIGHT: Final = 60.0


def _visible(labels: FaceImage, cell: NDArray[np.uint8]) -> FaceImage:
    """The labels clipped to the cell; faces that are hardly visible are to be ignored."""
    height, width = cell.shape[:2]
    limit = np.array([width, height, width, height])
    cut = np.clip(labels.boxes, 0, limit)
    areas = np.prod(cut[:, 2:] - cut[:, :2], axis=1)
    share = areas / np.maximum(np.prod(labels.boxes[:, 2:] - labels.boxes[:, :2], axis=1), 1e-6)
    counts = (share >= _SEEN) & (areas >= _TINY**2)
    for index in np.flatnonzero(counts):
        x0, y0, x1, y1 = cut[index].astype(int)
        counts[index] = cell[y0 : y1 + 1, x0 : x1 + 1].std() >= _FAINT
    doubtful = ~counts & (share >= _GUESSED)
    ignore = np.clip(labels.ignore, 0, limit)
    ignore = ignore[np.prod(ignore[:, 2:] - ignore[:, :2], axis=1) > 0]
    return FaceImage(
        image=labels.image,
        boxes=cut[counts],
        landmarks=labels.landmarks[counts],
        ignore=np.concatenate([ignore, cut[doubtful]]),
        scores=labels.scores[counts] if len(labels.scores) else np.full(int(counts.sum()), np.nan),
    )


def _degrade(cell: NDArray[np.uint8], recipe: SceneRecipe, rng: np.random.Generator) -> bool:
    """Changes colour and light of one cell; returns whether it is now dark."""
    if rng.random() < recipe.grey:
        cell[:] = cv2.cvtColor(np.ascontiguousarray(cell), cv2.COLOR_RGB2GRAY)[:, :, None]
    if rng.random() < recipe.relit:
        gamma = np.exp(rng.uniform(-0.6, 0.6))
        gain = np.exp(rng.uniform(-0.4, 0.3)) * np.exp(rng.normal(0, 0.06, 3))
        offset = rng.uniform(-30, 30)
        levels = np.linspace(0, 1, 256)[:, None] ** gamma * 255 * gain + offset
        _map_levels(cell, levels)
    darkened = bool(rng.random() < recipe.dark and cell.mean() > _NIGHT)
    if darkened:
        _map_levels(cell, np.linspace(0, 255, 256)[:, None] * rng.uniform(0.06, 0.35) * np.ones(3))
        noise = rng.normal(0, rng.uniform(1, 6), cell.shape)
        cell[:] = np.clip(cell + noise, 0, 255).astype(np.uint8)
    return darkened


def _map_levels(cell: NDArray[np.uint8], levels: NDArray[np.float64]) -> None:
    """Replaces each value by `levels` (256, 3)."""
    table = np.clip(levels, 0, 255).astype(np.uint8)[None]
    cell[:] = cv2.LUT(np.ascontiguousarray(cell), table)


def _photographed(canvas: NDArray[np.uint8], recipe: SceneRecipe, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Degrades the whole canvas as cameras and files do: blur (of focus or motion), noise, JPEG."""
    if rng.random() < recipe.blurred:
        if rng.random() < 0.5:
            canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.5, 2.0)), np.uint8)
        else:
            length = int(rng.integers(3, 8))
            kernel = np.zeros((length, length), np.float32)
            kernel[length // 2] = 1 / length
            middle = ((length - 1) / 2, (length - 1) / 2)
            kernel = np.asarray(
                cv2.warpAffine(kernel, cv2.getRotationMatrix2D(middle, rng.uniform(0, 180), 1), (length, length))
            )
            canvas = np.asarray(cv2.filter2D(canvas, -1, kernel / max(kernel.sum(), 1e-6)), np.uint8)
    if rng.random() < recipe.noisy:
        noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(rng.uniform(2, 14))
        canvas = np.clip(canvas + noise, 0, 255).astype(np.uint8)
    if rng.random() < recipe.compressed:
        _, file = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 85))])
        canvas = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)
    return canvas
