"""Video clips: the largest track of each, cropped as `mien analyze` crops it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.videos import portrait, write_video
from typer.testing import CliRunner

from mien import Analyzer
from mien.assets.manifest import default_model, model_info
from mien.cli import build_app
from mien.datasets import store
from mien.datasets.builders.clips import ClipOptions, build
from mien.datasets.class_names import ClassOptions
from mien.datasets.clips import clips_of
from mien.errors import ConfigError
from mien.faces.crop import crop_face
from mien.faces.keypoints import five_of
from mien.media import VideoOptions, read_video
from mien.results import Frame

PORTRAIT = Path(__file__).resolve().parents[3] / "examples" / "astronaut.jpg"


def made_up(folder: Path) -> dict[str, Any]:
    """Arguments for the conformance suite."""
    for label, person, step in (("happy", 1, 0), ("happy", 2, 1), ("sad", 3, 2)):
        place = folder / "clips" / label
        place.mkdir(parents=True, exist_ok=True)
        write_video(place / f"actor_{person}.mp4", portrait(PORTRAIT, 3, width=200, step=step))
    return {
        "source": folder / "clips",
        "names": ClassOptions(classes="own"),
        "clips": ClipOptions(subject=r"actor_(\d+)"),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made_up(tmp_path_factory.mktemp("made"))["source"])


def test_folders_are_classes_and_paths_name_the_people(folder: Path) -> None:
    samples = build(folder, names=ClassOptions(classes="own"), clips=ClipOptions(subject=r"actor_(\d+)"))
    assert samples.classes == ("happiness", "sadness")
    found = {clip.name: (clip.subject, samples.classes[clip.label], len(clip)) for clip in clips_of(samples)}
    assert found == {
        "happy/actor_1.mp4": ("1", "happiness", 3),
        "happy/actor_2.mp4": ("2", "happiness", 3),
        "sad/actor_3.mp4": ("3", "sadness", 3),
    }
    assert len(set(samples.split)) == 3  # one person each
    assert build(folder, names=ClassOptions(classes="own")).subjects is None
    with pytest.raises(ConfigError, match="finds no person in happy/actor_1"):
        build(folder, names=ClassOptions(classes="own"), clips=ClipOptions(subject=r"person_(\d+)"))


def test_the_crops_are_those_of_the_analyzer(folder: Path) -> None:
    """The same frames, tracked and aligned by the analyzer, give the same crops."""
    samples = build(folder, names=ClassOptions(classes="own"))
    (clip,) = [each for each in clips_of(samples) if each.name == "sad/actor_3.mp4"]
    path = folder / "sad" / "actor_3.mp4"
    frames = [frame for frame in read_video(path) if isinstance(frame, Frame)]
    spec = model_info(default_model()).crop_spec.resized(48)
    for row, frame, result in zip(clip.rows, frames, Analyzer().analyze(path, video=VideoOptions()), strict=True):
        landmarks = result.faces[0].landmarks
        assert landmarks is not None
        crop = Image.fromarray(crop_face(frame.image, landmarks, spec)).convert("L")
        assert np.abs(samples.images[row].astype(int) - np.asarray(crop).astype(int)).max() <= 1


def test_the_largest_person_is_taken(tmp_path: Path) -> None:
    """A small face is seen in more frames, and comes first; the large one has more pixels in all."""
    small = np.asarray(Image.open(PORTRAIT).convert("RGB").resize((120, 120)))
    large = np.asarray(Image.open(PORTRAIT).convert("RGB").resize((300, 300)))

    def frames() -> Any:
        for number in range(6):
            frame = np.full((304, 480, 3), 90, np.uint8)
            frame[:120, :120] = small
            if number >= 2:
                frame[2:302, 170:470] = large
            yield frame

    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        write_video(tmp_path / label / "two.mp4", frames())
    samples = build(tmp_path, names=ClassOptions(classes="own"), clips=ClipOptions(keypoints=True))
    for clip in clips_of(samples):
        assert samples.frames is not None
        assert samples.frames[clip.rows].tolist() == [2, 3, 4, 5]
    assert samples.keypoints is not None
    assert samples.keypoint_scheme == "300w-68-irises"
    spec = model_info(default_model()).crop_spec.resized(48)
    assert np.abs(five_of(samples.keypoints) - np.asarray(spec.points)).max() < 6


def test_a_list_with_times(folder: Path, tmp_path: Path) -> None:
    table = folder / "clips.csv"
    table.write_text(
        "label;file;start;end;subject;split\n"
        "joy;happy/actor_1.mp4;0;0.08;ann;training\n"
        "joy;happy/actor_1.mp4;0.08;;ann;training\n"
        "joy;happy/actor_1.mp4;;0.08;ann;training\n"
        "sadness;sad/actor_3.mp4;;;ben;test\n"
    )
    try:
        out = tmp_path / "clips.h5"
        run = CliRunner().invoke(
            build_app(), ["data", "build", "clips", str(table), "--classes", "own", "--out", str(out)]
        )
    finally:
        table.unlink()
    assert run.exit_code == 0, run.output
    samples = store.load(out)
    assert [(clip.name, len(clip), clip.subject, clip.split) for clip in clips_of(samples)] == [
        ("happy/actor_1.mp4#0-0.08", 2, "ann", "train"),
        ("happy/actor_1.mp4#0.08-", 1, "ann", "train"),
        ("happy/actor_1.mp4#-0.08", 2, "ann", "train"),
        ("sad/actor_3.mp4", 3, "ben", "test"),
    ]
    thinned = replace(ClipOptions(), fps=12.5)
    assert {len(clip) for clip in clips_of(build(folder, names=ClassOptions(classes="own"), clips=thinned))} == {2}
