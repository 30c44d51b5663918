"""An image that cannot be read does not take its neighbours with it, in Python as on the command line."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

import mien
from mien.errors import ConfigError, InputError
from mien.media import ImageItem, open_frames
from mien.results import FrameResult

CROP = np.full((48, 48, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def analyzer() -> mien.Analyzer:
    return mien.Analyzer(detector="whole-image")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "bad.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 no image")
    return path


def test_the_twenty_images_before_a_bad_one_are_results(astronaut: Path, broken: Path) -> None:
    paths = [astronaut] * 20 + [broken]
    results = list(mien.analyze(path for path in paths))
    assert [result.source for result in results] == list(map(str, paths))
    assert [[face.emotion for face in result] for result in results] == [["happiness"]] * 20 + [[]]
    assert [result.error is None for result in results] == [True] * 20 + [False]
    assert "damaged or incomplete" in str(results[-1].error)


def test_a_list_has_an_error_in_the_place_of_each_bad_item(
    analyzer: mien.Analyzer, astronaut: Path, broken: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.png"
    items: list[ImageItem] = [
        broken,
        CROP,
        missing,
        None,
        CROP[:0],
        b"no image",
        tmp_path,
        "https://example.com/a.jpg",
        astronaut,
    ]
    results = analyzer.analyze(items)
    assert isinstance(results, list)
    said = [str(result.error) for result in results]
    words = [
        "damaged or incomplete",
        "None",
        "does not exist",
        "cv2.imread returns None",
        "expected shape",
        "is not an image",
        "is a folder",
        "is the address of an image",
        "None",
    ]
    assert all(word in error for word, error in zip(words, said, strict=True)), said
    assert [len(result) for result in results] == [0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert results[2].source == str(missing)
    assert (results[2].width, results[2].height) == (0, 0)


def test_wrong_types_in_a_generator_are_errors_in_their_place(analyzer: mien.Analyzer) -> None:
    def items() -> Iterator[object]:
        yield from (CROP, 7, CROP.astype(float), CROP.transpose(2, 0, 1), CROP)

    results = list(analyzer.analyze(items()))  # type: ignore[arg-type]
    assert [result.error is None for result in results] == [True, False, False, False, True]
    assert "array.transpose(1, 2, 0)" in str(results[3].error)


@pytest.mark.parametrize("wrong", [7, CROP.astype(np.float32), CROP.transpose(2, 0, 1), {"a": 1}, [CROP]])
def test_a_list_with_something_that_is_never_an_image_is_refused_before_it_is_analyzed(
    analyzer: mien.Analyzer, wrong: object
) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^images\[1\]: expected"):
        analyzer.analyze([CROP, wrong])  # type: ignore[list-item]


def received(results: Iterable[FrameResult]) -> tuple[list[FrameResult], Exception | None]:
    """What an iterable gives, and the exception that ends it."""
    found = []
    try:
        for result in results:
            found.append(result)
    except Exception as error:
        return found, error
    return found, None


def test_with_raise_the_exception_follows_the_results_before_it(
    analyzer: mien.Analyzer, astronaut: Path, broken: Path
) -> None:
    found, error = received(analyzer.analyze(iter([astronaut, astronaut, broken, astronaut]), on_error="raise"))
    assert [result.source for result in found] == [str(astronaut)] * 2
    assert isinstance(error, InputError)
    assert str(broken) in str(error)
    found, error = received(analyzer.analyze(iter([CROP, None]), on_error="raise"))
    assert (len(found), type(error)) == (1, TypeError)
    with pytest.raises(InputError, match="damaged or incomplete"):
        mien.analyze([astronaut, broken], detector="whole-image", on_error="raise")


def test_an_exception_of_the_users_own_iterable_passes_after_the_results_before_it(analyzer: mien.Analyzer) -> None:
    def frames() -> Iterator[object]:
        yield CROP
        yield CROP
        raise TypeError("the camera is gone")

    for results in (analyzer.analyze(frames()), mien.analyze(frames(), detector="whole-image")):  # type: ignore
        found, error = received(results)
        assert [len(result) for result in found] == [1, 1]
        assert (type(error), str(error)) == (TypeError, "the camera is gone")


class OneLate:
    """A smoother that is one result late."""

    def __init__(self) -> None:
        self.held: list[FrameResult] = []

    def update(self, result: FrameResult) -> Iterable[FrameResult]:
        held, self.held = self.held, [result]
        return held

    def flush(self) -> Iterable[FrameResult]:
        return self.held


def test_what_a_smoother_holds_is_given_out_before_a_late_failure() -> None:
    def frames() -> Iterator[mien.Frame]:
        yield mien.Frame(CROP, "video", 0)
        yield mien.Frame(CROP, "video", 1)
        raise OSError("the file is gone")

    analyzer = mien.Analyzer(detector="whole-image", smoother=OneLate)
    found, error = received(analyzer.stream(frames()))
    assert [result.frame for result in found] == [0, 1]
    assert isinstance(error, OSError)


def test_a_single_image_that_cannot_be_read_raises(analyzer: mien.Analyzer, broken: Path) -> None:
    for image in (broken, str(broken), broken.read_bytes()):
        with pytest.raises(InputError, match="damaged or incomplete"):
            analyzer.analyze(image)
        with pytest.raises(InputError, match="damaged or incomplete"):
            mien.detect(image)


def test_the_frames_of_a_folder_can_be_analyzed(analyzer: mien.Analyzer, astronaut: Path, broken: Path) -> None:
    results = list(analyzer.analyze(open_frames([astronaut, broken])))
    assert [result.error is None for result in results] == [True, False]


def test_another_value_of_on_error_is_refused_at_once(analyzer: mien.Analyzer) -> None:
    with pytest.raises(ConfigError, match="on_error: there is no 'ignore'"):
        analyzer.analyze(iter([CROP]), on_error="ignore")  # type: ignore[call-overload]
