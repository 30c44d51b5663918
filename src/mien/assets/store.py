"""Finds weights and opens them, checked: the shipped ones against their hash, a file against what it says of itself."""

import hashlib
from pathlib import Path
from typing import Final

from mien.assets.manifest import FOLDER, METADATA_KEY, ModelInfo, info, shipped_models
from mien.assets.session import Session
from mien.errors import WeightsError

__all__ = ["default_model", "model_bytes", "open_model", "read_weights", "verified"]

REINSTALL: Final = "install mien again: pip install --force-reinstall --no-deps mien"


def default_model() -> str:
    """The model that is used where none is named: the manifest's first."""
    return next(iter(shipped_models()))


def open_model(model: str | Path | None = None, *, threads: int = 1) -> tuple[ModelInfo, Session]:
    """Opens a shipped model by its name, or any exported one by the path of its ONNX file.

    Raises:
        ConfigError: There is no model of that name.
        WeightsError: The file is missing, damaged, or was not exported by mien.
    """
    chosen = model or default_model()
    data = model_bytes(chosen)
    if not _is_file(chosen):
        known = info(str(chosen))
        session = Session(data, known.file, threads=threads)
    else:
        session = Session(data, str(chosen), threads=threads)
        known = _own_info(session)
    _check_shapes(known, session)
    return known, session


def model_bytes(model: str | Path) -> bytes:
    """The ONNX file of a shipped model, checked, or of a path.

    Raises:
        ConfigError: There is no model of that name.
        WeightsError: The file is missing or damaged.
    """
    if _is_file(model):
        return read_weights(Path(model))
    known = info(str(model))
    return verified(FOLDER / known.file, known.sha256)


def verified(path: Path, sha256: str, *, hint: str = REINSTALL) -> bytes:
    """The bytes of a file, if they have the hash that its info names; `hint` says how to mend it if not.

    Raises:
        WeightsError: The file is missing, or has another hash.
    """
    data = read_weights(path)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{path}: is damaged or was swapped: sha256 {found[:12]}..., expected {sha256[:12]}...",
            hint=hint,
        )
    return data


def _is_file(model: str | Path) -> bool:
    """A path is meant, not the name of a shipped model."""
    return str(model) not in shipped_models() and (Path(model).suffix == ".onnx" or Path(model).exists())


def _own_info(session: Session) -> ModelInfo:
    if METADATA_KEY not in session.metadata:
        raise WeightsError(
            f"{session.origin}: carries no info of mien's, so its labels and preprocessing are unknown",
            hint="make the file with `mien export`",
        )
    return ModelInfo.from_json(session.metadata[METADATA_KEY], session.origin)


def _check_shapes(known: ModelInfo, session: Session) -> None:
    """The network must have the one input and the heads that its info names."""
    expected = (known.input.depth, known.input.size, known.input.size)
    shapes = list(session.inputs.values())
    if len(shapes) != 1 or shapes[0][1:] != expected:
        raise WeightsError(
            f"{session.origin}: takes {shapes}, its info says (N, {', '.join(map(str, expected))})",
            hint="is it the right file?",
        )
    heads = {head.name: (None, len(head.emotions)) for head in known.heads}
    if session.outputs != heads:
        raise WeightsError(
            f"{session.origin}: gives {session.outputs}, its info says {heads}", hint="is it the right file?"
        )


def read_weights(path: Path) -> bytes:
    """The bytes of any weight file.

    Raises:
        WeightsError: There is none, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weights", hint="check the path of the file") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}", hint="give the path of a file") from error
