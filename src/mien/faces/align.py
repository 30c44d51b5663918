"""From an image to its faces and their crops: find, choose the points to align by, crop.

Everything that crops faces for a classifier uses this module, so that training data, evaluation and analysis get the
same crops.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import CropSpec
from mien.faces import detectors, landmarks
from mien.faces.boxes import iou
from mien.faces.crop import crop_face, landmark_points
from mien.faces.detectors import Detector, DetectorOptions
from mien.faces.detectors.whole_image import TYPICAL_LANDMARKS
from mien.faces.landmarks import Landmarker
from mien.faces.tiling import find
from mien.opencv import warn_of_two_builds
from mien.results import Face

SURE: Final = 0.95  # score of a face in a crop, from which its landmarks align it
SAME: Final = 0.3  # IoU from which a face that is found counts as the one in a known box

Crops = tuple[Sequence[NDArray[np.uint8]], ...]


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFaces:
    """The faces of one image and their crops.

    Attributes:
        faces: Largest first.
        crops: See `Aligner.crop`.
    """

    faces: tuple[Face, ...]
    crops: Crops


class CropAligner:
    """Aligns faces that are cropped already by landmarks that are found in the crop.

    Crops from elsewhere frame faces more loosely, more tightly or less upright than a detector's crops. A crop is
    aligned only if the landmark network is sure that it shows a face: points that are guessed would do harm.

    Args:
        crop_specs: Where the landmarks belong in a crop, for each kind of crop that is wanted.
        landmarker: Finds the points; it must give face scores. None: the method in the package.
        least: Lowest score of the face, 0-1.
    """

    def __init__(
        self, crop_specs: Sequence[CropSpec], landmarker: Landmarker | None = None, *, least: float = SURE
    ) -> None:
        self.crop_specs = tuple(crop_specs)
        self.landmarker = landmarker or landmarks.load()
        self.least = least

    def points(self, crop: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """The five landmarks (5, 2) of the face in a crop (H, W, 3) uint8 RGB, in pixels; None if it is not sure."""
        height, width = crop.shape[:2]
        box = np.array([[0, 0, width, height]], np.float32)
        size = np.array([width, height], np.float32)
        five: NDArray[np.float32] | None = np.array(TYPICAL_LANDMARKS, np.float32) * size
        for least in (0.0, self.least):  # from where faces usually are, and again from where this one is: steadier
            if five is not None:
                (five,) = landmarks.sure_landmarks(self.landmarker(crop, box, five[None]), least)
        return five

    def __call__(
        self, crop: NDArray[np.uint8], crop_specs: Sequence[CropSpec] | None = None
    ) -> tuple[NDArray[np.uint8], ...] | None:
        """The aligned crops, one for each crop spec, as `crop_face` gives them; None if the face is not sure.

        Args:
            crop: (H, W, 3) uint8 RGB.
            crop_specs: In the place of the aligner's own.
        """
        points = self.points(crop)
        wanted = self.crop_specs if crop_specs is None else crop_specs
        return None if points is None else tuple(crop_face(crop, points, spec) for spec in wanted)


class Aligner:
    """Finds the faces of an image and crops them.

    Args:
        detector: A ready detector, its options or its name.
        crop_specs: Where the landmarks belong in a crop, for each kind of crop that is wanted. A detector whose boxes
            are the crops (`mean_landmarks` is None) needs none.
        options: `min_score` and `any_rotation` of these are used for a ready detector.
        crop_aligner: Aligns the boxes of a detector whose boxes are the crops; None: they stay as they are.
        align: Whether the landmark network in the package finds the five landmarks of a face again, more exactly than
            the detector; or another method that gives face scores.

    Raises:
        ConfigError: There is no such detector, or it does not have such an option.
        UnsupportedError: The detector cannot run here.
        WeightsError: The weights of the detector are missing or damaged.
    """

    def __init__(
        self,
        detector: Detector | DetectorOptions | str = detectors.DEFAULT,
        crop_specs: Sequence[CropSpec] = (),
        *,
        options: DetectorOptions | None = None,
        crop_aligner: CropAligner | None = None,
        align: bool | Landmarker = True,
    ) -> None:
        warn_of_two_builds()
        if isinstance(detector, (str, DetectorOptions)):
            options = detectors.as_options(detector, options)
            detector = detectors.load(options)
        self.detector: Detector = detector
        self.options = options or DetectorOptions()
        self.crop_specs = tuple(crop_specs)
        self.crop_aligner = crop_aligner
        self._align = align

    @property
    def boxes_are_crops(self) -> bool:
        """Whether a box of the detector already is the crop."""
        return self.detector.mean_landmarks is None

    @functools.cached_property
    def landmarker(self) -> Landmarker | None:
        """Finds the landmarks of a face again; None if those of the detector stay. Loaded at its first use."""
        if self._align is False or self.boxes_are_crops:
            return None
        return landmarks.load() if self._align is True else self._align

    def find(self, image: NDArray[np.uint8], *, min_score: float | None = None) -> tuple[Face, ...]:
        """The faces of an image (H, W, 3) uint8 RGB, largest first, with the landmarks of the detector.

        Args:
            image: The image.
            min_score: Replaces that of the options.
        """
        least = self.options.min_score if min_score is None else min_score
        found = find(self.detector, image, min_score=least, any_rotation=self.options.any_rotation)
        points = found.landmarks if found.landmarks is not None else [None] * len(found)
        return tuple(
            Face(box, float(score), landmarks)
            for box, score, landmarks in zip(found.boxes, found.scores, points, strict=True)
        )

    def refined(self, image: NDArray[np.uint8], faces: Sequence[Face]) -> tuple[Face, ...]:
        """Some faces of an image (H, W, 3) uint8 RGB, with more exact landmarks where they are sure."""
        if self.landmarker is None or not faces:
            return tuple(faces)
        return landmarks.with_landmarks(image, tuple(faces), self.landmarks(faces), self.landmarker)

    def landmarks(self, faces: Sequence[Face]) -> NDArray[np.float32]:
        """The five landmarks (N, 5, 2) of some faces, or their mean place in the box; in pixels."""
        mean_landmarks = self.detector.mean_landmarks
        if mean_landmarks is None:  # the boxes are crops
            mean_landmarks = np.array(TYPICAL_LANDMARKS, np.float32)
        points = [landmark_points(face.box, face.landmarks, mean_landmarks) for face in faces]
        return np.stack(points) if points else np.empty((0, 5, 2), np.float32)

    def crop(
        self, image: NDArray[np.uint8], faces: Sequence[Face], crop_specs: Sequence[CropSpec] | None = None
    ) -> Crops:
        """The crops of some faces, by the landmarks that they have.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: Faces of this image.
            crop_specs: In the place of the aligner's own.

        Returns:
            For each crop spec a list of N crops, (size, size, 3) uint8 RGB or (size, size) if it is grey. If the boxes
            of the detector are the crops: one list of N arrays (H, W, 3), whatever the crop specs; with a
            `crop_aligner`, a list for each of its crop specs, with the aligned crops of the faces that are sure.
        """
        if self.boxes_are_crops:
            inside = [_inside(image, face.box) for face in faces]
            return (inside,) if self.crop_aligner is None else aligned(inside, self.crop_aligner, crop_specs)
        points = self.landmarks(faces)
        wanted = self.crop_specs if crop_specs is None else crop_specs
        return tuple([crop_face(image, each, crop_spec) for each in points] for crop_spec in wanted)

    def align(self, image: NDArray[np.uint8]) -> AlignedFaces:
        """Finds and crops all faces of an image (H, W, 3) uint8 RGB."""
        faces = self.refined(image, self.find(image))
        return AlignedFaces(faces, self.crop(image, faces))

    def largest(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...] | None:
        """The crops of the largest face, one for each crop spec; None if no face is found."""
        faces = self.find(image)[:1]
        return self._only(image, faces[0]) if faces else None

    def nearest(self, image: NDArray[np.uint8], box: NDArray[np.float32]) -> tuple[NDArray[np.uint8], ...] | None:
        """The crops of the face in a known box (4,) xyxy, one for each crop spec; None if it is not found."""
        face = self.found_in(image, box)
        return None if face is None else self._only(image, face)

    def found_in(self, image: NDArray[np.uint8], box: NDArray[np.float32]) -> Face | None:
        """The face that is found in a known box (4,) xyxy; None if there is none, whatever is found elsewhere."""
        faces = self.find(image)
        if not faces:
            return None
        overlaps = iou(np.stack([face.box for face in faces]), box[None])[:, 0]
        best = int(overlaps.argmax())
        return faces[best] if overlaps[best] >= SAME else None

    def _only(self, image: NDArray[np.uint8], face: Face) -> tuple[NDArray[np.uint8], ...]:
        """The crops of one face, one for each crop spec."""
        return tuple(crops[0] for crops in self.crop(image, self.refined(image, [face])))


def aligned(
    crops: Sequence[NDArray[np.uint8]], aligner: CropAligner, crop_specs: Sequence[CropSpec] | None = None
) -> Crops:
    """Crops (H, W, 3) uint8 RGB, aligned where the face is sure, for each crop spec, or each of the aligner's."""
    wanted = aligner.crop_specs if crop_specs is None else crop_specs
    found = [aligner(crop, wanted) for crop in crops]
    return tuple(
        [crop if each is None else each[place] for crop, each in zip(crops, found, strict=True)]
        for place in range(len(wanted))
    )


def _inside(image: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The pixels inside a box, at least one; not a copy."""
    limit = np.array(image.shape[1::-1] * 2)
    x0, y0, x1, y1 = np.clip(np.rint(box), 0, limit).astype(int)
    x0, y0 = min(x0, limit[0] - 1), min(y0, limit[1] - 1)
    return image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
