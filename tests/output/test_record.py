"""Records of an analysis: what made its results, and how many there are."""

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands import run_command
from tests.videos import portrait, write_video

import mien
from mien.analyzer import Analyzer, AnalyzerOptions, record_of
from mien.assets.download import list_remote
from mien.assets.manifest import FOLDER, shipped_models
from mien.expression import ClassifierOptions
from mien.faces.detectors import Detections, DetectorOptions
from mien.faces.landmarks import LandmarkOptions
from mien.output.record import Record


def test_the_record_names_every_network_with_the_hash_of_its_file(astronaut: Path, tmp_path: Path) -> None:
    place = tmp_path / "faces.json"
    said = run_command("analyze", astronaut, tmp_path / "none.jpg", "--record", place, "--emotions", 7, "-q")
    assert said.returncode == 3
    found = json.loads(place.read_text(encoding="utf-8"))
    assert (found["record"], found["complete"]) == (1, True)
    assert [found[name] for name in ("images", "frames", "faces", "failed")] == [1, 0, 1, 1]
    assert found["emotions"] == list(mien.emotions.vocabulary(7))
    assert found["options"]["classifier"]["emotions"] == 7
    assert found["versions"]["mien"] == mien.__version__
    assert found["versions"]["numpy"] == np.__version__
    reads = {"mien-m-int8": "images", "mien-l": "images", "mien-detector": "faces", "mien-landmarks": "landmarks"}
    assert {each["name"]: each["reads"] for each in found["networks"]} == {name: [part] for name, part in reads.items()}
    for each in found["networks"]:
        content = (FOLDER / shipped_models()[each["name"]].file).read_bytes()
        assert each["sha256"] == hashlib.sha256(content).hexdigest()
    assert {each.get("prior") for each in found["networks"]} == {"soft", None}
    assert found["command"][:2] == ["mien", "analyze"]


def test_the_record_has_what_reads_videos(astronaut: Path, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", portrait(astronaut, 4, 256))
    place = tmp_path / "clip.json"
    assert run_command("analyze", clip, "--record", place, "--prior", "uniform").returncode == 0
    found = json.loads(place.read_text(encoding="utf-8"))
    assert [found[name] for name in ("images", "frames", "faces", "failed")] == [0, 4, 4, 0]
    reads = {each["name"]: each["reads"] for each in found["networks"] if "prior" in each}
    assert reads == {"mien-m-int8": ["images", "videos"], "mien-l": ["images"]}
    assert {each["prior"] for each in found["networks"] if "prior" in each} == {"uniform"}


def test_an_older_record_stays_if_nothing_could_be_read(tmp_path: Path) -> None:
    place, broken = tmp_path / "faces.json", tmp_path / "broken.png"
    place.write_text("{}", encoding="utf-8")
    broken.write_bytes(b"no image")
    said = run_command("analyze", broken, "--record", place)
    assert said.returncode == 3
    assert f"there is no result, so '{place}' stays as it was" in said.stderr
    assert place.read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--record", "faces.toml"), "--record faces.toml: expected the suffix .json"),
        (("--record", "none/faces.json"), "there is no folder 'none'"),
        (("--record", "in.json"), "the record would replace the input"),
        (("--record", "a.json", "--table", "a.json", "--format", "csv"), "the table and the record are the same file"),
    ],
)
def test_records_that_are_refused(astronaut: Path, tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    (tmp_path / "in.json").write_bytes(astronaut.read_bytes())
    result = run_command("analyze", "in.json", *more, cwd=tmp_path)
    assert result.returncode == (7 if "folder" in said else 2)
    assert said in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.json"]


def test_a_stopped_analysis_is_not_complete(astronaut: Path, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "long.mp4", portrait(astronaut, 1500, 256), options={"preset": "ultrafast"})
    place = tmp_path / "long.json"
    command = [sys.executable, "-m", "mien", "analyze", str(clip), "--record", str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(4):
            assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=600)
    assert process.returncode == 130, said
    found = json.loads(place.read_text(encoding="utf-8"))
    assert not found["complete"]
    assert 2 <= found["frames"] < 1500


def test_an_error_is_recorded_and_the_record_is_used_in_a_with_statement(tmp_path: Path) -> None:
    place = tmp_path / "out.json"
    record = Record(place, {"networks": []})
    with pytest.raises(ValueError, match="use it in a with statement"):
        record.write(mien.FrameResult("a.jpg"))

    def fails() -> None:
        with record:
            record.write(mien.FrameResult("a.jpg", error="it is broken"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    found = json.loads(place.read_text(encoding="utf-8"))
    assert (found["complete"], found["failed"], found["images"]) == (False, 1, 0)


class _OwnDetector:
    name = "own"
    mean_landmarks = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)

    def detect(self, image: Any, *, min_score: float = 0.5) -> Detections:
        return Detections.empty()


def test_files_and_objects_of_ones_own(tmp_path: Path) -> None:
    model = tmp_path / "me.onnx"
    model.write_bytes((FOLDER / shipped_models()["mien-s"].file).read_bytes())
    points = FOLDER / shipped_models()["mien-landmarks"].file
    options = AnalyzerOptions(
        classifier=ClassifierOptions(
            model, prior={"happiness": 0.5, "neutral": 0.5}, emotions=("happiness", "neutral")
        ),
        landmarks=LandmarkOptions(weights=points),
        keypoints=True,
    )
    found = json.loads(json.dumps(record_of(Analyzer(options, detector=_OwnDetector()))))
    first, second, third = found["networks"]
    assert first["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (first["reads"], first["prior"]) == (["images", "videos"], "given shares")
    assert second == {"name": "own", "reads": ["faces"]}
    assert third["weights"] == {points.name: hashlib.sha256(points.read_bytes()).hexdigest()}
    assert found["options"]["classifier"]["model"] == str(model)


def test_detectors_whose_weights_are_fetched() -> None:
    """The hash is that of the pinned file, which was checked when the detector was loaded."""

    class Yunet(_OwnDetector):
        name = "yunet"

    networks = record_of(Analyzer(detector=Yunet()), videos=False)["networks"]
    assert [each["weights"] for each in networks if each["name"] == "yunet"] == [
        {file.name: file.sha256 for file in list_remote()["yunet"].files}
    ]


def test_a_file_of_weights_of_the_detector(tmp_path: Path) -> None:
    weights = FOLDER / shipped_models()["mien-detector"].file
    networks = record_of(Analyzer(detector=DetectorOptions(weights=weights)), videos=False)["networks"]
    (found,) = (each for each in networks if each["reads"] == ["faces"])
    assert found["weights"] == {weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()}
