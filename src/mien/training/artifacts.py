"""The files that an export writes: the ONNX file with the model's description inside, its training form, its entry."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import onnx
import safetensors.torch
import tomli_w
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import Tensor

from mien.assets.manifest import FORMAT, METADATA_KEY, ModelInfo
from mien.errors import ConfigError, WeightsError
from mien.files import check_folder, with_suffix, writable
from mien.training.rounding import corrected
from mien.training.silence import silenced

_IN_FLOAT: Final = ("BatchNormalization", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "PRelu")


def dump_toml(*models: ModelInfo) -> str:
    """The models as `manifest.toml` holds them."""
    tables = {info.name: info.as_dict() for info in models}
    for table in tables.values():
        del table["name"]
    return tomli_w.dumps({"format": FORMAT, "models": tables})


def check_name(out: Path) -> None:
    """Exported models are .onnx files, which can be written; a missing folder is made later.

    Raises:
        ConfigError: `out` has another suffix.
        OutputError: It cannot be written, or its entry cannot.
    """
    if out.suffix != ".onnx":
        raise ConfigError(f"{out}: an exported model is an .onnx file", hint=f"--out {with_suffix(out, '.onnx')}")
    check_folder(out.parent)
    for target in (out, out.with_suffix(".entry.toml")) if out.parent.is_dir() else ():
        writable(target)


def with_info(graph: bytes, info: ModelInfo) -> bytes:
    """The bytes of an ONNX file without metadata, with the description added.

    Bytes of protobuf messages may be joined: fields of the second are added to the first. So a large graph is
    serialised once, however often its description changes.
    """
    description = onnx.ModelProto()
    onnx.helper.set_model_props(description, {METADATA_KEY: info.to_json()})
    return graph + bytes(description.SerializeToString())


def publish(
    graph: bytes, info: ModelInfo, out: Path, staging: Path, weights: Mapping[str, Tensor] | None = None
) -> list[Path]:
    """Writes an exported model to `out`, with its manifest entry and, given weights, its training form beside it.

    Args:
        graph: The ONNX file without its description.
        info: The description; names and hashes of the files are filled in.
        out: The ONNX file to write, which is moved to its place last.
        staging: A folder beside `out`; see `files.staging_folder`.
        weights: The state of the network in its training form.

    Returns:
        The files written.

    Raises:
        OutputError: A file cannot be replaced.
    """
    contents = {".onnx": with_info(graph, info)}
    entry = replace(info, file=out.name, sha256=hashlib.sha256(contents[".onnx"]).hexdigest())
    if weights is not None:
        small = {
            name: (value.half() if value.is_floating_point() else value).contiguous() for name, value in weights.items()
        }
        training = safetensors.torch.save(small, metadata={METADATA_KEY: info.to_json()})
        contents[".safetensors"] = training
        entry = replace(
            entry,
            training_file=out.with_suffix(".safetensors").name,
            training_sha256=hashlib.sha256(training).hexdigest(),
        )
    contents[".entry.toml"] = dump_toml(entry).encode()
    targets = {suffix: writable(out.with_suffix(suffix)) for suffix in reversed(contents)}  # all, before any moves
    for suffix, target in targets.items():
        part = staging / f"finished{suffix}"
        part.write_bytes(contents[suffix])
        part.replace(target)
    return list(targets.values())


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Inputs of a network, some after the other: arrays by the names of its inputs."""

    def __init__(self, batches: Iterable[Mapping[str, NDArray[Any]]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> Mapping[str, NDArray[Any]] | None:
        """The next arrays; None at the end."""
        return next(self._batches, None)


def quantized(
    graph: onnx.ModelProto,
    batches: Callable[[], Iterable[Mapping[str, NDArray[Any]]]],
    excluded: Sequence[str],
    staging: Path,
    *,
    averaged: bool = False,
) -> bytes:
    """The int8 form of a network, without metadata.

    Weights use seven of their eight bits (`reduce_range`): processors without VNNI add products of unsigned and signed
    bytes in pairs in 16 bits, which would saturate. They are rounded by `rounding.corrected`. A normalisation that is
    no part of a convolution stays in float, and so does a leaky activation, which may stand before one: the channels of
    what lies between them differ in range by orders of magnitude. The output of the convolution before them is int8.

    Args:
        graph: The full form.
        batches: Makes inputs, by their names, that set the ranges of the activations and correct the biases.
        excluded: Names of the nodes that are not quantised.
        staging: A folder for files on the way.
        averaged: A range is the mean of those of the batches, not the widest, so that single outliers do not set it.

    Raises:
        WeightsError: The network has no layer that can be quantised.
    """
    full, small = staging / "rounded.onnx", staging / "int8.onnx"
    excluded = [*excluded, *(node.name for node in graph.graph.node if node.op_type in _IN_FLOAT)]
    onnx.save(corrected(graph, batches, excluded), full)
    with silenced(None):
        quantize_static(
            full,
            small,
            _Calibration(batches()),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=excluded,
            extra_options={"CalibMovingAverage": averaged},
        )
    graph = onnx.load(small)
    if not any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        raise WeightsError("the network has no layer that can be quantised", hint="use the full form")
    return serialised(graph)


def serialised(graph: onnx.ModelProto) -> bytes:
    """The bytes of a checked network, without metadata; changes it.

    The exporter notes for each node the lines of code that made it, with the paths of the machine: a tenth of a small
    file, and of no use to its readers.
    """
    onnx.checker.check_model(graph)
    described = [graph, graph.graph, *graph.graph.node, *graph.graph.initializer]
    described += [*graph.graph.input, *graph.graph.output, *graph.graph.value_info]
    for part in described:
        del part.metadata_props[:]
    return bytes(graph.SerializeToString())
