"""Tracking on clips made of real faces: crossing, turning back, leaving and coming back, cuts, ten people, a crowd."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmarks.clips import Head, Part, Pose, Seen, background, frames, sway, walk
from benchmarks.tracking import Counts, crowd, heads, ten
from numpy.typing import NDArray

from mien.analyzer import Analyzer
from mien.errors import ConfigError
from mien.faces.align import Aligner
from mien.faces.motion import FacePatch, Scene, Shift
from mien.faces.tracking import FaceTracker
from mien.results import Face, Frame

Clip = Iterable[tuple[Frame, list[Seen]]]
Find = Callable[[NDArray[np.uint8]], tuple[Face, ...]]

# Colours that make other people of the portrait: gains of red, green and blue, and whether it is mirrored.
_LOOKS = (((1, 1, 1), False), ((0.5, 0.45, 0.42), True), ((0.75, 0.9, 1.0), False), ((0.9, 0.7, 0.5), True))


@pytest.fixture(scope="module")
def people(astronaut: NDArray[np.uint8]) -> list[Head]:
    portrait, box = astronaut, np.array([180, 68, 270, 190], np.float32)
    part = portrait[10:250, 100:350]
    found = []
    for gains, mirrored in _LOOKS:
        pixels = np.clip(part * np.array(gains), 0, 255).astype(np.uint8)
        place = box - (100, 10, 100, 10)
        if mirrored:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            place = np.array([250 - place[2], place[1], 250 - place[0], place[3]], np.float32)
        found.append(Head(pixels, place.astype(np.float32)))
    return found


@pytest.fixture(scope="module")
def find() -> Find:
    return Aligner().find


def clip(parts: Sequence[Part], seconds: float, seed: int = 0) -> Clip:
    return frames(parts, seconds, background(320, 200, seed=seed), seed=seed)


def follow(tracker: FaceTracker, images: Clip, find: Find) -> tuple[Counts, int]:
    """What became of the people, and on how many frames the detector ran."""
    counts, detections = Counts(), 0
    for frame, seen in images:
        wanted = tracker.needs_detection(frame)
        detections += wanted
        counts.add(tracker.update(frame, find(frame.image) if wanted else None), seen)
    return counts, detections


@pytest.mark.parametrize("every", [1, 3])
def test_two_people_who_cross_keep_their_tracks(people: list[Head], find: Find, every: int) -> None:
    parts = [
        Part(0, people[0], walk((40, 100), (280, 98), 52, 2.4)),
        Part(1, people[1], walk((280, 102), (40, 104), 57, 2.4)),
    ]
    counts, detections = follow(FaceTracker(every), clip(parts, 2.4), find)
    assert counts.switches == 0
    assert counts.last == {0: counts.last[0], 1: 1 - counts.last[0]}
    assert counts.found == counts.visible
    assert detections == 60 if every == 1 else detections < 50


def test_two_people_who_meet_and_turn_back_keep_their_tracks(people: list[Head], find: Find) -> None:
    """Motion alone would swap them: one hides the other for a moment, and both go back."""

    def there_and_back(side: int) -> Callable[[float], Pose]:
        return lambda time: Pose(160 + side * 110 * abs(np.cos(np.pi * time / 2.4)), 100, 55)

    parts = [Part(0, people[0], there_and_back(-1)), Part(1, people[1], there_and_back(1))]
    counts, _ = follow(FaceTracker(), clip(parts, 2.4), find)
    assert counts.switches == 0
    assert len(counts.tracks) == 2


def test_a_person_who_leaves_and_comes_back_elsewhere_keeps_the_track(people: list[Head], find: Find) -> None:
    away = walk((220, 100), (380, 100), 52, 1.0)
    back = walk((-40, 104), (90, 100), 56, 1.0, begin=3.0)
    parts = [Part(0, people[0], sway(160, 100, 55, 0)), Part(1, people[1], lambda time: away(time) or back(time))]
    counts, _ = follow(FaceTracker(), clip(parts, 4.0), find)
    assert counts.switches == 0
    assert len(counts.tracks) == 2


def test_another_person_who_comes_gets_a_new_track(people: list[Head], find: Find) -> None:
    parts = [
        Part(0, people[0], walk((100, 100), (380, 100), 55, 1.0)),
        Part(1, people[1], walk((380, 100), (100, 100), 55, 1.0, begin=2.0)),
    ]
    counts, _ = follow(FaceTracker(), clip(parts, 3.0), find)
    assert counts.last[0] != counts.last[1]
    assert counts.switches == 0


def test_a_person_who_was_hidden_for_seconds_keeps_the_track(people: list[Head], find: Find) -> None:
    """Another comes, stands in front, and walks on; half of the face comes out first."""
    come, go = walk((-40, 100), (165, 105), 68, 1.2), walk((165, 105), (370, 100), 68, 1.2, begin=4.0)
    parts = [
        Part(0, people[0], sway(160, 100, 55, 0)),
        Part(1, people[1], lambda time: come(time) or go(time) or Pose(165, 105, 68)),
    ]
    images = [pair for pair in clip(parts, 5.2) if pair[0].index % 2 == 0]
    counts, _ = follow(FaceTracker(), images, find)
    assert counts.switches == 0
    assert counts.found > 0.95 * counts.visible


def test_without_colours_a_newcomer_is_nobody_who_left(people: list[Head], find: Find) -> None:
    """In grey, as of an infrared camera, faces look alike: only the place can say that somebody has come back."""
    parts = [
        Part(0, people[0], walk((240, 100), (380, 100), 52, 0.8)),
        Part(1, people[2], walk((-30, 100), (100, 100), 52, 0.8, begin=2.4)),
    ]
    images = [
        (replace(frame, image=np.repeat(frame.image[..., 1:2], 3, axis=2)), seen) for frame, seen in clip(parts, 3.0)
    ]
    counts, _ = follow(FaceTracker(), images, find)
    assert counts.last[0] != counts.last[1]


def test_a_lamp_that_is_switched_on_changes_nobody(people: list[Head], find: Find) -> None:
    parts = [Part(side, people[side], sway(90 + 140 * side, 100, 55, side)) for side in (0, 1)]
    warm = np.array((1.9, 1.6, 1.2))
    images = []
    for frame, seen in frames(parts, 3.0, background(320, 200), fps=5.0):
        lit = frame.image * (warm if 1 <= frame.seconds < 2 else 0.6)
        images.append((replace(frame, image=np.clip(lit, 0, 255).astype(np.uint8)), seen))
    counts, _ = follow(FaceTracker(), images, find)
    assert counts.tracks == {0, 1}


def test_a_black_frame_ends_no_track(people: list[Head], find: Find) -> None:
    images = [
        (replace(frame, image=np.zeros_like(frame.image)), []) if frame.index in (10, 20, 21) else (frame, seen)
        for frame, seen in clip([Part(0, people[0], sway(160, 100, 60, 0))], 1.2)
    ]
    counts, _ = follow(FaceTracker(), images, find)
    assert counts.tracks == {0}
    assert counts.found == counts.visible == 27


def test_a_clock_that_starts_again_is_followed(people: list[Head], find: Find) -> None:
    tracker = FaceTracker()
    images = list(clip([Part(0, people[0], sway(160, 100, 60, 0))], 3.2))
    late = [(replace(frame, timestamp=frame.seconds + 100), seen) for frame, seen in images[:20]]
    assert follow(tracker, late, find)[0].tracks == {0}
    again = images[20:]
    assert tracker.needs_detection(again[0][0]), "nothing is known of the time between"
    counts, detections = follow(tracker, again, find)
    assert counts.tracks == {0}
    assert 2 < detections < 20


def test_a_cut_ends_all_tracks_though_the_faces_are_in_the_same_place(people: list[Head], find: Find) -> None:
    tracker, scenes = FaceTracker(), []
    for scene in range(3):
        images = [
            (Frame(frame.image, "cut.mp4", frame.index + 20 * scene, frame.timestamp + 0.8 * scene), seen)
            for frame, seen in clip([Part(0, people[0], sway(160, 100, 60, scene))], 0.8, seed=scene)
            if frame.timestamp is not None
        ]
        scenes.append(follow(tracker, images, find)[0].tracks)
    assert scenes == [{0}, {1}, {2}]


def test_someone_who_appears_between_detections_is_found_at_once(people: list[Head], find: Find) -> None:
    parts = [
        Part(0, people[0], sway(90, 100, 55, 0)),
        Part(1, people[2], lambda time: Pose(240, 100, 55) if time > 0.2 else None),
    ]
    counts, detections = follow(FaceTracker(5), clip(parts, 0.8), find)
    assert counts.found == counts.visible
    assert detections < 12


def test_faces_between_detections_move_with_their_landmarks(people: list[Head], find: Find) -> None:
    """The flow agrees with the detector on where the face and its landmarks are."""
    tracker, compared = FaceTracker(5), 0
    for frame, _ in clip([Part(0, people[0], walk((70, 100), (250, 110), 60, 2.0))], 1.6):
        wanted = tracker.needs_detection(frame)
        detected = find(frame.image)
        (face,) = tracker.update(frame, detected if wanted else None)
        if not wanted:
            assert face.landmarks is not None
            assert detected[0].landmarks is not None
            apart = np.linalg.norm(face.landmarks - detected[0].landmarks, axis=1).mean()
            assert apart < 0.06 * 60  # pixels, of a face of 60
            compared += 1
    assert compared > 20


def test_the_transform_of_a_face_is_measured(astronaut: NDArray[np.uint8]) -> None:
    """Against a known shift, growth and turn of the portrait, in pixels of a face of 120."""
    box = np.array([170, 65, 280, 205], np.float32)
    matrix = cv2.getRotationMatrix2D((225.0, 135.0), 4.0, 1.04)
    matrix[:, 2] += np.array([9.0, -5.0])
    later = np.asarray(cv2.warpAffine(astronaut, matrix, astronaut.shape[1::-1]), np.uint8)
    shift = FacePatch(astronaut, box).shift(later, Shift(1, 0))
    assert shift is not None
    points = np.array([[200, 110], [250, 110], [225, 170]], np.float32)
    expected = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(shift.points(points), expected, atol=1.0)


def test_a_covered_face_is_not_followed(astronaut: NDArray[np.uint8]) -> None:
    box = np.array([170, 65, 280, 205], np.float32)
    covered = astronaut.copy()
    covered[60:210, 165:285] = background(120, 150, seed=4)
    assert FacePatch(astronaut, box).shift(covered, Shift(1, 0)) is None


def test_a_flash_and_fast_motion_are_no_cuts(people: list[Head]) -> None:
    parts = [Part(0, people[0], walk((20, 100), (300, 100), 80, 0.4))]
    images = [frame.image for frame, _ in clip(parts, 0.4)]
    for one, other in itertools.pairwise(images):
        assert not Scene(other).is_cut_from(Scene(one))
    flash = np.clip(images[0].astype(int) + 70, 0, 255).astype(np.uint8)
    assert not Scene(flash).is_cut_from(Scene(images[0]))
    assert Scene(background(320, 200, seed=9)).is_cut_from(Scene(images[0]))


def test_noise_on_an_empty_wall_is_no_cut() -> None:
    rng = np.random.default_rng(0)
    one, other = (np.clip(rng.normal(120, 6, (120, 160, 3)), 0, 255).astype(np.uint8) for _ in range(2))
    assert not Scene(other).is_cut_from(Scene(one))


def test_a_detector_without_landmarks_and_frames_without_times() -> None:
    """Boxes alone, as of Haar, in frames that have only an index."""
    image = background(320, 200)
    tracker = FaceTracker(1)
    for index in range(6):
        frame = Frame(image, "folder", index)
        assert tracker.needs_detection(frame)
        faces = tracker.update(frame, (Face(np.array([20 + 3 * index, 30, 70 + 3 * index, 90]), 0.9),))
        assert [face.track for face in faces] == [0]


def test_faces_come_largest_first() -> None:
    tracker = FaceTracker(1)
    frame = Frame(background(320, 200), "v", 0, 0.0)
    tracker.needs_detection(frame)
    small, large = Face(np.array([10, 10, 40, 50]), 0.9), Face(np.array([100, 10, 200, 150]), 0.9)
    assert [face.box[0] for face in tracker.update(frame, (small, large))] == [100, 10]


def test_sparse_frames_are_detected_each(people: list[Head], find: Find) -> None:
    """One frame a second: nothing can be followed, but the person is known again."""
    parts = [Part(0, people[0], sway(160, 100, 60, 0))]
    images = list(frames(parts, 8, background(320, 200), fps=1.0))
    counts, detections = follow(FaceTracker(5), images, find)
    assert detections == 8
    assert counts.tracks == {0}


def test_thousands_of_passers_by_do_not_fill_the_memory() -> None:
    tracker, rng = FaceTracker(1), np.random.default_rng(0)
    for index in range(900):
        image = np.full((60, 80, 3), rng.integers(0, 255, 3), np.uint8)
        frame = Frame(image, "v", index, index * 0.5)
        tracker.needs_detection(frame)
        tracker.update(frame, (Face(np.array([20, 10, 50, 50]), 0.9),))
    assert len(tracker._tracks) < 300


@pytest.mark.parametrize("every", [0, -1, -100])
def test_an_interval_below_one_is_refused(every: int) -> None:
    with pytest.raises(ConfigError, match=f"detect_every: expected a number of frames from 1, got {every}"):
        FaceTracker(every)


def test_the_analyzer_tracks_each_source_anew(people: list[Head]) -> None:
    images = [frame for frame, _ in clip([Part(0, people[0], sway(160, 100, 60, 0))], 0.2)]
    again = [Frame(frame.image, "other.mp4", frame.index, frame.timestamp) for frame in images]
    results = list(Analyzer(tracker=FaceTracker).stream(images + again))
    assert [[face.track for face in found] for found in results] == [[0]] * 10
    assert all(face.expression is not None and face.expression.emotion for found in results for face in found)


@pytest.mark.real_data
def test_ten_people_with_at_most_one_switch(shared: Path, find: Find) -> None:
    images = (pair[:2] for pair, _ in zip(ten(heads(10, folder=shared / "data" / "faces")), range(60), strict=False))
    counts, _ = follow(FaceTracker(), images, find)
    assert counts.switches <= 1
    assert counts.found / counts.visible > 0.99


@pytest.mark.real_data
def test_a_crowd_of_twenty_is_followed_without_a_loss(shared: Path, find: Find) -> None:
    images = (pair[:2] for pair, _ in zip(crowd(heads(20, folder=shared / "data" / "faces")), range(30), strict=False))
    counts, detections = follow(FaceTracker(), images, find)
    assert counts.switches == 0
    assert counts.found == counts.visible
    assert detections <= 20
