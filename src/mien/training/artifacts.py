"""The files that an export writes: the ONNX file with the model's description inside, its training form, its entry."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from mien.errors import ConfigError
from mien.files import check_folder, with_suffix, writable
from mien.training.silence import silenced


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


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Inputs of a network, one after the other: arrays by the names of its inputs."""

    def __init__(self, inputs: Iterable[dict[str, NDArray[Any]]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next arrays; None at the end."""
        return next(self._inputs, None)


def quantized(full: Path, calibration: Calibration, excluded: list[str]) -> bytes:
    """The int8 form of a network, without metadata.

    Weights use seven of their eight bits (`reduce_range`): processors without VNNI add products of unsigned and signed
    bytes in pairs in 16 bits, which would saturate.

    Args:
        full: The ONNX file of the full form; files beside it are overwritten.
        calibration: Inputs that set the ranges of the activations.
        excluded: Names of the nodes that are not quantised.
    """
    small = full.with_name("int8.onnx")
    with silenced(None):
        quantize_static(
            full,
            small,
            calibration,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=excluded,
        )
    return serialised(onnx.load(small))


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
