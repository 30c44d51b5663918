"""From a detector's run to what ships: one int8 ONNX file with its entry inside, and its training form beside it.

The file takes pictures as they are, (N, H, W, 3) uint8 RGB, sides multiples of 32. All but the first convolution and
the heads run in int8 (per channel, calibrated on scenes of training pictures); it ships only if it finds faces as well
as the full form does. The full form is judged first and refused if it differs from its checkpoint.
"""

import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from mien.assets.detectors import METADATA_KEY, OUTPUTS, DetectorEntry, dump_toml, open_detector
from mien.datasets.facepictures import FacePicture
from mien.errors import WeightsError
from mien.evaluation.detection import Tally, judge, operating_point
from mien.faces.detectors import DetectorOptions
from mien.faces.detectors.mien import MienDetector
from mien.models.detector import FaceDetector
from mien.training.detection.scenes import Scene
from mien.training.export import publish, workplace
from mien.training.int8 import Calibration, quantized
from mien.training.quiet import quiet

__all__ = ["export_detector"]

TOLERANCE: Final = 2e-3  # of the parity gate, on outputs in units of the stride
FALL: Final = 0.01  # of F1 on the held-back scenes, at most, from the full form to int8
_LOOKED_AT: Final = 0.1  # lower scores play no part in choosing the operating point


class _FromPixels(nn.Module):
    """The network behind raw pixels; the division by 255 is in its first convolution."""

    def __init__(self, network: FaceDetector) -> None:
        super().__init__()
        self.network = network.fused()
        first = next(layer for layer in self.network.modules() if isinstance(layer, nn.Conv2d))
        with torch.no_grad():
            first.weight /= 255

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, cells, 15)."""
        found: Tensor = self.network(pictures.permute(0, 3, 1, 2).float())
        return found


def _graph(network: FaceDetector) -> onnx.ModelProto:
    example = torch.zeros(2, 96, 160, 3, dtype=torch.uint8)
    free = {0: "pictures", 1: "height", 2: "width"}
    file = io.BytesIO()
    with quiet("torch.onnx"):
        # The older exporter: a pyramid's sizes are free in it without a proof that they fit each other.
        torch.onnx.export(
            _FromPixels(network).eval(),
            (example,),
            file,  # type: ignore[arg-type]  # which the older exporter takes
            input_names=["pictures"],
            output_names=["cells"],
            dynamic_axes={"pictures": free, "cells": {0: "pictures", 1: "cells"}},
            dynamo=False,
        )
    graph = onnx.load_from_string(file.getvalue())
    graph.graph.output[0].type.tensor_type.shape.dim[2].dim_value = OUTPUTS  # which the exporter lost on the way
    onnx.checker.check_model(graph)
    return graph


def _with_entry(graph: onnx.ModelProto, entry: DetectorEntry) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    onnx.helper.set_model_props(copy, {METADATA_KEY: entry.to_json()})
    return bytes(copy.SerializeToString())


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


def _labelled(scenes: Iterable[Scene]) -> list[FacePicture]:
    return [
        FacePicture(
            image=scene.image,
            boxes=scene.boxes.astype(np.float64),
            landmarks=scene.landmarks.astype(np.float64),
            ignore=scene.ignore.astype(np.float64),
        )
        for scene in scenes
    ]


def _judged(path: Path, pictures: list[FacePicture]) -> Tally:
    """All that the network itself gives a score of `_LOOKED_AT`; its own scores are kept."""
    _, session = open_detector(path)
    return judge(MienDetector(DetectorOptions(), session, 0.5), pictures, min_score=_LOOKED_AT)


def _f1(tally: Tally, score: float) -> float:
    right, taken = tally.precision(score=score)
    return 2 * right / max(1, taken + len(tally.faces))


def export_detector(
    network: FaceDetector,
    entry: DetectorEntry,
    training: list[Scene],
    held: list[Scene],
    out: Path,
    *,
    int8: bool = True,
) -> list[Path]:
    """Writes a trained detector to `out` (.onnx), its training form and its entry beside it.

    Args:
        network: With its trained weights.
        entry: Its name, architecture, licence and data; operating point and scores are filled in.
        training: Scenes of training pictures, which set the ranges of int8.
        held: Scenes of pictures held back, which set the operating point and judge int8.
        out: The ONNX file to write.
        int8: Write the int8 form; else the full one.

    Returns:
        The files written.

    Raises:
        WeightsError: The file differs from the checkpoint, or its int8 form finds faces less well.
        OutputError: The files cannot be written.
    """
    network = network.float().eval()
    pictures = _labelled(held)
    with workplace(out) as place:
        full, trial = place / "full.onnx", place / "trial.onnx"
        graph = _graph(network)
        full.write_bytes(_with_entry(graph, entry))
        _check_parity(network, full, held[:8])
        tally = _judged(full, pictures)
        point = operating_point(tally)
        scores: dict[str, Any] = {"full_f1": round(_f1(tally, point), 4), "held_back_faces": len(tally.faces)}
        if int8:
            plain = [node.name for node in graph.graph.node if node.op_type == "Conv" and "heads" in node.name]
            first = next(node.name for node in graph.graph.node if node.op_type == "Conv")
            others = {node.name for node in graph.graph.node if node.op_type not in ("Conv", "Relu", "Add", "Resize")}
            inputs = Calibration({"pictures": scene.image[None]} for scene in training)
            graph = quantized(full, place / "int8.onnx", inputs, [first, *plain, *sorted(others)])
            trial.write_bytes(_with_entry(graph, entry))
            small = _judged(trial, pictures)
            point = operating_point(small)
            scores["int8_f1"] = round(_f1(small, point), 4)
            if scores["int8_f1"] < scores["full_f1"] - FALL:
                raise WeightsError(
                    f"the int8 form finds faces less well: F1 {scores['int8_f1']:.3f} against {scores['full_f1']:.3f} "
                    f"on {len(tally.faces)} faces of held-back scenes, at most {FALL} less is allowed",
                    hint="train it longer, or export the full form with --full",
                )
        entry = replace(entry, operating_point=round(point, 3), scores=scores)
        trial.write_bytes(_with_entry(graph, entry))
        return publish(trial, entry, out, network, key=METADATA_KEY, dump=dump_toml)
