"""Measures the position of faces: in the images of FER2013, in the boxes of each detector, and in the crops of both.

    python -m benchmarks.measure_geometry                                      # the detectors that run here
    PYTHONPATH=<a folder with OpenCV 4> python -m benchmarks.measure_geometry  # also haar
    python -m benchmarks.measure_geometry --only yunet                         # keeps the figures of the others

Needs ../shared/data and ../shared/weights; takes some minutes on one core. The mean landmarks of the detectors and the
crop spec are copied by hand from the result, docs/design/geometry.json.
"""

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any, Final

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.datasets.canvas import BORDERS, SIDE, from_canvas, on_canvas, to_canvas
from mien.datasets.face_images import MIRRORED, read
from mien.errors import UnsupportedError, WeightsError
from mien.evaluation.detection import match
from mien.faces.crop import landmark_points, similarity
from mien.faces.detectors import Detector, DetectorOptions, load, names

FACE_SIZES: Final = ((20, 30), (30, 40), (40, 60), (60, 100), (100, 500))
SCALES: Final = (2, 4, 6)
SAMPLE: Final = 300
# Faces in a row of `publictest.png`, and in all.
TILES: Final = 60
COUNT: Final = 3589
CENTRE: Final = np.full(2, SIDE / 2)

Measured = dict[str, Any]


def public_test(shared: Path) -> NDArray[np.uint8]:
    """The faces of PublicTest (3589, 48, 48) uint8 grey, in the official order, from the mosaic in `shared`."""
    mosaic = np.asarray(Image.open(shared / "data" / "fer2013" / "publictest.png"))
    tiles = mosaic.reshape(-1, SIDE, TILES, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE)
    return np.ascontiguousarray(tiles[:COUNT])


def summary(values: NDArray[np.floating], digits: int = 3) -> Measured:
    """Median, and half the distance between the 16th and 84th percentile: one sigma, if normal."""
    low, middle, high = np.percentile(values, (16, 50, 84), axis=0)
    return {"median": middle.round(digits).tolist(), "spread": ((high - low) / 2).round(digits).tolist()}


def yunet_points(faces: NDArray[np.uint8], weights: Path) -> NDArray[np.float64]:
    """YuNet's five points (N, 5, 2) in the 48x48 frames of those faces in which it finds a face."""
    net = cv2.FaceDetectorYN.create(str(weights), "", (SIDE, SIDE), 0.6)
    points = []
    for face in faces:
        canvas = on_canvas(face)
        net.setInputSize(canvas.shape[1::-1])
        _, rows = net.detect(canvas)  # (M, 15): box, five points, score; grey, so RGB and BGR are one
        if rows is not None:
            best = rows[rows[:, 14].argmax(), 4:14].reshape(5, 2).astype(np.float64)
            points.append(from_canvas(best, canvas))
    return np.array(points, np.float64)


def displacement(transforms: NDArray[np.float64]) -> Measured:
    """The deviation of transforms (N, 2, 3) of the 48x48 frame onto itself from the identity."""
    linear = transforms[:, :, :2]
    scale = np.hypot(linear[:, 0, 0], linear[:, 1, 0])
    return {
        "scale": summary(scale),
        "shift_of_centre_px": summary(linear @ CENTRE + transforms[:, :, 2] - CENTRE, 2),
        "turn_degrees": summary(np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0])), 1),
    }


