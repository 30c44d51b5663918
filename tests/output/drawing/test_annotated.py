"""Drawing: what changes and what must not, where panels may lie, and how images are named."""

import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import mien
from mien.emotions import ALL, vocabulary
from mien.errors import OutputError
from mien.media import read_image
from mien.output import COLOURS, AnnotatedImages, annotate
from mien.output.drawing.layout import Rect, beside, on_top
from mien.output.drawing.notes import Label, Panel, arrange
from mien.output.drawing.palette import colour_of
from mien.results import Expression, Face, FrameResult

EIGHT = vocabulary(8)
PICTURE = Rect(0, 0, 640, 480)


def reading(top: str = "happiness", confidence: float = 0.9, uncertain: bool = False) -> Expression:
    values = np.full(8, (1 - confidence) / 7, np.float32)
    values[EIGHT.index(top)] = confidence
    return Expression(values, EIGHT, uncertain)


def face(*box: float, expression: Expression | None = None, landmarks: NDArray[np.float32] | None = None) -> Face:
    return Face(np.array(box, np.float32), 0.9, landmarks, expression=expression)


def blank_image(width: int = 640, height: int = 480) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(60, 90, (height, width, 3), np.uint8)


def test_the_picture_itself_is_left_alone() -> None:
    image = blank_image()
    before = image.copy()
    image.flags.writeable = False
    drawn = annotate(image, [face(100, 100, 250, 300, expression=reading())])
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert np.array_equal(image, before)
    assert not np.shares_memory(drawn, image)
    assert np.array_equal(annotate(image, []), before)


def test_box_and_landmarks_are_where_the_face_is() -> None:
    points = np.array([[150, 160], [200, 160], [175, 190], [155, 230], [195, 230]], np.float32)
    image = blank_image()
    drawn = annotate(image, [face(100, 100, 250, 300, landmarks=points)])
    for x, y in points.astype(int):
        assert drawn[y, x].min() > 200
    for y, x in ((200, 100), (200, 249), (100, 175), (299, 175)):
        assert drawn[y, x].min() > 200
    # Nothing else: no panel without an expression, nothing between the points.
    assert np.array_equal(drawn[:, 260:], image[:, 260:])
    assert np.array_equal(drawn[110:150, 110:240], image[110:150, 110:240])


def test_the_emotion_gives_the_colour_and_uncertainty_takes_some_of_it() -> None:
    for name in EIGHT:
        drawn = annotate(blank_image(), [face(100, 100, 250, 300, expression=reading(name))])
        assert np.abs(drawn[200, 100].astype(int) - COLOURS[name]).max() <= 3
        unsure = annotate(blank_image(), [face(100, 100, 250, 300, expression=reading(name, uncertain=True))])
        assert np.abs(unsure[200, 100].astype(int) - colour_of(name, uncertain=True)).max() <= 3
        assert colour_of(name, uncertain=True) != COLOURS[name]


def test_bars_are_as_long_as_the_probabilities() -> None:
    def length(probability: float) -> int:
        reading_of_it = reading("happiness", probability)
        drawn = annotate(blank_image(1200, 900), [face(100, 100, 500, 600, expression=reading_of_it)])
        panel = drawn[180:, 510:].astype(int)  # right of the box, below the title
        return int((np.abs(panel - COLOURS["happiness"]).max(axis=2) < 4).sum(axis=1).max())

    assert length(0.9) > 100
    assert length(0.45) == pytest.approx(length(0.9) / 2, abs=2)
    assert length(0.3) == pytest.approx(length(0.9) / 3, abs=2)


def test_small_faces_get_a_label_and_large_ones_a_panel() -> None:
    small, large = face(20, 30, 60, 75, expression=reading()), face(150, 100, 330, 320, expression=reading())
    notes = arrange([small, large], PICTURE)
    assert [type(note) for note in notes] == [Panel, Label]
    assert notes[0].rect.x0 >= 330
    assert arrange([face(20, 30, 60, 75)], PICTURE) == []


