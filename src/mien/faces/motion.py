"""What moves between two frames of a video: a face, followed by optical flow, and the scene, watched for changes.

Both are cheap, because they look at few pixels: a face is followed on a patch of 48x48, a scene is watched on a
thumbnail. Only the green channel is used, which is closest to the luminance.
"""

import cmath
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.opencv import cv2

# A patch shows the box of a face grown by this share of its size, at this many pixels.
_SIDE: Final = 48
_AROUND: Final = 0.25
# Points that are followed: a grid on the middle of the patch. Their windows, in pixels of the patch.
_GRID: Final = 5
_WINDOW: Final = (11, 11)
_LEVELS: Final = 2
# When the search for a point ends: after this many steps, or with one of so few pixels of the patch.
_STOP: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
# A point is trusted if following it back ends this near, in pixels of the patch, and if it moves with the others.
_BACK: Final = 0.6
_APART: Final = 1.2
# Share of trusted points below which a face counts as lost: something covers it, it turns away, or a cut.
_LEAST_TRUSTED: Final = 0.55
# Limits of a plausible change since the reference: of the size, as a factor; of the angle, in radians.
_MOST_SCALE: Final = 1.3
_MOST_TURN: Final = 0.35

_STEPS: Final = np.linspace(0.22, 0.78, _GRID) * _SIDE
_POINTS: Final = np.stack(np.meshgrid(_STEPS, _STEPS), axis=-1).reshape(-1, 1, 2).astype(np.float32)


def _complex(points: NDArray[np.floating]) -> NDArray[np.complex128]:
    """Points (N, 2) as x + iy."""
    return np.ascontiguousarray(points, np.float64).view(np.complex128)[:, 0]


_COMPLEX_POINTS: Final = _complex(_POINTS[:, 0])


@dataclass(frozen=True, slots=True)
class Shift:
    """A similarity transform of the plane: z becomes `turn` * z + `offset`, with x + iy for a point."""

    turn: complex
    offset: complex

    def points(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (N, 2) after the transform."""
        moved = self.turn * _complex(points) + self.offset
        return moved.view(np.float64).reshape(-1, 2).astype(np.float32)

    def box(self, box: NDArray[np.floating]) -> NDArray[np.float32]:
        """A box (4,) xyxy whose centre and size follow the transform; it stays upright."""
        x0, y0, x1, y1 = box.tolist()
        centre = self.turn * complex(x0 + x1, y0 + y1) / 2 + self.offset
        half = complex(x1 - x0, y1 - y0) / 2 * abs(self.turn)
        low, high = centre - half, centre + half
        return np.array([low.real, low.imag, high.real, high.imag], np.float32)


class FacePatch:
    """The pixels of a face in one frame, to find the same face in later frames by optical flow.

    The flow is that of Lucas and Kanade on pyramids (Bouguet 2001), checked forwards and backwards (Kalal et al. 2010,
    "Forward-backward error"). It always starts from this one frame, so that errors do not add up.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: (4,) x0, y0, x1, y1 of the face in pixels.
    """

    def __init__(self, image: NDArray[np.uint8], box: NDArray[np.floating]) -> None:
        self._origin, self._scale = _frame_of(box)
        self._pixels = _patch(image, self._origin, self._scale)
        self.trusted = 1.0

    def shift(self, image: NDArray[np.uint8], near: Shift) -> Shift | None:
        """How the face has moved in a later frame.

        Args:
            image: (H, W, 3) uint8 RGB, the later frame.
            near: An estimate to start from.

        Returns:
            The transform from the patch's frame to this one; None if the face is not plainly the same.
        """
        half = complex(_SIDE, _SIDE) / 2
        scale = self._scale * abs(near.turn)
        origin = near.turn * (self._origin + self._scale * half) + near.offset - scale * half
        later = _patch(image, origin, scale)
        there, found = _flow(self._pixels, later, _POINTS)
        back, found_back = _flow(later, self._pixels, there)
        trusted = found & found_back & (np.abs(back - _POINTS) < _BACK).all(axis=(1, 2))
        if np.count_nonzero(trusted) < _LEAST_TRUSTED * len(trusted):
            return None
        before = _COMPLEX_POINTS * self._scale + self._origin
        after = _complex(there[:, 0]) * scale + origin
        shift, trusted = _fitted(before, after, trusted, _APART * scale)
        self.trusted = np.count_nonzero(trusted) / len(trusted)
        if self.trusted < _LEAST_TRUSTED:
            return None
        size, angle = abs(shift.turn), abs(cmath.phase(shift.turn))
        return shift if 1 / _MOST_SCALE < size < _MOST_SCALE and angle < _MOST_TURN else None


def _flow(
    one: NDArray[np.uint8], other: NDArray[np.uint8], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points (N, 1, 2) of one patch are in the other, and which (N,) were found."""
    place = np.zeros_like(points)
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        one, other, points, place, winSize=_WINDOW, maxLevel=_LEVELS, criteria=_STOP
    )
    return np.asarray(there, np.float32), np.asarray(found)[:, 0].astype(bool)


def _frame_of(box: NDArray[np.floating]) -> tuple[complex, float]:
    """The upper left corner of a face's square patch, and its pixels of the frame per pixel of the patch."""
    side = float(max(box[2:] - box[:2])) * (1 + 2 * _AROUND)
    centre = (box[:2] + box[2:]) / 2
    x, y = (centre - side / 2).tolist()
    return complex(x, y), side / _SIDE


