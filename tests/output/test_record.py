"""Records of an analysis: how its results were produced, and how many there are."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands import interrupted_analysis, run_command
from tests.videos import portrait, write_video

import mien
from mien.analyzer import Analyzer, AnalyzerOptions, record_of
from mien.assets.manifest import FOLDER, shipped_models
from mien.errors import OutputError, UnsupportedError
from mien.expression import Classifier, ClassifierOptions, OnnxClassifier, softmax
from mien.faces import detectors
from mien.faces.detectors import Detections, DetectorOptions
from mien.faces.landmarks import LandmarkOptions
from mien.output.record import Record


def shipped(name: str) -> Path:
    return FOLDER / shipped_models()[name].file


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copied(name: str, place: Path) -> Path:
    place.write_bytes(shipped(name).read_bytes())
    return place


def recorded(place: Path, *words: object) -> dict[str, Any]:
    assert run_command("analyze", *words, "--record", place, "-q").returncode in (0, 3)
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def test_every_network_is_named_with_the_hash_of_its_file(astronaut: Path, tmp_path: Path) -> None:
    found = recorded(tmp_path / "faces.json", astronaut, tmp_path / "none.jpg", "--emotions", 7)
    assert (found["schema"], found["complete"]) == (1, True)
    assert [found[name] for name in ("images", "frames", "faces", "failed")] == [1, 0, 1, 1]
    assert found["emotions"] == list(mien.emotions.vocabulary(7))
    assert found["options"]["classifier"]["emotions"] == 7
    assert found["versions"]["mien"] == mien.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["av"]
    assert [(each["name"], each["task"]) for each in found["networks"]] == [
        ("mien-m-int8", "expression"),
        ("mien-l", "expression"),
        ("mien-detector", "detection"),
        ("mien-landmarks", "landmarks"),
    ]
    for each in found["networks"]:
        assert each["files"] == {shipped(each["name"]).name: digest(shipped(each["name"]))}
        assert each["licence"] == "Apache-2.0"
    assert list(found["classifiers"]) == ["images"]
    images = found["classifiers"]["images"]
    assert (images["name"], images["vote"], images["prior"]) == ("mien-x", "soft", "soft")
    assert images["members"] == ["mien-m-int8", "mien-l"]
    assert sum(images["shares"][0].values()) == pytest.approx(1, abs=1e-3)
    assert len(images["temperatures"]) == len(images["shares"])
    assert all(0.2 < each < 5 and each != 1 for each in images["temperatures"])
    assert found["command"][:2] == ["mien", "analyze"]


def test_videos_have_a_classifier_of_their_own(astronaut: Path, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", portrait(astronaut, 4, 256))
    found = recorded(tmp_path / "clip.json", clip, "--prior", "uniform", "--every", 2)
    assert [found[name] for name in ("images", "frames", "faces", "failed")] == [0, 2, 2, 0]
    assert list(found["classifiers"]) == ["videos"]
    assert found["classifiers"]["videos"]["members"] == ["mien-m-int8"]
    assert found["classifiers"]["videos"]["prior"] == "uniform"
    assert [each["name"] for each in found["networks"] if each["task"] == "expression"] == ["mien-m-int8"]
    assert found["video"]["every"] == 2
    both = recorded(tmp_path / "both.json", clip, astronaut)
    assert {name: each["name"] for name, each in both["classifiers"].items()} == {
        "images": "mien-x",
        "videos": "mien-m-int8",
    }


def test_a_password_is_not_written(astronaut: Path, tmp_path: Path) -> None:
    found = recorded(tmp_path / "a.json", astronaut, "rtsp://me:secret@127.0.0.1:9/none")
    assert "rtsp://***@127.0.0.1:9/none" in found["command"]
    assert "secret" not in (tmp_path / "a.json").read_text(encoding="utf-8")


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
        (("--record", "faces.toml"), "--record faces.toml: expected a file ending in .json"),
        (("--record", "-"), "for example faces.json"),
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
    done = interrupted_analysis(clip, "--record", place)
    assert done.returncode == 130, done.stderr
    found = json.loads(place.read_text(encoding="utf-8"))
    assert not found["complete"]
    assert 2 <= found["frames"] < 1500


def test_a_table_that_fails_at_its_end_makes_the_record_incomplete(
    astronaut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def fails(self: object) -> Iterator[None]:
        yield
        raise OutputError("the disk is full")

    monkeypatch.setattr("mien.output.tables.csv.TABLE.opened", fails)
    monkeypatch.setattr("mien.output.tables.csv.TABLE.put", lambda self, rows: None)
    place = tmp_path / "faces.json"
    place.write_text("of an older table", encoding="utf-8")
    said = run_command("analyze", astronaut, "--table", tmp_path / "faces.csv", "--record", place)
    assert said.returncode == 7
    assert place.read_text(encoding="utf-8") == "of an older table"
    found = json.loads((tmp_path / "faces.json.partial").read_text(encoding="utf-8"))
    assert (found["complete"], found["images"]) == (False, 1)


def test_records_in_python(tmp_path: Path) -> None:
    place = tmp_path / "out.json"
    record = Record(place, {"networks": [], "images": "cannot replace the count"})
    with pytest.raises(ValueError, match="use it in a with statement"):
        record.write(mien.FrameResult("a.jpg"))
    for _ in range(2):
        with record:
            record.write(mien.FrameResult("a.jpg", error="it is broken"))
            record.write(mien.FrameResult("b.jpg"))
        found = json.loads(place.read_text(encoding="utf-8"))
        assert (found["complete"], found["failed"], found["images"]) == (True, 1, 1)
    with pytest.raises(OutputError, match="needs a file"):
        Record("-", {})
    with pytest.raises(TypeError):
        Record(place, {"options": object()})


class OwnDetector:
    mean_landmarks = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)

    def detect(self, image: Any, *, min_score: float = 0.5) -> Detections:
        return Detections.empty()


class OwnClassifier(Classifier):
    name = "own"
    emotions = ("happiness", "neutral")
    threshold = 0.5
    input_size = 64
    tta = "none"
    crop_specs = ()

    def logits(self, *faces: Any) -> Any:
        return [{"own": np.zeros((len(faces[0]), 2), np.float32)}]

    def proba_from(self, logits: Any) -> Any:
        return softmax(logits[0]["own"])


def test_objects_of_ones_own() -> None:
    """What was not made from the options is not described by them."""
    own: Any = OwnDetector()
    found = json.loads(json.dumps(record_of(Analyzer(detector=own, classifier=OwnClassifier()))))
    assert found["given"] == {
        "detector": f"{__name__}.OwnDetector",
        "classifier": f"{__name__}.OwnClassifier",
    }
    assert found["options"]["detector"] is found["options"]["classifier"] is None
    assert [(each["name"], each["files"]) for each in found["networks"][:2]] == [("own", {}), ("OwnDetector", {})]


def test_ready_objects_of_miens(tmp_path: Path) -> None:
    weights = tmp_path / "mine.onnx"
    weights.write_bytes(_with_another_name(shipped("mien-detector")))
    analyzer = Analyzer(
        detector=detectors.load(DetectorOptions(weights=weights)),
        classifier=OnnxClassifier(ClassifierOptions(tta="flip")),
    )
    found = record_of(analyzer)
    assert found["options"]["classifier"]["tta"] == "flip"
    expression, detection = found["networks"][:2]
    assert (expression["name"], expression["files"]) == ("mien-m", {"mien-m.onnx": digest(shipped("mien-m"))})
    assert (detection["name"], detection["files"]) == (str(weights), {str(weights): digest(weights)})


def _with_another_name(path: Path) -> bytes:
    """A network that does the same and has another hash: a field of its file is set again."""
    return path.read_bytes() + b"\x12\x04mien"  # producer_name of the ONNX model


def test_files_of_one_inner_name_stay_apart(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(_with_another_name(shipped("mien-s")))
    options = ClassifierOptions(("mien-s", other, other))
    found = record_of(Analyzer(AnalyzerOptions(classifier=options)), videos=False)
    names = [each["name"] for each in found["networks"] if each["task"] == "expression"]
    assert names == ["mien-s", str(other)]
    assert found["classifiers"]["images"]["members"] == ["mien-s", str(other), str(other)]


def test_points_that_a_classifier_or_the_user_asks_for(tmp_path: Path) -> None:
    points = tmp_path / "points.onnx"
    points.write_bytes(_with_another_name(shipped("mien-landmarks")))
    options = AnalyzerOptions(landmarks=LandmarkOptions(weights=points), keypoints=True)
    found = record_of(Analyzer(options), videos=False)
    assert [each["files"] for each in found["networks"] if each["task"] == "landmarks"] == [
        {str(points): digest(points)}
    ]


def test_numbers_of_numpy_stay_numbers() -> None:
    options = AnalyzerOptions(
        classifier=ClassifierOptions(model=Path("mien-s"), abstain=np.float32(0.5)),  # type: ignore[arg-type]
        largest_only=np.True_,  # type: ignore[arg-type]
    )
    found = record_of(Analyzer(options))["options"]
    assert found["largest_only"] is True
    assert found["classifier"]["abstain"] == 0.5
    assert found["classifier"]["model"] == "mien-s"


@pytest.mark.real_data
def test_weights_that_are_fetched(shared: Path) -> None:
    weights = shared / "weights" / "yunet_n_640_640.onnx"
    try:
        analyzer = Analyzer(detector=DetectorOptions("yunet", weights=weights))
    except UnsupportedError as error:
        pytest.skip(str(error))
    (found,) = (each for each in record_of(analyzer)["networks"] if each["task"] == "detection")
    assert (found["name"], found["files"]) == ("yunet", {str(weights): digest(weights)})
    assert "Apache" in found["licence"] or "MIT" in found["licence"]
