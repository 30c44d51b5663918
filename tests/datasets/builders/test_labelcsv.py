"""The folders of FER+: export and import bit for bit, and the errors of invalid folders."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.drawn import write_fer_csv

from mien.datasets import Samples, ferplus, store
from mien.datasets.builders import fer2013
from mien.datasets.builders.labelcsv import build
from mien.datasets.exclude import RowOptions
from mien.datasets.export import exporter, names
from mien.datasets.samples import NO_LABEL
from mien.errors import ConfigError, DataError, InputError, OutputError

export = exporter("ferplus-folders")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Seven classes with votes: 48 + 16 + 16 drawn faces, 3 rows that are no face, 2 duplicates kept."""
    csv, votes = write_fer_csv(tmp_path_factory.mktemp("drawn"), np.random.default_rng(3))
    return fer2013.build(csv=csv, votes=votes, choice=RowOptions(keep_duplicates=True))


@pytest.fixture
def folder(drawn: Samples, tmp_path: Path) -> Path:
    """The faces as folders, to be damaged."""
    export(drawn, tmp_path / "faces")
    return tmp_path / "faces"


def made_up(place: Path) -> dict[str, Path]:
    """Folders of drawn faces, for the conformance suite."""
    csv, votes = write_fer_csv(place, np.random.default_rng(3), 3)
    export(fer2013.build(csv=csv, votes=votes, choice=RowOptions(keep_duplicates=True)), place / "folders")
    return {"folder": place / "folders"}