def residuals(points: NDArray[np.float64], crop_spec: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each face the similarity (N, 2, 3) that maps its points to the crop spec."""
    return np.array([similarity(face, crop_spec) for face in points])


def fitted_template(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The crop spec (5, 2) to which faces are mapped with a median scale of 1 and a median shift of 0.

    Medians of the points come close, but least squares shrinks scattered points, so that their crops are too wide. The
    shape is that of the medians, made symmetric, because a face is as likely as its mirror image.
    """
    mirrored = points[:, MIRRORED] * (-1, 1) + (SIDE, 0)
    crop_spec: NDArray[np.float64] = np.median(np.concatenate([points, mirrored]), axis=0)
    for _ in range(3):
        found = residuals(points, crop_spec)
        scale = np.median(np.hypot(found[:, 0, 0], found[:, 1, 0]))
        shift = np.median(found[:, :, :2] @ CENTRE + found[:, :, 2] - CENTRE, axis=0)
        crop_spec = (crop_spec - CENTRE - (0, shift[1])) / scale + CENTRE
    return crop_spec


def measure_template(shared: Path) -> Measured:
    """The five points that YuNet finds in the images of PublicTest, and the crop spec that follows from them."""
    faces = public_test(shared)
    points = yunet_points(faces, shared / "weights" / "yunet_n_640_640.onnx")
    crop_spec = fitted_template(points)
    return {
        "faces": len(faces),
        "found": len(points),
        "points": summary(points, 2),
        "size": SIDE,
        "crop_spec": crop_spec.round(2).tolist(),
        "crops_by_medians": displacement(residuals(points, np.median(points, axis=0))),
        "crops_by_template": displacement(residuals(points, crop_spec)),
    }


def measure_mean_landmarks(detector: Detector, shared: Path) -> Measured:
    """The position of the labelled points in the boxes of the detector.

    The points of the portraits are YuNet's, like those of the crop spec; the points of frames and Helen were set
    differently and are lower (the mouth by 0.03 of the box), so their mean would raise every crop. Each image is used
    with its mirror image, because the direction of a gaze says nothing about the next face.
    """
    inside = []
    for image in read(shared / "data" / "faces", "train", sets=("portraits",)):
        for view in (image, image.mirrored()):
            found = detector.detect(view.image)
            for box, face in zip(found.boxes, match(found, view).face, strict=True):
                if face >= 0:
                    inside.append((view.landmarks[face] - box[:2]) / (box[2:] - box[:2]))
    return {"faces": len(inside), **summary(np.array(inside))}


def measure_detection(detector: Detector, shared: Path) -> Measured:
    """Recall by size of face, precision and processor time (one thread) on the valid split."""
    sizes: list[float] = []
    hits: list[bool] = []
    right, false, seconds = 0, 0, 0.0
    valid = list(read(shared / "data" / "faces", "valid"))
    for image in valid:
        start = time.process_time()
        found = detector.detect(image.image)
        seconds += time.process_time() - start
        matches = match(found, image)
        right += int((matches.face >= 0).sum())
        false += int(matches.false_alarm.sum())
        sizes.extend(np.sqrt(np.prod(image.boxes[:, 2:] - image.boxes[:, :2], axis=1)))
        hits.extend(np.isin(np.arange(len(image.boxes)), matches.face))
    size, hit = np.array(sizes), np.array(hits)
    groups = {f"{low}-{high} px": hit[(low <= size) & (size < high)] for low, high in FACE_SIZES}
    return {
        "images": len(valid),
        "recall": {name: {"faces": len(group), "found": int(group.sum())} for name, group in groups.items()},
        "recall_from_40_px": round(float(hit[size >= 40].mean()), 3),
        "precision": round(right / (right + false), 3),
        "false_alarms": false,
        "ms": round(1000 * seconds / len(valid), 1),
    }


def measure_canvas(detector: Detector, crop_spec: NDArray[np.float64], shared: Path) -> list[Measured]:
    """The fraction of PublicTest faces that are found on a canvas, and the position of their crops.

    The enlargement of each face varies a little: detectors search in coarse steps of size and position, and equally
    placed faces would measure the step instead of the detector.
    """
    chance = np.random.default_rng(0)
    faces = chance.permutation(public_test(shared))[:SAMPLE]
    enlargements = chance.uniform(0.8, 1.25, SAMPLE)
    corners = np.array([[0, 0], [SIDE, 0], [0, SIDE]], float)
    rows = []
    for border in BORDERS:
        for scale in SCALES:
            transforms = []
            for face, enlargement in zip(faces, enlargements, strict=True):
                canvas = on_canvas(face, scale * enlargement, border)
                found = detector.detect(canvas)
                if len(found):
                    landmarks = None if found.landmarks is None else found.landmarks[0]
                    points = landmark_points(found.boxes[0], landmarks, detector.mean_landmarks)
                    crop = similarity(points, crop_spec)
                    landed = to_canvas(corners, canvas) @ crop[:, :2].T + crop[:, 2]
                    transforms.append(similarity(corners, landed))
            found_share = round(len(transforms) / len(faces), 3)
            crops = displacement(np.array(transforms))
            rows.append({"border": border, "enlarged": scale, "found": found_share, **crops})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("docs/design/geometry.json"))
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        choices=names(),
        help="measure only these, and keep the others of the earlier result",
    )
    options = parser.parse_args()
    cv2.setNumThreads(1)
    weights = {"yunet": options.shared / "weights" / "yunet_n_640_640.onnx"}
    if options.only:
        result: Measured = json.loads(options.out.read_text())
    else:
        result = {
            "command": "python -m benchmarks.measure_geometry",
            "versions": {"opencv": cv2.__version__, "dlib": dlib.__version__, "numpy": np.__version__},
            "fer2013": measure_template(options.shared),
            "detectors": {},
        }
    crop_spec = result["fer2013"]
    for name in options.only or [name for name in names() if name != "whole-image"]:
        try:
            detector = load(DetectorOptions(name, weights=weights.get(name)))
        except (UnsupportedError, WeightsError) as error:
            print(f"{name} skipped: {error}")
            continue
        result["detectors"][name] = {
            "mean_landmarks": measure_mean_landmarks(detector, options.shared),
            "valid_split": measure_detection(detector, options.shared),
            "fer2013_on_canvas": measure_canvas(detector, np.array(crop_spec["crop_spec"]), options.shared),
        }
    lines = json.dumps(result, indent=1)
    text = re.sub(r"\[[^][{}]*\]", lambda numbers: " ".join(numbers[0].split()), lines)  # one list, one line
    options.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