def _patch(image: NDArray[np.uint8], origin: complex, scale: float) -> NDArray[np.uint8]:
    """The green channel of a square with its upper left corner at `origin`, at 48x48 pixels."""
    # Large faces are sampled first: warping them directly would alias no less and reads the same few pixels.
    step = max(1, int(scale))
    x0, y0 = max(0, int(origin.real) - step), max(0, int(origin.imag) - step)
    x1, y1 = int(origin.real + scale * _SIDE) + 2 * step, int(origin.imag + scale * _SIDE) + 2 * step
    part = np.ascontiguousarray(image[y0 : max(y1, 0) : step, x0 : max(x1, 0) : step, 1])
    if part.size == 0:
        return np.zeros((_SIDE, _SIDE), np.uint8)
    zoom = scale / step
    # Pixel i of the patch covers [i, i + 1): its centre is at i + 0.5, in the part as in the patch.
    shift_x, shift_y = (origin.real - x0) / step, (origin.imag - y0) / step
    matrix = np.array([[zoom, 0, shift_x + (zoom - 1) / 2], [0, zoom, shift_y + (zoom - 1) / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(part, matrix, (_SIDE, _SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _fitted(
    before: NDArray[np.complex128], after: NDArray[np.complex128], trusted: NDArray[np.bool_], limit: float
) -> tuple[Shift, NDArray[np.bool_]]:
    """The least-squares similarity of the trusted points, without those that it leaves further off than `limit`."""
    for _ in range(3):
        start, end = before[trusted], after[trusted]
        if len(start) < 2:
            break
        middle, target = start.mean(), end.mean()
        start -= middle
        turn = complex(np.vdot(start, end - target) / max(np.vdot(start, start).real, 1e-9))
        shift = Shift(turn, complex(target - turn * middle))
        near = np.abs(turn * before + (shift.offset - after)) < limit
        kept = trusted & near
        if np.count_nonzero(kept) == len(start):
            return shift, trusted
        trusted = kept
    return Shift(1, 0), np.zeros_like(trusted)


# Size of a thumbnail's longer side, in cells.
_CELLS: Final = 48
# A cut: the thumbnails hardly correlate, and their colours differ as well; or they do not correlate at all.
_CUT_CORRELATION: Final = 0.6
_CUT_COLOURS: Final = 0.2
_SURE_CORRELATION: Final = 0.1
# A cell has changed if its mean differs by this many grey levels.
_CHANGED: Final = 20.0
# Share of changed cells that means a newcomer: fewer are noise, more a moving camera.
NEWCOMER: Final = (0.002, 0.25)
_FLAT: Final = 4.0  # grey levels: the standard deviation that noise may have


class Scene:
    """A thumbnail of a frame, to be compared with that of another.

    Args:
        image: (H, W, 3) uint8 RGB.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        height, width = image.shape[:2]
        self._scale = _CELLS / max(height, width)
        size = max(1, round(width * self._scale)), max(1, round(height * self._scale))
        # Four pixels for each cell: reading all of them would take longer than all the rest.
        part = cv2.resize(image, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_NEAREST)
        self._colours = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        self._grey = self._colours[..., 1].astype(np.float32)
        self._centred = (self._grey - self._grey.mean()).ravel()
        self._variance = float(self._centred @ self._centred) / self._centred.size + _FLAT**2

    @property
    def is_flat(self) -> bool:
        """Whether the frame has hardly anything on it: a black or white one, as between two scenes or at a fault."""
        return bool(self._variance < 2 * _FLAT**2)

    def is_cut_from(self, before: "Scene") -> bool:
        """Whether a cut lies between an earlier frame and this one."""
        if before._grey.shape != self._grey.shape:
            return True
        common = float(self._centred @ before._centred) / self._centred.size + _FLAT**2
        correlation = common / math.sqrt(self._variance * before._variance)
        if correlation > _CUT_CORRELATION:
            return False
        return correlation < _SURE_CORRELATION or 1 - _overlap(before._colours, self._colours) > _CUT_COLOURS

    def changed_share(self, before: "Scene", faces: NDArray[np.floating]) -> float:
        """The share of the picture that has changed since an earlier frame, elsewhere than at known faces.

        A share in the range `NEWCOMER` means that something may have come into view.

        Args:
            before: The earlier frame.
            faces: (N, 4) boxes of the known faces in either frame, xyxy in pixels.
        """
        if before._grey.shape != self._grey.shape:
            return sum(NEWCOMER) / 2
        changed = np.abs(self._grey - before._grey) > _CHANGED
        if not changed.any():
            return 0.0
        x0, y0, x1, y1 = (faces * self._scale).T
        width, height = x1 - x0, y1 - y0
        # A face and the body below it.
        parts = np.stack([y0 - height, y1 + 2 * height + 1, x0 - width, x1 + width + 1], axis=1)
        for top, bottom, left, right in parts.clip(0, _CELLS).astype(int).tolist():
            changed[top:bottom, left:right] = False
        return int(np.count_nonzero(changed)) / int(changed.size)


def _overlap(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The Bhattacharyya coefficient of the colours of two images: 1 for the same, 0 for none in common."""
    counts = (
        cv2.calcHist([image], [0, 1, 2], None, [6] * 3, [0, 256] * 3) / (image.shape[0] * image.shape[1])
        for image in (one, other)
    )
    first, second = counts
    return float(np.sqrt(first * second).sum())
