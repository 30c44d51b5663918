"""Exports a detector's run: one ONNX file with the model's description inside, and its training form beside it.

The file takes images (N, H, W, 3) uint8 RGB whose sides are multiples of 32. All but the first convolution and the
heads run in int8 (per channel, calibrated on scenes of training images), unless that costs more than `FALL` of F1; then
the full form is written. Nothing is written if the full form differs from its checkpoint.
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

from mien.assets.manifest import ModelInfo
from mien.assets.session import Session
from mien.assets.signature import CELL_VALUES, Detections
from mien.datasets.face_images import FaceImage
from mien.errors import WeightsError
from mien.evaluation.detection import Tally, evaluate_detector, operating_point
from mien.faces.detectors import DetectorOptions
from mien.faces.detectors.mien import MienDetector
from mien.files import staging_folder
from mien.models.detection.face_detector import FaceDetector
from mien.training.artifacts import Calibration, check_name, publish, quantized, serialised
from mien.training.detection.scenes import Scene
from mien.training.silence import silenced

TOLERANCE: Final = 2e-3  # of the parity gate, on outputs in units of the stride
FALL: Final = 0.01  # of F1 on the held-back scenes, at most, from the full form to int8
_LOWEST: Final = 0.1  # faces with lower scores are ignored when the operating point is chosen


class _FromPixels(nn.Module):
    """A detector that takes pixels; the division by 255 is in its first convolution."""

    def __init__(self, network: FaceDetector) -> None:
        super().__init__()
        self.network = network
        first = next(layer for layer in self.network.modules() if isinstance(layer, nn.Conv2d))
        with torch.no_grad():
            first.weight /= 255

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, 3) uint8 -> cells (N, cells, 15), and the deepest map's mean (N, F)."""
        levels = self.network.levels(images.permute(0, 3, 1, 2).float())
        return self.network.cells(levels), levels[-1].mean(dim=(2, 3))


def graph_of(network: FaceDetector) -> onnx.ModelProto:
    """The ONNX form of a fused detector that takes pixels; number, height and width are free. Changes the network."""
    example = torch.zeros(2, 96, 160, 3, dtype=torch.uint8)
    free = {0: "images", 1: "height", 2: "width"}
    file = io.BytesIO()
    with silenced("torch.onnx"):
        # The older exporter: with the newer one, free sizes of a pyramid need a proof that they fit each other.
        torch.onnx.export(
            _FromPixels(network).eval(),
            (example,),
            file,  # type: ignore[arg-type]  # which the older exporter takes
            input_names=["images"],
            output_names=["cells", "features"],
            dynamic_axes={"images": free, "cells": {0: "images", 1: "cells"}, "features": {0: "images"}},
            dynamo=False,
        )
    graph = onnx.load_from_string(file.getvalue())
    graph.graph.output[0].type.tensor_type.shape.dim[2].dim_value = CELL_VALUES  # which the exporter does not know
    return graph


def int8_form(full: Path, graph: onnx.ModelProto, training: Iterable[Scene]) -> bytes:
    """The int8 form of the detector in the file `full`, whose first convolution and heads are not quantised."""
    nodes = graph.graph.node
    first = next(node.name for node in nodes if node.op_type == "Conv")
    heads = [node.name for node in nodes if node.op_type == "Conv" and "heads" in node.name]
    others = [node.name for node in nodes if node.op_type not in ("Conv", "Relu", "Add", "Resize")]
    inputs = Calibration({"images": scene.image[None]} for scene in training)
    return quantized(full, inputs, [first, *heads, *others])


def _check_parity(network: FaceDetector, session: Session, scenes: Iterable[Scene]) -> None:
    for scene in scenes:
        with torch.no_grad():
            pixels = torch.from_numpy(scene.image.transpose(2, 0, 1)[None].copy()).float() / 255
            expected = network.eval()(pixels).numpy()
        found = session.run(scene.image[None], outputs=["cells"])["cells"]
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


def _judged(session: Session, images: list[FaceImage]) -> Tally:
    """The faces that the network finds with scores, not yet mapped by an operating point, of at least `_LOWEST`."""
    return evaluate_detector(MienDetector(DetectorOptions(), session, 0.5), images, min_score=_LOWEST)


def _f1(tally: Tally, score: float) -> float:
    right, taken = tally.precision(score=score)
    return 2 * right / max(1, taken + len(tally.faces))


def export_detector(
    network: FaceDetector, info: ModelInfo, training: list[Scene], held: list[Scene], out: Path
) -> list[Path]:
    """Writes a trained detector to `out` (.onnx), with its training form and its manifest entry beside it.

    Args:
        network: With its trained weights.
        info: The description; form, operating point and scores are filled in.
        training: Scenes of training images, which set the ranges of int8.
        held: Scenes of held-back images, which set the operating point and decide on int8.
        out: The ONNX file to write.

    Returns:
        The files written.

    Raises:
        WeightsError: The file differs from the checkpoint, or finds no face.
        OutputError: The files cannot be written.
    """
    check_name(out)
    network = network.float().eval()
    images = _labelled(held)
    with staging_folder(out) as staging:
        full = staging / "full.onnx"
        graph = graph_of(network.fused())
        content = serialised(graph)
        full.write_bytes(content)
        session = Session(content, "the exported detector")
        _check_parity(network, session, held[:8])
        tally = _judged(session, images)
        if not any(tally.correct):
            raise WeightsError(
                f"the detector finds none of the {len(tally.faces)} faces of the held-back scenes",
                hint="train it longer",
            )
        point = operating_point(tally)
        scores = {"faces": len(tally.faces), "full_f1": round(_f1(tally, point), 4), "int8_f1": 0.0}
        small_content = int8_form(full, graph, training)
        small = _judged(Session(small_content, "its int8 form"), images)
        if any(small.correct):
            scores["int8_f1"] = round(_f1(small, operating_point(small)), 4)
        if scores["int8_f1"] >= scores["full_f1"] - FALL:
            content, point = small_content, operating_point(small)
            info = replace(info, form="int8")
        info = replace(info, scores=scores).with_outputs(Detections("cells", round(point, 3)))
        return publish(content, info, out, staging, network.state_dict())
