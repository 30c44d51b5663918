"""Cropped faces with dense landmarks and head pose, and crops without a face, for the training of landmark networks.

`build` makes them from labelled images (`face_images`), from a store of FER2013, and from the landmarks of both: two
files, `faces_landmarks.npz` and `fer2013_landmarks.npz`, in one folder. These of their arrays are read, one entry a
face:

- `points`: (N, 70, 2) integers, x and y in 1/16 pixel, 0 being the centre of the first pixel; in the order of
  `mien.faces.keypoints`; of the image, or of the 48x48 face;
- `pose`: (N, 3) integers: yaw, pitch and roll in 1/100 degree;
- `eye_distance`: (N,) the distance of the outer eye corners in three dimensions, in 1/16 pixel;
- `ok`: (N,) whether the entry is to be used;
- which face it is: `zip_names`, `zip` (an index into them), `name` (the file in the archive) and `face` (its place in
  the labels of that image); for FER2013 `row`, the number of the row in fer2013.csv.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.assets.signature import CropSpec
from mien.datasets import face_images, samples, store
from mien.errors import DataError, InputError, MissingExtraError, OutputError
from mien.faces.boxes import intersection
from mien.faces.crop import crop_face, similarity
from mien.faces.detectors import Detector
from mien.faces.keypoints import COUNTS, POINTS_70, five_of
from mien.files import replacing
from mien.progress import Progress, Steps, unseen

try:
    import h5py
except ImportError:  # the inference flow works without it
    h5py = None

FORMAT: Final = "mien-landmark-faces"
VERSION: Final = 1
SPLITS: Final = ("train", "val")
FILES: Final = ("faces_landmarks.npz", "fer2013_landmarks.npz")
# Where the five landmarks lie in the crop that a network gets, as fractions of its side: brows, jaw and an open mouth
# are inside, with a margin for the errors of a detector.
PLACES: Final = ((0.36, 0.30), (0.64, 0.30), (0.5, 0.4549), (0.384, 0.5742), (0.616, 0.5742))
# The stored crops show this many times the side of the network's, so that training can move, turn and shrink them.
ROOM: Final = 1.5
SIDE: Final = 128
# What a crop shows.
NO_FACE, DENSE, FIVE = range(3)
FER_SIDE: Final = 48
_LOWEST: Final = 0.1  # score of the detector from which a false alarm is kept
_ALARMS: Final = 6  # of one image, at most


@dataclass(frozen=True, eq=False)
class LandmarkFaces:
    """Crops with their labels; N rows.

    Attributes:
        crops: (N, S, S) uint8, grey; each shows `room` times the side of a network's crop, with the same middle.
        points: (N, 70, 2) float32 x, y in pixels of the crop; only meaningful where `kind` is `DENSE`.
        inside: (N, 70) bool: which points lie inside the image.
        five: (N, 5, 2) float32 the five landmarks in pixels of the crop, unless `kind` is `NO_FACE`.
        pose: (N, 3) float32 yaw, pitch and roll in degrees, in the crop; for `DENSE`.
        eye_distance: (N,) float32 in pixels of the crop; for `DENSE`.
        kind: (N,) uint8 `NO_FACE`, `DENSE` (all labels) or `FIVE` (five landmarks only).
        source: (N,) uint8, an index into `sources`.
        split: (N,) uint8, an index into `SPLITS`.
        sources: Names of archives, and "fer2013".
        places: (5, 2) where the five landmarks lie in a network's crop, as fractions of its side.
        room: See `crops`.
        about: What is known of its origin, in plain types.
    """

    crops: NDArray[np.uint8]
    points: NDArray[np.float32]
    inside: NDArray[np.bool_]
    five: NDArray[np.float32]
    pose: NDArray[np.float32]
    eye_distance: NDArray[np.float32]
    kind: NDArray[np.uint8]
    source: NDArray[np.uint8]
    split: NDArray[np.uint8]
    sources: tuple[str, ...]
    places: tuple[tuple[float, float], ...] = PLACES
    room: float = ROOM
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.crops)

    def only(self, split: str) -> "LandmarkFaces":
        """The rows of one split."""
        chosen = self.split == SPLITS.index(split)
        columns = {name: getattr(self, name)[chosen] for name in COLUMNS}
        return LandmarkFaces(**columns, sources=self.sources, places=self.places, room=self.room, about=self.about)

    def counts(self) -> dict[str, dict[str, int]]:
        """Rows by split and kind."""
        names = {"dense landmarks": DENSE, "five landmarks": FIVE, "no face": NO_FACE}
        return {
            split: {name: int(((self.split == index) & (self.kind == kind)).sum()) for name, kind in names.items()}
            for index, split in enumerate(SPLITS)
        }


COLUMNS: Final = tuple(
    each.name for each in fields(LandmarkFaces) if each.name not in ("sources", "places", "room", "about")
)


def canvas_spec(side: int = SIDE) -> CropSpec:
    """The crop that is stored: that of a network, with more around it."""
    return CropSpec(side, ((np.array(PLACES) - 0.5) / ROOM + 0.5).astype(np.float32) * side)


@dataclass(frozen=True, eq=False)
class _Row:
    """One crop with its labels, see `LandmarkFaces`."""

    crop: NDArray[np.uint8]
    kind: int
    source: str
    split: int
    five: NDArray[np.floating] = field(default_factory=lambda: np.zeros((5, 2), np.float32))
    points: NDArray[np.floating] = field(default_factory=lambda: np.zeros((COUNTS[POINTS_70], 2), np.float32))
    inside: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(COUNTS[POINTS_70], bool))
    pose: NDArray[np.floating] = field(default_factory=lambda: np.zeros(3, np.float32))
    eye_distance: float = 0.0


def build(
    images: Path,
    landmarks: Path,
    *,
    fer: Path | None = None,
    detector: Detector,
    limit: int | None = None,
    progress: Progress = unseen,
) -> LandmarkFaces:
    """Crops faces with landmarks, faces with five landmarks, and what is no face.

    What is no face: false alarms of the detector, found at a low score, and random places in the images. A place that
    touches a face or a box to ignore is not used.

    Args:
        images: A folder of labelled images, or of several such folders; see `face_images`.
        landmarks: The folder of the two files of landmarks.
        fer: A store of FER2013 in which rows are named by their number; None: without FER2013.
        detector: Finds the false alarms.
        limit: Approximate number of images, and of faces of FER2013, for each split; None for all.
        progress: Called with the number of images done and the number of all, without those of FER2013.

    Raises:
        InputError: A file is missing or cannot be read.
        DataError: A file has another form, or no face has landmarks.
    """
    rows: list[_Row] = []
    known = by_face(landmarks / FILES[0])
    steps = Steps(progress, sum(face_images.count(images, split, limit=limit) for split in face_images.SPLITS))
    for number, split in enumerate(face_images.SPLITS):
        rng = np.random.default_rng(number)
        for image in face_images.read(images, split, limit=limit, progress=steps.part()):
            rows += _of_image(image, number, known, detector, rng)
    if fer is not None:
        rows += _of_fer(fer, landmarks / FILES[1], limit)
    if not any(row.kind == DENSE for row in rows):
        raise DataError(
            f"{landmarks}: belongs to none of the faces in {images}", hint="check that both are of one data set"
        )
    sources = tuple(dict.fromkeys(row.source for row in rows))
    if len(sources) > np.iinfo(np.uint8).max:
        raise DataError(f"{images}: {len(sources)} archives, at most 255 can be stored", hint="join some of them")
    return LandmarkFaces(
        crops=np.stack([row.crop for row in rows]),
        points=np.stack([row.points for row in rows]).astype(np.float32),
        inside=np.stack([row.inside for row in rows]),
        five=np.stack([row.five for row in rows]).astype(np.float32),
        pose=np.stack([row.pose for row in rows]).astype(np.float32),
        eye_distance=np.array([row.eye_distance for row in rows], np.float32),
        kind=np.array([row.kind for row in rows], np.uint8),
        source=np.array([sources.index(row.source) for row in rows], np.uint8),
        split=np.array([row.split for row in rows], np.uint8),
        sources=sources,
        about={"images": face_images.fingerprint(images), "fer2013": fer is not None, "detector": detector.name},
    )


def _read(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The arrays of one file of landmarks, in pixels of continuous coordinates and degrees."""
    try:
        with np.load(path) as file:
            data = {key: file[key] for key in ("points", "pose", "eye_distance", "ok", *keys)}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", hint="docs/training.md describes the landmarks") from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: is not a file of landmarks: {error}", hint="see docs/training.md") from error
    count = len(data["ok"])
    shapes = {"points": (count, COUNTS[POINTS_70], 2), "pose": (count, 3), "eye_distance": (count,)}
    for name, shape in shapes.items():
        if data[name].shape != shape:
            raise DataError(f"{path}: {name}: expected {shape}, got {data[name].shape}", hint="see docs/training.md")
    data["points"] = data["points"].astype(np.float32) / 16 + 0.5
    data["pose"] = data["pose"].astype(np.float32) / 100
    data["eye_distance"] = data["eye_distance"].astype(np.float32) / 16
    return data


