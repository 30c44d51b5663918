"""CK+ and video clips with files that are missing, damaged or wrong: the good ones stay, and each bad one is named."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.cohn_kanade import write_ckplus, write_sequence
from tests.videos import numbered, portrait, write_video
from typer.testing import CliRunner, Result

from mien.cli import build_app
from mien.datasets import store
from mien.datasets.builders import ckplus, clips
from mien.datasets.builders.ckplus import SequenceOptions
from mien.datasets.class_names import ClassOptions
from mien.datasets.clips import clips_of, windows
from mien.datasets.folds import check_subjects
from mien.errors import ConfigError, DataError, InputError

CLIPS = SequenceOptions(frames="sequence", crop="whole")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_ckplus(tmp_path / "ck", subjects=2, frames=3)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(build_app(), ["data", "build", *map(str, arguments)])


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.rglob(pattern)
    return found


# --- lengths


@pytest.mark.parametrize("frames", [1, 2, 71])
def test_a_sequence_of_any_length(tmp_path: Path, frames: int) -> None:
    write_sequence(tmp_path, "S005", "001", "fear", np.random.default_rng(0), frames=frames)
    samples = ckplus.build(tmp_path, sequences=CLIPS)
    (clip,) = clips_of(samples)
    assert len(clip) == frames
    assert (samples.labels[clip.rows] == clip.label).sum() == min(frames, 3)
    window = windows(samples, 10).rows[0].tolist()
    assert window == [0] * (10 - frames) + list(range(max(0, frames - 10), frames))
    images = ckplus.build(tmp_path, sequences=SequenceOptions(crop="whole"))
    assert len(images) == min(frames, 4)
    assert [images.classes[label] for label in images.labels] == ["neutral"] * (frames > 3) + ["fear"] * min(frames, 3)


def test_a_frame_that_is_missing_in_the_middle(folder: Path) -> None:
    only(folder, "S005_001_00000002.png").unlink()
    first, *_ = clips_of(samples := ckplus.build(folder, sequences=CLIPS))
    assert samples.frames is not None
    assert samples.frames[first.rows].tolist() == [1, 3]


# --- landmarks


def test_missing_landmarks_of_a_frame(folder: Path, tmp_path: Path) -> None:
    only(folder, "S005_001_00000003_landmarks.txt").unlink()
    samples = ckplus.build(folder, sequences=CLIPS)
    assert samples.keypoints is not None
    assert samples.names[np.isnan(samples.keypoints).any(axis=(1, 2))].tolist() == ["S005_001_00000003"]
    assert samples.about["notes"] == ["1 of 12 frames have no landmarks"]
    found = run("ckplus", folder, "--frames", "sequence", "--crop", "landmarks", "--out", tmp_path / "ck.h5")
    assert found.exit_code == 0
    assert "S005_001_00000003.png: it has no landmarks" in found.output
    assert len(store.load(tmp_path / "ck.h5")) == 11


def test_no_landmarks_at_all(folder: Path) -> None:
    shutil.rmtree(folder / "Landmarks")
    assert ckplus.build(folder, sequences=CLIPS).keypoints is None
    with pytest.raises(DataError, match=f"{folder}: no sequence has an emotion and usable images"):
        ckplus.build(folder, sequences=replace(CLIPS, crop="landmarks"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: lines[:-1], "67 points, expected 68"),
        (lambda lines: [*lines, lines[0]], "69 points, expected 68"),
        (lambda lines: [*lines[:4], "12.0", *lines[5:]], "line 5 is '12.0', expected x and y"),
        (lambda lines: [*lines[:4], "nan 3", *lines[5:]], "line 5 is 'nan 3', expected x and y"),
        (lambda lines: [], "0 points, expected 68"),
    ],
    ids=["67", "69", "one number", "nan", "empty"],
)
def test_wrong_landmarks(folder: Path, tmp_path: Path, change: object, reason: str) -> None:
    file = only(folder, "S005_001_00000003_landmarks.txt")
    assert callable(change)
    file.write_text("\n".join(change(file.read_text().splitlines())))
    found = run("ckplus", folder, "--frames", "sequence", "--crop", "whole", "--out", tmp_path / "ck.h5")
    assert found.exit_code == 3
    assert reason in found.output
    samples = store.load(tmp_path / "ck.h5")
    assert len(samples) == 12
    assert samples.keypoints is not None
    assert np.isnan(samples.keypoints).any(axis=(1, 2)).sum() == 1


def test_landmarks_with_commas(folder: Path) -> None:
    expected = ckplus.build(folder, sequences=CLIPS).keypoints
    for file in folder.rglob("*_landmarks.txt"):
        file.write_text("\n".join(",".join(line.split()) for line in file.read_text().splitlines()))
    np.testing.assert_array_equal(ckplus.build(folder, sequences=CLIPS).keypoints, expected)


# --- emotions


@pytest.mark.parametrize("text", ["9", "   8.0000000e+00\n", "-1", "2.5", "happy", "", "3 4"])
def test_an_unknown_emotion(folder: Path, tmp_path: Path, text: str) -> None:
    only(folder, "S005_001_*_emotion.txt").write_text(text)
    report = tmp_path / "report.csv"
    found = run(
        "ckplus", folder, "--frames", "sequence", "--crop", "whole", "--out", tmp_path / "ck.h5", "--report", report
    )
    assert found.exit_code == 3
    assert "S005_001_00000003_emotion.txt: the emotion is" in found.output
    assert "expected 0 to 7" in found.output
    assert [clip.name for clip in clips_of(store.load(tmp_path / "ck.h5"))] == ["S005/002", "S011/001", "S011/002"]
    assert report.read_text().splitlines()[1].startswith("S005/001,unreadable,")


def test_missing_emotions(folder: Path) -> None:
    only(folder, "S005_001_*_emotion.txt").unlink()
    samples = ckplus.build(folder, sequences=CLIPS)
    assert samples.about["dropped_sequences_without_an_emotion"] == 2
    assert len(clips_of(samples)) == 3
    shutil.rmtree(folder / "Emotion")
    with pytest.raises(DataError, match="no sequence has an emotion") as caught:
        ckplus.build(folder, sequences=CLIPS)
    assert "--facs" in caught.value.hint


def test_the_folder_of_the_images_alone(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        ckplus.build(folder / "cohn-kanade-images", sequences=CLIPS)
    assert caught.value.hint == f"the emotions are beside this folder: give {folder}"


def test_lists_of_another_numbering_or_another_emotion(folder: Path) -> None:
    (folder / "emotions.txt").write_text("0 anger\n1 disgust\n2 fear\n")
    with pytest.raises(DataError, match=r"emotions\.txt: line 1: '0 anger' is not a sequence and its emotion"):
        ckplus.build(folder, sequences=CLIPS)
    (folder / "emotions.txt").write_text("S005_001 7\n")
    samples = ckplus.build(folder, sequences=CLIPS)
    assert "emotions.txt says 7" in str(samples.about["left_out"])
    assert len(clips_of(samples)) == 3


# --- action units


def test_sequences_by_their_action_units(folder: Path) -> None:
    samples = ckplus.build(folder, sequences=replace(CLIPS, facs=True))
    found = {clip.name: samples.classes[clip.label] for clip in clips_of(samples)}
    assert found["S005/003"] == "anger"
    assert samples.about["sequences_by_action_units"] == 1
    assert samples.about["labels"] == "CK+, and action units"


@pytest.mark.parametrize("text", ["   3.0e+02   1.0e+00\n", "smile\n"])
def test_wrong_action_units(folder: Path, text: str) -> None:
    only(folder, "S005_003_*_facs.txt").write_text(text)
    samples = ckplus.build(folder, sequences=replace(CLIPS, facs=True))
    left_out = str(samples.about["left_out"])
    assert "S005/003: " in left_out
    assert samples.about["dropped_unreadable"] == 1
    assert len(clips_of(samples)) == 4


def test_no_action_units_say_nothing(folder: Path) -> None:
    only(folder, "S005_003_*_facs.txt").write_text("")
    samples = ckplus.build(folder, sequences=replace(CLIPS, facs=True))
    assert samples.about["dropped_sequences_without_an_emotion"] == 1


# --- images


def test_a_damaged_image(folder: Path, tmp_path: Path) -> None:
    only(folder, "S005_001_00000002.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = run("ckplus", folder, "--frames", "sequence", "--crop", "whole", "--out", tmp_path / "ck.h5")
    assert found.exit_code == 3
    assert "dropped unreadable: 1" in found.output
    assert len(store.load(tmp_path / "ck.h5")) == 11


def test_a_sequence_without_a_usable_peak(folder: Path) -> None:
    for number in (1, 2, 3):
        only(folder, f"S005_001_0000000{number}.png").write_bytes(b"")
    samples = ckplus.build(folder, sequences=CLIPS)
    assert [clip.name for clip in clips_of(samples)] == ["S005/002", "S011/001", "S011/002"]
    assert samples.about["dropped_unreadable"] == 3


def test_a_frame_that_is_there_twice(folder: Path) -> None:
    image = only(folder, "S005_001_00000002.png")
    other = folder / "copy"
    other.mkdir()
    shutil.copy(image, other / image.name)
    with pytest.raises(DataError, match="the frame 2 of S005/001 has this image twice"):
        ckplus.build(folder, sequences=CLIPS)


def test_other_files_and_archives(tmp_path: Path) -> None:
    (tmp_path / "S005_001_000011.png").write_bytes(b"six digits")
    (tmp_path / "Emotion_labels.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="has no images of CK") as caught:
        ckplus.build(tmp_path)
    assert caught.value.hint == "unpack Emotion_labels.zip first"
    with pytest.raises(InputError, match="no such folder"):
        ckplus.build(tmp_path / "missing")


def test_a_detector_that_does_not_search(folder: Path) -> None:
    from mien.faces.detectors import DetectorOptions

    with pytest.raises(ConfigError, match="'whole-image' does not search for faces"):
        ckplus.build(folder, detector=DetectorOptions("whole-image"))
    with pytest.raises(ConfigError, match="need --crop detector"):
        ckplus.build(folder, sequences=CLIPS, detector=DetectorOptions(min_score=0.2))


def test_a_person_in_two_folds(folder: Path) -> None:
    samples = ckplus.build(folder, sequences=CLIPS)
    split = samples.split.copy()
    assert samples.clips is not None
    split[samples.clips == "S005/001"] = 0
    split[samples.clips == "S005/002"] = 2
    with pytest.raises(DataError, match=r"the same person is in several splits: S005 \(train and test\)"):
        check_subjects(replace(samples, split=split))


# --- clips


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, astronaut: Path) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "face.mp4", portrait(astronaut, 5, width=256))
    write_video(folder / "other.mp4", portrait(astronaut, 4, width=256, step=2))
    write_video(folder / "bars.mp4", numbered(4))
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("not a video")
    whole = (folder / "face.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


def listed(videos: Path, *lines: str) -> Path:
    path = videos / "clips.csv"
    path.write_text("\n".join(["file,label,start,end,subject,split", *lines]) + "\n")
    return path


def test_clips_that_cannot_be_used(videos: Path, tmp_path: Path) -> None:
    bad = ["bars", "empty", "text", "cut", "missing"]
    table = listed(videos, "face.mp4,happy,,,a,", "other.mp4,sad,,,b,", *(f"{name}.mp4,sad,,,c," for name in bad))
    found = run("clips", table, "--classes", "own", "--out", tmp_path / "clips.h5")
    assert found.exit_code == 3, found.output
    assert "bars.mp4: no face was found" in found.output
    for name in ("empty", "text", "cut", "missing"):
        assert f"{name}.mp4: " in found.output
    samples = store.load(tmp_path / "clips.h5")
    assert [(clip.name, len(clip)) for clip in clips_of(samples)] == [("face.mp4", 5), ("other.mp4", 4)]


def test_no_clip_can_be_used(videos: Path) -> None:
    table = listed(videos, "bars.mp4,sad,,,c,", "empty.mp4,happy,,,c,")
    with pytest.raises(DataError, match=r"no clip can be used; the first: bars\.mp4: no face was found"):
        clips.build(table, names=ClassOptions(classes="own"))


def test_a_range_outside_the_video(videos: Path) -> None:
    table = listed(videos, "face.mp4,happy,,,a,", "other.mp4,sad,7,8,a,", "other.mp4,sad,,,b,")
    samples = clips.build(table, names=ClassOptions(classes="own"))
    left_out = str(samples.about["left_out"])
    assert "other.mp4#7-8: " in left_out
    assert "has no frame in the range from 7 s" in left_out
    assert [clip.name for clip in clips_of(samples)] == ["face.mp4", "other.mp4"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("face.mp4,happy,2,1,a,", "end 1 is not after start 2"),
        ("face.mp4,happy,soon,,a,", "start is 'soon', expected seconds"),
        ("face.mp4,happy,,,a,later", "split is 'later', expected train, val, test"),
        ("face.mp4,,,,a,", "has no file or no label"),
        ("other.mp4,sad,,,b,", "'other.mp4' is already in an earlier line"),
    ],
)
def test_wrong_rows(videos: Path, line: str, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        clips.build(listed(videos, "other.mp4,sad,,,b,", line), names=ClassOptions(classes="own"))
    assert f"line 3: {reason}" in caught.value.message


def test_a_person_in_two_splits_of_the_list(videos: Path) -> None:
    table = listed(videos, "face.mp4,happy,,,a,train", "other.mp4,sad,,,a,val")
    with pytest.raises(DataError, match=r"the same person is in several splits: a \(train and val\)"):
        clips.build(table, names=ClassOptions(classes="own"))
    table = listed(videos, "face.mp4,happy,,,a,train", "other.mp4,sad,,,b,")
    with pytest.raises(DataError, match="1 rows have no split, and others have"):
        clips.build(table, names=ClassOptions(classes="own"))


def test_a_track_that_is_too_short(videos: Path) -> None:
    table = listed(videos, "face.mp4,happy,,,a,", "other.mp4,sad,,,b,")
    samples = clips.build(table, names=ClassOptions(classes="own"), clips=clips.ClipOptions(least=5))
    assert samples.about["left_out"] == ["other.mp4: the largest track has 4 frames"]
    with pytest.raises(ConfigError, match="is not a regular expression"):
        clips.ClipOptions(subject="(")
