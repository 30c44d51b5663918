"""The analyzer over real pixels and the shipped weights."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mien
from mien.errors import ConfigError, InputError, WeightsError
from mien.expression import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.media import ImageSource, read_frames, read_image


@pytest.fixture(scope="module")
def analyzer() -> mien.Analyzer:
    return mien.Analyzer()


def test_the_astronaut_smiles(astronaut: Path) -> None:
    result = mien.analyze(astronaut)
    assert isinstance(result, mien.FrameResult)
    assert len(result) == 1
    face = result.faces[0]
    assert face.emotion == "happiness"
    assert face.confidence is not None
    assert face.confidence > 0.8
    assert face.expression is not None
    assert not face.expression.uncertain
    assert face.expression.emotions == mien.emotions.vocabulary(8)


def test_paths_and_arrays_and_lists_agree(astronaut: Path, analyzer: mien.Analyzer) -> None:
    pixels = read_image(astronaut)
    one, other, (third, fourth) = (
        analyzer.analyze(str(astronaut)),
        analyzer.analyze(pixels),
        analyzer.analyze([astronaut, pixels]),
    )
    expected = one.faces[0].expression
    assert expected is not None
    for result in (other, third, fourth):
        found = result.faces[0].expression
        assert found is not None
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)


def test_content_and_open_files_agree_with_paths(astronaut: Path, analyzer: mien.Analyzer) -> None:
    expected = analyzer.analyze(astronaut).as_dict()
    with astronaut.open("rb") as file:
        for source in (astronaut.read_bytes(), file):
            assert analyzer.analyze(source).as_dict()["faces"] == expected["faces"]


def test_a_generator_gives_a_lazy_iterator(astronaut: Path, analyzer: mien.Analyzer) -> None:
    pixels = read_image(astronaut)
    taken = 0

    def endless() -> Iterator[ImageSource]:
        nonlocal taken
        while True:
            taken += 1
            yield pixels if taken % 2 else str(astronaut)

    results = analyzer.analyze(endless())
    assert not isinstance(results, (list, mien.FrameResult))
    assert taken == 0
    assert [next(results).source for _ in range(2)] == ["images[0]", str(astronaut)]
    assert taken <= analyzer.options.classifier.batch_size
    assert [result.source for result in mien.analyze(iter([astronaut]))] == [str(astronaut)]
    assert isinstance(mien.analyze((pixels,)), list)
    assert mien.analyze([]) == []


@pytest.mark.parametrize("nothing", [None, 7, [7.5], {"a": 1}])
def test_an_input_that_is_not_an_image_is_named(analyzer: mien.Analyzer, nothing: object) -> None:
    with pytest.raises(TypeError, match="expected a path"):
        analyzer.analyze(nothing)  # type: ignore[call-overload]


def test_a_note_comes_through(astronaut: Path, analyzer: mien.Analyzer, tmp_path: Path) -> None:
    image = Image.open(astronaut)
    image.save(tmp_path / "pages.tiff", save_all=True, append_images=[image.rotate(90)])
    result = analyzer.analyze(tmp_path / "pages.tiff")
    assert result.note == result.as_dict()["note"] == "only the first of 2 pages was read"
    assert "happiness" in [face.emotion for face in result]


@pytest.mark.parametrize("size", [6, 7, 8, 10])
def test_every_vocabulary(astronaut: Path, size: int) -> None:
    expression = mien.analyze(astronaut, emotions=size).faces[0].expression
    assert expression is not None
    assert expression.emotions == mien.emotions.vocabulary(size)
    assert expression.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_no_face_is_an_empty_result(analyzer: mien.Analyzer) -> None:
    result = analyzer.analyze(np.full((200, 300, 3), 127, np.uint8))
    assert result.faces == ()
    assert result.error is None
    assert (result.width, result.height) == (300, 200)


def test_batches_do_not_change_results(astronaut: Path) -> None:
    pixels = read_image(astronaut)
    images = [pixels, pixels[:, ::-1].copy(), np.zeros((64, 64, 3), np.uint8), pixels[20:, 30:].copy()] * 3
    small, large = (mien.Analyzer(classifier=ClassifierOptions(batch_size=size)) for size in (2, 64))
    for one, other in zip(small.analyze(images), large.analyze(images), strict=True):
        assert len(one) == len(other)
        for face, duplicate in zip(one, other, strict=True):
            assert (face.box == duplicate.box).all()
            assert face.expression is not None
            assert duplicate.expression is not None
            np.testing.assert_allclose(face.expression.probabilities, duplicate.expression.probabilities, atol=1e-5)


def test_crops_need_no_detector(analyzer: mien.Analyzer, astronaut: Path) -> None:
    crop = read_image(astronaut)[65:205, 165:285]
    result = mien.analyze(crop, detector="whole-image")
    assert len(result) == 1
    assert result.faces[0].score == 1
    np.testing.assert_allclose(result.faces[0].box, [0, 0, 120, 140])
    assert result.faces[0].emotion == "happiness"


def test_a_stream_passes_failures_through_and_keeps_order(
    analyzer: mien.Analyzer, astronaut: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    results = list(analyzer.stream(read_frames([astronaut, bad, astronaut])))
    assert [result.error is None for result in results] == [True, False, True]
    assert [len(result) for result in results] == [1, 0, 1]
    assert results[1].source == str(bad)


def test_a_stream_is_lazy(analyzer: mien.Analyzer, astronaut: Path) -> None:
    frame = mien.Frame(read_image(astronaut))
    taken = 0

    def endless() -> Iterator[mien.Frame]:
        nonlocal taken
        while True:
            taken += 1
            yield frame

    results = analyzer.stream(endless())
    next(results)
    assert taken <= analyzer.options.classifier.batch_size


def test_pixels_are_kept_only_on_request(astronaut: Path) -> None:
    assert mien.analyze(astronaut).image is None
    kept = mien.analyze(astronaut, options=mien.AnalyzerOptions(keep_images=True)).image
    assert kept is not None
    assert kept.shape == (512, 512, 3)


def test_abstaining(astronaut: Path) -> None:
    strict = mien.analyze(astronaut, classifier=ClassifierOptions(abstain=1)).faces[0].expression
    assert strict is not None
    assert strict.uncertain
    assert strict.emotion == "happiness"


def test_detecting_alone(astronaut: Path) -> None:
    (face,) = mien.detect(astronaut)
    assert face.expression is None
    assert face.score >= 0.5
    assert mien.detect(astronaut, min_score=1.0) == []
    assert len(mien.detect(read_image(astronaut))) == 1


def test_wrong_options_and_inputs_give_errors(astronaut: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vocabulary"):
        mien.Analyzer(emotions=9)
    with pytest.raises(ConfigError, match="abstain: expected a number 0-1, got 2"):
        ClassifierOptions(abstain=2)
    with pytest.raises(ConfigError, match="detector 'nose'"):
        mien.Analyzer(detector="nose")
    with pytest.raises(ConfigError, match="model 'best'"):
        mien.Analyzer(classifier="best")
    with pytest.raises(WeightsError, match="no such weights"):
        mien.Analyzer(classifier=tmp_path / "none.onnx")
    with pytest.raises(InputError, match=r"none\.png"):
        mien.analyze(tmp_path / "none.png")
    with pytest.raises((TypeError, ValueError), match="uint8"):
        mien.analyze(np.zeros((10, 10, 3)))


def test_grey_and_transparent_arrays(astronaut: Path) -> None:
    grey = np.asarray(Image.open(astronaut).convert("L"))
    assert mien.analyze(grey).faces[0].emotion == "happiness"
    alpha = np.dstack([read_image(astronaut), np.full((512, 512), 255, np.uint8)])
    assert mien.analyze(alpha).faces[0].emotion == "happiness"


@pytest.mark.real_data
def test_detector_weights_by_path(astronaut: Path, shared: Path) -> None:
    pytest.importorskip("cv2", minversion="4.10")  # which YuNet needs
    weights = shared / "weights" / "yunet_n_640_640.onnx"
    for path in (weights, Path(str(weights))):
        (face,) = mien.detect(astronaut, detector=DetectorOptions("yunet", path))
        assert face.landmarks is not None
        assert face.score > 0.8
        (read,) = mien.analyze(astronaut, detector=DetectorOptions("yunet", path))
        assert read.emotion == "happiness"
        assert np.array_equal(read.box, face.box)


def test_a_result_is_indexed(astronaut: Path) -> None:
    result = mien.analyze(astronaut)
    assert result[0] is result.faces[0]


def test_threads_do_not_share_a_detector(astronaut: Path) -> None:
    program = f"""
from concurrent.futures import ThreadPoolExecutor
import mien
from mien.media import read_image
pixels = read_image({str(astronaut)!r})
with ThreadPoolExecutor(4) as pool:
    results = list(pool.map(lambda _: mien.analyze(pixels), range(32)))
print({{(len(result), result[0].emotion) for result in results}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{(1, 'happiness')}"


def test_large_crops_close_a_batch_early() -> None:
    analyzer = mien.Analyzer(detector="whole-image")
    taken = 0

    def endless() -> Iterator[mien.Frame]:
        nonlocal taken
        while True:
            taken += 1
            yield mien.Frame(np.zeros((4000, 4000, 3), np.uint8))

    next(analyzer.stream(endless()))
    assert taken == 4