@dataclass(frozen=True, eq=False)
class Labels:
    """The landmarks of one face in its image.

    Attributes:
        points: (70, 2) in pixels.
        pose: (3,) yaw, pitch and roll in degrees.
        eye_distance: In pixels, in three dimensions.
        ok: Whether they are to be used.
    """

    points: NDArray[np.float32]
    pose: NDArray[np.float32]
    eye_distance: float
    ok: bool


def by_face(path: Path) -> dict[tuple[str, int], Labels]:
    """Landmarks of a file by source ("archive/file", see `FaceImage`) and number of the face in that image."""
    data = _read(path, ("zip_names", "zip", "name", "face"))
    found = {}
    for index in range(len(data["ok"])):
        name = data["name"][index]
        file = name.decode() if isinstance(name, bytes) else str(name)
        key = f"{data['zip_names'][data['zip'][index]]}/{file}", int(data["face"][index])
        found[key] = _labels(data, index)
    return found


def by_row(path: Path) -> dict[int, Labels]:
    """Landmarks of a file by the row of FER2013."""
    data = _read(path, ("row",))
    return {int(row): _labels(data, index) for index, row in enumerate(data["row"])}


def _labels(data: dict[str, NDArray[Any]], index: int) -> Labels:
    return Labels(
        data["points"][index], data["pose"][index], float(data["eye_distance"][index]), bool(data["ok"][index])
    )


