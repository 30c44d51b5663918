"""Made-up images with drawn faces and their labels, as detectors are trained on, and weights to start from."""

import io
import json
import zipfile
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tests.drawn import draw_face

from mien.datasets.face_images import FaceImage

# Where a drawn face's landmarks about lie, as fractions of its side, and its box.
POINTS = np.array([[0.35, 0.42], [0.65, 0.42], [0.5, 0.58], [0.4, 0.75], [0.6, 0.75]])


def drawn_image(rng: np.random.Generator, faces: int, *, size: tuple[int, int] = (96, 128)) -> FaceImage:
    """A image (H, W) of noise and lines with so many drawn faces side by side."""
    high, wide = size
    image = rng.integers(60, 190, (high // 8, wide // 8, 3)).astype(np.uint8)
    image = np.asarray(cv2.resize(image, (wide, high), interpolation=cv2.INTER_CUBIC), np.uint8)
    boxes, landmarks = [], []
    for number in range(faces):
        side = int(rng.integers(28, min(high, wide // max(faces, 1)) - 4))
        x = number * (wide // faces) + int(rng.integers(0, wide // faces - side + 1))
        y = int(rng.integers(0, high - side + 1))
        face = cv2.resize(draw_face("happiness", rng), (side, side), interpolation=cv2.INTER_AREA)
        image[y : y + side, x : x + side] = face[:, :, None]
        boxes.append([x, y, x + side, y + side])
        landmarks.append(POINTS * side + (x, y))
    return FaceImage(
        image=image,
        boxes=np.array(boxes, float).reshape(-1, 4),
        landmarks=np.array(landmarks).reshape(-1, 5, 2),
        ignore=np.empty((0, 4)),
        origin=("human",) * faces,
    )


def png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def row(image: FaceImage, name: str, split: str) -> dict[str, object]:
    """A image's line in labels.jsonl."""
    faces = [
        {"box": box.tolist(), "landmarks": points.tolist(), "origin": "human"}
        for box, points in zip(image.boxes, image.landmarks, strict=True)
    ]
    return {"zip": "drawn.zip", "file": name, "split": split, "faces": faces, "ignore": image.ignore.tolist()}


def write_images(folder: Path, *, train: int = 12, valid: int = 4, seed: int = 0) -> Path:
    """A folder of drawn images, every fourth without a face."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows = []
    with zipfile.ZipFile(folder / "drawn.zip", "w") as archive:
        for number in range(train + valid):
            image = drawn_image(rng, 0 if number % 4 == 3 else 1 + number % 2)
            archive.writestr(f"{number}.png", png(image.image))
            rows.append(row(image, f"{number}.png", "train" if number < train else "valid"))
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return folder


def random_yunet(path: Path, widths: tuple[int, ...] = (16, 16, 16, 64, 64, 64)) -> Path:
    """A file like YuNet's published one, random: convolutions in its order, without what lies between them."""
    rng = np.random.default_rng(3)
    shapes: list[tuple[int, int, int]] = [(widths[0], 3, 3)]
    for channels, width in (*pairwise(widths), *[(64, 64)] * 12):
        shapes += [(width, channels, 1), (width, 1, 3)]
    for width in (1, 4, 1, 10):
        shapes += [(width, 64, 1), (width, 1, 3)] * 3
    nodes, values = [], []
    for number, (width, channels, size) in enumerate(shapes):
        kernel = rng.normal(0, 0.4, (width, channels, size, size)).astype(np.float32)
        bias = rng.normal(0, 0.4, width).astype(np.float32)
        values += [numpy_helper.from_array(kernel, f"w{number}"), numpy_helper.from_array(bias, f"b{number}")]
        nodes.append(helper.make_node("Conv", [f"x{number}", f"w{number}", f"b{number}"], [f"x{number + 1}"]))
    given = helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 3, 8, 8])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [given], [], values)), path)
    return path
