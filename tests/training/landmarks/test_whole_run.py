"""A whole run of a small landmark network: trained, resumed, exported; the file finds what the network finds."""

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from tests.conftest import ROOT
from tests.landmark_data import write
from typer.testing import CliRunner

from mien.analyzer import Analyzer, AnalyzerOptions, analyze
from mien.assets.manifest import FOLDER
from mien.assets.store import open_model
from mien.cli import build_app
from mien.datasets import landmark_faces
from mien.datasets.landmark_faces import DENSE
from mien.errors import ConfigError, WeightsError
from mien.faces.keypoints import POINTS_70, five_of
from mien.faces.landmarks import LandmarkOptions
from mien.faces.landmarks import load as load_landmarker
from mien.faces.measures import measures_of
from mien.models.landmarks.face_landmarks import FaceLandmarks
from mien.results import FrameResult
from mien.training.checkpoints import load_module
from mien.training.landmarks.export import with_small_weights
from mien.training.landmarks.module import LandmarkModule
from mien.training.recipe import load

SMALL = ["size=48", "steps=12", "batch_size=16", "epochs=2", "ema_decay=0.0", "optimizer.lr=0.004", "schedule.warmup=0"]
SMALL += ["model.options.widths=[8, 16, 16]", "model.options.depths=[1, 1, 1]", "model.options.necks=[0, 0, 12]"]


