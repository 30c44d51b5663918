"""Whether the finds of `mien curate` are right, on FER2013 Training, and what leaving them out gives.

    python -m benchmarks.curation sheets fer.h5 --out sheets
    python -m benchmarks.curation score voted.h5 --list checked/curation.csv
    python -m benchmarks.curation cleaning fer.h5 --before a1.onnx a2.onnx --after b1.onnx b2.onnx

`fer.h5` is a store of FER2013 built with `--keep-duplicates`, `voted.h5` the same with `--votes`. `sheets` draws a
sample with a fixed seed: likely wrong labels mixed with random faces that are not suspicious, each with two classes, A
and B, in random order, one of them the given label; and finds of other kinds. Someone looks at the sheets and writes a
verdict for each image into `benchmarks/curation_verdicts.csv`, which has row numbers and no images. `score` turns them
into shares with Wilson's 95% intervals, and compares all likely wrong labels of a list (`mien curate fer.h5 --split
train`) with the ten votes of FER+. `cleaning` compares networks on PublicTest that were trained alike (the recipe is
`benchmarks/curation.toml`), before and after the finds were left out, one of each for each seed. Written to
`benchmarks/results/curation.json` and `curation_cleaning.json`, in percent.

Verdicts on labels: A, B, both (either may be said), neither. On others: yes (the find is right) or no.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.results import Measurement, Results, save
from mien.curate import Curated, CurateOptions, curate
from mien.curate.finds import Find
from mien.datasets import Samples, store
from mien.datasets.samples import SPLITS
from mien.emotions import ALL
from mien.evaluation.intervals import mean_estimate
from mien.expression import ClassifierOptions, OnnxClassifier
from mien.output.drawing.canvas import Canvas

VERDICTS: Final = Path(__file__).parent / "curation_verdicts.csv"
COLUMNS: Final = ("row", "kind", "given", "proposed", "other", "a", "verdict")
SAMPLE: Final = {
    "label": 60,
    "not-a-face": 25,
    "conflicting-duplicate": 15,
    "duplicate": 10,
    "near-duplicate": 20,
    "low-quality": 20,
}
CONTROLS: Final = 30
CONTROL: Final = "control"
SEED: Final = 19
SIDE: Final = 168  # of a face on a sheet
ACROSS: Final = 7
ROWS: Final = 5


def sample(found: Curated) -> list[dict[str, str]]:
    """The images to look at, without verdicts: labels and controls mixed, then the others."""
    rng = np.random.default_rng(SEED)
    assert found.labels is not None
    names = found.samples.names
    chosen: list[dict[str, str]] = []
    mixed: list[dict[str, str]] = []
    for kind, count in SAMPLE.items():
        finds = [find for find in found.finds if find.reason == kind]
        for place in sorted(rng.choice(len(finds), min(count, len(finds)), replace=False).tolist()):
            line = _line(names, kind, finds[place])
            (mixed if kind == "label" else chosen).append(line)
    suspicious = {find.row for find in found.finds}
    others = np.array([row for row in range(len(names)) if row not in suspicious and found.labels.labels[row] >= 0])
    for row in rng.choice(others, CONTROLS, replace=False).tolist():
        given, better = (found.labels.classes[int(each[row])] for each in (found.labels.labels, found.labels.better))
        mixed.append(_line(names, CONTROL, Find(row, CONTROL, 0.0, given, better)))
    order = rng.permutation(len(mixed)).tolist()
    for place in order:
        mixed[place]["a"] = "given" if rng.random() < 0.5 else "proposed"
    return [mixed[place] for place in order] + chosen


def _line(names: NDArray[np.str_], kind: str, find: Find) -> dict[str, str]:
    other = "" if find.other is None else str(names[find.other])
    line = {"row": str(names[find.row]), "kind": kind, "given": find.label, "proposed": find.proposed, "other": other}
    return line | {"a": "", "verdict": ""}


def options_of(line: dict[str, str]) -> tuple[str, str]:
    """What A and B are."""
    given, proposed = line["given"], line["proposed"]
    return (given, proposed) if line["a"] == "given" else (proposed, given)


def draw(lines: Sequence[dict[str, str]], samples: Samples, out: Path) -> list[Path]:
    """Writes the sheets: labels and controls first, not to be told apart."""
    images = dict(zip(samples.names.tolist(), samples.images, strict=True))
    blind = [line for line in lines if line["a"]]
    groups = [("labels", blind)]
    groups += [(kind, [line for line in lines if line["kind"] == kind]) for kind in SAMPLE if kind != "label"]
    written, number = [], 0
    out.mkdir(parents=True, exist_ok=True)
    for name, group in groups:
        for start in range(0, len(group), ACROSS * ROWS):
            part = group[start : start + ACROSS * ROWS]
            path = out / f"{name}-{start // (ACROSS * ROWS)}.png"
            Image.fromarray(_sheet(part, number, images)).save(path)
            written.append(path)
            number += len(part)
    return written


def _sheet(lines: Sequence[dict[str, str]], first: int, images: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Numbered faces with their options (H, W, 3); a copy is drawn in the lower right corner of its image."""
    step, foot = SIDE + 10, 40
    count = -(-len(lines) // ACROSS)
    pixels = np.full((count * (step + foot), ACROSS * step, 3), 255, np.uint8)
    for place, line in enumerate(lines):
        row, column = divmod(place, ACROSS)
        top, left = row * (step + foot), column * step
        shown = [images[line["row"]]] + ([images[line["other"]]] if line["other"] else [])
        side = SIDE // len(shown)
        for number, image in enumerate(shown):
            tile = np.array(Image.fromarray(image).convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
            pixels[top : top + side, left + number * side : left + (number + 1) * side] = tile
    canvas = Canvas(pixels)
    for place, line in enumerate(lines):
        row, column = divmod(place, ACROSS)
        top, left = row * (step + foot) + SIDE, column * step
        canvas.text(left + 2, top + 9, f"{first + place}", 14, (200, 30, 30), bold=True)
        if line["a"]:
            a, b = options_of(line)
            canvas.text(left + 34, top + 9, f"A {a}", 13, (20, 20, 20))
            canvas.text(left + 34, top + 27, f"B {b}", 13, (20, 20, 20))
        elif line["kind"] == "conflicting-duplicate":
            canvas.text(left + 34, top + 9, f"{line['given']} / {line['proposed']}", 12, (20, 20, 20))
    return canvas.array()


def read(path: Path = VERDICTS) -> list[dict[str, str]]:
    """The verdicts."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(lines: Sequence[dict[str, str]], path: Path = VERDICTS) -> None:
    """Writes lines with their verdicts, or without."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def meant(line: dict[str, str]) -> str:
    """What a verdict says: given, proposed, both, neither; yes, no."""
    verdict = line["verdict"]
    if verdict not in ("A", "B"):
        return verdict
    return line["a"] if verdict == "A" else ("proposed" if line["a"] == "given" else "given")


def by_hand(lines: Sequence[dict[str, str]]) -> dict[str, Measurement]:
    """The shares of the verdicts."""
    found = {}
    for kind, title in (("label", "likely wrong labels"), (CONTROL, "faces that are not suspicious")):
        said = [meant(line) for line in lines if line["kind"] == kind]
        for name, words in {
            "the label is wrong": ("proposed", "neither"),
            "the proposed class is right": ("proposed",),
            "either may be said": ("both",),
            "the label is right": ("given",),
        }.items():
            found[f"{title}: {name}"] = Measurement.proportion(sum(word in words for word in said), len(said))
    for kind in SAMPLE:
        said = [line["verdict"] for line in lines if line["kind"] == kind != "label"]
        if said:
            found[f"{kind}: right"] = Measurement.proportion(said.count("yes"), len(said))
    return found


def by_votes(finds: Sequence[Find], samples: Samples) -> dict[str, Measurement]:
    """How often the top class of FER+'s votes is not the label, and is the proposed class.

    Only faces whose top class is one of FER2013's, without ties.
    """
    assert samples.votes is not None
    votes = samples.votes.astype(np.int64)
    ranked = np.sort(votes, axis=1)
    top = np.array(ALL)[votes.argmax(axis=1)]
    clear = (ranked[:, -1] > ranked[:, -2]) & np.isin(top, samples.classes) & (samples.names != "")
    given = np.array(samples.classes)[samples.labels]
    rows = np.array([find.row for find in finds if find.reason == "label" or "label" in find.also])
    proposed = {find.row: find.proposed for find in finds}
    chosen = rows[clear[rows]]
    others = np.setdiff1d(np.flatnonzero(clear), rows)
    agree = np.array([top[row] == proposed[row] for row in chosen.tolist()])
    counts = {
        "by FER+, likely wrong labels: the label is wrong": (top[chosen] != given[chosen], chosen),
        "by FER+, likely wrong labels: the proposed class is right": (agree, chosen),
        "by FER+, other labels: the label is wrong": (top[others] != given[others], others),
    }
    return {name: Measurement.proportion(int(hits.sum()), len(of)) for name, (hits, of) in counts.items()}


def listed(path: Path) -> list[Find]:
    """The finds of a list."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Find(int(row["row"]), row["reason"], 0.0, row["label"], row["proposed"], also=tuple(row["also"].split()))
            for row in csv.DictReader(file)
        ]


def cleaning(samples: Samples, before: Sequence[Path], after: Sequence[Path]) -> dict[str, Measurement]:
    """The accuracies of networks before and after cleaning, mean over the seeds, and the paired difference."""
    right = [
        np.stack([_right(path, samples) for path in paths]).astype(np.float64).mean(axis=0) for paths in (before, after)
    ]
    found = {}
    for name, values in (
        ("copies left out", right[0]),
        ("all finds left out", right[1]),
        ("gain", right[1] - right[0]),
    ):
        mean = mean_estimate(values)
        found[name] = Measurement(
            median=100 * mean.value, lower=100 * mean.low, upper=100 * mean.high, repeats=len(before)
        )
    return found


def _right(path: Path, samples: Samples) -> NDArray[np.bool_]:
    """Which faces a network classifies correctly."""
    classifier = OnnxClassifier(ClassifierOptions(model=path, emotions=samples.classes))
    return np.asarray(classifier.predict_proba(list(samples.images)).argmax(axis=1) == samples.labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("step", choices=("sheets", "score", "cleaning"))
    parser.add_argument("data", type=Path, help="a store of FER2013; for score with votes")
    parser.add_argument("--out", type=Path, default=Path("sheets"), help="folder of the sheets")
    parser.add_argument("--list", type=Path, help="for score: what mien curate wrote")
    parser.add_argument("--before", type=Path, nargs="+", help="for cleaning: exported networks")
    parser.add_argument("--after", type=Path, nargs="+", help="the same after cleaning")
    arguments = parser.parse_args()
    samples = store.load(arguments.data)
    if arguments.step == "sheets":
        lines = sample(curate(arguments.data, CurateOptions(split=SPLITS[0])))
        write(lines, arguments.out.with_suffix(".csv"))
        for path in draw(lines, samples, arguments.out):
            print(path)
    elif arguments.step == "score":
        measurements = {**by_hand(read()), **by_votes(listed(arguments.list), samples.only(SPLITS[0]))}
        print(save(Results.here("curation", "%", measurements, spread="95% interval")))
    else:
        measurements = cleaning(samples.only(SPLITS[1]), arguments.before, arguments.after)
        print(save(Results.here("curation_cleaning", "%", measurements, spread="95% interval")))


if __name__ == "__main__":
    main()
