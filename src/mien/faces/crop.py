"""Crops a face, upright and with the size and position that a model was trained on.

The coordinates of boxes, landmarks and crop specs are continuous: pixel i covers [i, i + 1), its centre is at i + 0.5.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mien.assets.signature import CropSpec, five_points
from mien.opencv import OVERSAMPLING, cv2, resized, warped
from mien.results import Frame


def landmark_points(
    box: NDArray[np.float32], landmarks: NDArray[np.float32] | None, mean_landmarks: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """The five points to align a face by: its landmarks, or their mean place in the boxes of its detector.

    Args:
        box: (4,) x0, y0, x1, y1 in pixels.
        landmarks: (5, 2) in pixels, or None.
        mean_landmarks: (5, 2) in units of the box, as `Detector.mean_landmarks`.

    Returns:
        (5, 2) float32 in pixels.

    Raises:
        ValueError: There are neither landmarks nor their mean place.
    """
    if landmarks is not None:
        return five_points(landmarks)
    if mean_landmarks is None:
        raise ValueError("expected landmarks or mean_landmarks")
    corner, side = box[:2], box[2:] - box[:2]
    return five_points(corner + mean_landmarks * side)


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """The rotation, scale and shift, without mirroring, that map points to others with the least squared error.

    Umeyama 1991, "Least-squares estimation of transformation parameters between two point patterns",
    IEEE PAMI 13(4), equations 40-42.

    Args:
        source: (K, 2) points.
        target: (K, 2) points, in the same order.

    Returns:
        (2, 3) matrix [scale * rotation | shift]: target ~ matrix[:, :2] @ source + matrix[:, 2].

    Raises:
        ValueError: All source points, or all target points, coincide.
    """
    start, end = (np.asarray(points, np.float64) @ (1, 1j) for points in (source, target))
    middle, goal = complex(start.mean()), complex(end.mean())
    start = start - middle
    common, spread = complex(np.vdot(start, end - goal)), float(np.vdot(start, start).real)
    if not (spread > 1e-9 * len(source) and abs(common) > 1e-9 * len(source)):
        raise ValueError(f"expected points that do not all coincide, got {source.tolist()}")
    # In the plane, with points as complex numbers, eq. 40-42 are one division.
    turn = common / spread
    shift = goal - turn * middle
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def crop_face(image: NDArray[np.uint8], points: NDArray[np.float32], crop_spec: CropSpec) -> NDArray[np.uint8]:
    """Crops one face so that its points land on those of the crop spec.

    Outside the image its outermost pixels are repeated: this draws neither an edge nor, as mirroring would, a second
    mouth.

    Args:
        image: (H, W, 3) uint8, RGB.
        points: (5, 2) x, y in pixels of the image, from `landmark_points`.
        crop_spec: Where they land in the crop, and whether it is grey.

    Returns:
        (size, size, 3) uint8, RGB; (size, size), the luminance (ITU-R BT.601), if the crop is grey.

    Raises:
        ValueError: The image or the points have another shape or type, or all points coincide.
    """
    Frame(image)  # refuses other shapes and types
    size = crop_spec.size * OVERSAMPLING
    matrix = similarity(five_points(points), crop_spec.points) * OVERSAMPLING
    region, corner = _region(image, matrix, size)
    if crop_spec.grey:
        region = np.asarray(cv2.cvtColor(region, cv2.COLOR_RGB2GRAY), np.uint8)
    # Only shrunk here: the warp enlarges.
    region, factor = resized(region, min(1.0, math.hypot(matrix[0, 0], matrix[1, 0])))
    matrix[:, 2] += matrix[:, :2] @ corner
    matrix[:, :2] /= factor
    # OpenCV counts from the centre of the first pixel.
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return warped(region, matrix, size)


def _region(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The part of an image that a crop of `size` pixels shows, with a margin, and the x, y of its corner.

    Args:
        image: (H, W, 3).
        matrix: (2, 3), a similarity.
        size: Side of the crop.
    """
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    back = complex(matrix[0, 0], -matrix[1, 0]) / scale**2
    offset = complex(matrix[0, 2], matrix[1, 2])
    shown = [back * (corner - offset) for corner in (0, size, size * 1j, size + size * 1j)]
    # Cubic interpolation reads two pixels around a point, of the image or of the shrunk image.
    margin = 2 + 2 / scale
    ranges = []
    for values, limit in (([z.real for z in shown], image.shape[1]), ([z.imag for z in shown], image.shape[0])):
        first = min(max(math.floor(min(values) - margin), 0), limit - 1)
        ranges.append((first, min(max(math.ceil(max(values) + margin), first + 1), limit)))
    (left, right), (top, bottom) = ranges
    return image[top:bottom, left:right], np.array([left, top])
