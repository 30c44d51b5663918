"""CK+: both layouts, peak frames and sequences, keypoints in the crops, and divisions by person."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.cohn_kanade import Layout, moving_face, write_ckplus, write_sequence
from typer.testing import CliRunner

from mien.assets.manifest import default_model, model_info
from mien.cli import build_app
from mien.datasets import Samples, store
from mien.datasets.builders.ckplus import SequenceOptions, build
from mien.datasets.clips import clips_of, windows
from mien.datasets.folds import PersonSplitOptions, check_subjects, subject_folds
from mien.datasets.samples import NO_LABEL
from mien.datasets.stored_faces import StoredFaceOptions
from mien.errors import ConfigError
from mien.faces.keypoints import five_of

LANDMARKS = SequenceOptions(crop="landmarks")
CLIPS = SequenceOptions(frames="sequence", crop="landmarks")


def made_up(folder: Path) -> dict[str, Any]:
    """Arguments for the conformance suite."""
    return {"folder": write_ckplus(folder / "ck", frames=4), "sequences": LANDMARKS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ckplus(tmp_path_factory.mktemp("ck"), subjects=5)


@pytest.mark.parametrize(("layout", "digits"), [("published", 8), ("flat", 7)])
def test_both_layouts_give_the_same_peak_frames(tmp_path: Path, layout: Layout, digits: int) -> None:
    samples = build(write_ckplus(tmp_path, layout=layout, digits=digits), sequences=LANDMARKS)
    assert samples.classes == (
        "anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt",
    )  # fmt: skip
    assert samples.subjects is not None
    assert samples.clips is None
    assert sorted(set(samples.subjects)) == ["S005", "S011", "S017", "S023"]
    first = [name for name in samples.names if name.startswith("S005_001_")]
    assert first == [f"S005_001_{number:0{digits}}" for number in (1, 4, 5, 6)]
    labels = [samples.classes[samples.labels[list(samples.names).index(name)]] for name in first]
    assert labels == ["neutral", "happiness", "happiness", "happiness"]
    assert not any(name.startswith("S005_003") for name in samples.names)
    assert samples.about["dropped_sequences_without_an_emotion"] == 1
    assert samples.about["sequences"] == 8


def test_the_person_and_the_points_are_in_the_crop(folder: Path) -> None:
    samples = build(folder, sequences=LANDMARKS, faces=StoredFaceOptions(size=64))
    spec = model_info(default_model()).crop_spec.resized(64)
    assert samples.keypoints is not None
    assert samples.keypoint_scheme == "300w-68"
    assert samples.keypoints.shape == (len(samples), 68, 2)
    apart = np.linalg.norm(five_of(samples.keypoints) - np.asarray(spec.points), axis=-1)
    assert np.median(apart) < 4
    assert apart.max() < 12
    # The inside of the eyes is bright in the drawing, the middle of the mouth dark: the points lie on what is drawn.
    surprised = samples.labels == samples.classes.index("surprise")
    for image, points in zip(samples.images[surprised], samples.keypoints[surprised], strict=True):
        x, y = points[60:68].mean(axis=0)
        nose_x, nose_y = points[[30, 33]].mean(axis=0)
        assert image[int(y), int(x)] < image[int(nose_y), int(nose_x) + 8] - 40


def test_whole_images_keep_their_points(tmp_path: Path) -> None:
    write_sequence(tmp_path, "S005", "001", "surprise", np.random.default_rng(0), frames=1)
    _, points = moving_face("surprise", 0, 5, np.random.default_rng(0))
    samples = build(tmp_path, sequences=SequenceOptions(crop="whole"))
    assert samples.keypoints is not None
    np.testing.assert_allclose(samples.keypoints[0], points / 2, atol=1e-3)


def test_sequences_are_clips_whose_peak_frames_are_labelled(folder: Path) -> None:
    samples = build(folder, sequences=CLIPS)
    assert "neutral" not in samples.classes
    assert "contempt" in samples.classes
    clips = clips_of(samples)
    assert len(clips) == 10
    assert {len(clip) for clip in clips} == {6}
    for clip in clips:
        assert samples.labels[clip.rows].tolist() == [NO_LABEL] * 3 + [clip.label] * 3
        assert clip.subject == clip.name[:4]
        assert [name[:8].replace("_", "/") for name in samples.names[clip.rows]] == [clip.name] * 6
    found = windows(samples, 10)
    assert found.rows.shape == (10, 10)
    assert (found.rows[:, 0] == found.rows[:, 4]).all()
    # The face moves: the mouth of a happy person grows from the first frame to the last.
    assert samples.keypoints is not None
    happy = found.rows[found.labels == samples.classes.index("happiness")]
    width = np.ptp(samples.keypoints[happy][..., 48:60, 0], axis=-1)
    assert (width[:, -1] > width[:, 0] * 1.1).all()


def test_neutral_clips_on_request(folder: Path) -> None:
    samples = build(folder, sequences=replace(CLIPS, neutral="first"))
    clips = {clip.name: clip for clip in clips_of(samples)}
    assert len(clips) == 20
    still = clips["S005/001 neutral"]
    assert samples.classes[still.label] == "neutral"
    assert len(still) == 1
    moving = clips["S005/001"]
    np.testing.assert_array_equal(samples.images[still.rows[0]], samples.images[moving.rows[0]])
    assert samples.labels[moving.rows[0]] == NO_LABEL
    assert still.subject == moving.subject
    assert still.split == moving.split


def test_no_person_is_in_two_splits_or_folds(folder: Path) -> None:
    samples = build(folder, sequences=CLIPS, split=PersonSplitOptions(val=0.2, test=0.4))
    check_subjects(samples)
    assert samples.subjects is not None
    assert [len(set(samples.subjects[samples.split == code])) for code in range(3)] == [2, 1, 2]
    folds = subject_folds(samples, 5)
    assert [set(folds[samples.subjects == name]) for name in sorted(set(samples.subjects))] == [
        {0}, {1}, {2}, {3}, {4},
    ]  # fmt: skip
    again = build(folder, sequences=CLIPS, split=PersonSplitOptions(val=0.2, test=0.4, seed=7))
    assert again.split.tolist() != samples.split.tolist()


def test_contempt_and_every_other_emotion_keeps_its_name(tmp_path: Path) -> None:
    emotions = ["anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"]
    samples = build(write_ckplus(tmp_path, subjects=2, emotions=emotions, frames=2), sequences=CLIPS)
    found = {clip.name: samples.classes[clip.label] for clip in clips_of(samples)}
    assert {found[f"S005/{place:03}"]: emotion for place, emotion in enumerate(emotions, 1)} == {
        emotion: emotion for emotion in emotions
    }


def test_a_detector_finds_and_crops_faces(tmp_path: Path, astronaut: Path) -> None:
    """A photograph in place of a drawing, without landmarks; the crop is that of the analyzer."""
    from mien.faces.align import Aligner

    place = tmp_path / "cohn-kanade-images" / "S010" / "001"
    place.mkdir(parents=True)
    photograph = Image.open(astronaut).convert("L")
    for frame in (1, 2):
        photograph.save(place / f"S010_001_{frame:08}.png")
    (place / "S010_001_00000002_emotion.txt").write_text("   5.0000000e+00\n")
    samples = build(tmp_path)
    assert len(samples) == 2
    assert samples.keypoints is None
    assert samples.about["notes"] == ["2 of 2 frames have no landmarks"]
    rgb = np.asarray(photograph.convert("RGB"))
    found = Aligner(crop_specs=[model_info(default_model()).crop_spec.resized(48)]).largest(rgb)
    assert found is not None
    difference = np.abs(samples.images[0].astype(int) - grey(found[0]))
    assert difference.max() <= 1


def grey(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(Image.fromarray(image).convert("L")).astype(np.int64)


def test_emotions_in_one_list(tmp_path: Path) -> None:
    write_ckplus(tmp_path, subjects=2)
    for file in tmp_path.rglob("*_emotion.txt"):
        file.unlink()
    (tmp_path / "emotions.txt").write_text("sequence emotion\nS005_001 5\nS011/002/00000006 3.0e+00\n")
    samples = build(tmp_path, sequences=CLIPS)
    assert {clip.name: samples.classes[clip.label] for clip in clips_of(samples)} == {
        "S005/001": "happiness",
        "S011/002": "disgust",
    }


@pytest.mark.parametrize("options", [{"peaks": 0}, {"frames": "all"}, {"crop": "dlib"}, {"neutral": "last"}])
def test_options_without_a_meaning(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        SequenceOptions(**options)


def test_the_command_builds_and_shows_sequences(folder: Path, tmp_path: Path) -> None:
    run, out = CliRunner(), tmp_path / "ck.h5"
    built = run.invoke(
        build_app(),
        ["data", "build", "ckplus", str(folder), "--frames", "sequence", "--crop", "landmarks", "--out", str(out)],
    )
    assert built.exit_code == 0, built.output
    assert "dropped sequences without an emotion: 1" in built.output
    assert len(clips_of(store.load(out))) == 10
    shown = run.invoke(build_app(), ["data", "show", str(out)])
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["happiness", "3", "1", "1"] in lines
    assert "10 clips of 5 persons" in shown.output
    assert "6 frames" in shown.output
    assert "keypoints (300w-68)" in shown.output
    assert isinstance(store.load(out), Samples)


def test_no_neutral_frames_on_request(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "ck.h5"
    words = ["data", "build", "ckplus", str(folder), "--neutral", "none", "--crop", "whole", "--out", str(out)]
    assert CliRunner().invoke(build_app(), words).exit_code == 0
    samples = store.load(out)
    assert "neutral" not in samples.classes
    assert len(samples) == 30