def assert_equal(one: Samples, other: Samples) -> None:
    assert one.votes is not None
    assert other.votes is not None
    for name in ("images", "votes", "split", "names"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.dtype.kind == theirs.dtype.kind
        assert np.array_equal(mine, theirs), name


def test_every_named_row_comes_back_bit_for_bit(drawn: Samples, folder: Path) -> None:
    back = build(folder=folder, keep_unlabelled=True, choice=RowOptions(keep_duplicates=True))
    named = drawn.subset(drawn.names != "")
    assert len(named) == len(drawn) - 3
    assert_equal(back, named)
    assert back.duplicate.sum() == 4


@pytest.mark.parametrize("mode", ferplus.MODES)
def test_labels_come_back_in_every_mode(mode: str, tmp_path: Path) -> None:
    csv, votes = write_fer_csv(tmp_path, np.random.default_rng(5))
    before = fer2013.build(csv=csv, votes=votes, emotions=8, label_mode=mode)
    assert export(before, tmp_path / "faces") == {"without a name": 0}
    after = build(folder=tmp_path / "faces", label_mode=mode)
    assert_equal(after, before)
    assert np.array_equal(after.labels, before.labels)
    assert np.array_equal(after.targets, before.targets)
    assert after.classes == before.classes


def test_the_folders_come_back_too(folder: Path, tmp_path: Path) -> None:
    export(build(folder=folder, keep_unlabelled=True, choice=RowOptions(keep_duplicates=True)), tmp_path / "again")
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 80 + 3
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes()


def test_what_is_left_out_is_counted(drawn: Samples, folder: Path, tmp_path: Path) -> None:
    assert export(drawn, tmp_path / "other") == {"without a name": 3}
    with (folder / "FER2013Train" / "label.csv").open("a") as file:
        file.write(',"(0, 0, 48, 48)",0,0,0,0,0,0,0,0,0,10\n')
    about = build(folder=folder).about
    assert about["dropped_without_a_name"] == 1
    assert about["dropped_training_duplicates"] == 2
    assert about["rows_read"] == 81


def test_unlabelled_rows_have_no_label(folder: Path) -> None:
    path = folder / "FER2013Valid" / "label.csv"
    lines = path.read_text().splitlines()
    lines[0] = lines[0].partition(")")[0] + ')",3,3,2,2,0,0,0,0,0,0'
    path.write_text("\n".join(lines))
    kept = build(folder=folder, keep_unlabelled=True, choice=RowOptions(keep_duplicates=True))
    left = build(folder=folder, choice=RowOptions(keep_duplicates=True))
    assert len(kept) == len(left) + 1
    assert (kept.labels == NO_LABEL).sum() == 1
    assert kept.targets[kept.labels == NO_LABEL].sum() == 0
    assert left.about["dropped_by_label_processing"] == 1


def test_the_box_cuts_the_face_out(folder: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (60, 70), np.uint8)
    Image.fromarray(whole).save(folder / "FER2013Train" / "wide.png")
    with (folder / "FER2013Train" / "label.csv").open("a") as file:
        file.write('wide.png,"(20, 10, 68, 58)",10,0,0,0,0,0,0,0,0,0\n')
    samples = build(folder=folder)
    assert np.array_equal(samples.images[samples.names == "wide.png"][0], whole[10:58, 20:68])


def test_other_sizes_on_request(drawn: Samples, tmp_path: Path) -> None:
    small = replace(drawn, images=drawn.images[:, :40, :40].copy())
    export(small, tmp_path / "small")
    assert build(folder=tmp_path / "small", side=40).images.shape[1:] == (40, 40)
    with pytest.raises(DataError, match="has 40x40 pixels, expected 48x48"):
        build(folder=tmp_path / "small")


def test_the_test_folder_may_be_absent(drawn: Samples, tmp_path: Path) -> None:
    export(drawn.subset(drawn.split < 2), tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["FER2013Train", "FER2013Valid"]
    assert set(build(folder=tmp_path / "two").counts()) == {"train", "val"}


Damage = Callable[[Path], object]


def change(line: str) -> Damage:
    """Puts `line` in the place of the list's second."""

    def damage(folder: Path) -> None:
        path = folder / "label.csv"
        lines = path.read_text().splitlines()
        lines[1] = line.replace("NAME", lines[1].partition(",")[0]).replace("FIRST", lines[0].partition(",")[0])
        path.write_text("\n".join(lines) + "\n")

    return damage


def image(write: Callable[[Path], object]) -> Damage:
    """Changes the image of the list's second row."""
    return lambda folder: write(folder / (folder / "label.csv").read_text().splitlines()[1].partition(",")[0])


def large(path: Path) -> None:
    Image.new("L", (50, 48)).save(path)


def small(path: Path) -> None:
    Image.new("L", (47, 48)).save(path)


def deep(path: Path) -> None:
    Image.fromarray(np.zeros((48, 48), np.uint16)).save(path)


VOTES = "10,0,0,0,0,0,0,0,0,0"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (image(Path.unlink), r"line 2: the image 'fer\d+\.png' is missing"),
        (image(lambda path: path.write_bytes(b"not an image")), "line 2: .* cannot be read as a PNG"),
        (image(lambda path: path.write_bytes(path.read_bytes()[:150])), "line 2: .* cannot be read as a PNG"),
        (image(small), r"line 2: the box \(0, 0, 48, 48\) is larger than 'fer\d+\.png' with 47x48 pixels"),
        (image(deep), "line 2: .* has the mode I(;16)?, expected 8-bit grey"),
        (change(f'NAME,"(0, 0, 48, 47)",{VOTES}'), "line 2: the face in .* has 48x47 pixels, expected 48x48"),
        (change(f'NAME,"(48, 48, 0, 0)",{VOTES}'), "line 2: the face in .* has -48x-48 pixels, expected 48x48"),
        (change(f'NAME,"(1, 1, 49, 49)",{VOTES}'), r"line 2: the box \(1, 1, 49, 49\) is larger than"),
        (change(f'NAME,"(-1, 0, 47, 48)",{VOTES}'), r"line 2: the box is '\(-1, 0, 47, 48\)', expected"),
        (change(f"NAME,whole,{VOTES}"), "line 2: the box is 'whole', expected"),
        (change(f"NAME,(0, 0, 48, 48),{VOTES}"), "line 2: 15 cells, expected 12"),
        (change('NAME,"(0, 0, 48, 48)",10,0,0'), "line 2: 5 cells, expected 12"),
        (change(f'NAME,"(0, 0, 48, 48)",{VOTES},0'), "line 2: 13 cells, expected 12"),
        (change('NAME,"(0, 0, 48, 48)",1,0,0,0,-1,0,0,0,0,0'), "line 2: votes are '1,0,0,0,-1,"),
        (change('NAME,"(0, 0, 48, 48)",1,0,0,0,256,0,0,0,0,0'), "line 2: votes are '1,0,0,0,256,"),
        (change('NAME,"(0, 0, 48, 48)",1,0,0,0,.5,0,0,0,0,0'), "line 2: votes are"),
        (change(f'FIRST,"(0, 0, 48, 48)",{VOTES}'), r"line 2: 'fer\d+\.png' is already in an earlier line"),
        (change(f'../x.png,"(0, 0, 48, 48)",{VOTES}'), "line 2: the name '../x.png' points outside the folder"),
        (lambda folder: (folder / "label.csv").write_bytes(b"\xff\xfe\x00"), "is not a CSV text file"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(folder: Path, damage: Damage, message: str) -> None:
    damage(folder / "FER2013Valid")
    with pytest.raises(DataError, match=message) as caught:
        build(folder=folder)
    assert str(folder / "FER2013Valid" / "label.csv") in caught.value.message
    assert caught.value.hint


def test_the_box_may_be_part_of_a_larger_image(folder: Path) -> None:
    image(large)(folder / "FER2013Valid")
    samples = build(folder=folder, choice=RowOptions(keep_duplicates=True))
    assert len(samples) == 80
    assert (samples.images == 0).all(axis=(1, 2)).sum() == 1


def test_many_mistakes_are_counted(folder: Path) -> None:
    for path in sorted((folder / "FER2013Train").glob("*.png"))[1:]:
        path.unlink()
    with pytest.raises(DataError, match="; and 42 more ") as caught:
        build(folder=folder)
    assert caught.value.message.count("the image '") == 5


@pytest.mark.parametrize("name", ["FER2013Train", "FER2013Valid"])
def test_missing_folders_and_lists(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name / "label.csv").rename(tmp_path / "label.csv")
    with pytest.raises(InputError, match=re.escape(f"{folder / name / 'label.csv'}: no such file")):
        build(folder=folder)
    (folder / name).rename(tmp_path / name)
    with pytest.raises(InputError, match=re.escape(f"{folder / name}: no such folder")):
        build(folder=folder)


def test_wrong_options(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        build(folder=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="unknown label mode 'best'"):
        build(folder=folder, label_mode="best")
    with pytest.raises(ConfigError, match="side"):
        build(folder=folder, side=0)


def test_lists_without_rows(folder: Path) -> None:
    for path in folder.glob("*/label.csv"):
        path.write_text("")
    with pytest.raises(DataError, match="name no images"):
        build(folder=folder)


def test_what_cannot_be_exported(drawn: Samples, tmp_path: Path) -> None:
    out = tmp_path / "faces"
    with pytest.raises(DataError, match="no votes"):
        export(replace(drawn, votes=None), out)
    with pytest.raises(DataError, match="in colour"):
        export(replace(drawn, images=np.stack([drawn.images] * 3, axis=-1)), out)
    with pytest.raises(DataError, match="names two faces of 'train'"):
        export(replace(drawn, names=np.full(len(drawn), "one")), out)
    with pytest.raises(DataError, match="cannot be the name of a file"):
        export(replace(drawn, names=np.array([f"../{name}" for name in drawn.names])), out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", names())
def test_exports_count_up_to_their_total(drawn: Samples, tmp_path: Path, name: str) -> None:
    told: list[tuple[int, int]] = []
    exporter(name)(drawn, tmp_path / "out", lambda done, total: told.append((done, total)))
    assert told == [(done, told[0][1]) for done in range(1, told[0][1] + 1)]


def test_nothing_is_overwritten_and_nothing_left_half(drawn: Samples, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it already exists"):
        export(drawn, folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        export(drawn, tmp_path / "file" / "below")
    (tmp_path / "empty").mkdir()
    export(drawn, tmp_path / "empty")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_registry() -> None:
    assert "ferplus-folders" in names()
    with pytest.raises(ConfigError, match="unknown export format 'nothing'"):
        exporter("nothing")


def test_both_ways_from_the_command_line(drawn: Samples, tmp_path: Path) -> None:
    store.save(drawn, tmp_path / "faces.h5")

    def mien(*arguments: str) -> str:
        result = run_command("data", *arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert "left out, without a name: 3" in mien("export", "ferplus-folders", "faces.h5", "folders")
    options = ("--keep-unlabelled", "--keep-duplicates", "--out", "back.h5")
    assert "happiness" in mien("build", "labelcsv", "--folder", "folders", *options)
    assert_equal(store.load(tmp_path / "back.h5"), drawn.subset(drawn.names != ""))