def test_a_face_that_fills_a_large_picture_has_its_panel_in_a_corner() -> None:
    (note,) = arrange([face(0, 0, 600, 600, expression=reading())], Rect(0, 0, 600, 600))
    assert isinstance(note, Panel)
    assert note.rect.overlap(Rect(120, 120, 480, 480)) < 0.1 * 360 * 360


@st.composite
def sides(draw: st.DrawFn, width: float, height: float) -> Rect:
    x0, y0 = draw(st.floats(-50, width - 8)), draw(st.floats(-50, height - 8))
    return Rect(x0, y0, x0 + draw(st.floats(8, width)), y0 + draw(st.floats(8, height)))


@given(
    st.floats(1, 700),
    st.floats(1, 500),
    sides(640, 480),
    st.lists(sides(640, 480), max_size=5),
    st.sampled_from([beside, on_top]),
)
def test_places_lie_inside_the_image(width: float, height: float, box: Rect, others: list[Rect], where: object) -> None:
    assert callable(where)
    place = where((width, height), box, others, PICTURE, 4.0)
    if width > 640 or height > 480:
        assert place is None
        return
    rect = place.rect
    assert rect.x0 >= 0
    assert rect.y0 >= 0
    assert rect.x1 <= 640 + 1e-9
    assert rect.y1 <= 480 + 1e-9
    assert (rect.width, rect.height) == pytest.approx((width, height))
    assert -1e-9 <= place.on_face <= 1 + 1e-9


@given(st.floats(20, 250), st.floats(20, 250), sides(640, 480))
def test_a_panel_that_fits_on_the_right_goes_there(width: float, height: float, box: Rect) -> None:
    assume(box.x1 + 4 + width <= 640 and box.x0 >= 0 and box.y0 >= 0 and box.y0 + height <= 480)
    place = beside((width, height), box, [], PICTURE, 4.0)
    assert place is not None
    assert place.rect[:2] == pytest.approx((box.x1 + 4, box.y0))
    assert place.on_face == 0


def test_a_panel_goes_to_the_other_side_of_a_neighbour() -> None:
    box, neighbour = Rect(250, 100, 350, 220), Rect(360, 100, 460, 220)
    place = beside((120, 160), box, [neighbour], PICTURE, 4.0)
    assert place is not None
    assert place.rect.x1 == pytest.approx(246)
    assert place.on_others == 0


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 700),
    st.integers(1, 500),
    st.lists(st.tuples(sides(700, 500), st.sampled_from(EIGHT), st.booleans()), max_size=4),
)
def test_any_faces_in_any_picture_can_be_drawn(width: int, height: int, drawn: list[tuple[Rect, str, bool]]) -> None:
    faces = [face(*box, expression=reading(name, 0.4, unsure)) for box, name, unsure in drawn]
    whole = Rect(0, 0, width, height)
    for note in arrange(faces, whole):
        assert note.rect.overlap(whole) == pytest.approx(note.rect.area)
    result = annotate(blank_image(width, height), faces)
    assert result.shape == (height, width, 3)


@pytest.mark.parametrize("bad", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_a_wrong_array_is_named(bad: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8 RGB"):
        annotate(bad, [])


def test_every_emotion_has_a_colour_and_no_other_word_has() -> None:
    assert tuple(COLOURS) == ALL


# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
DEFICIENCIES: dict[str, list[list[float]]] = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}


def lab(colour: tuple[int, int, int], matrix: list[list[float]]) -> NDArray[np.float64]:
    """CIELAB of an sRGB colour as a viewer with that matrix sees it."""
    srgb = np.array(colour) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(matrix) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = to_xyz @ seen / [0.9505, 1, 1.089]
    f = np.array([value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z)])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_of_the_eight_emotions_can_be_told_apart(deficiency: str) -> None:
    seen = {name: lab(COLOURS[name], DEFICIENCIES[deficiency]) for name in EIGHT}
    for one, other in itertools.combinations(EIGHT, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)


