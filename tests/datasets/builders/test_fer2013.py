"""FER2013 from its CSV files: samples, and the errors of files that break their format."""

import csv
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.drawn import write_fer_csv

from mien.datasets import Samples
from mien.datasets.builders import builder, names
from mien.datasets.builders.fer2013 import build
from mien.datasets.exclude import RowOptions
from mien.emotions import vocabulary
from mien.errors import ConfigError, DataError, InputError, MienError

Files = tuple[Path, Path]
Rows = list[list[str]]
PER_CLASS, HELD, BLANK, DUPLICATES = 3, 2, 3, 2


@pytest.fixture
def files(tmp_path: Path) -> Files:
    rng = np.random.default_rng(3)
    return write_fer_csv(tmp_path, rng, PER_CLASS, held=HELD, blank=BLANK, duplicates=DUPLICATES)


def read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def change(path: Path, edit: Callable[[Rows], object]) -> None:
    """Rewrites a CSV after `edit` has changed its rows; row 0 is the header, so row i stands on line i + 1."""
    rows = read(path)
    edit(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def replaced(rows: Rows, by: Rows) -> None:
    rows[:] = by


def put(row: int, column: int, value: str) -> Callable[[Rows], object]:
    return lambda rows: rows[row].__setitem__(column, value)


def refusal(kind: type[MienError], **options: object) -> str:
    """The message of the error that `build` must raise: one line, not long, with a hint."""
    with pytest.raises(kind) as caught:
        builder("fer2013")(**options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert len(caught.value.message) < 1000
    assert caught.value.hint
    return caught.value.message


def made_up(folder: Path) -> dict[str, Path]:
    """The two CSV files with drawn faces, for the conformance suite."""
    csv, votes = write_fer_csv(folder, np.random.default_rng(3), PER_CLASS, held=HELD)
    return {"csv": csv, "votes": votes}


# --- what is built


def test_seven_emotions(files: Files) -> None:
    samples = build(csv=files[0])
    rows = read(files[0])[1:]
    assert len(samples) == len(rows) - DUPLICATES
    assert samples.classes == vocabulary(7)
    assert samples.votes is None
    kept = [row for row in range(len(rows)) if str(row) in samples.names]
    pixels = np.array([rows[row][1].split() for row in kept], np.uint8).reshape(-1, 48, 48)
    np.testing.assert_array_equal(samples.images, pixels)
    assert samples.labels.tolist() == [int(rows[row][0]) for row in kept]
    np.testing.assert_array_equal(samples.targets, np.eye(7)[samples.labels])
    codes = {"Training": 0, "PublicTest": 1, "PrivateTest": 2}
    assert samples.split.tolist() == [codes[rows[row][2]] for row in kept]


def test_six_emotions_join_disgust_to_anger(files: Files) -> None:
    seven, six = build(csv=files[0]), build(csv=files[0], emotions=6)
    assert six.classes == vocabulary(6)
    merged = ["anger" if seven.classes[label] == "disgust" else seven.classes[label] for label in seven.labels]
    assert [six.classes[label] for label in six.labels] == merged
    np.testing.assert_array_equal(six.targets, np.eye(6)[six.labels])


def test_eight_emotions_are_those_of_the_votes(files: Files) -> None:
    samples = build(csv=files[0], votes=files[1], emotions=8, choice=RowOptions(keep_duplicates=True))
    assert samples.classes == vocabulary(8)
    assert samples.votes is not None
    assert (samples.targets.argmax(axis=1) == samples.labels).all()
    assert (samples.votes.argmax(axis=1) == samples.labels).all()  # drawn with a majority
    assert (samples.names != "").all()
    assert samples.about["dropped_by_label_processing"] == BLANK
    assert "contempt" in {samples.classes[label] for label in samples.labels}


@pytest.mark.parametrize("mode", ["majority", "probability", "crossentropy", "multi_target"])
def test_every_label_mode_builds(files: Files, mode: str) -> None:
    samples = build(csv=files[0], votes=files[1], emotions=8, label_mode=mode)
    np.testing.assert_allclose(samples.targets.sum(axis=1), 1, rtol=1e-6)
    assert samples.about["labels"] == f"FER+ {mode}"


def test_votes_are_stored_in_the_order_of_the_emotions(files: Files) -> None:
    samples = build(csv=files[0], votes=files[1], choice=RowOptions(keep_duplicates=True))
    rows = read(files[1])
    header = ["not_a_face" if name == "NF" else name for name in rows[0]]
    assert samples.votes is not None
    for place, emotion in enumerate([*vocabulary(8), "unknown", "not_a_face"]):
        assert samples.votes[:, place].tolist() == [int(row[header.index(emotion)]) for row in rows[1:]]


def test_a_blank_name_is_no_face_whatever_its_votes(files: Files) -> None:
    named = next(i for i, row in enumerate(read(files[1])) if i and row[1])
    before = len(build(csv=files[0], votes=files[1], emotions=8, choice=RowOptions(keep_duplicates=True)))
    change(files[1], put(named, 1, ""))
    assert len(build(csv=files[0], votes=files[1], emotions=8, choice=RowOptions(keep_duplicates=True))) == before - 1
    assert (
        len(build(csv=files[0], votes=files[1], choice=RowOptions(keep_duplicates=True))) == len(read(files[0])) - 1
    )  # seven keep all rows


def test_columns_are_found_by_name(files: Files) -> None:
    expected = build(csv=files[0], votes=files[1])
    order = [[2, 0, 1], [5, 1, 11, 10, 9, 0, 8, 7, 6, 2, 3, 4]]
    for path, columns in zip(files, order, strict=True):
        rows = [[row[column] for column in columns] for row in read(path)]
        rows[0] = [f" {name} " for name in rows[0]]  # Kaggle's newer file has such blanks
        change(path, partial(replaced, by=rows))
    found = build(csv=files[0], votes=files[1])
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.votes is not None
    assert expected.votes is not None
    np.testing.assert_array_equal(found.votes, expected.votes)


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(files: Files) -> None:
    expected = build(csv=files[0]).images
    files[0].write_bytes(b"\xef\xbb\xbf" + files[0].read_bytes().replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(build(csv=files[0]).images, expected)


@pytest.mark.parametrize(("private", "splits"), [(False, ["train", "val"]), (True, ["train", "val", "test"])])
def test_private_test_may_be_absent(tmp_path: Path, private: bool, splits: list[str]) -> None:
    faces, votes = write_fer_csv(tmp_path, np.random.default_rng(0), 2, private=private)
    for emotions in (6, 7, 8):
        assert list(build(csv=faces, votes=votes, emotions=emotions).counts()) == splits


def test_training_duplicates_are_dropped_and_counted(files: Files) -> None:
    kept, dropped = build(csv=files[0], choice=RowOptions(keep_duplicates=True)), build(csv=files[0])
    assert (kept.about["dropped_training_duplicates"], dropped.about["dropped_training_duplicates"]) == (0, DUPLICATES)
    assert len(kept) - len(dropped) == DUPLICATES
    assert kept.duplicate.sum() == 2 * DUPLICATES  # each marked on both sides
    assert (dropped.split[dropped.duplicate] == 1).all()
    training = {image.tobytes() for image in dropped.images[dropped.split == 0]}
    assert not any(image.tobytes() in training for image in dropped.images[dropped.split != 0])


def test_duplicates_within_the_training_rows_stay(files: Files) -> None:
    change(files[0], lambda rows: rows.insert(8, list(rows[7])))
    assert build(csv=files[0]).about["dropped_training_duplicates"] == DUPLICATES


# --- options that do not go together


@pytest.mark.parametrize(
    ("options", "told"),
    [({"emotions": 5}, "5"), ({"emotions": 8}, "votes"), ({"label_mode": "mean"}, "mean")],
)
def test_wrong_options(files: Files, options: dict[str, object], told: str) -> None:
    assert told in refusal(ConfigError, csv=files[0], **options)


def test_an_unknown_data_set() -> None:
    assert "fer2013" in names()
    assert not {"store", "samples", "ferplus"} & set(names())
    with pytest.raises(ConfigError, match="unknown data set 'fer2014'"):
        builder("fer2014")


# --- files that break their format

LINE = 5  # of the broken row, counted from 1 with the header
PIXELS = " ".join(["7"] * 2304)
BROKEN: dict[str, tuple[Callable[[Rows], object], str]] = {
    "fewer pixels": (put(LINE - 1, 1, "1 2 3"), "3 pixels, expected 2304"),
    "more pixels": (put(LINE - 1, 1, PIXELS + " 7"), "2305 pixels, expected 2304"),
    "no pixels": (put(LINE - 1, 1, ""), "0 pixels, expected 2304"),
    "a row cut short": (lambda rows: rows[LINE - 1].__delitem__(slice(1, None)), "Usage is ''"),
    "an empty cell": (put(LINE - 1, 2, ""), "Usage is ''"),
    "a wrong Usage": (put(LINE - 1, 2, "Ablation"), "Usage is 'Ablation'"),
    "columns swapped": (lambda rows: rows[LINE - 1].reverse(), "Usage is "),
    "pixels for Usage": (put(LINE - 1, 2, PIXELS), "Usage is '7 7 7"),
    "above 255": (put(LINE - 1, 1, PIXELS[:-1] + "256"), "a pixel is '256', expected 0 to 255"),
    "far above": (put(LINE - 1, 1, PIXELS[:-1] + "9" * 40), "expected 0 to 255"),
    "negative": (put(LINE - 1, 1, "-1" + PIXELS[1:]), "a pixel is '-1', expected 0 to 255"),
    "a word": (put(LINE - 1, 1, "many" + PIXELS[1:]), "a pixel is 'many'"),
    "a word after all pixels": (put(LINE - 1, 1, PIXELS + " x"), "a pixel is 'x'"),
    "a lone sign": (put(LINE - 1, 1, PIXELS[:-1] + "-"), "a pixel is '-'"),
    "a fraction": (put(LINE - 1, 1, "0.5" + PIXELS[1:]), "a pixel is '0.5'"),
    "commas": (put(LINE - 1, 1, PIXELS.replace(" ", ",")), "a pixel is '7,7"),
    "emotion 7": (put(LINE - 1, 0, "7"), "emotion is '7', expected 0 to 6"),
    "emotion -1": (put(LINE - 1, 0, "-1"), "emotion is '-1'"),
    "another word": (put(LINE - 1, 0, "envy"), "emotion is 'envy'"),
    "no emotion": (put(LINE - 1, 0, ""), "emotion is ''"),
    "a line break in a cell": (put(LINE - 1, 0, "a\nb"), r"emotion is 'a\nb'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_row_is_named_with_its_line(files: Files, case: str) -> None:
    edit, told = BROKEN[case]
    change(files[0], edit)
    message = refusal(DataError, csv=files[0])
    assert message.startswith(f"{files[0]}: line ")
    assert f"line {LINE + (case == 'a line break in a cell')}: " in message
    assert told in message
    assert message.count("line ") == 1


def test_all_mistakes_of_a_file_come_in_one_message(files: Files) -> None:
    for line, (column, value) in {3: (0, "7"), 6: (2, "Ablation"), 9: (1, "1 2")}.items():
        change(files[0], put(line - 1, column, value))
    message = refusal(DataError, csv=files[0])
    assert re.findall(r"line (\d+)", message) == ["3", "6", "9"]


def test_many_mistakes_are_counted(files: Files) -> None:
    change(files[0], lambda rows: [row.__setitem__(0, "9") for row in rows[1:13]])
    message = refusal(DataError, csv=files[0])
    assert re.findall(r"line (\d+)", message) == ["2", "3", "4", "5", "6"]
    assert message.endswith("and 7 more")


VOTES: dict[str, tuple[Callable[[Rows], object], str]] = {
    "a word": (put(LINE - 1, 4, "two"), "two"),
    "an empty cell": (put(LINE - 1, 4, ""), "expected ten numbers from 0 to 255"),
    "negative": (put(LINE - 1, 4, "-2"), "-2"),
    "a fraction": (put(LINE - 1, 4, "0.5"), "0.5"),
    "too many to be votes": (put(LINE - 1, 4, "256"), "256"),
    "a row cut short": (lambda rows: rows[LINE - 1].__delitem__(slice(6, None)), "expected ten numbers from 0 to 255"),
    "another Usage": (put(LINE - 1, 0, "PublicTest"), "Usage is 'PublicTest', but the face of this row is train"),
    "no Usage": (put(LINE - 1, 0, ""), "Usage is ''"),
}


@pytest.mark.parametrize("case", VOTES)
def test_broken_votes_are_named_with_their_line(files: Files, case: str) -> None:
    edit, told = VOTES[case]
    change(files[1], edit)
    message = refusal(DataError, csv=files[0], votes=files[1])
    assert message.startswith(f"{files[1]}: line {LINE}: ")
    assert told in message


def test_votes_shifted_by_a_row_show_at_the_border_of_the_splits(files: Files) -> None:
    change(files[1], lambda rows: rows.insert(1, list(rows[1])))
    first_public = next(i for i, row in enumerate(read(files[0])) if row[2] == "PublicTest")
    message = refusal(DataError, csv=files[0], votes=files[1])
    assert message.startswith(f"{files[1]}: line {first_public + 1}: Usage is 'Training'")


@pytest.mark.parametrize("edit", [lambda rows: rows.pop(), lambda rows: rows.append(rows[-1])], ids=["fewer", "more"])
def test_another_number_of_votes_than_faces(files: Files, edit: Callable[[Rows], object]) -> None:
    count = len(read(files[0])) - 1
    change(files[1], edit)
    message = refusal(DataError, csv=files[0], votes=files[1])
    assert message == f"{files[1]}: {len(read(files[1])) - 1} rows of votes for {count} faces"


CONTENT: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the header lacks emotion, pixels"),
    "a header alone": (b"emotion,pixels,Usage\n", "has no rows"),
    "no header": (b"0,1 2 3,Training\n", "the header lacks emotion, pixels"),
    "another header": (b"label,image\n1,2\n", "the header lacks pixels"),
    "binary": (bytes(range(256)) * 30, ""),
    "zeros": (bytes(5000), "the header lacks"),
    "an image": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", ""),
    "one endless line": (b"x" * 200_000, "the header lacks"),
}


@pytest.mark.parametrize("case", CONTENT)
def test_files_that_are_no_fer2013(tmp_path: Path, case: str) -> None:
    content, told = CONTENT[case]
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content)
    message = refusal(DataError, csv=path)
    assert message.startswith(f"{path}: ")
    assert told in message


@pytest.mark.parametrize("case", [name for name in CONTENT if name != "a header alone"])
def test_files_that_are_no_votes(files: Files, case: str) -> None:
    files[1].write_bytes(CONTENT[case][0])
    message = refusal(DataError, csv=files[0], votes=files[1])
    assert message.startswith(f"{files[1]}: ")


def test_missing_files(files: Files, tmp_path: Path) -> None:
    missing = tmp_path / "missing.csv"
    assert refusal(InputError, csv=missing) == f"{missing}: no such file"
    assert refusal(InputError, csv=files[0], votes=missing) == f"{missing}: no such file"
    assert str(tmp_path) in refusal(InputError, csv=tmp_path)


def test_a_file_that_cannot_be_read() -> None:
    unreadable = Path("/proc/self/mem")
    if not unreadable.is_file():
        pytest.skip("needs /proc")
    assert "cannot be read" in refusal(InputError, csv=unreadable)


def test_votes_that_leave_nothing(files: Files) -> None:
    change(files[1], lambda rows: [row.__setitem__(slice(2, None), ["0"] * 9 + ["10"]) for row in rows[1:]])
    assert "no face gets a label" in refusal(DataError, csv=files[0], votes=files[1], emotions=8)


def test_the_limit_on_cells_is_left_as_it_was(files: Files) -> None:
    before = csv.field_size_limit()
    build(csv=files[0])
    files[0].write_bytes(b"\xff")
    refusal(DataError, csv=files[0])
    assert csv.field_size_limit() == before


# --- the real files

COUNTS = {
    "anger": (3995, 467),
    "disgust": (436, 56),
    "fear": (4097, 496),
    "happiness": (7215, 895),
    "sadness": (4830, 653),
    "surprise": (3171, 415),
    "neutral": (4965, 607),
}


@pytest.mark.real_data
def test_the_counts_are_those_published(everything: Samples) -> None:
    counts = everything.counts()
    assert set(counts) == {"train", "val"}
    for emotion, (train, val) in COUNTS.items():
        assert (counts["train"][emotion], counts["val"][emotion]) == (train, val)
    assert (everything.names.size, everything.about["rows_read"]) == (32_298, 32_298)


@pytest.mark.real_data
def test_the_duplicates_are_those_counted(everything: Samples) -> None:
    assert int((everything.duplicate & (everything.split == 1)).sum()) == 280
    assert everything.about["dropped_training_duplicates"] == 0
