"""Tracking on clips with known people: `python -m benchmarks.tracking [--every default,1,2,3]`; needs ../shared/data.

For each clip and each interval of detection: identity switches, tracks, and the share of visible faces that are found;
and the time of detection with tracking per frame. The heads are photographs of `faces/frames.zip`. The
figures are added to `benchmarks/results/tracking_switches.json` and `tracking_found.json`.
"""

import argparse
import io
import json
import math
import re
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.clips import Head, Part, Pose, Seen, background, frames, sway, walk
from benchmarks.results import FOLDER, Measurement, Results, load, save
from mien.faces.align import Aligner
from mien.faces.tracking import FaceTracker
from mien.results import Face, Frame

ROOT = Path(__file__).parent.parent
# Faces of which less is visible are not counted, found or not.
_VISIBLE = 0.7


def heads(count: int, *, seed: int = 0, folder: Path = ROOT.parent / "shared" / "data" / "faces") -> list[Head]:
    """The heads of so many different people."""
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    chosen: dict[str, dict[str, object]] = {}
    for row in rows:
        if row["zip"] == "frames.zip" and len(row["faces"]) == 1:
            x0, y0, x1, _ = row["faces"][0]["box"]
            if min(x0, y0, row["width"] - x1) > 0.35 * (x1 - x0):
                chosen.setdefault(re.sub(r"^t_|_\d\d\.webp$", "", row["file"]), row)
    names = sorted(chosen)
    order = np.random.default_rng(seed).permutation(len(names))[:count]
    with zipfile.ZipFile(folder / "frames.zip") as file:
        return [
            Head(
                np.array(Image.open(io.BytesIO(file.read(str(row["file"])))).convert("RGB")),
                np.array(row["faces"][0]["box"], np.float32),  # type: ignore[index]
            )
            for row in (chosen[names[number]] for number in order)
        ]


@dataclass
class Counts:
    """What became of the people of a clip."""

    switches: int = 0
    visible: int = 0
    found: int = 0
    tracks: set[int] = field(default_factory=set)
    last: dict[int, int] = field(default_factory=dict)  # the track of each person
    owners: dict[int, int] = field(default_factory=dict)  # the person of each track

    def add(self, faces: Sequence[Face], people: Sequence[Seen], scene: int = 0) -> None:
        """Compares one frame with the truth; tracks of another scene than before may differ."""
        for person in people:
            if person.visible < _VISIBLE:
                continue
            self.visible += 1
            near = [
                (math.hypot(*((face.box[:2] + face.box[2:]) / 2 - (person.x, person.y))), face.track) for face in faces
            ]
            apart, track = min(near, default=(math.inf, None), key=lambda pair: pair[0])
            if track is None or apart > 0.4 * person.size:
                continue
            self.found += 1
            key = person.person + 1000 * scene
            # A person with another track than before, or a track with another person.
            self.switches += self.last.get(key, track) != track or self.owners.get(track, key) != key
            self.last[key], self.owners[track] = track, key
            self.tracks.add(track)


# Frames, who is in them, and the number of the scene.
Images = Iterable[tuple[Frame, list[Seen], int]]
Clip = Callable[[list[Head]], Images]


def _one(parts: Sequence[Part], seconds: float, size: tuple[int, int] = (640, 480), seed: int = 0) -> Images:
    return ((frame, seen, 0) for frame, seen in frames(parts, seconds, background(*size, seed=seed), seed=seed))


def crossing(people: list[Head]) -> Images:
    """Two people walk past each other, one in front."""
    parts = [
        Part(0, people[0], walk((80, 240), (560, 235), 105, 4.0)),
        Part(1, people[1], walk((560, 245), (80, 250), 115, 4.0)),
    ]
    return _one(parts, 4.0)


def turning_back(people: list[Head]) -> Images:
    """Two people meet, one hides the other for a moment, and both go back where they came from."""

    def there_and_back(side: int) -> Callable[[float], Pose]:
        return lambda time: Pose(
            320 + side * 220 * abs(math.cos(math.pi * time / 4)), 240 + 6 * math.sin(9 * time), 110
        )

    return _one([Part(0, people[0], there_and_back(-1)), Part(1, people[1], there_and_back(1))], 4.0)


def hiding(people: list[Head]) -> Images:
    """One person sits; another comes, stands before the first for three seconds, and walks on."""
    come, go = walk((-60, 240), (330, 250), 135, 2.0), walk((330, 250), (720, 240), 135, 2.0, begin=5.0)

    def stand(time: float) -> Pose | None:
        return come(time) or go(time) or Pose(330 + 4 * math.sin(3 * time), 250, 135)

    return _one([Part(0, people[0], sway(320, 240, 110, 0.0)), Part(1, people[1], stand)], 7.0)


def returning(people: list[Head]) -> Images:
    """One person sits; another leaves to the right and comes back from the left four seconds later."""
    out = walk((420, 230), (760, 230), 100, 2.0)
    back = walk((-60, 250), (200, 240), 110, 2.0, begin=6.0)
    return _one([Part(0, people[0], sway(300, 240, 110, 0.0)), Part(1, people[1], lambda t: out(t) or back(t))], 8.0)


def newcomer(people: list[Head]) -> Images:
    """One person sits; another leaves to the right, and four seconds later a third comes from the left."""
    out = walk((420, 230), (760, 230), 100, 2.0)
    come = walk((-60, 250), (200, 240), 110, 2.0, begin=6.0)
    return _one([Part(0, people[0], sway(300, 240, 110, 0.0)), Part(1, people[1], out), Part(2, people[2], come)], 8.0)


def grey(people: list[Head]) -> Images:
    """The clip of the newcomer without colours, as from an infrared camera."""
    return _changed(newcomer(people), lambda image, _: np.repeat(image[..., 1:2], 3, axis=2))


