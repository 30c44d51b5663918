"""Expressions in natural photographs: which faces count, what a verdict says, and the figures."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks.expressions import ROWS, SETS, SIDE, SMALLEST, VERDICTS, Place, draw, emotion_of, figures, places, read
from PIL import Image
from tests.face_images import write_images

from mien.datasets.face_images import FaceImage
from mien.emotions import vocabulary
from mien.results import Expression, Face, FrameResult


def photograph(*sides: float, source: str = "people.zip/0") -> FaceImage:
    boxes = np.array([(100.0 * number, 10, 100 * number + side, 10 + side) for number, side in enumerate(sides)])
    image = np.full((200, 300, 3), 90, np.uint8)
    return FaceImage(image, boxes, np.zeros((len(sides), 5, 2)), np.empty((0, 4)), source=source)


def face(box: Sequence[float], emotion: str) -> Face:
    names = vocabulary(8)
    expression = Expression(np.array([0.93 if name == emotion else 0.01 for name in names], np.float32), names)
    return Face(box=np.array(box, np.float32), score=0.9, expression=expression)


def result(*faces: Face) -> FrameResult:
    return FrameResult(source="", frame=0, timestamp=None, width=300, height=200, faces=faces)


def test_faces_of_forty_pixels_count(tmp_path: Path) -> None:
    for number, folder in enumerate(sorted(set(SETS.values()))):
        made = write_images(tmp_path / folder, train=3, valid=3, seed=number)
        rows = [json.loads(line) for line in (made / "labels.jsonl").read_text().splitlines()]
        names = [name for name, where in SETS.items() if where == folder]
        for name in names:
            (made / f"{name}.zip").write_bytes((made / "drawn.zip").read_bytes())
        rows = [row | {"zip": f"{name}.zip"} for name in names for row in rows]
        (made / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    for name in SETS:
        found = list(places(name, tmp_path))
        assert found
        for place in found:
            box = place.image.boxes[place.face]
            assert place.set == name
            assert place.image.source.startswith(f"{name}.zip/")
            assert np.sqrt((box[2] - box[0]) * (box[3] - box[1])) >= SMALLEST


def test_the_found_face_is_the_one_that_covers_the_label() -> None:
    place = Place("people", photograph(60, 60), 1)
    here, other = face((102, 12, 158, 70), "anger"), face((0, 10, 60, 70), "happiness")
    assert emotion_of(place, result(other, here)) == "anger"
    assert emotion_of(place, result(other)) is None
    assert emotion_of(place, result()) is None


def test_the_figures() -> None:
    image = photograph(60, 60, 60)
    faces = [Place("people", image, number) for number in range(3)]
    said: dict[tuple[str, int], tuple[str, ...]] = {faces[0].key: ("anger", "neutral"), faces[1].key: ("happiness",)}
    found = figures(said, faces, ["neutral", "anger", None], "soft")
    assert found["people, soft: anger"].median == 50
    assert found["people, soft: anger"].repeats == 2  # the third was not found
    assert found["the viewer agrees, soft: all faces"].median == 50
    assert "the viewer agrees, soft: neither neutral nor happy" not in found
    assert figures({faces[0].key: ()}, faces[:1], ["anger"], "soft")["people, soft: anger"].median == 100


def test_a_sheet_has_a_row_of_numbered_faces(tmp_path: Path) -> None:
    (path,) = draw([Place("people", photograph(60), 0)] * 3, tmp_path)
    pixels = np.asarray(Image.open(path))
    assert pixels.shape[0] >= ROWS * SIDE
    assert (pixels[30:SIDE, 10 : SIDE - 10] != 255).any()
    assert (pixels[SIDE + 60 :] == 255).all()


def test_verdicts_are_emotions(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.csv"
    path.write_text("source,face,verdict\na,0,anger/fear\nb,1,unclear\n")
    assert read(path) == {("a", 0): ("anger", "fear"), ("b", 1): ()}
    path.write_text("source,face,verdict\na,0,angry\n")
    with pytest.raises(ValueError, match="'angry' of a is no verdict"):
        read(path)
    assert len(read(VERDICTS)) == 200
