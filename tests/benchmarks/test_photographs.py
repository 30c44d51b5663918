"""Detectors on natural photographs: which images count, the cache, the goals and the contact sheet."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.photographs import ALARMS, GOALS, SETS, Photographs, figures, goals, photographs, search, sheet
from benchmarks.results import Measurement
from PIL import Image
from tests.face_images import write_images

from mien.datasets.face_images import FaceImage
from mien.faces.detectors import Detections, DetectorOptions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both data sets in small: drawn images in archives of the names of the real ones."""
    root = tmp_path_factory.mktemp("data")
    for seed, (name, sets) in enumerate(SETS.items()):
        folder = write_images(root / name, train=0, valid=4 * len(sets), seed=seed)
        content = (folder / "drawn.zip").read_bytes()
        rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
        names = [*sets, "frames"]
        for each in names:
            (folder / f"{each}.zip").write_bytes(content)
        rows = [row | {"zip": f"{names[number % len(names)]}.zip"} for number, row in enumerate(rows)]
        (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return root


def photograph(*boxes: tuple[float, ...], name: str = "people.zip/0", ignore: tuple[float, ...] = ()) -> FaceImage:
    corners = np.array(boxes, float).reshape(-1, 4)
    image = np.full((200, 300, 3), 90, np.uint8)
    landmarks = np.zeros((len(corners), 5, 2))
    return FaceImage(image, corners, landmarks, np.array(ignore, float).reshape(-1, 4), source=name)


def found(*rows: tuple[float, ...]) -> Detections:
    table = np.array(rows, float).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4])


def square(x: float, side: float) -> tuple[float, float, float, float]:
    return x, 10.0, x + side, 10.0 + side


def test_photographs_are_those_of_the_natural_sets(data: Path) -> None:
    read = photographs(data)
    archives = {image.source.partition("/")[0] for image in read.images}
    assert archives == {f"{name}.zip" for sets in SETS.values() for name in sets}
    for image, counted in zip(read.images, read.counted, strict=True):
        natural = image.source.partition(".")[0] in SETS["people"]
        assert counted == (natural and not len(image.boxes))
    assert any(read.counted)


def test_detections_come_from_the_cache_the_second_time(data: Path, tmp_path: Path) -> None:
    read, options = photographs(data), DetectorOptions("mien")
    first = search(options, read, tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    second = search(options, read, tmp_path)
    assert file.stat().st_mtime_ns == written
    assert [each.scores.tolist() for each in first] == [each.scores.tolist() for each in second]
    assert [each.boxes.tolist() for each in first] == [each.boxes.tolist() for each in second]
    search(DetectorOptions("mien", max_side=64), read, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # other options are another search


def test_figures_by_size_and_alarms_by_their_own() -> None:
    read = Photographs(
        (
            photograph(square(0, 50), square(100, 30), ignore=square(200, 40)),
            photograph(square(0, 25), name="masks.zip/1"),
            photograph(),
            photograph(name="scenes.zip/2"),
        ),
        (False, False, True, False),
    )
    results = figures(
        read,
        [
            found((*square(0, 50), 0.9), (*square(200, 40), 0.9)),  # the second is on a box to ignore
            found((*square(0, 25), 0.6), (*square(100, 60), 0.7)),
            found((*square(0, 30), 0.8), (*square(100, 30), 0.3), (*square(200, 5), 0.9)),
            found((*square(0, 15), 0.8)),
        ],
    )
    assert results["recall, 40+ px"] == Measurement.proportion(1, 1)
    assert results["precision, 40+ px"] == Measurement.proportion(1, 2)
    assert results["recall, 20-40 px"] == Measurement.proportion(1, 2)
    assert results["precision, 20-40 px"] == Measurement.proportion(1, 2)
    assert results["precision, 12-20 px"] == Measurement.proportion(0, 1)
    assert results["masks: recall, 20+ px"] == Measurement.proportion(1, 1)
    assert results["masks: precision, 20+ px"] == Measurement.proportion(1, 2)
    assert results[ALARMS].median == 100  # one in the only image without a face that counts; tiny and weak ones do not
    assert results["average precision, 40+ px"].median == 100
    assert "recall, 12-20 px" not in results  # no such face


def test_every_goal_has_a_figure_and_an_answer() -> None:
    read = Photographs(
        (photograph(square(0, 50), square(80, 30), square(150, 15), name="masks.zip/1"), photograph()), (False, True)
    )
    right = figures(read, [found((*square(0, 50), 0.9), (*square(80, 30), 0.9), (*square(150, 15), 0.9)), found()])
    wrong = figures(read, [found((*square(220, 50), 0.9)), found((*square(0, 50), 0.9))])
    lines = goals({"right": right, "wrong": wrong}).splitlines()[2:]
    assert len(lines) == len(GOALS)
    for line in lines:
        _, _, _, good, bad, _ = (part.strip() for part in line.split("|"))
        assert good.endswith(": yes")
        assert bad.endswith(": no") or bad == "-"  # no detection of that size has no precision


def test_the_sheet_shows_each_false_alarm(tmp_path: Path) -> None:
    read = Photographs((photograph(square(0, 50)), photograph()), (False, True))
    file = tmp_path / "new" / "sheet.png"
    detections = [found((*square(0, 50), 0.9), (*square(100, 30), 0.7)), found((*square(-10, 40), 0.8))]
    assert sheet(read, detections, file, side=40, columns=3) == 2
    pixels = np.asarray(Image.open(file))
    assert pixels.shape == (40, 120, 3)
    red = (pixels[:, :, 0] > 200) & (pixels[:, :, 1] < 120)
    assert red[:, :40].any()
    assert red[:, 40:80].any()
    assert not pixels[:, 80:].any()  # no third
    assert sheet(read, [found(), found()], file) == 0
