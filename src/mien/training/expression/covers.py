"""Masks, sunglasses and hands over faces, placed by their landmarks, with textures; on whole batches.

Each cover is drawn once, with its transparency, on a canvas in the frame of a face (`cover_shapes`). In training,
covers of this bank are drawn at random and warped onto faces by the affine map that fits their landmarks, so they
follow size, roll and, in part, yaw. Textures are drawn (pleats, cloth, dots, plain) or cut from photographs
(`mien data textures`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.datasets.derive.textures import load_textures
from mien.training.cover_shapes import (
    FACE,
    SUBPIXEL,
    ear_loops,
    fixed_point,
    hand_pose,
    lens_outline,
    mask_outline,
    palm_outline,
)
from mien.training.expression.recipe import Augmentation

CANVAS: Final = 96  # side of a canvas in pixels
LEFT_TOP: Final = (-1.4, -0.9)  # its corner, in the frame of the face
SPAN: Final = 2.9  # its side
BANK: Final = 128  # covers of each kind

Points = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class CoverBank:
    """Covers that are drawn already.

    Attributes:
        covers: (K, 2, CANVAS, CANVAS) float32: grey 0-1, and opacity 0-1.
        cover_kinds: (K,) 0 mask, 1 sunglasses, 2 hand.
        shares: Chance of each kind.
    """

    covers: Tensor
    cover_kinds: NDArray[np.int64]
    shares: tuple[float, ...]

    @classmethod
    def drawn(cls, settings: Augmentation, seed: int = 0) -> "CoverBank":
        """A bank for a recipe, the same for the same seed.

        Raises:
            InputError: The file of textures cannot be read.
        """
        rng = np.random.default_rng(seed)
        found = load_textures(Path(settings.cover_textures)) if settings.cover_textures else {}
        makers = ((_mask, found.get("cloth")), (_sunglasses, None), (_hand, found.get("skin")))
        covers, cover_kinds = [], []
        for kind, (make, textures) in enumerate(makers):
            if settings.cover_kinds[kind]:
                covers += [make(rng, textures) for _ in range(BANK)]
                cover_kinds += [kind] * BANK
        total = sum(settings.cover_kinds)
        shares = tuple(share / total for share in settings.cover_kinds)
        return cls(torch.from_numpy(np.stack(covers)), np.array(cover_kinds), shares)

    def cover(self, images: Tensor, points: Tensor, chance: float) -> Tensor:
        """Covers some faces of a batch; draws from torch's generator.

        Args:
            images: (N, C, H, W), values 0-1.
            points: (N, 5, 2) the five landmarks as fractions of the side; nan: the face stays uncovered.
            chance: Chance of each face.
        """
        points = points.cpu().float()
        usable = torch.isfinite(points).all(dim=(1, 2)) & (points.std(dim=1).amin(dim=1) > 1e-3)
        chosen = ((torch.rand(len(images)) < chance) & usable).nonzero().flatten()
        if not len(chosen):
            return images
        cover_kinds = torch.multinomial(torch.tensor(self.shares), len(chosen), replacement=True).numpy()
        numbers = [self._one(kind) for kind in cover_kinds.tolist()]
        shown = self.covers[numbers].to(images)
        mirrored = torch.rand(len(chosen)) < 0.5  # left and right are equal to covers
        shown = torch.where(mirrored.to(images.device)[:, None, None, None], shown.flip(3), shown)
        matrices = _to_canvas(points[chosen]).to(images)
        grid = nn.functional.affine_grid(matrices, [len(chosen), 1, *images.shape[2:]], align_corners=False)
        warped = nn.functional.grid_sample(shown, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        light = images[chosen].mean(dim=(1, 2, 3), keepdim=True) / 0.5  # a dark photograph has dark covers
        tone = (warped[:, :1] * light.clamp(0.2, 1.3).sqrt()).clamp(0, 1)
        images = images.clone()
        images[chosen] = images[chosen].lerp(tone.expand_as(images[chosen]), warped[:, 1:].expand_as(images[chosen]))
        return images

    def _one(self, kind: int) -> int:
        places = np.flatnonzero(self.cover_kinds == kind)
        return int(places[int(torch.randint(len(places), ()))])


def _to_canvas(points: Tensor) -> Tensor:
    """(N, 2, 3) affine maps from places in the image, -1..1, to places on the canvas, -1..1."""
    known = torch.cat([points * 2 - 1, torch.ones(*points.shape[:2], 1)], dim=2)  # (N, 5, 3)
    place = (torch.from_numpy(FACE).float() - torch.tensor(LEFT_TOP)) / SPAN * 2 - 1  # (5, 2)
    solved: Tensor = torch.linalg.lstsq(known, place.expand(len(points), -1, -1)).solution  # (N, 3, 2)
    return solved.transpose(1, 2)


def _placed(points: Points) -> NDArray[np.int32]:
    """Points in the frame of the face as fixed-point pixels of the canvas, for OpenCV."""
    return fixed_point((np.asarray(points) - LEFT_TOP) / SPAN * CANVAS)


def _opacity(*outlines: Points) -> Points:
    """(CANVAS, CANVAS) 0-1: inside any of the polygons, with soft edges."""
    area = np.zeros((CANVAS, CANVAS), np.uint8)
    for outline in outlines:
        cv2.fillPoly(area, [_placed(outline)], 255, cv2.LINE_AA, SUBPIXEL)
    return np.asarray(cv2.GaussianBlur(area, (3, 3), 0), np.float32) / 255


def _mask(rng: np.random.Generator, textures: NDArray[np.uint8] | None) -> NDArray[np.float32]:
    """A surgical mask, an FFP2 mask or cloth, over nose, mouth and chin, with loops to the ears."""
    top, nose = rng.uniform(0.15, 0.55), rng.uniform(0.05, 0.3)
    chin, wide = rng.uniform(1.4, 1.85), rng.uniform(0.72, 1.1)
    outline = mask_outline(top, nose, chin, wide, (0.5, 0.96)) + rng.normal(0, 0.02, (10, 2))
    tone: Points = _cloth(rng, textures)
    rows = np.linspace(0, 1, CANVAS)[:, None]
    for _ in range(int(rng.integers(0, 5))):  # pleats: a bright edge above a dark one
        at, depth = rng.uniform(0.45, 0.85), rng.uniform(0.04, 0.2)
        tone = tone * (1 - depth * np.exp(-(((rows - at) / 0.012) ** 2)))
        tone = tone + depth / 2 * np.exp(-(((rows - at + 0.02) / 0.012) ** 2))
    shade = 1 - rng.uniform(0, 0.35) * np.abs(np.linspace(-1, 1, CANVAS)[None, :]) ** 2
    area = _opacity(outline)
    loops = np.zeros((CANVAS, CANVAS), np.uint8)
    for loop in ear_loops(rng, top, wide, 1.3):
        cv2.polylines(loops, [_placed(loop)], False, 255, 2, cv2.LINE_AA, SUBPIXEL)
    return _joined(tone * shade, np.maximum(area, loops.astype(np.float32) / 255 * 0.9))


def _sunglasses(rng: np.random.Generator, _: NDArray[np.uint8] | None) -> NDArray[np.float32]:
    """Dark or mirrored lenses, round to square, with a bridge and temples; some let the eyes be seen."""
    radius, power = rng.uniform((0.26, 0.2), (0.48, 0.4)), rng.uniform(0.4, 1.0)
    shape = lens_outline(radius, power, 32)
    lenses = _opacity(*(shape + np.array([side, 0.03]) for side in (-0.5, 0.5)))
    bars = np.array([[-1.25, -0.1], [-0.5 - radius[0], -0.08], [0.5 + radius[0], -0.08], [1.25, -0.1]])
    frame = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.polylines(frame, [_placed(bars)], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA, SUBPIXEL)
    dark = rng.uniform(0.02, 0.3)
    tone = np.full((CANVAS, CANVAS), dark, np.float32)
    if rng.random() < 0.5:  # the sky in them
        rows = np.linspace(0, 1, CANVAS, dtype=np.float32)[:, None]
        tone = tone + rng.uniform(0.1, 0.6) * np.clip(0.36 - rows, 0, 1) * 3
    opaque = lenses * rng.uniform(0.75, 1.0)
    return _joined(tone, np.maximum(opaque, frame.astype(np.float32) / 255))


def _hand(rng: np.random.Generator, textures: NDArray[np.uint8] | None) -> NDArray[np.float32]:
    """A hand before mouth, cheek, forehead or eyes: palm, fingers and a part of the arm."""
    middle, along, across = pose = hand_pose(rng, (-0.4, 1.5))
    size = rng.uniform(0.85, 1.25)
    parts: list[Points] = [palm_outline(pose, size * 0.42, 1.1, 24)]
    for number in range(4):
        start = middle + size * ((number - 1.5) * 0.2 * across + 0.25 * along)
        tip = start + size * (rng.uniform(0.55, 0.95) * along + rng.normal(0, 0.08) * across)
        parts.append(_finger(start, tip, size * 0.1))
    parts.append(_finger(middle - size * 0.1 * along, middle + size * (0.3 * along + 0.65 * across), size * 0.11))
    parts.append(_finger(middle, middle - size * 1.8 * along, size * 0.28))  # the arm
    tone = (
        _patch(rng, textures) if textures is not None and rng.random() < 0.7 else _smooth(rng, rng.uniform(0.25, 0.85))
    )
    area = _opacity(*parts)
    edges = np.zeros((CANVAS, CANVAS), np.float32)
    for part in parts[1:5]:  # shadows between the fingers
        cv2.polylines(edges, [_placed(part)], True, 1.0, 1, cv2.LINE_AA, SUBPIXEL)
    return _joined(tone * (1 - rng.uniform(0.1, 0.4) * edges), area)


def _finger(start: Points, tip: Points, width: float) -> Points:
    """A bar with round ends."""
    along = (tip - start) / max(float(np.linalg.norm(tip - start)), 1e-6)
    across = np.array([-along[1], along[0]])
    turn = np.linspace(-np.pi / 2, np.pi / 2, 7)[:, None]
    round_end = tip + width * (np.cos(turn) * along + np.sin(turn) * across)
    return np.concatenate([[start - width * across], round_end, [start + width * across]])


def _cloth(rng: np.random.Generator, textures: NDArray[np.uint8] | None) -> Points:
    """(CANVAS, CANVAS) the tone of a mask: a photographed texture, or white, blue as grey, black, striped, dotted."""
    if textures is not None and rng.random() < 0.6:
        return _patch(rng, textures)
    base = float(rng.choice([rng.uniform(0.75, 1.0), rng.uniform(0.45, 0.75), rng.uniform(0.02, 0.25)]))
    tone = _smooth(rng, base)
    rows, columns = np.mgrid[0:CANVAS, 0:CANVAS] / CANVAS
    pattern = rng.random()
    if pattern < 0.15:
        turned = rows * np.cos(angle := rng.uniform(0, np.pi)) + columns * np.sin(angle)
        tone = tone + rng.uniform(0.05, 0.3) * np.sign(np.sin(turned * rng.uniform(20, 90)))
    elif pattern < 0.3:
        often = rng.uniform(25, 80)
        tone = tone + rng.uniform(0.1, 0.4) * (np.sin(rows * often) * np.sin(columns * often) > 0.5)
    return np.asarray(tone + rng.normal(0, rng.uniform(0, 0.03), tone.shape), np.float32)


def _smooth(rng: np.random.Generator, base: float) -> Points:
    """One tone with soft folds and light from one side."""
    noise = rng.normal(0, 1, (CANVAS, CANVAS)).astype(np.float32)
    folds: Points = np.asarray(cv2.GaussianBlur(noise, (0, 0), rng.uniform(3, 10)), np.float32)
    folds = folds / max(float(folds.std()), 1e-6) * rng.uniform(0.0, 0.06)
    light = np.linspace(rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12), CANVAS, dtype=np.float32)
    return np.asarray(base + folds + light[:, None], np.float32)


def _patch(rng: np.random.Generator, textures: NDArray[np.uint8]) -> Points:
    """A part of a photographed texture (K, S, S), enlarged, turned and mirrored."""
    texture = textures[int(rng.integers(len(textures)))]
    part = max(8, int(len(texture) * rng.uniform(0.5, 1.0)))
    top, left = rng.integers(0, len(texture) - part + 1, 2)
    shown = cv2.resize(texture[top : top + part, left : left + part], (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)
    shown = np.rot90(shown, int(rng.integers(4)))
    gain, offset = rng.uniform(0.7, 1.3), rng.uniform(-0.15, 0.15)
    return np.asarray(shown.astype(np.float32) / 255 * gain + offset, np.float32)


def _joined(tone: NDArray[np.floating], opacity: NDArray[np.floating]) -> NDArray[np.float32]:
    """(2, CANVAS, CANVAS) float32, 0-1."""
    return np.asarray(np.clip(np.stack([np.broadcast_to(tone, opacity.shape), opacity]), 0, 1), np.float32)
