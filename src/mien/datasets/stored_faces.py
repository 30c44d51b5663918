"""Faces as a store keeps them: cropped out of photographs, with the place of their keypoints in the crop."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import InputSpec, default_model, model_info
from mien.errors import ConfigError
from mien.faces.detectors import DetectorOptions

SIZES: Final = (16, 512)  # of the input of a recipe


@dataclass(frozen=True, slots=True)
class StoredFaceOptions:
    """How the faces of a store look.

    Raises:
        ConfigError: A value is invalid.
    """

    size: Annotated[int, "Width and height of the stored faces in pixels."] = 48
    channels: Annotated[Literal["grey", "rgb"], "Colour channels of the stored faces."] = "grey"

    def __post_init__(self) -> None:
        if self.channels not in ("grey", "rgb"):
            raise ConfigError(f"channels: expected grey or rgb, got '{self.channels}'")
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise ConfigError(
                f"size: expected {SIZES[0]} to {SIZES[1]} pixels, got {self.size}",
                hint="the faces of FER2013 have 48",
            )

    def stored(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image (H, W) grey or (H, W, 3) RGB as it is stored: (size, size) grey or (size, size, 3) RGB, uint8.

        An image that is not square is padded with its outermost pixels.
        """
        from mien.expression.preprocess import fitted  # late: the command line lists data sets without OpenCV

        depth = 1 if self.channels == "grey" else 3
        spec = InputSpec(self.size, self.channels, (0.0,) * depth, (1.0,) * depth)
        channels = fitted([image], spec)[0]  # (C, size, size)
        return channels[0] if depth == 1 else np.ascontiguousarray(channels.transpose(1, 2, 0))


@dataclass(frozen=True, slots=True)
class FaceOptions(StoredFaceOptions):
    """How images become the faces of the store.

    Raises:
        ConfigError: A value is invalid, or `keep_faceless` is set without `crop_faces`.
    """

    crop_faces: Annotated[bool, "Find the largest face of each image, and crop it as the shipped models expect."] = (
        False
    )
    keep_faceless: Annotated[bool, "With --crop-faces, keep images without a face uncropped."] = False

    def __post_init__(self) -> None:
        StoredFaceOptions.__post_init__(self)  # `super()` does not work in a class with slots
        if self.keep_faceless and not self.crop_faces:
            raise ConfigError("keep_faceless: needs --crop-faces", hint="add --crop-faces, or leave it out")


class StoredFace(NamedTuple):
    """A face as it is stored.

    Attributes:
        image: (size, size) grey or (size, size, 3) RGB, uint8.
        matrix: (2, 3) where points of the photograph are in it; see `moved`.
    """

    image: NDArray[np.uint8]
    matrix: NDArray[np.float64]


def moved(points: NDArray[np.floating], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Points (..., 2) under an affine transform (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


class FaceCropper:
    """Crops faces as the shipped models expect them, in the size and the colours of a store.

    Args:
        options: How they are stored.
        detector: Finds the faces; it must search for them.

    Raises:
        ConfigError: The detector does not search for faces, or does not exist.
        UnsupportedError: The detector cannot run here.
        WeightsError: The weights of the detector are missing or damaged.
    """

    def __init__(self, options: StoredFaceOptions, detector: DetectorOptions) -> None:
        from mien.faces.align import Aligner

        self.options = options
        self.crop_spec = model_info(default_model()).crop_spec.resized(options.size)
        self.aligner = Aligner(detector, [self.crop_spec])
        if self.aligner.boxes_are_crops:
            raise ConfigError(
                f"the detector '{self.aligner.detector.name}' does not search for faces", hint="choose another detector"
            )

    def largest(self, image: NDArray[np.uint8]) -> StoredFace | None:
        """The largest face of a photograph (H, W, 3) uint8 RGB; None if none is found."""
        faces = self.aligner.refined(image, self.aligner.find(image)[:1])
        return self.by_points(image, self.aligner.landmarks(faces)[0]) if faces else None

    def by_points(self, image: NDArray[np.uint8], points: NDArray[np.float32]) -> StoredFace:
        """The face of a photograph (H, W, 3) uint8 RGB whose five landmarks (5, 2) are known.

        Raises:
            ValueError: All points coincide.
        """
        from mien.faces.crop import crop_face, similarity

        crop = crop_face(image, np.asarray(points, np.float32), self.crop_spec)
        return StoredFace(self.options.stored(crop), similarity(points, self.crop_spec.points))


class FaceReader:
    """Makes stored faces of images that may be photographs or cropped faces.

    Args:
        options: Whether faces are cropped, and how they are stored.
        detector: Finds the faces, if they are cropped.

    Attributes:
        kept_whole: Images so far that have no face and were kept as they are.

    Raises:
        ConfigError: Options of a detector without cropping, or it does not search for faces, or does not exist.
        UnsupportedError: The detector cannot run here.
        WeightsError: The weights of the detector are missing or damaged.
    """

    def __init__(self, options: FaceOptions, detector: DetectorOptions) -> None:
        if not options.crop_faces and detector != DetectorOptions():
            raise ConfigError("options of the detector need --crop-faces", hint="add --crop-faces, or leave them out")
        self.options = options
        self.kept_whole = 0
        self._cropper = FaceCropper(options, detector) if options.crop_faces else None

    def face(self, image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """The face in an image (H, W, 3) uint8 RGB: (size, size) grey or (size, size, 3) RGB; None if none is found."""
        if self._cropper is not None:
            if (found := self._cropper.largest(image)) is not None:
                return found.image
            if not self.options.keep_faceless:
                return None
            self.kept_whole += 1
        return self.options.stored(image)


def whole(image: NDArray[np.uint8], options: StoredFaceOptions) -> StoredFace:
    """An image (H, W, 3) uint8 RGB that is a cropped face already."""
    height, width = image.shape[:2]
    scale = options.size / max(height, width)
    shown = [max(1, round(side * scale)) for side in (width, height)]
    shift = [(options.size - side) // 2 for side in shown]
    matrix = np.array([[shown[0] / width, 0, shift[0]], [0, shown[1] / height, shift[1]]], np.float64)
    return StoredFace(options.stored(image), matrix)