def _of_image(
    image: face_images.FaceImage,
    split: int,
    known: dict[tuple[str, int], Labels],
    detector: Detector,
    rng: np.random.Generator,
) -> Iterator[_Row]:
    """The faces of an image, and what is none in it."""
    source = image.source.partition(".")[0]
    for number, five in enumerate(image.landmarks):
        labels = known.get((image.source, number))
        if labels is not None and labels.ok:
            yield _dense(image.image, labels, split, source)
        elif labels is None and np.isfinite(five).all():
            yield _Row(_grey_crop(image.image, five), FIVE, source, split, _moved(five, five))
    found = detector.detect(image.image, min_score=_LOWEST)
    places = [] if found.landmarks is None else list(zip(found.boxes, found.landmarks, strict=True))
    places = [place for place in places if not _touches(place[0], image)][:_ALARMS]
    height, width = image.image.shape[:2]
    for _ in range(1 if len(image.boxes) else 2):
        side = np.exp(rng.uniform(np.log(12), np.log(max(13, min(height, width)))))
        corner = rng.uniform(-0.2, 1, 2) * np.maximum((width - side, height - side), 1)
        box = np.concatenate([corner, corner + side])
        if not _touches(box, image):
            places.append((box, corner + _turned(np.array(PLACES), rng.normal(0, 12)) * 1.4 * side - 0.2 * side))
    for _, five in places:
        yield _Row(_grey_crop(image.image, five), NO_FACE, source, split)


def _touches(box: NDArray[np.floating], image: face_images.FaceImage) -> bool:
    """Whether a box shares more than a little with a face or with what may be one."""
    area = float(np.prod(box[2:] - box[:2]))
    for others in (image.boxes, image.ignore):
        if len(others):
            common = intersection(box[None], others)[0]
            smaller = np.minimum(area, np.prod(others[:, 2:] - others[:, :2], axis=1))
            if (common > 0.15 * smaller).any():
                return True
    return False


