"""A small made-up network of the form of the res10 SSD: it finds red squares of 60 px in its 300x300 view.

Written in Caffe's format by hand, so that the reader, the order of the colours and the boxes can be tested without the
real weights. One convolution averages red less blue over cells of 60 px, every 30 px; a softmax makes of it the
confidence of the box (PriorBox) of that cell.
"""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["write_network"]

DEFINITION = """
input: "data"
input_shape { dim: 1 dim: 3 dim: 300 dim: 300 }
layer {
  name: "conf" type: "Convolution" bottom: "data" top: "conf"
  convolution_param { num_output: 2 kernel_size: 60 stride: 30 }
}
layer { name: "conf_perm" type: "Permute" bottom: "conf" top: "conf_perm"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conf_reshape" type: "Reshape" bottom: "conf_perm" top: "conf_reshape"
  reshape_param { shape { dim: 0 dim: -1 dim: 2 } } }
layer { name: "conf_softmax" type: "Softmax" bottom: "conf_reshape" top: "conf_softmax" softmax_param { axis: 2 } }
layer { name: "conf_flat" type: "Flatten" bottom: "conf_softmax" top: "conf_flat" flatten_param { axis: 1 } }
layer {
  name: "loc" type: "Convolution" bottom: "data" top: "loc"
  convolution_param { num_output: 4 kernel_size: 60 stride: 30 }
}
layer { name: "loc_perm" type: "Permute" bottom: "loc" top: "loc_perm"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_flat" type: "Flatten" bottom: "loc_perm" top: "loc_flat" flatten_param { axis: 1 } }
layer {
  name: "priors" type: "PriorBox" bottom: "conf" bottom: "data" top: "priors"
  prior_box_param {
    min_size: 60 clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 step: 30 offset: 1.0
  }
}
layer {
  name: "detection_out" type: "DetectionOutput" bottom: "loc_flat" bottom: "conf_flat" bottom: "priors"
  top: "detection_out"
  detection_output_param {
    num_classes: 2 share_location: true background_label_id: 0
    nms_param { nms_threshold: 0.45 top_k: 400 }
    code_type: CENTER_SIZE keep_top_k: 200 confidence_threshold: 0.2
  }
}
"""
PLAIN_DEFINITION = DEFINITION[: DEFINITION.index('layer { name: "conf_perm"')]


def write_network(folder: Path, *, definition: str = DEFINITION) -> Path:
    """Writes deploy.prototxt and red.caffemodel into a folder; returns the path of the latter."""
    kernel = np.zeros((2, 3, 60, 60), np.float32)  # background, face; blue, green, red
    kernel[1, 0], kernel[1, 2] = -0.1 / 3600, 0.1 / 3600
    bias = np.array([0, -12.75], np.float32)  # red of 255 gives a logit of 12.75 - 1.9, a half filled cell -1.9
    nothing = np.zeros((4, 3, 60, 60), np.float32), np.zeros(4, np.float32)
    (folder / "deploy.prototxt").write_text(definition)
    path = folder / "red.caffemodel"
    path.write_bytes(_layer("conf", (kernel, bias)) + _layer("loc", nothing))
    return path


def _layer(name: str, blobs: tuple[NDArray[np.float32], ...]) -> bytes:
    """Field 100 of Caffe's NetParameter, a LayerParameter: name (1), type (2), blobs (7)."""
    body = _field(1, name.encode()) + _field(2, b"Convolution")
    body += b"".join(_field(7, _blob(blob)) for blob in blobs)
    return _field(100, body)


def _blob(array: NDArray[np.float32]) -> bytes:
    """A BlobProto: packed floats (5) and its shape (7), a BlobShape with packed dimensions (1)."""
    shape = b"".join(_varint(size) for size in array.shape)
    return _field(5, struct.pack(f"<{array.size}f", *array.ravel())) + _field(7, _field(1, shape))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
