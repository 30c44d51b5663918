"""From names to images: folders, patterns, order, what is missing."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from mien.errors import InputError
from mien.media import find_images, open_frames, read_frames, read_image
from mien.media.decode import shown
from mien.media.find import _natural
from mien.results import Frame, FrameResult


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of (empty) images, other files and hidden ones; chosen as the current one by the test."""
    for name in (
        "img10.jpg",
        "img2.JPG",
        "Img1.png",
        "notes.txt",
        ".hidden.png",
        "trip/b.webp",
        "trip/a.bmp",
        "trip/.cache/thumb.png",
        "other/readme.md",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(found: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found]


def test_a_folder_gives_its_images_in_natural_order(album: Path) -> None:
    found = find_images([album])
    assert names(found, album) == ["Img1.png", "img2.JPG", "img10.jpg", "trip/a.bmp", "trip/b.webp"]
    assert names(find_images([album], recursive=False), album) == ["Img1.png", "img2.JPG", "img10.jpg"]


def test_names_keep_their_order_and_come_once(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album)
    found = find_images(["trip", "img10.jpg", "./trip/a.bmp", str(album / "img10.jpg"), "trip/../img2.JPG"])
    assert list(map(str, found)) == ["trip/a.bmp", "trip/b.webp", "img10.jpg", "trip/../img2.JPG"]


def test_a_named_file_is_kept_whatever_its_name(album: Path) -> None:
    paths = [album / "notes.txt", album / ".hidden.png"]
    assert find_images(paths) == paths


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("img*", ["img2.JPG", "img10.jpg"]),
        ("*/?.*", ["trip/a.bmp", "trip/b.webp"]),
        ("**/[ab].*", ["trip/a.bmp", "trip/b.webp"]),
        ("tr*", ["trip/a.bmp", "trip/b.webp"]),
        ("*", ["Img1.png", "img2.JPG", "img10.jpg", "notes.txt", "trip/a.bmp", "trip/b.webp"]),
        ("*.tiff", ["*.tiff"]),
        ("oth*", ["oth*"]),
    ],
)
def test_patterns(album: Path, pattern: str, expected: list[str]) -> None:
    assert names(find_images([album / pattern]), album) == expected


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(album: Path) -> None:
    path = album / "img[1].png"
    path.touch()
    (album / "img1.png").touch()
    assert find_images([path]) == [path]


def test_a_missing_file_becomes_an_error_row(album: Path) -> None:
    paths = [str(album / "gone.jpg"), str(album / "*.tiff")]
    results = list(read_frames(find_images(paths)))
    for result, path in zip(results, paths, strict=True):
        assert isinstance(result, FrameResult)
        assert result.source == path
    errors = [result.error for result in results if isinstance(result, FrameResult)]
    assert errors == [f"'{shown(paths[0])}' does not exist", f"no file matches '{shown(paths[1])}'"]


def test_a_pattern_that_matches_only_a_folder_without_images_matches_no_file(album: Path) -> None:
    (result,) = read_frames(find_images([str(album / "oth*")]))
    assert isinstance(result, FrameResult)
    assert result.error == f"no file matches '{shown(str(album / 'oth*'))}'"


def test_a_pattern_in_the_place_of_one_image_says_what_reads_it(album: Path) -> None:
    with pytest.raises(InputError, match="is a pattern, expected the name of a file") as caught:
        read_image(album / "img*")
    assert "open_frames" in caught.value.hint


def test_a_broken_link_names_where_it_leads(album: Path) -> None:
    link = album / "dead.jpg"
    link.symlink_to("nowhere.jpg")
    with pytest.raises(InputError) as caught:
        read_image(link)
    assert caught.value.message == f"'{shown(str(link))}' is a link to 'nowhere.jpg', which does not exist"


def test_a_folder_without_images_is_an_error(album: Path) -> None:
    with pytest.raises(InputError, match="no images in the folder") as caught:
        find_images([album / "other"])
    assert ".jpg" in caught.value.hint


def test_an_empty_folder_beside_images_is_an_error_row(album: Path) -> None:
    found = find_images([album / "img10.jpg", album / "other"])
    assert found == [album / "img10.jpg", album / "other"]
    result = list(read_frames(found))[1]
    assert isinstance(result, FrameResult)
    assert result.error is not None
    assert "folder" in result.error


def test_images_drawn_by_mien_are_left_out(album: Path) -> None:
    before = find_images([album])
    (album / "img10.annotated.jpg").write_bytes(b"")
    assert find_images([album]) == before


def test_an_empty_path_is_an_error(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album)
    with pytest.raises(InputError, match="the path is empty"):
        find_images(["trip", ""])
    assert len(find_images(["."])) == 5


def test_no_paths_give_no_images() -> None:
    assert find_images([]) == []


@given(st.lists(st.integers(0, 10**6), unique=True), st.sampled_from(["img", "IMG_", "", "a1b"]))
def test_numbers_in_names_count_as_numbers(numbers: list[int], stem: str) -> None:
    files = sorted((f"{stem}{number}.png" for number in numbers), key=_natural)
    assert files == [f"{stem}{number}.png" for number in sorted(numbers)]


@example(["¹", "1", "٣"])
@given(st.lists(st.text(max_size=8)))
def test_any_names_have_one_order(texts: list[str]) -> None:
    backwards = texts[::-1]
    assert sorted(texts, key=_natural) == sorted(backwards, key=_natural)


def test_open_frames_gives_the_frames_and_their_number(tmp_path: Path) -> None:
    for name in ("b.png", "a.png"):
        Image.new("RGB", (8, 6), "red").save(tmp_path / name)
    (tmp_path / "c.png").write_text("no image")
    source = open_frames([tmp_path])
    assert source.total == 3
    assert [path.name for path in source.paths] == ["a.png", "b.png", "c.png"]
    for _ in range(2):  # it can be read again
        *images, damaged = source
        assert all(isinstance(frame, Frame) and frame.image.shape == (6, 8, 3) for frame in images)
        assert [Path(frame.source).name for frame in images] == ["a.png", "b.png"]
        assert isinstance(damaged, FrameResult)
        assert damaged.error is not None
    with pytest.raises(InputError, match="no images or videos in the folder"):
        open_frames([_made(tmp_path / "empty")])


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