def result(source: str, image: NDArray[np.uint8] | None = None) -> FrameResult:
    return FrameResult(source, width=640, height=480, faces=(face(9, 9, 99, 99, expression=reading()),), image=image)


def test_names_are_unique_and_keep_the_kind(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    sources = ["a/x.jpg", "b/x.jpg", "x.JPEG", "x.png", "x-2.jpg", "X.jpg", "sea.webp", "array", "gone.png"]
    with AnnotatedImages(folder) as output:
        for source in sources[:-1]:
            output.write(result(source, blank_image()))
        output.write(result(sources[-1]))  # carries no image
    assert sorted(os.listdir(folder)) == sorted(
        [
            "x.annotated.jpg",
            "x-2.annotated.jpg",
            "x-3.annotated.jpg",
            "x.annotated.png",
            "x-2-2.annotated.jpg",
            "X-4.annotated.jpg",
            "sea.annotated.png",
            "array.annotated.png",
        ]
    )
    assert Image.open(folder / "x.annotated.jpg").format == "JPEG"
    assert np.array_equal(read_image(folder / "sea.annotated.png"), annotate(blank_image(), result("sea.webp").faces))


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_frames_of_videos_have_their_number_which_sorts(tmp_path: Path) -> None:
    frames = [("a/clip.mp4", 0), ("a/clip.mp4", 25), ("b/clip.avi", 25), ("a/clip.mp4", 1000), ("b/clip.avi", 50)]
    with AnnotatedImages(tmp_path) as output:
        for source, number in frames:
            output.write(replace(result(source, blank_image()), frame=number, timestamp=number / 25))
        output.write(result("clip.jpg", blank_image()))
    assert written(tmp_path) == [
        "clip-000000.annotated.png",
        "clip-000025.annotated.png",
        "clip-001000.annotated.png",
        "clip-2-000025.annotated.png",
        "clip-2-000050.annotated.png",
        "clip.annotated.jpg",
    ]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ((), ["x-2.annotated.jpg", "x-3.annotated.jpg", "x-4.annotated.jpg", "x-5.annotated.jpg", "x.annotated.jpg"]),
        (
            ("a",),
            ["b/x.annotated.jpg", "x-2.annotated.jpg", "x-3.annotated.jpg", "x-4.annotated.jpg", "x.annotated.jpg"],
        ),
        (
            ("a", "e", "a/b"),
            ["a/x.annotated.jpg", "b/x.annotated.jpg", "e/f/x.annotated.jpg", "x-2.annotated.jpg", "x.annotated.jpg"],
        ),
        (
            (".",),
            ["a/b/x.annotated.jpg", "a/x.annotated.jpg", "e/f/x.annotated.jpg", "x-2.annotated.jpg", "x.annotated.jpg"],
        ),
    ],
)
def test_images_from_folders_keep_their_subfolder(
    tmp_path: Path, sources: tuple[str, ...], expected: list[str]
) -> None:
    with AnnotatedImages(tmp_path / "out", sources=sources) as output:
        for source in ("a/x.jpg", "a/b/x.jpg", "e/f/x.jpg", "../x.jpg", "https://example.com/x.jpg"):
            output.write(result(source, blank_image()))
    assert written(tmp_path) == [f"out/{name}" for name in expected]


def test_a_subfolder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    with AnnotatedImages(tmp_path, sources=["a"]) as output, pytest.raises(OutputError, match=r"cannot write '.*b'"):
        output.write(result("a/b/x.jpg", blank_image()))


def test_the_original_in_the_same_folder_is_not_touched(tmp_path: Path) -> None:
    original = tmp_path / "x.png"
    Image.fromarray(blank_image()).save(original)
    before = original.read_bytes()
    for _ in range(2):  # a second run replaces its own image
        with AnnotatedImages(tmp_path) as output:
            output.write(result(str(original), blank_image()))
    assert original.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["x.annotated.png", "x.png"]


