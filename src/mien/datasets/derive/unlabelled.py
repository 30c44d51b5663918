"""Faces of photographs as the detector crops them, without labels: teachers give them targets.

The faces of FER2013 are grey, small and old. Photographs show colour, masks, helmets and darkness; nobody has labelled
their expressions, but teachers can say what they see, and a student learns from that (`datasets/derive/distil.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.assets.manifest import ModelInfo
from mien.datasets import Samples, face_images
from mien.datasets.samples import COLUMNS, NO_LABEL
from mien.errors import DataError
from mien.faces.align import Aligner
from mien.faces.boxes import iou
from mien.faces.detectors import Detector
from mien.progress import Progress, unseen

LEAST: Final = 24  # side of a face in pixels, below which teachers guess
_SAME: Final = 0.4  # intersection over union of a found face with a labelled one


def crop_unlabelled(
    folder: Path,
    detector: Detector,
    model: ModelInfo,
    *,
    size: int = 48,
    least: float = LEAST,
    limit: int | None = None,
    progress: Progress = unseen,
) -> Samples:
    """Finds the faces of the training images of a folder and crops them for a model.

    Only finds that a labelled face confirms are used: a false alarm would teach an expression of what is no face.

    Args:
        folder: A folder of labelled images, or of several such folders; see `face_images`.
        detector: Finds the faces.
        model: The model whose crop spec is used.
        size: Side of the crops in pixels.
        least: Smallest side of a face (the root of the area of its box), in pixels.
        limit: Approximate number of images; None for all.
        progress: Called with the number of images done and the number of all.

    Returns:
        Grey faces (N, size, size) of the train split without labels, over the seven emotions of FER2013.

    Raises:
        ConfigError: The model has no crop spec.
        DataError: No face was found.
    """
    aligner = Aligner(detector, [model.crop_spec.resized(size)])
    crops: list[NDArray[np.uint8]] = []
    names: list[str] = []
    for image in face_images.read(folder, "train", limit=limit, progress=progress):
        if len(image.boxes):
            faces = aligner.find(image.image)
            sides = [float(np.sqrt(np.prod(face.box[2:] - face.box[:2]))) for face in faces]
            boxes = np.array([face.box for face in faces], float).reshape(-1, 4)
            confirmed = iou(boxes, image.boxes).max(axis=1) >= _SAME if len(faces) else np.empty(0, bool)
            kept = [place for place in range(len(faces)) if confirmed[place] and sides[place] >= least]
            (found,) = aligner.crop(image.image, aligner.refined(image.image, [faces[place] for place in kept]))
            crops += [np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8) for crop in found]
            names += [f"{image.source}#{place}" for place in kept]
    if not crops:
        raise DataError(f"{folder}: no face of {least:g} pixels or more was found", hint="lower --least")
    classes = emotions.vocabulary(7)
    return Samples(
        images=np.stack(crops),
        labels=np.full(len(crops), NO_LABEL, np.int64),
        classes=classes,
        split=np.zeros(len(crops), np.uint8),
        targets=np.zeros((len(crops), len(classes)), np.float32),
        names=np.array(names),
        votes=np.zeros((len(crops), len(emotions.ALL)), np.uint8),
        about={
            "data_set": "unlabelled faces",
            "labels": "none",
            "votes": False,
            "images": face_images.fingerprint(folder),
            "detector": detector.name,
        },
    )


def joined(first: Samples, others: Sequence[Samples]) -> Samples:
    """The rows of several stores in one; columns that some lack are filled with what means "unknown".

    Raises:
        DataError: Their images or classes differ.
    """
    everything = [first, *others]
    for other in others:
        if other.images.shape[1:] != first.images.shape[1:]:
            raise DataError(
                f"images of {other.images.shape[1:]} cannot join images of {first.images.shape[1:]}",
                hint="build both with the same size and colours",
            )
        if other.classes != first.classes:
            raise DataError(
                f"the classes {', '.join(other.classes)} cannot join {', '.join(first.classes)}",
                hint="build both with the same classes",
            )
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        present = [getattr(each, name) for each in everything]
        known = next((column for column in present if column is not None), None)
        if known is None:
            continue
        if name == "keypoints" and len({each.keypoint_scheme for each in everything if each.keypoint_scheme}) > 1:
            raise DataError("keypoints of different schemes cannot be joined", hint="find them again for both")
        columns[name] = np.concatenate(
            [
                _unknown(name, known, len(each)) if column is None else column
                for each, column in zip(everything, present, strict=True)
            ]
        )
    scheme = next((each.keypoint_scheme for each in everything if each.keypoint_scheme), "")
    about = {**first.about, "joined": [dict(other.about) for other in others]}
    return replace(first, **columns, keypoint_scheme=scheme, about=about)


def _unknown(name: str, known: NDArray[Any], count: int) -> NDArray[Any]:
    """A column of rows of which nothing is known."""
    unknown = {"keypoints": np.nan, "affect": np.nan, "subjects": "", "clips": "", "clip_labels": NO_LABEL}
    value: Any = {**unknown, "weights": 1}.get(name, 0)
    return np.full((count, *known.shape[1:]), value, known.dtype)
