"""Measures dense landmarks, head pose and the face score: `python -m benchmarks.landmarks [--weights FILE]`.

Everything is measured behind the detector `mien`, as users run it, on the valid split of ../shared/data/faces against
the landmarks of the teacher (../shared/data/landmarks; faces marked as doubtful and points outside the image are left
out) and against Helen's human points; and on PublicTest's faces of FER2013, which have 48 pixels and are placed without
a detector. Distances are those of the outer eye corners in the image, in percent, unless said otherwise; intervals are
bootstraps over faces. Jitter is how far the points of a still face move, root mean square, if noise is added
to its image; beside it, that of the detector's own five points.
"""

import argparse
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Measurement, Results, markdown, measure, save
from mien.assets.store import model_bytes, open_model
from mien.datasets import face_images, landmark_faces, store
from mien.evaluation.detection import match
from mien.faces import detectors
from mien.faces.align import Aligner
from mien.faces.keypoints import JAW, five_of
from mien.faces.landmarks import LandmarkOptions
from mien.faces.landmarks.mien import MOST, MienLandmarker
from mien.faces.landmarks.mien import load as load_landmarker
from mien.media import read_image
from mien.results import Face

ROOT: Final = Path(__file__).parent.parent
DATA: Final = ROOT.parent / "shared" / "data"
EYES: Final = (36, 45)
SIGMA: Final = 6.0  # of the noise, grey levels
COPIES: Final = 8
STILL: Final = 40  # faces whose jitter is measured
REST: Final = np.array([not JAW.start <= point < JAW.stop for point in range(70)])


