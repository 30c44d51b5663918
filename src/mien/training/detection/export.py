"""Exports a detector's run: one ONNX file with the model's description inside, and its training form beside it.

The file takes images (N, H, W, 3) uint8 RGB whose sides are multiples of 32. All but the first convolution and the
heads run in int8 (per channel, calibrated on scenes of training images), unless that is no faster with this network or
costs more than `FALL` of F1 on held-back photographs; then the full form is written. The photographs also set the
operating points, one for each range of sizes, so that a score of 0.5 has the same precision at every size. Nothing is
written if the full form differs from its checkpoint.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from mien.evaluation.detection import Tally, operating_point, operating_points
from mien.faces.detectors import Detections as Found
from mien.faces.detectors import DetectorOptions
from mien.faces.detectors.mien import MienDetector
from mien.files import staging_folder
from mien.models.detection import DetectionNetwork
from mien.training.artifacts import check_name, publish, quantized, serialised
from mien.training.detection.scenes import Scene
from mien.training.silence import silenced

TOLERANCE: Final = 2e-3  # of the parity gate, on outputs in units of the stride
FALL: Final = 0.01  # of F1 on the held-back images, at most, from the full form to int8
_LOWEST: Final = 0.1  # faces with lower scores are ignored when the operating point is chosen
_HALF: Final = 0.5


class _FromPixels(nn.Module):
    """A detector that takes pixels; the division by 255 is in its first convolution."""

    def __init__(self, network: DetectionNetwork) -> None:
        super().__init__()
        self.network = network
        first = next(layer for layer in self.network.modules() if isinstance(layer, nn.Conv2d))
        with torch.no_grad():
            first.weight /= 255

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, 3) uint8 -> cells (N, cells, 15), and the deepest map's mean (N, F)."""
        levels = self.network.levels(images.permute(0, 3, 1, 2).float())
        return self.network.cells(levels), levels[-1].mean(dim=(2, 3))


def graph_of(network: DetectionNetwork) -> onnx.ModelProto:
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


def int8_form(graph: onnx.ModelProto, training: Sequence[Scene], staging: Path) -> bytes:
    """The int8 form of a detector, whose first convolution and heads are not quantised; `staging` takes its files."""
    nodes = graph.graph.node
    first = next(node.name for node in nodes if node.op_type == "Conv")
    heads = [node.name for node in nodes if node.op_type == "Conv" and "heads" in node.name]
    others = [node.name for node in nodes if node.op_type not in ("Conv", "Relu", "Add", "Resize")]
    return quantized(
        graph,
        lambda: ({"images": scene.image[None]} for scene in training),
        [first, *heads, *others],
        staging,
    )


def _check_parity(network: DetectionNetwork, session: Session, scenes: Iterable[Scene]) -> None:
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


@dataclass(frozen=True)
class Held:
    """Held-back images that set the operating points and decide on int8.

    Attributes:
        images: Natural photographs rather than composed scenes: scores that balance alarms and misses on scenes, which
            have more tiny and degraded faces, give many false alarms on photographs.
        precision: At the operating point, at every size.
    """

    images: Sequence[FaceImage]
    precision: float


def _tally(detector: MienDetector, images: Iterable[FaceImage]) -> Tally:
    """Counts on the images, with sizes in pixels of the searched image."""
    tally = Tally()
    for image in images:
        found, scale = detector.detect(image.image, min_score=_LOWEST), detector.scale(image.image.shape)
        larger = replace(
            image, boxes=image.boxes * scale, landmarks=image.landmarks * scale, ignore=image.ignore * scale
        )
        tally.add(Found(found.boxes * np.float32(scale), found.scores), larger)
    return tally


def _calibrated(session: Session, held: Held) -> tuple[Detections, float]:
    """The output's description with its operating points, and the F1 there; a detector that finds nothing has 0."""
    plain = _tally(MienDetector(DetectorOptions(), session, Detections()), held.images)
    if not any(plain.correct):
        return Detections(), 0.0
    points = operating_points(plain, held.precision)
    rounded = tuple((side, round(point, 3)) for side, point in points)
    output = Detections("cells", round(operating_point(plain), 3), rounded)
    scores = output.calibrated(np.array(plain.scores), np.array(plain.detections)) >= _HALF
    right = int(np.array(plain.correct)[scores].sum())
    return output, 2 * right / (int(scores.sum()) + len(plain.faces))


def export_detector(
    network: DetectionNetwork, info: ModelInfo, training: list[Scene], held: Held, out: Path
) -> list[Path]:
    """Writes a trained detector to `out` (.onnx), with its training form and its manifest entry beside it.

    Args:
        network: With its trained weights.
        info: The description; form, operating points and scores are filled in.
        training: Scenes of training images, which set the ranges of int8.
        held: Held-back images, which set the operating points and decide on int8.
        out: The ONNX file to write.

    Returns:
        The files written.

    Raises:
        WeightsError: The file differs from the checkpoint, or finds no face.
        OutputError: The files cannot be written.
    """
    check_name(out)
    network = network.float().eval()
    with staging_folder(out) as staging:
        graph = graph_of(network.fused())
        content = serialised(graph)
        session = Session(content, "the exported detector")
        _check_parity(network, session, training[:8])
        output, f1 = _calibrated(session, held)
        faces = sum(len(image.boxes) for image in held.images)
        if not f1:
            raise WeightsError(
                f"the detector finds none of the {faces} faces of the held-back images", hint="train it longer"
            )
        scores = {"faces": faces, "full_f1": round(f1, 4)}
        if network.gains_from_int8:
            small_content = int8_form(graph, training, staging)
            small_output, small_f1 = _calibrated(Session(small_content, "its int8 form"), held)
            scores["int8_f1"] = round(small_f1, 4)
            if small_f1 >= f1 - FALL:
                content, output = small_content, small_output
                info = replace(info, form="int8")
        info = replace(info, scores=scores).with_outputs(output)
        return publish(content, info, out, staging, network.state_dict())
