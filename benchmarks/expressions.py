"""Expressions in natural photographs: which classes the default gives, and whether a viewer agrees.

    python -m benchmarks.expressions sheets --out sheets
    python -m benchmarks.expressions score
    python -m benchmarks.expressions score --model other.onnx --name other

The photographs are those of `../shared/data/faces` (portraits) and `../shared/data/people` (people, masks), both
splits; the faces those of 40 pixels and more, as `mien analyze` finds them. `sheets` draws 200 of them, chosen with a
fixed seed, without what any model says. Someone looks at them and writes a verdict for each into
`benchmarks/expression_verdicts.csv`, which has places and no images: the emotion that the face shows, two with a `/`
between them if either may be said, or `unclear`. `score` reads all faces under each prior and writes the share of each
class, and how often the top class is one of the viewer's, to `benchmarks/results/expressions.json`, in percent.

A viewer sees an expression, not a feeling, and one viewer is not the truth: one annotator of FER+ agrees with the
majority of the others on about 70% of its faces.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.photographs import DATA
from benchmarks.results import Measurement, Results, save
from mien import Analyzer
from mien.datasets import face_images
from mien.datasets.face_images import FaceImage
from mien.emotions import vocabulary
from mien.evaluation.detection import sides
from mien.expression.prior import PRIORS
from mien.faces.boxes import iou
from mien.output.drawing.canvas import Canvas
from mien.results import FrameResult

VERDICTS: Final = Path(__file__).parent / "expression_verdicts.csv"
COLUMNS: Final = ("source", "face", "verdict")
SETS: Final = {"portraits": "faces", "people": "people", "masks": "people"}
SAMPLE: Final = {"portraits": 100, "people": 60, "masks": 40}
SMALLEST: Final = 40.0  # pixels, the side of a face
SAME: Final = 0.5  # IoU from which what was found is the labelled face
UNCLEAR: Final = "unclear"
SEED: Final = 15
SIDE: Final = 224  # of a face on a sheet, with what is around it
AROUND: Final = 1.5  # of the side of its box
ACROSS: Final = 5
ROWS: Final = 4


@dataclass(frozen=True)
class Place:
    """A labelled face.

    Attributes:
        set: "portraits", "people" or "masks".
        image: The photograph.
        face: Its number among the faces of the photograph.
    """

    set: str
    image: FaceImage
    face: int

    @property
    def key(self) -> tuple[str, int]:
        """What names it among all."""
        return self.image.source, self.face


def places(name: str, data: Path = DATA) -> Iterator[Place]:
    """The faces of 40 pixels and more of a set, in a fixed order.

    Raises:
        InputError: The data set is missing.
    """
    for split in face_images.SPLITS:
        for image in face_images.read(data / SETS[name], split, sets=(name,)):
            for face in np.flatnonzero(sides(image.boxes) >= SMALLEST).tolist():
                yield Place(name, image, face)


def sample(data: Path = DATA) -> list[Place]:
    """The faces to look at."""
    rng = np.random.default_rng(SEED)
    chosen = []
    for name, count in SAMPLE.items():
        found = list(places(name, data))
        chosen += [found[row] for row in sorted(rng.choice(len(found), count, replace=False).tolist())]
    return [chosen[row] for row in rng.permutation(len(chosen)).tolist()]


def tile(place: Place) -> NDArray[np.uint8]:
    """A face with what is around it (SIDE, SIDE, 3)."""
    x0, y0, x1, y1 = place.image.boxes[place.face].tolist()
    half = AROUND * max(x1 - x0, y1 - y0) / 2
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    box = tuple(round(centre + sign * half) for sign in (-1, 1) for centre in middle)
    cut = Image.fromarray(place.image.image).crop((box[0], box[1], box[2], box[3]))
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.uint8)


def draw(chosen: Sequence[Place], out: Path) -> Iterator[Path]:
    """Writes the sheets, with a number above each face."""
    out.mkdir(parents=True, exist_ok=True)
    step, head = SIDE + 8, 22
    for start in range(0, len(chosen), ACROSS * ROWS):
        part = chosen[start : start + ACROSS * ROWS]
        pixels = np.full((ROWS * (step + head), ACROSS * step, 3), 255, np.uint8)
        corners = [(head + row * (step + head), column * step) for row in range(ROWS) for column in range(ACROSS)]
        for place, (top, left) in zip(part, corners, strict=False):
            pixels[top : top + SIDE, left : left + SIDE] = tile(place)
        canvas = Canvas(pixels)
        for number, (top, left) in enumerate(corners[: len(part)], start):
            canvas.text(left + 2, top - 12, f"{number}", 15, (200, 30, 30), bold=True)
        path = out / f"faces-{start // (ACROSS * ROWS)}.png"
        Image.fromarray(canvas.array()).save(path)
        yield path


def read(path: Path = VERDICTS) -> dict[tuple[str, int], tuple[str, ...]]:
    """The verdicts: by the place of a face, the emotions that may be said of it; none if it is unclear.

    Raises:
        ValueError: A verdict is neither an emotion nor `unclear`.
    """
    known = {*vocabulary(8), UNCLEAR}
    found = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            said = tuple(row["verdict"].split("/"))
            if not known.issuperset(said):
                raise ValueError(f"{path}: '{row['verdict']}' of {row['source']} is no verdict")
            found[row["source"], int(row["face"])] = () if said == (UNCLEAR,) else said
    return found


def write(chosen: Sequence[Place], path: Path) -> None:
    """Writes the places of faces without their verdicts."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*place.key, "") for place in chosen)


