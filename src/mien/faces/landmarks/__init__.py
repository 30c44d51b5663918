"""Dense landmarks of found faces: the contract and the registry; every module in this folder is a method.

To add one, write `<name>.py` here with `load`, which makes a `Landmarker` from `LandmarkOptions`. There is no other
list: `names` reads the folder.
"""

import importlib
import pkgutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError
from mien.faces.keypoints import five_of
from mien.faces.measures import measures_of
from mien.results import Face
from mien.values import checked, path_of

__all__ = [
    "DEFAULT",
    "Found",
    "LandmarkOptions",
    "Landmarker",
    "load",
    "names",
    "sure_landmarks",
    "with_keypoints",
    "with_landmarks",
]

DEFAULT: Final = "mien"
SURE: Final = 0.5  # score of a face from which the five landmarks are made of its dense ones


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a method finds in N faces of one image.

    Attributes:
        points: (N, K, 2) float32 x, y in pixels of the image.
        pose: (N, 3) float32 yaw, pitch and roll in degrees, as in `results.Face`; None if the method gives none.
        scores: (N,) float32, 0-1: whether it is a face at all, 0.5 being the operating point; None if the method gives
            none.
    """

    points: NDArray[np.float32]
    pose: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.points)
        object.__setattr__(self, "points", checked(self.points, (count, "N", 2), "points"))
        for name, shape in {"pose": (count, 3), "scores": (count,)}.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked(getattr(self, name), shape, name))


class Landmarker(Protocol):
    """Finds the dense landmarks of faces. One instance serves one thread at a time.

    A method with files of weights has another attribute, `files`: the SHA-256 of each by its name, for records.

    Attributes:
        name: As in `names`.
        scheme: The name of the points' number and order, a key of `mien.faces.keypoints.COUNTS`.
    """

    name: str
    scheme: str

    def __call__(self, image: NDArray[np.uint8], boxes: NDArray[np.float32], landmarks: NDArray[np.float32]) -> Found:
        """Finds the points of the faces in an image.

        Args:
            image: (H, W, 3) uint8, RGB.
            boxes: (N, 4) float32 xyxy, in pixels.
            landmarks: (N, 5, 2) float32 the five landmarks, or their mean place in the box.
        """


@dataclass(frozen=True, slots=True)
class LandmarkOptions:
    """How dense landmarks are found; the command line derives its options and their help from these fields.

    Raises:
        ConfigError: There is no method of that name.
    """

    name: Annotated[str, "Method that finds the keypoints."] = DEFAULT
    weights: Annotated[Path | None, "A file with its weights; by default the shipped or installed file."] = None

    def __post_init__(self) -> None:
        if self.name not in names():
            raise ConfigError(
                f"there is no method '{self.name}' for keypoints", hint=f"choose one of {', '.join(names())}"
            )
        if self.weights is not None:
            object.__setattr__(self, "weights", path_of(self.weights, "weights"))


def names() -> tuple[str, ...]:
    """The methods, by name."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(options: LandmarkOptions | None = None) -> Landmarker:
    """Loads a method.

    Raises:
        MissingExtraError: It needs a package that is not installed.
        WeightsError: Its weights are missing, damaged, or of another network.
    """
    options = options or LandmarkOptions()
    return cast(Landmarker, importlib.import_module(f"{__name__}.{options.name}").load(options))


def with_landmarks(
    image: NDArray[np.uint8], faces: tuple[Face, ...], landmarks: NDArray[np.float32], landmarker: Landmarker
) -> tuple[Face, ...]:
    """The faces of an image with five landmarks made of their dense ones, where these are sure.

    Args:
        image: (H, W, 3) uint8, RGB.
        faces: N faces in it, at least one.
        landmarks: (N, 5, 2) float32 their five landmarks, or the mean place of these in the box.
        landmarker: Finds the points.
    """
    found = landmarker(image, np.stack([face.box for face in faces]), landmarks)
    return tuple(
        face if five is None else replace(face, landmarks=five)
        for face, five in zip(faces, sure_landmarks(found), strict=True)
    )


def sure_landmarks(found: Found, least: float = SURE) -> list[NDArray[np.float32] | None]:
    """The five landmarks (5, 2) of each face, made of its dense ones; None where they cannot align it.

    Args:
        found: What a method has found; without scores, no face is sure.
        least: Lowest score of a face, 0-1.
    """
    five = five_of(found.points)
    spread = np.ptp(five, axis=1).min(axis=1)  # points that coincide place no crop
    sure = np.isfinite(five).all(axis=(1, 2)) & (spread > 0)
    if found.scores is None:
        sure[:] = False
    else:
        sure &= found.scores >= least
    return [points if each else None for points, each in zip(five, sure, strict=True)]


def with_keypoints(
    image: NDArray[np.uint8],
    faces: tuple[Face, ...],
    landmarks: NDArray[np.float32],
    landmarker: Landmarker,
    *,
    align: bool = True,
) -> tuple[Face, ...]:
    """The faces of an image with their keypoints, pose and measures.

    Args:
        image: (H, W, 3) uint8, RGB.
        faces: N faces in it.
        landmarks: (N, 5, 2) float32 their five landmarks, or the mean place of these in the box.
        landmarker: Finds the points.
        align: Whether the five landmarks become those of the keypoints, too, as in `with_landmarks`.
    """
    if not faces:
        return faces
    found = landmarker(image, np.stack([face.box for face in faces]), landmarks)
    poses = [None] * len(faces) if found.pose is None else list(found.pose)
    fives = sure_landmarks(found) if align else [None] * len(faces)
    return tuple(
        replace(
            face,
            landmarks=face.landmarks if five is None else five,
            keypoints=points,
            keypoint_scheme=landmarker.scheme,
            pose=pose,
            measures=measures_of(points, None if pose is None else float(pose[0])),
        )
        for face, points, pose, five in zip(faces, found.points, poses, fives, strict=True)
    )