def _turned(points: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray((points - 0.5) @ np.array([[cos, sin], [-sin, cos]]) + 0.5)


def _of_fer(path: Path, landmarks: Path, limit: int | None) -> Iterator[_Row]:
    """The faces of FER2013 that have landmarks."""
    known, faces = by_row(landmarks), store.load(path)
    if faces.images.shape[1:] != (FER_SIDE, FER_SIDE):
        raise DataError(f"{path}: expected faces of 48x48 pixels, got {faces.images.shape[1:]}", hint="give FER2013")
    for split in SPLITS:
        rows = np.flatnonzero(faces.split == samples.SPLITS.index(split))
        for place in rows[:: max(1, len(rows) // limit) if limit else 1]:
            name = str(faces.names[place])
            if not name.isdecimal():
                raise DataError(
                    f"{path}: rows are not named by their number ('{name}')",
                    hint="build it without --votes: mien data build fer2013 --csv fer2013.csv",
                )
            labels = known.get(int(name))
            if labels is not None and labels.ok:
                image = np.repeat(faces.images[place][:, :, None], 3, axis=2)
                yield _dense(image, labels, SPLITS.index(split), "fer2013")


def _dense(image: NDArray[np.uint8], labels: Labels, split: int, source: str) -> _Row:
    five = five_of(labels.points)
    matrix = similarity(five, canvas_spec().points)
    scale = float(np.hypot(*matrix[:, 0]))
    turn = float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
    size = np.array(image.shape[1::-1])
    return _Row(
        crop=_grey_crop(image, five),
        kind=DENSE,
        source=source,
        split=split,
        five=_moved(five, five),
        points=_moved(labels.points, five),
        inside=np.asarray(((labels.points >= 0) & (labels.points < size)).all(axis=1), np.bool_),
        pose=labels.pose + np.array([0, 0, turn], np.float32),  # a turn in the image only adds to the roll
        eye_distance=labels.eye_distance * scale,
    )


def _grey_crop(image: NDArray[np.uint8], five: NDArray[np.floating]) -> NDArray[np.uint8]:
    crop = crop_face(image, five.astype(np.float32), canvas_spec())
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)


def _moved(points: NDArray[np.floating], five: NDArray[np.floating]) -> NDArray[np.float32]:
    """Points of an image in the crop that is aligned by `five`."""
    matrix = similarity(five, canvas_spec().points)
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def save(faces: LandmarkFaces, path: Path) -> None:
    """Writes the faces to an HDF5 file, which appears only when it is complete.

    Raises:
        OutputError: The file cannot be written.
        MissingExtraError: h5py is not installed.
    """
    _need_h5py()
    with replacing(path) as partial:
        try:
            with h5py.File(partial, "w") as file:
                file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
                for name in ("sources", "places", "about"):
                    file.attrs[name] = json.dumps(getattr(faces, name))
                file.attrs["room"] = faces.room
                for name in COLUMNS:
                    file.create_dataset(name, data=getattr(faces, name))
        except (OSError, RuntimeError) as error:  # h5py raises RuntimeError if the disk is full
            partial.unlink(missing_ok=True)
            raise OutputError(
                f"{path}: cannot be written: {' '.join(str(error).split())}", hint="check the free space"
            ) from error


def load(path: Path) -> LandmarkFaces:
    """Reads a file that `save` wrote into memory.

    Raises:
        InputError: There is no such file.
        DataError: The file has another form, or is damaged.
        MissingExtraError: h5py is not installed.
    """
    _need_h5py()
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint="make one with `mien data landmarks`")
    again = "make it again with `mien data landmarks`"
    try:
        with h5py.File(path, "r") as file:
            if (file.attrs.get("format"), file.attrs.get("version")) != (FORMAT, VERSION):
                raise DataError(f"{path}: is not a file of faces with landmarks of version {VERSION}", hint=again)
            return LandmarkFaces(
                **{name: file[name][()] for name in COLUMNS},
                sources=tuple(json.loads(file.attrs["sources"])),
                places=tuple((x, y) for x, y in json.loads(file.attrs["places"])),
                room=float(file.attrs["room"]),
                about=json.loads(file.attrs["about"]),
            )
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: is damaged: {' '.join(str(error).split())}", hint=again) from error


def _need_h5py() -> None:
    if h5py is None:
        raise MissingExtraError("faces with landmarks", "data")
