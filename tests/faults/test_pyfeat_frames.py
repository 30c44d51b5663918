"""`--style pyfeat` counts `frame` over the images of a table, as Py-Feat's `detect_image` does.

Py-Feat adds the number of images so far (`frame_counter`) to the position in the batch; every image has its number,
also one without a face, and all faces of an image have the same.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.output import open_table, to_pandas
from mien.results import Face, FrameResult

FACES = tuple(Face(np.array([x, 0, x + 9, 9], np.float32), 0.9) for x in (0, 20))
RESULTS = [
    FrameResult("a.png", width=40, height=9, faces=FACES),
    FrameResult("none.png", width=40, height=9),
    FrameResult("broken.png", error="'broken.png' is empty: 0 bytes"),
    FrameResult("b.png", width=40, height=9, faces=FACES[:1]),
]
FRAMES = [0, 0, 1, 2, 3]


def test_images_are_counted_by_the_command(tmp_path: Path, astronaut: Path) -> None:
    for name in ("1.png", "3.png"):
        Image.open(astronaut).save(tmp_path / name)
    Image.new("RGB", (64, 48)).save(tmp_path / "2.png")
    command = [sys.executable, "-m", "mien", "analyze", str(tmp_path), "--table", "-", "--style", "pyfeat"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [(row["frame"], Path(row["input"]).name) for row in rows] == [("0", "1.png"), ("1", "2.png"), ("2", "3.png")]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_faces_of_an_image_share_its_number(tmp_path: Path, suffix: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / f"out.{suffix}"
    table = open_table(path, ("anger", "happiness"), style="pyfeat")
    for _ in range(2):  # a table that is opened again starts again
        with table:
            for result in RESULTS:
                table.write(result)
    if suffix == "csv":
        found = [int(row["frame"]) for row in csv.DictReader(path.open(encoding="utf-8"))]
    elif suffix == "jsonl":
        found = [json.loads(line)["frame"] for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        found = parquet.read_table(path).column("frame").to_pylist()
    assert found == FRAMES


def test_pandas_counts_in_the_same_way() -> None:
    pytest.importorskip("pandas")
    assert to_pandas(RESULTS, style="pyfeat")["frame"].tolist() == FRAMES
    assert to_pandas(RESULTS)["frame"].tolist() == [0] * 5  # mien's own: the position in a video
    assert to_pandas(RESULTS, style="openface")["frame"].tolist() == [1] * 5  # one file for each image


def test_the_frames_of_a_video_keep_their_numbers() -> None:
    pytest.importorskip("pandas")
    frames = [FrameResult("clip.mp4", frame=index, timestamp=index / 25) for index in (0, 5, 10)]
    assert to_pandas(frames, style="pyfeat")["frame"].tolist() == [0, 5, 10]