def mien(*words: object) -> str:
    done = CliRunner().invoke(build_app(), [*map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    data = write(folder / "data", train=14, fer=20)
    words = ["data", "landmarks", data.images, "--points", data.points, "--fer", data.fer, "--out", folder / "faces.h5"]
    mien(*words)
    settings = [word for setting in SMALL for word in ("--set", setting)]
    mien("train", "mien-landmarks", "--data", folder / "faces.h5", "--out", folder / "run", "-q", *settings)
    mien("export", folder / "run", "--data", folder / "faces.h5", "--out", folder / "small.onnx")
    return folder


def test_it_learns(run: Path) -> None:
    log = np.genfromtxt(run / "run" / "metrics.csv", delimiter=",", names=True, deletechars="")
    assert log["train/loss"][-1] < log["train/loss"][0]
    assert np.isfinite([log[name][-1] for name in ("val/image/loss", "val/fer2013/loss", "val/pose/loss")]).all()


def test_the_file_finds_what_the_checkpoint_finds_and_says_what_it_is(run: Path) -> None:
    module = load_module(LandmarkModule, run / "run" / "best.ckpt")
    info, session = open_model(run / "small.onnx", task="landmarks")
    assert (info.landmarks.scheme, info.landmarks.count, info.input.size) == (POINTS_70, 70, 48)
    crops = np.random.default_rng(0).random((5, 1, 48, 48)).astype(np.float32)
    with torch.no_grad():
        expected = module.network((torch.from_numpy(crops) - 0.5) / 0.25)
    found = session.run((crops - 0.5) / 0.25)
    np.testing.assert_allclose(found["points"], expected.points, atol=4e-3)  # the weights have 8 bits
    np.testing.assert_allclose(found["pose"], expected.pose, atol=1.0)
    assert found["score"].shape == (5, 1)
    assert info.scores["faces"] == (landmark_faces.load(run / "faces.h5").only("val").kind == DENSE).sum()


def test_weights_in_8_bits_are_rounded_and_nothing_else(run: Path) -> None:
    content = onnx.load(run / "small.onnx")
    kinds = [node.op_type for node in content.graph.node]
    assert kinds.count("Cast") == kinds.count("Conv") + kinds.count("Gemm")
    values = {each.name: onnx.numpy_helper.to_array(each) for each in content.graph.initializer}
    integers = [value for value in values.values() if value.dtype == np.int8]
    assert max(int(np.abs(value.astype(int)).max()) for value in integers) == 127
    assert all(len(node.input) for node in content.graph.node)
    again = with_small_weights(content)  # already small: unchanged
    assert [node.op_type for node in again.graph.node] == kinds


def test_the_landmarker_finds_the_points_of_an_image(run: Path) -> None:
    landmarker = load_landmarker(LandmarkOptions(weights=run / "small.onnx"))
    assert (landmarker.name, landmarker.scheme) == ("mien", POINTS_70)
    image = np.random.default_rng(1).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    boxes = np.array([[20, 20, 80, 90], [90, 30, 150, 110]], np.float32)
    five = np.array([[[35, 45], [65, 45], [50, 60], [40, 75], [60, 75]]] * 2, np.float32)
    found = landmarker(image, boxes, five)
    assert found.points.shape == (2, 70, 2)
    assert found.pose is not None
    assert found.scores is not None
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    np.testing.assert_allclose(found.points[0], found.points[1])  # the same landmarks, so the same crop
    none = landmarker(image, boxes[:0], five[:0])
    assert none.points.shape == (0, 70, 2)


def test_a_turned_image_turns_points_and_roll(run: Path) -> None:
    landmarker = load_landmarker(LandmarkOptions(weights=run / "small.onnx"))
    image = np.random.default_rng(2).integers(0, 255, (120, 120, 3)).astype(np.uint8)
    five = np.array([[[45, 45], [75, 45], [60, 60], [50, 75], [70, 75]]], np.float32)
    box = np.array([[30, 30, 90, 90]], np.float32)
    turned = np.ascontiguousarray(np.rot90(image, -1))  # clockwise: x, y becomes 120 - y, x
    there = np.stack([120 - five[..., 1], five[..., 0]], axis=-1)
    one, other = landmarker(image, box, five), landmarker(turned, box, there.astype(np.float32))
    moved = np.stack([120 - one.points[..., 1], one.points[..., 0]], axis=-1)
    assert np.abs(moved - other.points).max() < 1.5  # the two crops are resampled differently
    assert one.pose is not None
    assert other.pose is not None
    assert abs((other.pose[0, 2] - one.pose[0, 2] - 90 + 180) % 360 - 180) < 3


def test_wrong_recipes_and_networks_are_named() -> None:
    with pytest.raises(ConfigError, match=r"model\.name=plain: expected 'landmarks'"):
        load("mien-landmarks", ["model.name=plain"])
    with pytest.raises(ConfigError, match="images and fer2013 are both 0"):
        load("mien-landmarks", ["shares.images=0.0", "shares.fer2013=0.0"])
    with pytest.raises(ConfigError, match="the landmark network cannot be built"):
        LandmarkModule(load("mien-landmarks", ["model.options.width=3"]).model_dump(mode="json"), [[0, 0]] * 70, 1.5)
    with pytest.raises(WeightsError, match="expected one for landmarks"):
        open_model(FOLDER / "mien-s.onnx", task="landmarks")


def test_the_fused_network_is_the_same_function() -> None:
    torch.manual_seed(0)
    network = FaceLandmarks([[0.4, 0.3]] * 70, size=32, widths=(8, 12), depths=(1, 2), necks=(0, 8)).eval()
    crops = torch.randn(3, 1, 32, 32)
    with torch.no_grad():
        plain, fused = network(crops), network.fused()(crops)
    for one, other in zip(plain, fused, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert five_of(np.asarray(plain.points)).shape == (3, 5, 2)


def test_the_command_writes_keypoints_pose_and_measures(run: Path, tmp_path: Path) -> None:
    image, weights = ROOT / "examples" / "astronaut.jpg", ["--landmark-weights", run / "small.onnx"]
    words = ["analyze", image, "--keypoints", *weights, "--table", tmp_path / "faces.csv", "--json"]
    printed = json.loads(mien(*words, "--annotate", tmp_path / "drawn"))
    (face,) = printed["faces"]
    assert face["keypoint_scheme"] == POINTS_70
    assert np.shape(face["keypoints"]) == (70, 2)
    assert list(face["pose"]) == ["yaw", "pitch", "roll"]
    with (tmp_path / "faces.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["x_69"]) == pytest.approx(face["keypoints"][69][0], abs=0.01)
    assert float(row["yaw"]) == pytest.approx(face["pose"]["yaw"], abs=0.01)
    for name, value in face["measures"].items():
        assert float(row[name]) == pytest.approx(value, abs=1e-4)
    drawn = np.asarray(Image.open(next((tmp_path / "drawn").iterdir())))
    mien("analyze", image, "--annotate", tmp_path / "plain", "-q")
    plain = np.asarray(Image.open(next((tmp_path / "plain").iterdir())))
    assert (drawn != plain).any(axis=2).sum() > 70
    again = mien("analyze", image, "--json")
    assert json.loads(again)["faces"][0]["keypoints"] is None


def test_python_gives_the_same_as_the_command(run: Path) -> None:
    options = AnalyzerOptions(landmarks=LandmarkOptions(weights=run / "small.onnx"))
    image = ROOT / "examples" / "astronaut.jpg"
    result = analyze(image, options=options, keypoints=True)
    assert isinstance(result, FrameResult)
    (face,) = result
    assert face.keypoints is not None
    assert face.pose is not None
    assert face.measures == measures_of(face.keypoints, float(face.pose[0]))
    both = Analyzer(options, keypoints=True).analyze([image, image])
    np.testing.assert_array_equal(both[1][0].keypoints, face.keypoints)
    plain = Analyzer(options).analyze(image)
    assert isinstance(plain, FrameResult)
    assert (plain[0].keypoints, plain[0].pose, plain[0].measures) == (None, None, None)
    crop = Analyzer(options, keypoints=True, detector="whole-image").analyze(np.full((48, 48), 90, np.uint8))
    assert isinstance(crop, FrameResult)
    assert crop[0].keypoints is not None


def test_options_of_keypoints_have_no_effect_without_them(run: Path) -> None:
    image = ROOT / "examples" / "astronaut.jpg"
    done = CliRunner().invoke(build_app(), ["analyze", str(image), "--landmark-weights", str(run / "small.onnx")])
    assert isinstance(done.exception, ConfigError)
    assert done.exception.message == "--landmark-weights has no effect without keypoints"