def emotion_of(place: Place, result: FrameResult) -> str | None:
    """The top class of a labelled face; None if it was not found."""
    if not len(result):
        return None
    overlaps = iou(place.image.boxes[[place.face]], np.array([face.box for face in result]))[0]
    return str(result[int(overlaps.argmax())].emotion) if overlaps.max() >= SAME else None


def emotions_of(analyzer: Analyzer, faces: Sequence[Place]) -> list[str | None]:
    """The top class of each face, each photograph being read once."""
    images = {place.image.source: place.image.image for place in faces}
    results = dict(zip(images, analyzer.analyze(iter(images.values())), strict=True))
    return [emotion_of(place, results[place.image.source]) for place in faces]


def figures(
    said: dict[tuple[str, int], tuple[str, ...]], faces: Sequence[Place], emotions: Sequence[str | None], prior: str
) -> dict[str, Measurement]:
    """The shares of the classes in each set, and the agreement with the viewer."""
    found: dict[str, Measurement] = {}
    for name in SETS:
        counts = Counter(
            emotion for place, emotion in zip(faces, emotions, strict=True) if place.set == name and emotion
        )
        for emotion in vocabulary(8) if counts else ():
            found[f"{name}, {prior}: {emotion}"] = Measurement.proportion(counts[emotion], counts.total())
    pairs = [
        (place.set, said[place.key], emotion)
        for place, emotion in zip(faces, emotions, strict=True)
        if said.get(place.key) and emotion
    ]
    groups = {
        "all faces": pairs,
        **{name: [pair for pair in pairs if pair[0] == name] for name in SETS},
        "neither neutral nor happy": [pair for pair in pairs if not {"neutral", "happiness"} & set(pair[1])],
        "neutral": [pair for pair in pairs if pair[1] == ("neutral",)],
    }
    for title, group in groups.items():
        if group:
            agreed = sum(emotion in verdict for _, verdict, emotion in group)
            found[f"the viewer agrees, {prior}: {title}"] = Measurement.proportion(agreed, len(group))
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("step", choices=("sheets", "score"))
    parser.add_argument("--out", type=Path, default=Path("sheets"), help="folder of the sheets")
    parser.add_argument("--model", help="another model than the default one")
    parser.add_argument("--name", default="expressions", help="of the results")
    asked = parser.parse_args()
    if asked.step == "sheets":
        chosen = sample()
        for path in draw(chosen, asked.out):
            print(path)
        write(chosen, asked.out.with_suffix(".csv"))
        return
    faces = [place for name in SETS for place in places(name)]
    said, found = read(), dict[str, Measurement]()
    for prior in PRIORS:
        analyzer = Analyzer(classifier=asked.model, prior=prior)
        found |= figures(said, faces, emotions_of(analyzer, faces), prior)
    print(save(Results.here(asked.name, "%", found, spread="95% interval")))


if __name__ == "__main__":
    main()