def test_a_small_picture_is_enlarged_until_its_bars_can_be_read(tmp_path: Path) -> None:
    points = np.full((5, 2), 24, np.float32)
    crop = FrameResult(
        "crop.png", width=48, height=48, faces=(face(0, 0, 48, 48, expression=reading(), landmarks=points),),
        image=blank_image(48, 48),
    )  # fmt: skip
    strip = FrameResult("strip.png", width=3000, height=4, image=blank_image(3000, 4))
    with AnnotatedImages(tmp_path) as output:
        output.write(crop)
        output.write(strip)
    enlarged = read_image(tmp_path / "crop.annotated.png")
    assert enlarged.shape == (480, 480, 3)
    assert (enlarged.max(axis=2) < 60).sum() > 100 * 100  # the panel's dark ground
    assert enlarged[240, 240].min() > 200  # the landmark has moved along
    assert read_image(tmp_path / "strip.annotated.png").shape == (4, 3000, 3)


def test_bad_places_and_wrong_use(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="it is not a folder"), AnnotatedImages(file):
        pass
    with pytest.raises(OutputError, match="cannot write"), AnnotatedImages(file / "below"):
        pass
    output = AnnotatedImages(tmp_path / "out")
    with pytest.raises(ValueError, match="not open: use it in a with statement"):
        output.write(result("x.png", blank_image()))
    (tmp_path / "out" / "x.annotated.png").mkdir(parents=True)
    with pytest.raises(OutputError, match="it is a folder"), output:
        output.write(result("x.png", blank_image()))


def test_pillow_images_are_turned_upright_and_other_sizes_refused(astronaut: Path, tmp_path: Path) -> None:
    image = Image.open(astronaut).crop((100, 0, 500, 300))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif)
    result = mien.analyze(tmp_path / "turned.jpg", classifier="mien-s")
    assert (result.width, result.height) == (400, 300)
    drawn = annotate(Image.open(tmp_path / "turned.jpg"), result)
    np.testing.assert_array_equal(drawn, annotate(read_image(tmp_path / "turned.jpg"), result))
    with pytest.raises(ValueError, match="the result is of an image of 400 x 300 pixels, this one has 300 x 400"):
        annotate(np.asarray(Image.open(tmp_path / "turned.jpg")), result)


def test_what_is_no_image_and_what_are_no_faces(astronaut: Path) -> None:
    face = Face(np.array([10, 10, 60, 60]), 0.9)
    grey = np.full((100, 100, 3), 127, np.uint8)
    np.testing.assert_array_equal(annotate(grey, face), annotate(grey, [face]))
    with pytest.raises(TypeError, match=r"write mien.media.read_image\(path\)"):
        annotate(astronaut, [face])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="keep_images=True"):
        annotate(None, [face])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="call annotate for each result"):
        annotate(grey, [FrameResult("a", faces=(face,))])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="expected faces, got int"):
        annotate(grey, [3])  # type: ignore[list-item]


def test_smoothed_expressions_are_drawn_if_wanted() -> None:
    sure = Expression(np.array([0.9, 0.1], np.float32), ("happiness", "sadness"))
    other = Expression(np.array([0.1, 0.9], np.float32), ("happiness", "sadness"))
    face = Face(np.array([20, 20, 120, 140]), 0.9, expression=sure, smoothed=other)
    grey = np.full((200, 300, 3), 127, np.uint8)
    now, smooth = annotate(grey, face, "label"), annotate(grey, face, "label", smoothed=True)
    np.testing.assert_array_equal(now, annotate(grey, replace(face, smoothed=None), "label"))
    np.testing.assert_array_equal(smooth, annotate(grey, replace(face, expression=other, smoothed=None), "label"))
    assert (now != smooth).any()
