"""The metrics of a run: a row for each epoch, continued by a resumed run, and drawn."""

import csv
from pathlib import Path

import cv2

from mien.training.logs import MetricsLog


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_epoch(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for epoch in range(1, 4):
        log.add(epoch, {"val/loss": 1.5 - epoch, "train/loss": 2.0})
    assert rows(tmp_path) == [
        {"epoch": str(epoch), "train/loss": "2", "val/loss": f"{1.5 - epoch:g}"} for epoch in range(1, 4)
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_metric_that_comes_later_gets_its_column(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.add(1, {"val/loss": 1.0})
    log.add(2, {"val/votes/accuracy": 0.5})
    assert rows(tmp_path) == [
        {"epoch": "1", "val/loss": "1", "val/votes/accuracy": ""},
        {"epoch": "2", "val/loss": "", "val/votes/accuracy": "0.5"},
    ]


def test_a_resumed_run_continues_and_overwrites_an_incomplete_epoch(tmp_path: Path) -> None:
    first = MetricsLog(tmp_path)
    first.add(1, {"val/loss": 1.0})
    first.add(2, {"val/loss": 9.0})
    second = MetricsLog(tmp_path, resume=True)
    second.add(2, {"val/loss": 0.5})
    assert [(row["epoch"], row["val/loss"]) for row in rows(tmp_path)] == [("1", "1"), ("2", "0.5")]


def test_a_file_that_counts_from_0_is_continued_from_1(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,val/loss\n0,1\n1,0.5\n", encoding="utf-8")
    log = MetricsLog(tmp_path, resume=True)
    assert log.rows == {1: {"val/loss": 1.0}, 2: {"val/loss": 0.5}}
    log.add(3, {"val/loss": 0.25})
    expected = [("1", "1"), ("2", "0.5"), ("3", "0.25")]
    assert [(row["epoch"], row["val/loss"]) for row in rows(tmp_path)] == expected
    assert len(MetricsLog(tmp_path, resume=True).rows) == 3


def test_a_new_run_does_not_continue_an_old_log(tmp_path: Path) -> None:
    MetricsLog(tmp_path).add(7, {"val/loss": 1.0})
    MetricsLog(tmp_path).add(1, {"val/loss": 2.0})
    assert [row["epoch"] for row in rows(tmp_path)] == ["1"]


def test_the_curves_show_lines_in_both_halves(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for epoch in range(1, 5):
        log.add(epoch, {"val/loss": 2.0 / epoch, "val/votes/accuracy": epoch / 4})
    log.close()
    image = cv2.imread(str(tmp_path / "curves.png"))
    assert image is not None
    assert image.shape[1] > 2 * image.shape[0]
    colourful = image.max(axis=2).astype(int) - image.min(axis=2) > 60
    left, right = colourful[:, : image.shape[1] // 2], colourful[:, image.shape[1] // 2 :]
    assert left.sum() > 200
    assert right.sum() > 200


def test_without_metrics_nothing_is_drawn(tmp_path: Path) -> None:
    MetricsLog(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
