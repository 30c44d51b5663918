"""From a detector's run to what ships: one ONNX file with its info inside, and its training form beside it.

The file takes images as they are, (N, H, W, 3) uint8 RGB, sides multiples of 32. All but the first convolution and
the heads run in int8 (per channel, calibrated on scenes of training images), if that finds faces as well as the full
form does; else the full form is written. The full form is refused if it differs from its checkpoint.
"""

import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from mien.assets.detectors import METADATA_KEY, OUTPUTS, DetectorInfo, dump_toml, open_detector
from mien.datasets.face_images import FaceImage
from mien.errors import WeightsError
from mien.evaluation.detection import Tally, judge, operating_point
from mien.faces.detectors import DetectorOptions
from mien.faces.detectors.mien import MienDetector
from mien.files import staging_folder
from mien.models.detection.face_detector import FaceDetector
from mien.training.detection.scenes import Scene
from mien.training.expression.export import publish
from mien.training.quantize import Calibration, quantized
from mien.training.silence import quiet

__all__ = ["export_detector", "graph_of", "int8_form"]

TOLERANCE: Final = 2e-3  # of the parity gate, on outputs in units of the stride
FALL: Final = 0.01  # of F1 on the held-back scenes, at most, from the full form to int8
_LOOKED_AT: Final = 0.1  # lower scores play no part in choosing the operating point


class _FromPixels(nn.Module):
    """The network behind raw pixels; the division by 255 is in its first convolution."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        first = next(layer for layer in self.network.modules() if isinstance(layer, nn.Conv2d))
        with torch.no_grad():
            first.weight /= 255

    def forward(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, cells, 15)."""
        found: Tensor = self.network(images.permute(0, 3, 1, 2).float())
        return found


def graph_of(network: nn.Module) -> onnx.ModelProto:
    """The ONNX form of a fused detector, pixels in: images, height and width are free. Changes the network."""
    example = torch.zeros(2, 96, 160, 3, dtype=torch.uint8)
    free = {0: "images", 1: "height", 2: "width"}
    file = io.BytesIO()
    with quiet("torch.onnx"):
        # The older exporter: a pyramid's sizes are free in it without a proof that they fit each other.
        torch.onnx.export(
            _FromPixels(network).eval(),
            (example,),
            file,  # type: ignore[arg-type]  # which the older exporter takes
            input_names=["images"],
            output_names=["cells"],
            dynamic_axes={"images": free, "cells": {0: "images", 1: "cells"}},
            dynamo=False,
        )
    graph = onnx.load_from_string(file.getvalue())
    graph.graph.output[0].type.tensor_type.shape.dim[2].dim_value = OUTPUTS  # which the exporter lost on the way
    onnx.checker.check_model(graph)
    return graph


def _with_entry(graph: onnx.ModelProto, info: DetectorInfo) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    onnx.helper.set_model_props(copy, {METADATA_KEY: info.to_json()})
    return bytes(copy.SerializeToString())


def int8_form(full: Path, out: Path, graph: onnx.ModelProto, training: Iterable[Scene]) -> onnx.ModelProto:
    """The int8 form, but for the first convolution, the heads and all that is no convolution."""
    nodes = graph.graph.node
    first = next(node.name for node in nodes if node.op_type == "Conv")
    heads = [node.name for node in nodes if node.op_type == "Conv" and "heads" in node.name]
    others = [node.name for node in nodes if node.op_type not in ("Conv", "Relu", "Add", "Resize")]
    inputs = Calibration({"images": scene.image[None]} for scene in training)
    return quantized(full, out, inputs, [first, *heads, *others])


def _check_parity(network: FaceDetector, path: Path, scenes: Iterable[Scene]) -> None:
    _, session = open_detector(path)
    for scene in scenes:
        with torch.no_grad():
            pixels = torch.from_numpy(scene.image.transpose(2, 0, 1)[None].copy()).float() / 255
            expected = network.eval()(pixels).numpy()
        (found,) = session.run(scene.image[None]).values()
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:
            raise WeightsError(
                f"the exported detector differs from its checkpoint by {difference:.2g}, more than {TOLERANCE:g}",
                hint="this is a bug in the export or in the network's fused form",
            )


def _labelled(scenes: Iterable[Scene]) -> list[FaceImage]:
    return [
        FaceImage(
            image=scene.image,
            boxes=scene.boxes.astype(np.float64),
            landmarks=scene.landmarks.astype(np.float64),
            ignore=scene.ignore.astype(np.float64),
        )
        for scene in scenes
    ]


def _judged(path: Path, images: list[FaceImage]) -> Tally:
    """All that the network itself gives a score of `_LOOKED_AT`; its own scores are kept."""
    _, session = open_detector(path)
    return judge(MienDetector(DetectorOptions(), session, 0.5), images, min_score=_LOOKED_AT)


def _f1(tally: Tally, score: float) -> float:
    right, taken = tally.precision(score=score)
    return 2 * right / max(1, taken + len(tally.faces))


def export_detector(
    network: FaceDetector,
    info: DetectorInfo,
    training: list[Scene],
    held: list[Scene],
    out: Path,
) -> list[Path]:
    """Writes a trained detector to `out` (.onnx), its training form and its info beside it.

    Args:
        network: With its trained weights.
        info: Its name, architecture, licence and data; operating point and scores are filled in.
        training: Scenes of training images, which set the ranges of int8.
        held: Scenes of images held back, which set the operating point and judge int8.
        out: The ONNX file to write.

    Returns:
        The files written.

    Raises:
        WeightsError: The file differs from the checkpoint, or finds nothing.
        OutputError: The files cannot be written.
    """
    network = network.float().eval()
    images = _labelled(held)
    with staging_folder(out) as place:
        full, trial = place / "full.onnx", place / "trial.onnx"
        graph = graph_of(network.fused())
        full.write_bytes(_with_entry(graph, info))
        _check_parity(network, full, held[:8])
        tally = _judged(full, images)
        if not any(tally.right):
            raise WeightsError(
                f"the detector finds none of the {len(tally.faces)} faces of the held-back scenes",
                hint="train it longer",
            )
        point = operating_point(tally)
        scores = {"faces": len(tally.faces), "full_f1": round(_f1(tally, point), 4)}
        small_graph = int8_form(full, place / "int8.onnx", graph, training)
        trial.write_bytes(_with_entry(small_graph, info))
        small = _judged(trial, images)
        scores["int8_f1"] = round(_f1(small, operating_point(small)), 4) if any(small.right) else 0.0
        form = "full"
        if scores["int8_f1"] >= scores["full_f1"] - FALL:
            form, graph, point = "int8", small_graph, operating_point(small)
        info = replace(info, operating_point=round(point, 3), scores=scores, form=form)
        trial.write_bytes(_with_entry(graph, info))
        return publish(trial, info, out, network, key=METADATA_KEY, dump=dump_toml)
