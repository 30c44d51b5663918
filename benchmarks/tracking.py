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
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
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
    last: dict[int, int] = field(default_factory=dict)

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
            self.switches += self.last.get(key, track) != track
            self.last[key] = track
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


def returning(people: list[Head]) -> Images:
    """One person sits; another leaves to the right and comes back from the left four seconds later."""
    out = walk((420, 230), (760, 230), 100, 2.0)
    back = walk((-60, 250), (200, 240), 110, 2.0, begin=6.0)
    return _one([Part(0, people[0], sway(300, 240, 110, 0.0)), Part(1, people[1], lambda t: out(t) or back(t))], 8.0)


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


CLIPS: dict[str, Clip] = {clip.__name__: clip for clip in (crossing, turning_back, returning, cuts, ten, crowd)}


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
        cases = []
        for seed in range(options.seeds):
            cases.append(list(CLIPS[name](heads(20, seed=seed))))
        for every in options.every.split(","):
            switches = tracks = visible = found = total = detections = 0
            spent = detecting = 0.0
            for case in cases:
                tracker, counts = FaceTracker(None if every == "default" else int(every)), Counts()
                for frame, seen, scene in case:
                    start = time.process_time()
                    faces = None
                    if tracker.needs_detection(frame):
                        before = time.process_time()
                        faces = aligner.find(frame.image)
                        detecting += time.process_time() - before
                        detections += 1
                    tracked = tracker.update(frame, faces)
                    spent += time.process_time() - start
                    counts.add(tracked, seen, scene)
                total += len(case)
                switches += counts.switches
                tracks += tracker._next
                visible += counts.visible
                found += counts.found
            print(
                f"{name:14} {every:>7} {switches:9} {tracks:7} {found / visible:7.4f} {detections / total:9.3f}"
                f" {1000 * spent / total:9.2f} {1000 * (spent - detecting) / total:9.2f}",
                flush=True,
            )
            kept = _saved("tracking_switches") | {f"{name}, {every}": Measurement.of([switches])}
            save(Results.here("tracking_switches", "switches of identity", kept))
            kept = _saved("tracking_found") | {f"{name}, {every}": Measurement.proportion(found, visible)}
            save(Results.here("tracking_found", "% of the visible faces", kept, spread="95% interval"))


if __name__ == "__main__":
    main()