def mean(values: list[float] | NDArray[np.float64], scale: float = 100.0) -> Measurement:
    """The mean over faces with its 95% interval (bootstrap), times `scale`."""
    array = scale * np.asarray(values, float)
    rng = np.random.default_rng(0)
    means = array[rng.integers(0, len(array), (1000, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    middle = float(array.mean())
    return Measurement(middle, min(low, middle), max(high, middle), len(array))


def errors(found: NDArray[np.floating], known: NDArray[np.floating], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(70,) distances in those of the outer eye corners; nan for points outside the image."""
    unit = np.linalg.norm(known[EYES[0]] - known[EYES[1]])
    apart = np.linalg.norm(found - known, axis=1) / max(float(unit), 1e-6)
    return np.where(inside, apart, np.nan)


@dataclass
class Errors:
    """Of faces: means over their points."""

    rest: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)

    def add(self, found: NDArray[np.floating], known: landmark_faces.Labels, size: tuple[int, int]) -> None:
        """Adds a face of an image with that width and height."""
        inside = np.asarray(((known.points >= 0) & (known.points < size)).all(axis=1), np.bool_)
        apart = errors(found, known.points, inside)
        self.rest.append(float(np.nanmean(apart[REST])))
        self.all.append(float(np.nanmean(apart)))

    def figures(self, title: str) -> dict[str, Measurement]:
        """The means."""
        return {f"{title}, without the jaw": mean(self.rest), f"{title}, all 70 points": mean(self.all)}


def behind_detector(landmarker: MienLandmarker, title: str) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
    """Errors on the valid split: of points, in percent; of the pose, in degrees."""
    known = landmark_faces.by_face(DATA / "landmarks" / landmark_faces.FILES[0])
    aligner = Aligner("mien")
    points, human, theirs = Errors(), [], []
    pose: list[NDArray[np.floating]] = []
    for image in face_images.read(DATA / "faces", "valid"):
        faces = aligner.find(image.image)
        if not faces:
            continue
        found = landmarker(image.image, np.stack([face.box for face in faces]), aligner.landmarks(faces))
        matches = match(_detections(faces), image)
        for place, number in enumerate(matches.face.tolist()):
            if number < 0:
                continue
            labels = known.get((image.source, number))
            if labels is not None and labels.ok:
                points.add(found.points[place], labels, image.image.shape[1::-1])
                if found.pose is not None:
                    pose.append(np.abs(found.pose[place] - labels.pose))
            if image.origin[number] == "human":
                five = image.landmarks[number]
                apart = np.linalg.norm(five[0] - five[1])
                human.append(float(np.linalg.norm(five_of(found.points[place]) - five, axis=1).mean() / apart))
                own = faces[place].landmarks
                assert own is not None
                theirs.append(float(np.linalg.norm(own - five, axis=1).mean() / apart))
    figures = points.figures(f"{title}: teacher's points, valid split")
    figures[f"{title}: Helen's human five points, % of the distance of the eyes' middles"] = mean(human)
    figures["detector: Helen's human five points, % of the distance of the eyes' middles"] = mean(theirs)
    angles = np.array(pose)
    degrees = {f"{title}: {name}": mean(angles[:, index], 1) for index, name in enumerate(("yaw", "pitch", "roll"))}
    degrees[f"{title}: mean of the three"] = mean(angles.mean(axis=1), 1)
    return figures, degrees


def _detections(faces: tuple[Face, ...]) -> detectors.Detections:
    return detectors.Detections(
        np.stack([face.box for face in faces]), np.array([face.score for face in faces], np.float32)
    )


def small_faces(landmarker: MienLandmarker, title: str, fer: Path) -> dict[str, Measurement]:
    """Errors on PublicTest's faces of 48 pixels, placed as crops without a detector."""
    known = landmark_faces.by_row(DATA / "landmarks" / landmark_faces.FILES[1])
    samples = store.load(fer, "val")
    aligner, points = Aligner("whole-image"), Errors()
    for name, crop in zip(samples.names, samples.images, strict=True):
        labels = known.get(int(name))
        if labels is None or not labels.ok:
            continue
        image = np.repeat(crop[:, :, None], 3, axis=2)
        faces = aligner.find(image)
        points.add(landmarker(image, faces[0].box[None], aligner.landmarks(faces)).points[0], labels, (48, 48))
    return points.figures(f"{title}: teacher's points, faces of 48 px (PublicTest)")


def jitter(landmarker: MienLandmarker, title: str) -> dict[str, Measurement]:
    """How far points of still faces move if noise is added to the image, root mean square by face."""
    aligner, rng = Aligner("mien"), np.random.default_rng(0)
    dense: list[float] = []
    five: list[float] = []
    own: list[float] = []
    for image in face_images.read(DATA / "faces", "valid", sets=("portraits", "helen", "frames"), limit=STILL):
        moved: list[tuple[NDArray[np.floating], ...]] = []
        for _ in range(COPIES):
            noisy = np.clip(image.image + rng.normal(0, SIGMA, image.image.shape), 0, 255).astype(np.uint8)
            faces = aligner.find(noisy)[:1]
            if faces and faces[0].landmarks is not None:
                points = landmarker(noisy, faces[0].box[None], aligner.landmarks(faces)).points[0]
                moved.append((points, five_of(points), faces[0].landmarks))
        if len(moved) < COPIES:
            continue
        unit = np.linalg.norm(moved[0][0][EYES[0]] - moved[0][0][EYES[1]])
        for series, place in ((dense, 0), (five, 1), (own, 2)):
            stack = np.stack([each[place] for each in moved])
            series.append(float(np.sqrt(((stack - stack.mean(axis=0)) ** 2).sum(axis=2).mean()) / unit))
    return {
        f"{title}: jitter of the 70 points": mean(dense),
        f"{title}: jitter of the five made of them": mean(five),
        "detector: jitter of its five points": mean(own),
    }


def second_stage(landmarker: MienLandmarker, title: str) -> dict[str, Measurement]:
    """What the face score does to the detector's findings on both valid splits, by its threshold."""
    detector = detectors.load("mien")
    true, false = [], []
    for name in ("faces", "people"):
        for image in face_images.read(DATA / name, "valid"):
            found = detector.detect(image.image)
            if len(found) and found.landmarks is not None:
                scores = landmarker(image.image, found.boxes, found.landmarks).scores
                matches = match(found, image)
                assert scores is not None
                true += scores[matches.face >= 0].tolist()
                false += scores[matches.false_alarm].tolist()
    figures = {}
    for threshold in (0.1, 0.25, 0.5):
        kept = int((np.array(true) >= threshold).sum())
        removed = int((np.array(false) < threshold).sum())
        figures[f"{title}: faces kept at a face score of {threshold:g}"] = Measurement.proportion(kept, len(true))
        figures[f"{title}: false alarms removed at {threshold:g}"] = Measurement.proportion(removed, len(false))
    return figures


def timed(landmarker: MienLandmarker) -> dict[str, Measurement]:
    """Milliseconds a face: of the network alone, of all that is done for a face, and of the default network for one."""
    portrait = read_image(ROOT / "examples" / "astronaut.jpg")
    aligner = Aligner("mien")
    faces = aligner.find(portrait)[:1]
    crops = np.zeros((1, *landmarker.input_shape), np.float32)
    boxes, five = faces[0].box[None], aligner.landmarks(faces)
    info, classifier = open_model()
    face = np.zeros((1, info.input.depth, info.input.size, info.input.size), np.float32)
    return {
        "the network, one crop": measure(functools.partial(landmarker.run, crops), repeats=200),
        f"for comparison: the network of {info.name}, one crop": measure(
            functools.partial(classifier.run, face), repeats=200
        ),
        "one face, crops included": measure(functools.partial(landmarker, portrait, boxes, five), repeats=100),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="an exported network instead of the shipped one")
    parser.add_argument("--fer", type=Path, help="a store of FER2013, built without --votes")
    parser.add_argument("--time", action="store_true", help="measure only time and size: seconds instead of minutes")
    parser.add_argument("--no-save", action="store_true", help="print the figures without saving them")
    given = parser.parse_args()
    shipped = load_landmarker(LandmarkOptions(weights=given.weights))
    measured = [] if given.time else _accuracy(shipped, given.weights, given.fer)
    size = len(model_bytes(given.weights or "mien-landmarks")) / 1e6
    time = timed(shipped)
    network, other = list(time.values())[:2]
    ratios = {"the network / the classifier's network": network.median / other.median}
    measured += [
        Results.here("landmarks_ms", "ms", time, ratios=ratios),
        Results.here("landmarks_size", "MB", {"the file": Measurement(size, size, size, 1)}),
    ]
    for results in measured:
        print(markdown(results))
        if not given.no_save:
            save(results)


def _accuracy(shipped: MienLandmarker, weights: Path | None, fer: Path | None) -> list[Results]:
    """Errors of points and pose, jitter, and what the face score is worth; with `fer`, also errors of small faces."""
    figures: dict[str, Measurement] = {}
    degrees: dict[str, Measurement] = {}
    for most in (1, MOST):
        landmarker = load_landmarker(LandmarkOptions(weights=weights), most=most)
        title = "one run of the network" if most == 1 else "as shipped"
        found, angles = behind_detector(landmarker, title)
        figures |= found
        degrees |= angles
        if fer:
            figures |= small_faces(landmarker, title, fer)
    figures |= jitter(shipped, "as shipped") | second_stage(shipped, "as shipped")
    return [
        Results.here("landmarks", "%", figures, spread="95% interval"),
        Results.here("landmarks_pose", "degrees", degrees, spread="95% interval"),
    ]


if __name__ == "__main__":
    main()
