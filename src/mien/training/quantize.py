"""int8: static, per channel, calibrated on training images, and kept only if nothing is lost.

The first convolution and the heads stay as they are: with them in int8 the argmax protocol lost 0.39 points.

Weights use seven of their eight bits (`reduce_range`): on processors without VNNI the products of unsigned and signed
bytes are added in pairs in 16 bits and would saturate, which a newer processor hides.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from mien.assets.manifest import dump_toml
from mien.assets.store import model_bytes, open_model
from mien.datasets import Samples
from mien.errors import ConfigError, WeightsError
from mien.evaluation import Evaluation, evaluate_model
from mien.expression.preprocess import fitted, normalised
from mien.files import staging_folder
from mien.training.expression.export import calibrated, publish, with_info
from mien.training.silence import quiet

__all__ = ["Calibration", "quantize", "quantized"]

FALL: Final = 0.003  # of accuracy, at most, under any protocol
RISE: Final = 0.005  # of the negative log-likelihood, nats
SHIFT: Final = 0.005  # of the calibration error, unless chance explains more
SUFFIX: Final = "-int8"
_BATCH: Final = 64


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Inputs of a network, one after the other: arrays by the names of its inputs."""

    def __init__(self, inputs: Iterable[dict[str, NDArray[Any]]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next ones; None at the end."""
        return next(self._inputs, None)


def quantize(model: str | Path, samples: Samples, out: Path, *, count: int = 2048, seed: int = 0) -> list[Path]:
    """Writes the int8 form of an exported model, with temperatures of its own, if it reads as well as the model itself.

    Args:
        model: Name of a shipped model, or path of an ONNX file.
        samples: With the split `train`, which sets the ranges, and `val`, on which both are judged.
        out: The ONNX file to write; its manifest info (.entry.toml) comes beside it.
        count: Training images to calibrate on.
        seed: Of their choice.

    Returns:
        The files written.

    Raises:
        WeightsError: The int8 form is worse than `FALL`, `RISE` and `SHIFT` allow; nothing is written then.
        OutputError: The files cannot be written.
    """
    if out.suffix != ".onnx":
        raise ConfigError(f"{out}: an int8 model is an .onnx file", hint=f"--out {out.with_suffix('.onnx')}")
    info, session = open_model(model)
    training, held = samples.only("train"), samples.only("val")
    rows = np.sort(np.random.default_rng(seed).permutation(len(training))[:count])
    images = normalised(fitted(training.images[rows], info.input), info.input)
    with staging_folder(out) as place:
        (place / "full.onnx").write_bytes(model_bytes(model))
        ends = _ends(onnx.load(place / "full.onnx"))
        name = next(iter(session.inputs))
        batches = ({name: images[start : start + _BATCH]} for start in range(0, len(images), _BATCH))
        graph = quantized(place / "full.onnx", place / "int8.onnx", Calibration(batches), ends)
        trial = place / "trial.onnx"
        small = replace(
            info,
            name=info.name + SUFFIX,
            description=f"{info.description}; int8",
            scores={},
            file="",
            sha256="",
            training_file="",
            training_sha256="",
        )
        trial.write_bytes(with_info(graph, small))
        small = calibrated(small, trial, held)
        trial.write_bytes(with_info(graph, small))
        judged = evaluate_model(trial, held, split="val")
        _gate(evaluate_model(model, held, split="val"), judged)
        small = replace(small, scores=judged.headline())
        trial.write_bytes(with_info(graph, small))
        return publish(trial, small, out, dump=dump_toml)


def quantized(full: Path, out: Path, calibration: Calibration, excluded: list[str]) -> onnx.ModelProto:
    """The int8 form of a network, but for the nodes `excluded` by name.

    Args:
        full: The ONNX file of the full form.
        out: Where the int8 form is put as well.
        calibration: Inputs whose activations set the ranges.
        excluded: Nodes that stay as they are.
    """
    with quiet(None):
        quantize_static(
            full,
            out,
            calibration,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=excluded,
        )
    return onnx.load(out)


def _ends(graph: onnx.ModelProto) -> list[str]:
    """The first convolution and the heads: a thousandth of the work, and where rounding costs most."""
    nodes = graph.graph.node
    first = next(node.name for node in nodes if node.op_type == "Conv")
    return [first, *(node.name for node in nodes if node.op_type in ("Gemm", "MatMul"))]


def _gate(full: Evaluation, small: Evaluation) -> None:
    """Accuracy, likelihood and calibration must stay.

    The calibration error itself moves by half a point by chance alone; it is held against what perfectly calibrated
    models show on as many faces, and the likelihood, which is steadier, against the full form's.
    """
    for name, before in full.scores.items():
        after = small.scores[name]
        fall = before.accuracy.value - after.accuracy.value
        rise = after.nll.value - before.nll.value
        error, chance = after.calibration_error.value, after.perfect_error.high
        if fall > FALL or rise > RISE or error > max(before.calibration_error.value + SHIFT, chance):
            raise WeightsError(
                f"{before.protocol}: the int8 form's accuracy falls by {100 * fall:.2f} points "
                f"(at most {100 * FALL:.1f}), its log-likelihood by {rise:.4f} nats (at most {RISE}), "
                f"and its calibration error goes from {100 * before.calibration_error.value:.2f} "
                f"to {100 * error:.2f} points",
                hint="ship the full form",
            )
