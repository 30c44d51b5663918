"""Collects false alarms of a detector, as more training images without faces.

    python -m scripts.mine_false_alarms DATA OUT --weights own.onnx --second yunet --second-weights FILE

The training images of DATA and their mirror images are searched. A detection that is neither on a labelled face nor on
a box to ignore is cropped with its surroundings, unless a second detector finds a face there too: it may be a face
without a label. OUT becomes a folder that `mien.datasets.face_images` reads.
"""

import argparse
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from mien.datasets import face_images
from mien.evaluation.detection import SMALLEST, match, sides
from mien.faces import detectors
from mien.faces.boxes import iou

AROUND = 1.2  # of the crop on each side of the centre, in sides of the detection
HELD = 20  # one of this many images is in the valid split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--second", default="yunet")
    parser.add_argument("--second-weights", type=Path)
    parser.add_argument("--sets", nargs="*", default=[], help="names of archives (default: all)")
    parser.add_argument("--min-score", type=float, default=0.3)
    given = parser.parse_args()
    detector = detectors.load(detectors.DetectorOptions("mien", weights=given.weights))
    second = detectors.load(detectors.DetectorOptions(given.second, weights=given.second_weights))
    given.out.mkdir(parents=True)
    lines: list[dict[str, object]] = []
    images = list(face_images.read(given.data, "train", sets=given.sets))
    with zipfile.ZipFile(given.out / "false_alarms.zip", "w") as archive:
        for image in track(images, console=Console(stderr=True)):
            for view in (image, image.mirrored()):
                found = detector.detect(view.image, min_score=given.min_score)
                alarms = found.boxes[match(found, view).false_alarm]
                if not len(alarms):
                    continue
                seen = second.detect(view.image, min_score=0.2).boxes
                doubtful = (iou(alarms, seen) > 0.1).any(axis=1)
                touched = (iou(alarms, np.concatenate([view.boxes, view.ignore])) > 0.05).any(axis=1)
                for box in alarms[~doubtful & ~touched & (sides(alarms) >= SMALLEST)]:
                    middle, reach = (box[:2] + box[2:]) / 2, AROUND * (box[2:] - box[:2]).max()
                    x0, y0 = np.maximum(middle - reach, 0).astype(int)
                    x1, y1 = np.ceil(middle + reach).astype(int)
                    crop = view.image[y0:y1, x0:x1]
                    inner = np.concatenate([view.boxes, view.ignore]).reshape(-1, 4)
                    if ((inner[:, :2] < (x1, y1)) & (inner[:, 2:] > (x0, y0))).all(axis=1).any():
                        continue  # a face is in the crop
                    name = f"{len(lines)}.png"
                    archive.writestr(name, cv2.imencode(".png", crop[:, :, ::-1])[1].tobytes())
                    split = "valid" if len(lines) % HELD == 0 else "train"
                    row: dict[str, object] = {
                        "zip": "false_alarms.zip",
                        "file": name,
                        "split": split,
                        "faces": [],
                        "ignore": [],
                    }
                    lines.append(row)
    (given.out / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    print(f"{len(lines):,} false alarms: {given.out}")


if __name__ == "__main__":
    main()
