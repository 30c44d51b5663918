"""The points of a face: their number, order and groups, their order after mirroring, and five landmarks made of them.

The order of the 68 points is that of iBUG / 300-W (Sagonas et al., "300 faces in-the-wild challenge", ICCVW 2013),
counted from 0 and, in an upright face, from left to right in the image: 0-16 jaw, 17-21 and 22-26 brows, 27-30 bridge
to tip of the nose, 31-35 under the nose, 36-41 the subject's right eye, 42-47 the left eye, 48-59 outer lips, 60-67
inner lips. 68 and 69 are the centres of the right and the left iris.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

POINTS_68: Final = "300w-68"
POINTS_70: Final = "300w-68-irises"
COUNTS: Final = {POINTS_68: 68, POINTS_70: 70}

JAW: Final = slice(0, 17)
RIGHT_BROW: Final = slice(17, 22)
LEFT_BROW: Final = slice(22, 27)
NOSE: Final = slice(27, 36)
RIGHT_EYE: Final = slice(36, 42)
LEFT_EYE: Final = slice(42, 48)
OUTER_LIPS: Final = slice(48, 60)
INNER_LIPS: Final = slice(60, 68)
NOSE_TIP: Final = 30
EYE_CORNERS: Final = (36, 45)  # the outer ones
MOUTH_CORNERS: Final = (48, 54)

# The order of the 70 points after mirroring: x becomes width - x, and points become points[MIRRORED].
MIRRORED: Final = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
        *(69, 68),
    ]
)


def five_of(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """The five landmarks (..., 5, 2), in the order of `results.LANDMARKS`, of dense points (..., 68 or 70, 2).

    An eye is the mean of its six points.
    """
    right, left = (points[..., eye, :].mean(axis=-2, keepdims=True) for eye in (RIGHT_EYE, LEFT_EYE))
    return np.concatenate([right, left, points[..., [NOSE_TIP, *MOUTH_CORNERS], :]], axis=-2).astype(np.float32)


def as_scheme(points: NDArray[np.float32], scheme: str, wanted: str) -> NDArray[np.float32] | None:
    """Keypoints (..., K, 2) of one scheme as those of another; None if they cannot be.

    All known schemes begin with the same 68 points.
    """
    if scheme == wanted:
        return points
    if scheme not in COUNTS or wanted not in COUNTS or COUNTS[scheme] < COUNTS[wanted]:
        return None
    return points[..., : COUNTS[wanted], :]
