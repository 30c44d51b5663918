"""int8: static, per channel, calibrated on training pictures, and kept only if nothing is lost.

Weights use seven of their eight bits (`reduce_range`): on processors without VNNI the products of unsigned and signed
bytes are added in pairs in 16 bits and would saturate, which a newer processor hides.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

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

from mien.assets.store import model_bytes, open_model
from mien.datasets import Samples
from mien.errors import ConfigError, OutputError, WeightsError
from mien.evaluation import Evaluation, evaluate_model
from mien.expression.pictures import fitted, normalised
from mien.training.export import publish, with_entry

__all__ = ["quantize"]

FALL: Final = 0.003  # of accuracy, at most, under any protocol
SHIFT: Final = 0.005  # of the calibration error
SUFFIX: Final = "-int8"


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Training pictures, one batch after the other, under the name of the network's input."""

    def __init__(self, pictures: NDArray[np.float32], name: str, size: int = 64) -> None:
        self._batches: Iterator[dict[str, NDArray[np.float32]]] = (
            {name: pictures[start : start + size]} for start in range(0, len(pictures), size)
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch; None at the end."""
        return next(self._batches, None)


def quantize(model: str | Path, samples: Samples, out: Path, *, count: int = 1024, seed: int = 0) -> list[Path]:
    """Writes the int8 form of an exported model, if it reads as well as the model itself.

    Args:
        model: Name of a shipped model, or path of an ONNX file.
        samples: With the split `train`, which sets the ranges, and `val`, on which both are judged.
        out: The ONNX file to write; its manifest entry (.entry.toml) comes beside it.
        count: Training pictures to calibrate on.
        seed: Of their choice.

    Returns:
        The files written.

    Raises:
        WeightsError: The int8 form loses more than `FALL` of accuracy or moves the calibration error by more than
            `SHIFT`; nothing is written then.
        OutputError: The files cannot be written.
    """
    if out.suffix != ".onnx":
        raise ConfigError(f"{out}: an int8 model is an .onnx file", hint=f"--out {out.with_suffix('.onnx')}")
    entry, session = open_model(model)
    training, held = samples.only("train"), samples.only("val")
    rows = np.sort(np.random.default_rng(seed).permutation(len(training))[:count])
    pictures = normalised(fitted(training.images[rows], entry.input), entry.input)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".quantize-") as name:
            place = Path(name)
            (place / "full.onnx").write_bytes(model_bytes(model))
            quantize_static(
                place / "full.onnx",
                place / "int8.onnx",
                _Calibration(pictures, next(iter(session.inputs))),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
            graph = onnx.load(place / "int8.onnx")
            trial = place / "trial.onnx"
            small = replace(
                entry,
                name=entry.name + SUFFIX,
                description=f"{entry.description}; int8",
                scores={},
                file="",
                sha256="",
                training_file="",
                training_sha256="",
            )
            trial.write_bytes(with_entry(graph, small))
            judged = evaluate_model(trial, held, split="val")
            _gate(evaluate_model(model, held, split="val"), judged)
            small = replace(small, scores=judged.headline())
            trial.write_bytes(with_entry(graph, small))
            return publish(trial, small, out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}", hint="choose another --out") from error


def _gate(full: Evaluation, small: Evaluation) -> None:
    for name, before in full.judgements.items():
        after = small.judgements[name]
        fall = before.accuracy.value - after.accuracy.value
        shift = abs(after.calibration_error.value - before.calibration_error.value)
        if fall > FALL or shift > SHIFT:
            raise WeightsError(
                f"the int8 form loses {100 * fall:.2f} points of accuracy ({before.protocol}), at most "
                f"{100 * FALL:.1f} are allowed, and moves the calibration error by {100 * shift:.2f}",
                hint="ship the full form",
            )
