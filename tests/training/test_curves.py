"""The log of a run: a row an epoch, whole at every moment, taken up again by a resumed run, and drawn."""

import csv
from pathlib import Path

import cv2

from mien.training.curves import CurvesLog


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_an_epoch(tmp_path: Path) -> None:
    log = CurvesLog(tmp_path)
    for epoch in range(3):
        log.log_metrics({"val/loss": 1.5 - epoch, "epoch": epoch}, step=10 * epoch)
        log.log_metrics({"train/loss": 2.0, "epoch": epoch}, step=10 * epoch)
    assert rows(tmp_path) == [
        {"epoch": str(epoch), "train/loss": "2", "val/loss": f"{1.5 - epoch:g}"} for epoch in range(3)
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_figure_that_comes_later_gets_its_column(tmp_path: Path) -> None:
    log = CurvesLog(tmp_path)
    log.log_metrics({"val/loss": 1.0, "epoch": 0})
    log.log_metrics({"val/votes/accuracy": 0.5, "epoch": 1})
    assert rows(tmp_path) == [
        {"epoch": "0", "val/loss": "1", "val/votes/accuracy": ""},
        {"epoch": "1", "val/loss": "", "val/votes/accuracy": "0.5"},
    ]


def test_a_resumed_run_goes_on_and_writes_a_half_epoch_anew(tmp_path: Path) -> None:
    first = CurvesLog(tmp_path)
    first.log_metrics({"val/loss": 1.0, "epoch": 0})
    first.log_metrics({"val/loss": 9.0, "epoch": 1})
    second = CurvesLog(tmp_path, resume=True)
    second.log_metrics({"val/loss": 0.5, "epoch": 1})
    assert [(row["epoch"], row["val/loss"]) for row in rows(tmp_path)] == [("0", "1"), ("1", "0.5")]


def test_a_new_run_does_not_take_up_an_old_log(tmp_path: Path) -> None:
    CurvesLog(tmp_path).log_metrics({"val/loss": 1.0, "epoch": 7})
    CurvesLog(tmp_path).log_metrics({"val/loss": 2.0, "epoch": 0})
    assert [row["epoch"] for row in rows(tmp_path)] == ["0"]


def test_the_curves_show_lines_in_both_halves(tmp_path: Path) -> None:
    log = CurvesLog(tmp_path)
    for epoch in range(4):
        log.log_metrics({"val/loss": 2.0 / (epoch + 1), "val/votes/accuracy": epoch / 4, "epoch": epoch})
    log.finalize("success")
    image = cv2.imread(str(tmp_path / "curves.png"))
    assert image is not None
    assert image.shape[1] > 2 * image.shape[0]
    colourful = image.max(axis=2).astype(int) - image.min(axis=2) > 60
    left, right = colourful[:, : image.shape[1] // 2], colourful[:, image.shape[1] // 2 :]
    assert left.sum() > 200
    assert right.sum() > 200


def test_nothing_logged_draws_nothing(tmp_path: Path) -> None:
    CurvesLog(tmp_path).finalize("failed")
    assert list(tmp_path.iterdir()) == []
