"""What each overlay draws: emoji that can be told apart, faces that cannot be recognised."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from tests.output.drawing.test_annotated import EIGHT, PICTURE, blank_image, face, reading, sides

from mien.emotions import ALL
from mien.errors import ConfigError
from mien.media import read_image
from mien.output import OVERLAYS, AnnotatedImages, Overlay, annotate
from mien.output.drawing.emoji import FACES, emoji
from mien.output.drawing.layout import Rect, at_corner
from mien.output.drawing.notes import AffectLabel, Badge, Label, Panel, arrange
from mien.output.drawing.palette import colour_of
from mien.results import Affect, FrameResult


def test_the_overlays_are_those_of_the_type() -> None:
    assert OVERLAYS == get_args(Overlay) == ("bars", "label", "emoji", "blur", "affect")


@pytest.mark.parametrize(("kind", "expected"), [(Panel, Panel), (Label, Label), (Badge, Badge)])
def test_every_face_gets_what_was_asked_for(kind: type, expected: type) -> None:
    faces = [face(150, 100, 330, 320, expression=reading()), face(400, 100, 560, 300, expression=reading("fear"))]
    assert [type(note) for note in arrange([*faces, face(1, 1, 9, 9)], PICTURE, kind)] == [expected, expected]


def test_valence_and_arousal_stand_in_the_label() -> None:
    known = replace(reading(), affect=Affect.of(-0.3, 0.75))
    faces = [face(150, 100, 330, 320, expression=known), face(400, 100, 560, 300, expression=reading("fear"))]
    first, second = arrange(faces, PICTURE, AffectLabel)
    assert isinstance(first, Label)
    assert isinstance(second, Label)
    assert first.words == f"{known.emotion} valence -0.30 arousal +0.75"
    assert second.words == f"fear {100 * faces[1].expression.confidence:.0f}%"  # type: ignore[union-attr]  # it has one


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_draw_without_an_expression_and_on_any_border(overlay: Overlay) -> None:
    image = blank_image(200, 150)
    faces = [
        face(-30, -30, 60, 60, expression=reading()), face(150, 100, 260, 240), face(300, 300, 400, 400),
        face(90, 60, 92, 62, expression=reading("anger", 0.3, uncertain=True)),
    ]  # fmt: skip
    drawn = annotate(image, faces, overlay)
    assert drawn.shape == image.shape
    assert not np.array_equal(drawn, image)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 300), st.lists(sides(400, 300), max_size=3), st.sampled_from(OVERLAYS))
def test_any_faces_can_be_drawn(width: int, height: int, boxes: list[Rect], overlay: Overlay) -> None:
    faces = [face(*box, expression=reading()) for box in boxes]
    assert annotate(blank_image(width, height), faces, overlay).shape == (height, width, 3)


def test_every_emotion_has_its_emoji() -> None:
    assert tuple(FACES) == ALL


@pytest.mark.parametrize("side", [20, 40, 200])
def test_emoji_differ_by_more_than_their_colour(side: int) -> None:
    grey = {}
    for name in EIGHT:
        drawn = np.asarray(emoji(name, side), np.float32)
        ground = np.array(colour_of(name), np.float32)
        # How far each pixel is from the disc's own colour: what is drawn on it.
        grey[name] = np.abs(drawn[..., :3] - ground).max(axis=2) > 60
    for one, other in itertools.combinations(EIGHT, 2):
        features = grey[one] | grey[other]
        assert (grey[one] ^ grey[other]).sum() > 0.08 * features.sum(), (one, other)


@pytest.mark.parametrize("side", [20, 41, 300, 900])
def test_an_emoji_is_a_smooth_disc_of_its_size(side: int) -> None:
    drawn = np.asarray(emoji("neutral", side))
    assert drawn.shape == (side, side, 4)
    assert drawn[0, 0, 3] == 0
    assert drawn[side // 2, side // 2, 3] == 255
    assert np.abs(drawn[side // 2, side // 2, :3].astype(int) - colour_of("neutral")).max() <= 2
    assert len(np.unique(drawn[..., 3])) > 4, "edges have stairs"


def test_an_uncertain_emoji_is_greyed_and_marked() -> None:
    sure, unsure = (np.asarray(emoji("anger", 120, uncertain=flag)) for flag in (False, True))
    assert np.abs(unsure[80, 24, :3].astype(int) - colour_of("anger", uncertain=True)).max() <= 2
    assert np.abs(sure[80, 24, :3].astype(int) - colour_of("anger")).max() <= 2
    assert unsure[10, 110, 3] == 255
    assert sure[5, 115, 3] == 0


@given(sides(640, 480), st.integers(10, 200))
def test_a_badge_hides_little_of_its_face(box: Rect, side: int) -> None:
    place = at_corner((side, side), box, [], PICTURE)
    assert place is not None
    inside = box.x0 >= side and box.y0 >= side and box.x1 <= 640 - side and box.y1 <= 480 - side
    if inside and side <= 0.6 * min(box.width, box.height):
        assert place.on_face < 0.08
        assert place.on_middle == 0


def detail(image: NDArray[np.uint8]) -> float:
    """How much neighbouring pixels differ."""
    return float(np.abs(np.diff(image.astype(int), axis=1)).mean())


def test_blur_leaves_five_squares_across_a_face_and_all_else() -> None:
    image = np.random.default_rng(1).integers(0, 256, (400, 500, 3), np.uint8)
    drawn = annotate(image, [face(150, 100, 300, 250)], "blur")
    inner = drawn[100:250, 150:300]
    assert len(np.unique(inner.reshape(-1, 3), axis=0)) <= 7 * 7
    assert detail(inner) < 0.05 * detail(image)
    around = Rect(150, 100, 300, 250).grown(0.22 * 150 + 1)
    outside = np.ones(image.shape[:2], bool)
    outside[int(around.y0) : int(around.y1) + 1, int(around.x0) : int(around.x1) + 1] = False
    assert np.array_equal(drawn[outside], image[outside])


def test_nothing_of_the_source_but_its_pixels_is_written(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "at home"
    Image.fromarray(blank_image()).save(tmp_path / "x.jpg", exif=exif)
    pixels = read_image(tmp_path / "x.jpg")
    with AnnotatedImages(tmp_path / "out", overlay="blur") as output:
        output.write(FrameResult(str(tmp_path / "x.jpg"), width=640, height=480, image=pixels))
    written = Image.open(tmp_path / "out" / "x.annotated.jpg")
    assert not written.getexif()
    assert b"at home" not in (tmp_path / "out" / "x.annotated.jpg").read_bytes()


def test_an_unknown_overlay_names_the_known_ones(tmp_path: Path) -> None:
    wrong = cast("Overlay", "stars")
    for call in (lambda: annotate(blank_image(), [], wrong), lambda: AnnotatedImages(tmp_path, wrong)):
        with pytest.raises(ConfigError, match="there is no overlay 'stars'") as caught:
            call()
        assert caught.value.hint.endswith("choose one of bars, label, emoji, blur, affect")
