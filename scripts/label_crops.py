"""Labels cropped faces with a detector, as more training images for another detector.

    python -m scripts.label_crops STORE OUT --detector yunet --detector-weights FILE

Each face of the train split is placed on a larger image and detected there; its box and landmarks are mapped back to
the face. Faces that are not found are skipped. OUT becomes a folder that `mien.datasets.face_images` reads.
"""

import argparse
import json
import zipfile
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from mien.datasets import store
from mien.datasets.canvas import SIDE, from_canvas, on_canvas
from mien.faces import detectors

HELD: Final = 20  # one of this many images is in the valid split
MIN_SCORE: Final = 0.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--detector", default=detectors.DEFAULT)
    parser.add_argument("--detector-weights", type=Path)
    parser.add_argument("--limit", type=int, default=8000)
    given = parser.parse_args()
    detector = detectors.load(detectors.DetectorOptions(given.detector, weights=given.detector_weights))
    images = store.load(given.store, "train").images
    rows = np.random.default_rng(0).permutation(len(images))[: given.limit]
    given.out.mkdir(parents=True)
    lines = []
    with zipfile.ZipFile(given.out / "crops.zip", "w") as archive:
        for number, row in enumerate(np.sort(rows)):
            face = images[row]
            if face.shape != (SIDE, SIDE):
                raise SystemExit(f"{given.store}: expected grey faces of {SIDE}x{SIDE}, found {face.shape}")
            canvas = on_canvas(face, border="replicate")
            found = detector.detect(canvas, min_score=MIN_SCORE)
            if len(found) != 1 or found.landmarks is None:
                continue
            high, wide = face.shape[:2]
            box = np.clip(from_canvas(found.boxes[0].reshape(2, 2), canvas).ravel(), 0, [wide, high, wide, high])
            name = f"{row}.png"
            archive.writestr(name, cv2.imencode(".png", face)[1].tobytes())
            info = {
                "box": box.round(2).tolist(),
                "landmarks": from_canvas(found.landmarks[0], canvas).round(2).tolist(),
                "origin": "teacher",
            }
            split = "valid" if number % HELD == 0 else "train"
            lines.append({"zip": "crops.zip", "file": name, "split": split, "faces": [info], "ignore": []})
    (given.out / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    print(f"{len(lines):,} of {len(rows):,} faces labelled: {given.out}")


if __name__ == "__main__":
    main()
