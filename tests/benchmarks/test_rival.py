"""The network of another package, as it stores it, becomes a file that this one evaluates: the layers are the same."""

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
from benchmarks.rival import as_model
from tests.commands import run_command

from mien.assets.store import open_model
from mien.datasets import Samples, store
from mien.emotions import vocabulary
from mien.expression import OnnxClassifier


def layer(kind: str, name: str, before: str, **config: object) -> dict[str, object]:
    """A layer in the configuration of Keras 2."""
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": [[[before, 0, 0, {}]]]}


def write_network(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A convolution, the mean over the image, softmax; returns its kernel (3, 3, 1, 7) and its bias."""
    rng = np.random.default_rng(4)
    kernel, bias = rng.normal(0, 1, (3, 3, 1, 7)).astype(np.float32), rng.normal(0, 1, 7).astype(np.float32)
    layers = [
        {"class_name": "InputLayer", "name": "faces", "config": {}, "inbound_nodes": []},
        layer("Conv2D", "conv", "faces", padding="valid", strides=[1, 1], use_bias=True),
        layer("Activation", "relu", "conv", activation="relu"),
        layer("GlobalAveragePooling2D", "mean", "relu"),
        layer("Activation", "shares", "mean", activation="softmax"),
    ]
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"config": {"layers": layers}})
        file["model_weights/conv/conv/kernel:0"] = kernel
        file["model_weights/conv/conv/bias:0"] = bias
    return kernel, bias


def expected(face: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The shares (7,) of a face (48, 48) uint8, enlarged as the package does it, by the definition of the layers."""
    enlarged = cv2.resize(face, (64, 64)).astype(np.float64)
    values = (enlarged / 255 - 0.5) / 0.5
    windows = np.lib.stride_tricks.sliding_window_view(values, (3, 3))
    means = np.maximum(np.einsum("xyij,ijc->xyc", windows, kernel[:, :, 0]) + bias, 0).mean(axis=(0, 1))
    shares = np.exp(means - means.max())
    return np.asarray(shares / shares.sum())


def test_the_file_gives_what_the_layers_give(tmp_path: Path) -> None:
    kernel, bias = write_network(tmp_path / "net.hdf5")
    (tmp_path / "net.onnx").write_bytes(as_model((tmp_path / "net.hdf5").read_bytes()))
    info, _ = open_model(tmp_path / "net.onnx")
    assert info.heads[0].emotions == vocabulary(7)
    faces = np.random.default_rng(1).integers(0, 255, (3, 48, 48), np.uint8)
    found = OnnxClassifier(tmp_path / "net.onnx").with_classes(7).predict_proba(faces)
    for face, row in zip(faces, found, strict=True):
        np.testing.assert_allclose(row, expected(face, kernel, bias), atol=2e-3)


def test_it_is_compared_with_others(tmp_path: Path, tiny_samples: Samples) -> None:
    write_network(tmp_path / "net.hdf5")
    (tmp_path / "net.onnx").write_bytes(as_model((tmp_path / "net.hdf5").read_bytes()))
    store.save(tiny_samples, tmp_path / "faces.h5")
    done = run_command(
        "compare", "mien-s", tmp_path / "net.onnx", "--data", tmp_path / "faces.h5", "--protocol", "labels"
    )
    assert done.returncode == 0, done.stderr
    assert "\nnet " in done.stdout or "\nnet.onnx" in done.stdout, done.stdout
