"""int8 models: static, per channel, calibrated on training images, and written only if they lose next to nothing.

The first convolution and the last layer of each head are not quantised: in `mien-base`, an earlier model, they cost
0.39 points under the argmax protocol. Dense layers before them are: they can have most of the weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from mien.assets.signature import Features, ImageInput
from mien.assets.store import model_bytes, open_model
from mien.datasets import Samples
from mien.errors import ConfigError, WeightsError
from mien.evaluation import Evaluation, evaluate_model
from mien.expression import OnnxClassifier
from mien.expression.preprocess import fitted, normalised
from mien.files import staging_folder
from mien.progress import Progress, Steps, unseen
from mien.training.artifacts import check_name, publish, quantized, with_info
from mien.training.expression.export import calibrated

FALL: Final = 0.003  # of accuracy, at most, under any protocol
FACES: Final = 2  # which may be lost in any case, at a nat each: few faces cannot show a smaller fall
RISE: Final = 0.005  # of the negative log-likelihood, nats
SHIFT: Final = 0.005  # of the calibration error, unless chance explains more
SUFFIX: Final = "-int8"
_BATCH: Final = 64


def quantize(
    model: str | Path,
    samples: Samples,
    out: Path,
    *,
    name: str = "",
    count: int = 4096,
    seed: int = 0,
    progress: Progress = unseen,
) -> list[Path]:
    """Writes the int8 form of an exported model, with its own temperatures, if it is as accurate as the model.

    Args:
        model: Name of a shipped model or a classic network, or path of an ONNX file.
        samples: With the split `train`, which sets the ranges, and `val`, on which both forms are evaluated.
        out: The ONNX file to write; its manifest entry (.entry.toml) is written beside it.
        name: Of the int8 form; by default that of the model with `SUFFIX`.
        count: Number of training images to calibrate on.
        seed: For their choice.
        progress: Called with the number of images read so far and the total.

    Returns:
        The files written.

    Raises:
        ConfigError: There is no such model, it is int8 already, or `out` is not an .onnx file.
        WeightsError: The int8 form is worse than `FALL`, `RISE` and `SHIFT` allow; nothing is written.
        OutputError: The files cannot be written.
    """
    check_name(out)
    info, session = open_model(model)
    if info.form == "int8":
        raise ConfigError(f"the model '{info.name}' is int8 already", hint="quantise its full form")
    if not (len(info.inputs) == 1 and isinstance(info.inputs[0], ImageInput) and info.inputs[0].frames == 1):
        raise ConfigError(
            f"the model '{info.name}' does not read single images alone, so it has no int8 form", hint="use it as it is"
        )
    training, held = samples.only("train"), samples.only("val")
    rows = np.sort(np.random.default_rng(seed).permutation(len(training))[:count])
    images = normalised(fitted(training.images[rows], info.input), info.input)
    with staging_folder(out) as staging:
        trial = staging / "trial.onnx"
        full = onnx.load_from_string(model_bytes(model))
        for number, node in enumerate(full.graph.node):
            node.name = node.name or f"{node.op_type}.{number}"  # layers are told apart by their names
        source = next(iter(session.inputs))
        heads = [output.name for output in info.outputs if not isinstance(output, Features)]
        # Training images are read twice, those held out by both forms and for the temperatures.
        steps = Steps(progress, 2 * len(images) + 3 * len(held))

        def batches() -> Iterator[dict[str, NDArray[np.float32]]]:
            # Of equal length, because each counts alike in the ranges.
            for batch in np.array_split(images, -(-len(images) // _BATCH)):
                yield {source: batch}
                steps.add(len(batch))

        graph = quantized(full, batches, _ends(full, heads), staging, averaged=True)
        small = replace(
            info,
            name=name or info.name + SUFFIX,
            description=f"{info.description}; int8",
            form="int8",
            scores={},
        )
        trial.write_bytes(with_info(graph, small))
        quantised = OnnxClassifier(trial)
        quantised.info = calibrated(quantised, held)
        steps.add(len(held))
        scores = evaluate_model(quantised, held, split="val", progress=steps.part())
        _gate(evaluate_model(model, held, split="val", progress=steps.part()), scores)
        return publish(graph, replace(quantised.info, scores=scores.headline()), out, staging)


def _ends(graph: onnx.ModelProto, heads: Sequence[str]) -> list[str]:
    """The first convolution and the last layer of each head: a thousandth of the work, where rounding costs accuracy.

    Args:
        graph: The full form.
        heads: Outputs of the heads.
    """
    nodes = graph.graph.node
    made_by = {output: node for node in nodes for output in node.output}
    ends = [next(node.name for node in nodes if node.op_type == "Conv")]
    before, seen = list(heads), set[str]()
    while before:
        name = before.pop()
        node = made_by.get(name)
        if name in seen or node is None or node.op_type == "Conv":
            continue
        seen.add(name)
        if node.op_type in ("Gemm", "MatMul"):
            ends.append(node.name)
        else:
            before += node.input
    return ends


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
        most, steepest = (max(limit, FACES / after.n) for limit in (FALL, RISE))
        allowed = max(before.calibration_error.value + SHIFT, chance)
        if fall > most + 1e-9 or rise > steepest or error > allowed:
            raise WeightsError(
                f"{before.protocol}: the int8 form's accuracy {_moves(-100 * fall, '.2f')} points "
                f"(it may fall by {100 * most:.1f}), its log-likelihood {_moves(-rise, '.4f')} nats "
                f"(by {steepest:.3f}), and its calibration error goes from {100 * before.calibration_error.value:.2f} "
                f"to {100 * error:.2f} points (at most {100 * allowed:.2f})",
                hint="use the full form",
            )


def _moves(change: float, form: str) -> str:
    """A change in words."""
    return f"{'falls' if change < 0 else 'rises'} by {abs(change):{form}}"
