"""Faces with landmarks: their points stay on the face in the stored crops, and faces are never negatives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.landmark_data import Folders, write
from typer.testing import CliRunner

from mien.cli import build_app
from mien.datasets import face_images, landmark_faces
from mien.datasets.landmark_faces import DENSE, FIVE, NO_FACE, PLACES, ROOM, SIDE, LandmarkFaces, build, load, save
from mien.errors import DataError, InputError
from mien.faces.crop import similarity
from mien.faces.detectors import Detections
from mien.faces.detectors import load as load_detector
from mien.faces.keypoints import five_of


class Everything:
    """A detector that finds a face everywhere: in a grid of boxes."""

    name = "everything"
    mean_landmarks = np.array(PLACES, np.float32)

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        corners = np.stack(np.meshgrid(np.arange(0, 90, 12), np.arange(0, 90, 12)), axis=-1).reshape(-1, 2)
        boxes = np.concatenate([corners, corners + 16], axis=1).astype(np.float32)
        points = boxes[:, None, :2] + np.array(PLACES, np.float32) * 16
        return Detections(boxes, np.full(len(boxes), 0.3, np.float32), points)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return write(tmp_path_factory.mktemp("landmarks"))


@pytest.fixture(scope="module")
def faces(folders: Folders) -> LandmarkFaces:
    return build(folders.images, folders.points, fer=folders.fer, detector=Everything())


def test_every_kind_of_crop_is_made_for_both_splits(faces: LandmarkFaces) -> None:
    counts = faces.counts()
    assert (counts["train"]["dense landmarks"], counts["train"]["five landmarks"]) == (
        8 + 7,
        1,
    )  # a doubtful one is out
    assert (counts["val"]["dense landmarks"], counts["val"]["five landmarks"]) == (2 + 4, 1)
    assert min(counts[split]["no face"] for split in counts) > 5
    assert set(faces.sources) == {"drawn", "fer2013"}


def test_points_lie_where_the_crop_shows_them(faces: LandmarkFaces, folders: Folders) -> None:
    dense = np.flatnonzero(faces.kind == DENSE)
    first = faces.points[dense[0]]
    matrix = similarity(five_of(folders.first), faces.five[dense[0]])
    known = folders.first @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(first - known).max() < 0.2  # stored in sixteenths of a pixel, enlarged
    five = np.stack([five_of(points) for points in faces.points[dense]])
    np.testing.assert_allclose(five, faces.five[dense], atol=1e-3)
    places = ((np.array(PLACES) - 0.5) / ROOM + 0.5) * SIDE
    assert np.abs(five.mean(axis=0) - places).max() < 3
    for row in dense:  # an iris is dark and the skin between the eyes is bright
        x, y = np.floor(faces.points[row, 68:].T).astype(int)
        bridge = np.floor(faces.points[row, 28]).astype(int)
        assert faces.crops[row, y, x].max() + 30 < faces.crops[row, bridge[1], bridge[0]]


def test_crops_are_upright_and_the_pose_says_so(faces: LandmarkFaces) -> None:
    dense = faces.kind == DENSE
    eyes = faces.five[dense, 1] - faces.five[dense, 0]
    tilt = np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))
    assert np.abs(tilt).max() < 6
    np.testing.assert_allclose(faces.pose[dense, 2], tilt, atol=0.5)  # of a flat face, the roll is the eyes' tilt


def test_no_face_shares_more_than_a_little_with_a_face(folders: Folders) -> None:
    crowded = build(folders.images, folders.points, detector=Everything())
    assert (crowded.kind == NO_FACE).sum() > 20
    for image in face_images.read(folders.images, "train"):
        for box in Everything().detect(image.image).boxes:
            touching = landmark_faces._touches(box, image)
            middle = (box[:2] + box[2:]) / 2
            inside = ((middle > image.boxes[:, :2]) & (middle < image.boxes[:, 2:])).all(axis=1).any()
            assert touching or not inside


def test_what_is_written_is_read_again(faces: LandmarkFaces, tmp_path: Path) -> None:
    save(faces, tmp_path / "faces.h5")
    again = load(tmp_path / "faces.h5")
    for name in landmark_faces.COLUMNS:
        assert np.array_equal(getattr(again, name), getattr(faces, name))
    assert (again.places, again.room, again.sources) == (faces.places, faces.room, faces.sources)
    assert len(again.only("train")) + len(again.only("val")) == len(again)


def test_the_command_builds_the_same_file(folders: Folders, tmp_path: Path) -> None:
    out = tmp_path / "faces.h5"
    words = ["data", "landmarks", str(folders.images), "--points", str(folders.points), "--fer", str(folders.fer)]
    done = CliRunner().invoke(build_app(), [*words, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "train: " in done.output
    assert "15 dense landmarks" in done.output
    expected = build(folders.images, folders.points, fer=folders.fer, detector=load_detector("mien"))
    assert np.array_equal(load(out).crops, expected.crops)


def test_wrong_files_are_named(folders: Folders, tmp_path: Path, faces: LandmarkFaces) -> None:
    with pytest.raises(InputError, match=r"faces_landmarks\.npz: no such file"):
        build(folders.images, tmp_path, detector=Everything())
    np.savez(tmp_path / "faces_landmarks.npz", points=np.zeros((1, 68, 2)))
    with pytest.raises(DataError, match="is not a file of landmarks"):
        build(folders.images, tmp_path, detector=Everything())
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "nothing.h5")
    (tmp_path / "text.h5").write_text("no store")
    with pytest.raises(DataError, match="is damaged"):
        load(tmp_path / "text.h5")
    with pytest.raises(DataError, match="is not a file of faces with landmarks"):
        load(folders.fer)
    foreign = replace(faces, kind=np.full(len(faces), FIVE, np.uint8))
    save(foreign, tmp_path / "foreign.h5")
    assert load(tmp_path / "foreign.h5").counts()["train"]["dense landmarks"] == 0
