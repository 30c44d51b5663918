"""CSV lists of images: labels, valence and arousal, people and splits, and each kind of wrong row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command

from mien.datasets import store
from mien.datasets.builders.listed import build
from mien.datasets.class_names import ClassOptions
from mien.datasets.folds import PersonSplitOptions
from mien.datasets.stored_faces import FaceOptions
from mien.errors import DataError, InputError

PORTRAIT = Path(__file__).resolve().parents[3] / "examples" / "astronaut.jpg"


def write(folder: Path, text: str, images: int = 6) -> Path:
    """A list with this text, beside some images of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        pixels = np.random.default_rng(number).integers(0, 255, (20, 20), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "list.csv").write_text(text)
    return folder / "list.csv"


ROWS = """File,Subject,Label,Valence,Arousal
0.png,ann,happy,0.5,0.1
1.png,ann,sad,-0.5,-0.1
2.png,ben,,-1,1
3.png,ben,happy,,
4.png,cyn,sad,0,0
5.png,dan,happy,1,-1
"""


def made_up(folder: Path) -> dict[str, Any]:
    """Arguments for the conformance suite."""
    return {
        "source": write(folder / "faces", ROWS),
        "names": ClassOptions(classes="own"),
        "split": PersonSplitOptions(val=0.3, test=0.0),
    }


def test_labels_ratings_and_people_are_kept(tmp_path: Path) -> None:
    samples = build(**made_up(tmp_path))
    assert samples.classes == ("happiness", "sadness")
    by_name = {str(name): row for row, name in enumerate(samples.names)}
    assert [int(samples.labels[by_name[f"{number}.png"]]) for number in range(6)] == [0, 1, -1, 0, 1, 0]
    assert samples.affect is not None
    found = samples.affect[[by_name[f"{number}.png"] for number in range(6)]]
    wanted = [[0.5, 0.1], [-0.5, -0.1], [-1, 1], [np.nan, np.nan], [0, 0], [1, -1]]
    np.testing.assert_allclose(found, np.array(wanted, np.float32))
    assert samples.subjects is not None
    for person in ("ann", "ben", "cyn", "dan"):
        assert len(set(samples.split[samples.subjects == person])) == 1
    assert len(set(samples.split)) == 2


def test_a_list_without_ratings_is_a_list_of_labels(tmp_path: Path) -> None:
    source = write(tmp_path, "file;label;split\n0.png;joy;train\n1.png;anger;train\n2.png;joy;val\n3.png;anger;test\n")
    samples = build(source, names=ClassOptions(classes="own"))
    assert samples.affect is None
    assert samples.subjects is None
    assert samples.counts() == {
        "train": {"happiness": 1, "anger": 1},
        "val": {"happiness": 1, "anger": 0},
        "test": {"happiness": 0, "anger": 1},
    }


def test_faces_are_found_in_photographs(tmp_path: Path) -> None:
    source = write(tmp_path, "file,label\n0.png,sad\nphoto.jpg,happy\nmirrored.png,sad\nlarge.png,happy\n")
    photo = Image.open(PORTRAIT).convert("RGB")
    photo.save(tmp_path / "photo.jpg")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")
    photo.resize((700, 700)).save(tmp_path / "large.png")
    samples = build(source, names=ClassOptions(classes="own"), faces=FaceOptions(crop_faces=True, size=64))
    assert set(samples.names) == {"photo.jpg", "mirrored.png", "large.png"}
    assert samples.images.shape[1:] == (64, 64)
    assert samples.about["dropped_without_a_face"] == 1


def test_what_cannot_be_read_is_counted_and_the_rest_is_kept(tmp_path: Path) -> None:
    source = write(tmp_path, ROWS + "gone.png,eve,happy,,\nbroken.png,eve,happy,,\n")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    words = ["data", "build", "listed", source, "--classes", "own", "--report", tmp_path / "left.csv"]
    done = run_command(*words, "--out", tmp_path / "faces.h5")
    assert done.returncode == 3
    assert len(store.load(tmp_path / "faces.h5")) == 6
    assert [line.split(",")[0] for line in (tmp_path / "left.csv").read_text().splitlines()] == [
        "file",
        "gone.png",
        "broken.png",
    ]
    shown = run_command("data", "show", tmp_path / "faces.h5").stdout
    assert "5 of 6 faces have valence and arousal" in shown


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0.png,happy,0.5,1.01", "arousal is '1.01'"),
        ("0.png,happy,-2,0", "valence is '-2'"),
        ("0.png,happy,nan,0", "valence is 'nan'"),
        ("0.png,happy,much,0", "valence is 'much'"),
        ("0.png,happy,0.5,", "valence or arousal alone"),
        ("0.png,,,", "neither a label nor valence and arousal"),
        (",happy,0,0", "has no file"),
        ("1.png,happy,0,0", "already in an earlier line"),
        ("0.png,happy,0,0,ann,somewhere", "split is 'somewhere'"),
    ],
)
def test_wrong_rows_are_named_with_their_line(row: str, message: str, tmp_path: Path) -> None:
    source = write(tmp_path, f"file,label,valence,arousal,subject,split\n1.png,sad,0,0\n2.png,happy,0,0\n{row}\n")
    with pytest.raises(DataError, match=f"line 4: .*{message}"):
        build(source, names=ClassOptions(classes="own"))


def test_wrong_lists_are_refused(tmp_path: Path) -> None:
    for text, message in (
        ("file,valence,arousal\n0.png,0,0\n", "lacks label"),
        ("file,label,valence\n0.png,happy,0\n", "lacks arousal"),
        ("file,label\n", "has no rows"),
        ("file,label,valence,arousal\n0.png,,0,0\n1.png,,1,0\n", "no row has a label"),
        ("file,label,split\n0.png,happy,train\n1.png,sad,\n", "1 rows have no split"),
        ("file,label,subject,split\n0.png,happy,ann,train\n1.png,sad,ann,val\n", "same person is in several splits"),
    ):
        with pytest.raises(DataError, match=message):
            build(write(tmp_path, text), names=ClassOptions(classes="own"))
    with pytest.raises(InputError, match="no such file"):
        build(tmp_path / "other.csv")
