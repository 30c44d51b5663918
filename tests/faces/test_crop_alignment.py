"""Cropped faces, aligned by their own landmarks where the network is sure: as a user reads them."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.commands import run_command

from mien import Analyzer
from mien.analyzer import AnalyzerOptions
from mien.assets.manifest import default_model, model_info
from mien.expression import ClassifierOptions, Ensemble, load_classifier
from mien.faces.align import Aligner, CropAligner
from mien.media.images import read_image

ROOT = Path(__file__).parent.parent.parent
LOOSE = (150, 20, 310, 180)  # around the astronaut's face in the portrait, as another program might crop


@pytest.fixture(scope="module")
def crop() -> NDArray[np.uint8]:
    """A face that stands small and aslant in its crop."""
    image = Image.fromarray(read_image(ROOT / "examples" / "astronaut.jpg"))
    return np.asarray(image.rotate(15, resample=Image.Resampling.BICUBIC, center=(225, 105)).crop(LOOSE))


@pytest.fixture(scope="module")
def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_a_sure_face_comes_as_behind_the_detector(crop: NDArray[np.uint8]) -> None:
    spec = model_info(default_model()).crop_spec
    aligned = CropAligner([spec])(crop)
    assert aligned is not None
    found = Aligner("mien", [spec]).largest(crop)
    assert found is not None
    difference = np.abs(aligned[0].astype(int) - found[0].astype(int)).mean()
    raw = np.asarray(Image.fromarray(crop).convert("L").resize((spec.size, spec.size)), int)
    assert difference < 0.5 * np.abs(raw - found[0]).mean()


def test_what_is_no_face_stays(noise: NDArray[np.uint8], crop: NDArray[np.uint8]) -> None:
    aligner = CropAligner([model_info(default_model()).crop_spec])
    assert aligner(noise) is None
    assert aligner(np.zeros((48, 48, 3), np.uint8)) is None
    assert aligner(crop[:1, :1]) is None
    assert CropAligner(aligner.crop_specs, least=1.1)(crop) is None


def test_the_analyzer_aligns_by_default(crop: NDArray[np.uint8], noise: NDArray[np.uint8]) -> None:
    classifier = load_classifier(ClassifierOptions(prior="soft"))
    aligned = CropAligner(classifier.crop_specs)(crop)
    assert aligned is not None
    expected = [classifier(*[[seen] for seen in each])[0].as_dict() for each in (aligned, (noise,), (crop,))]
    both = Analyzer(detector="whole-image").analyze([crop, noise])
    as_it_is = Analyzer(AnalyzerOptions(align=False), detector="whole-image").analyze(crop)
    for result, values in zip([*both, as_it_is], expected, strict=True):
        assert result[0].expression is not None
        assert result[0].expression.as_dict() == pytest.approx(values, abs=1e-6)
        assert result[0].box.tolist() == [0, 0, result.width, result.height]


def test_members_of_an_ensemble_get_their_own_crops(crop: NDArray[np.uint8]) -> None:
    ensemble = Ensemble(ClassifierOptions("mien-m,mien-s"))
    result = Analyzer(detector="whole-image", classifier=ensemble).analyze(crop)
    aligned = CropAligner(ensemble.crop_specs)(crop)
    assert aligned is not None
    (expected,) = ensemble(*[[each] for each in aligned])
    assert result[0].expression is not None
    assert result[0].expression.as_dict() == pytest.approx(expected.as_dict(), abs=1e-6)


def test_the_command(crop: NDArray[np.uint8], astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(crop).save(tmp_path / "crop.png")

    def read(*options: str) -> "subprocess.CompletedProcess[str]":
        return run_command("analyze", "crop.png", "--json", *options, cwd=tmp_path)

    default, plain = (json.loads(read("--faces-are-crops", *more).stdout) for more in ((), ("--no-align",)))
    assert default["faces"][0]["emotions"] != plain["faces"][0]["emotions"]
    (expected,) = load_classifier(ClassifierOptions(prior="soft"))([crop])
    assert plain["faces"][0]["emotions"] == pytest.approx(expected.as_dict(), abs=1e-6)
    Image.fromarray(astronaut).save(tmp_path / "crop.png")
    refined, plain = (json.loads(read(*more).stdout)["faces"][0] for more in ((), ("--no-align",)))
    assert refined["box"] == plain["box"]
    assert refined["landmarks"] != plain["landmarks"]
    assert refined["emotion"] == plain["emotion"] == "happiness"