def lamp(people: list[Head]) -> Images:
    """Two people sit; after two seconds a lamp is switched on, and two seconds later off, at five frames a second."""
    images = (each for each in _two(people, 6.0) if each[0].index % 5 == 0)
    warm = np.array((1.9, 1.6, 1.2))
    return _changed(images, lambda image, time: np.clip(image * (warm if 2 <= time < 4 else 0.6), 0, 255))


def dropout(people: list[Head]) -> Images:
    """Two people sit; now and then a frame is black."""
    return _changed(_two(people, 4.0), lambda image, time: image * (round(25 * time) % 30 != 20))


def _two(people: list[Head], seconds: float) -> Images:
    parts = [Part(side, people[side], sway(200 + 240 * side, 230, 110, side)) for side in (0, 1)]
    return _one(parts, seconds)


def _changed(images: Images, change: Callable[[NDArray[np.uint8], float], NDArray[np.generic]]) -> Images:
    """The same clip with other pixels: `change` gets each image and its time in seconds."""
    for frame, seen, scene in images:
        image = change(frame.image, frame.seconds).astype(np.uint8)
        yield replace(frame, image=image), seen if image.any() else [], scene


def cuts(people: list[Head]) -> Iterator[tuple[Frame, list[Seen], int]]:
    """Three scenes of two people each; the faces of the second are where those of the first were."""
    for scene in range(3):
        parts = [
            Part(2 * scene + side, people[2 * scene + side], sway(200 + 240 * side, 230, 110, side)) for side in (0, 1)
        ]
        for frame, seen in frames(parts, 2.0, background(640, 480, seed=scene), seed=scene):
            index = frame.index + 50 * scene
            yield Frame(frame.image, frame.source, index, index / 25), seen, scene


def ten(people: list[Head]) -> Images:
    """Ten people who walk to and fro and hide each other again and again."""

    def stroll(number: int) -> Callable[[float], Pose]:
        speed, phase = 0.5 + 0.07 * number, 1.7 * number
        return lambda time: Pose(
            640 + 560 * math.sin(speed * time + phase),
            200 + 38 * (number % 10) + 30 * math.sin(1.3 * speed * time + phase),
            70 + 4 * number,
            3 * math.sin(3 * time + phase),
        )

    return _one([Part(number, head, stroll(number)) for number, head in enumerate(people[:10])], 12.0, (1280, 720))


def crowd(people: list[Head]) -> Images:
    """Twenty people who sit in four rows."""
    parts = [
        Part(
            number,
            head,
            sway(128 + 250 * (number % 5) + 40 * (number // 5 % 2), 110 + 165 * (number // 5), 80, 1.1 * number),
        )
        for number, head in enumerate(people[:20])
    ]
    return _one(parts, 6.0, (1280, 720))


CLIPS: dict[str, Clip] = {
    clip.__name__: clip
    for clip in (
        crossing,
        turning_back,
        hiding,
        returning,
        newcomer,
        grey,
        lamp,
        dropout,
        cuts,
        ten,
        crowd,
    )
}


@dataclass
class _Case:
    """A clip, and what the detector has found in its frames, with the seconds that it took."""

    images: list[tuple[Frame, list[Seen], int]]
    found: dict[int, tuple[tuple[Face, ...], float]] = field(default_factory=dict)

    def detected(self, number: int, aligner: Aligner) -> tuple[tuple[Face, ...], float]:
        """The faces of a frame; each frame is looked at once, whatever the interval."""
        if number not in self.found:
            start = time.process_time()
            faces = aligner.find(self.images[number][0].image)
            self.found[number] = faces, time.process_time() - start
        return self.found[number]


def _saved(name: str) -> dict[str, Measurement]:
    """The figures of other clips and intervals."""
    path = FOLDER / f"{name}.json"
    return dict(load(path).measurements) if path.exists() else {}


def main() -> None:
    """Prints a table, and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", default="default,1,2,3,4,5")
    parser.add_argument("--clips", default=",".join(CLIPS))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    aligner = Aligner()
    print(f"{'clip':14}   every  switches  tracks  found   detected  ms/frame  tracking ms")
    for name in options.clips.split(","):
        cases = [_Case(list(CLIPS[name](heads(20, seed=seed)))) for seed in range(options.seeds)]
        for every in options.every.split(","):
            switches = tracks = visible = found = total = detections = 0
            tracking = detecting = 0.0
            for case in cases:
                tracker, counts = FaceTracker(None if every == "default" else int(every)), Counts()
                for number, (frame, seen, scene) in enumerate(case.images):
                    start = time.process_time()
                    wanted = tracker.needs_detection(frame)
                    tracking += time.process_time() - start
                    faces = None
                    if wanted:
                        faces, seconds = case.detected(number, aligner)
                        detecting += seconds
                        detections += 1
                    start = time.process_time()
                    tracked = tracker.update(frame, faces)
                    tracking += time.process_time() - start
                    counts.add(tracked, seen, scene)
                total += len(case.images)
                switches += counts.switches
                tracks += tracker._next
                visible += counts.visible
                found += counts.found
            print(
                f"{name:14} {every:>7} {switches:9} {tracks:7} {found / visible:7.4f} {detections / total:9.3f}"
                f" {1000 * (tracking + detecting) / total:9.2f} {1000 * tracking / total:9.2f}",
                flush=True,
            )
            kept = _saved("tracking_switches") | {f"{name}, {every}": Measurement.of([switches])}
            save(Results.here("tracking_switches", "switches of identity", kept))
            kept = _saved("tracking_found") | {f"{name}, {every}": Measurement.proportion(found, visible)}
            save(Results.here("tracking_found", "% of the visible faces", kept, spread="95% interval"))


if __name__ == "__main__":
    main()
