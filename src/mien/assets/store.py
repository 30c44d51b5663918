"""Finds weights and opens them, checked: shipped files against their hash, any file against its description."""

import hashlib
from pathlib import Path
from typing import Final

from mien.assets.classics import classic_file, repair
from mien.assets.manifest import (
    FOLDER,
    ModelInfo,
    Task,
    classic_models,
    default_model,
    info_in,
    model_info,
    shipped_models,
)
from mien.assets.recognise import wrong_model
from mien.assets.session import Session, shared_session
from mien.errors import ConfigError, WeightsError

REINSTALL: Final = "install mien again: pip install --force-reinstall --no-deps mien"


def open_model(
    model: str | Path | None = None, *, task: Task = "expression", threads: int = 1
) -> tuple[ModelInfo, Session]:
    """Opens a shipped model or a classic network by its name, or an exported one by the path of its ONNX file.

    Args:
        model: Name or path; None for the default of the task.
        task: What the model must be for.
        threads: That the network may use.

    Raises:
        ConfigError: There is no model of that name, it is for another task, or the name is empty.
        WeightsError: The file is missing or damaged, is something else (a run, a checkpoint, another program's model),
            was not exported by mien, or is for another task.
    """
    if model == "":
        raise ConfigError("the name of the model is empty", hint="check the variable it comes from")
    chosen = model or default_model(task)
    if _is_file(chosen):
        info, session = _opened_file(Path(chosen), threads)
        if info.task != task:
            raise WeightsError(
                f"{chosen}: is a model for {info.task}, expected one for {task}", hint="check that it is the right file"
            )
    else:
        info = model_info(str(chosen), task)
        session = shared_session(_known_bytes(info), info.file, threads=threads)
    _check_shapes(info, session)
    return info, session


def known_model(model: str | Path) -> ModelInfo | None:
    """The description of a shipped model, a classic network or an exported file, whatever its task; None for no model.

    Raises:
        WeightsError: It is a file that is damaged, is something else, or was not exported by mien.
    """
    if _is_file(model):
        return _opened_file(Path(model))[0]
    name = str(model).replace("_", "-")
    return shipped_models().get(name) or classic_models().get(name)


def _opened_file(path: Path, threads: int = 1) -> tuple[ModelInfo, Session]:
    """The description in an exported file, and its network.

    Raises:
        WeightsError: It is missing or damaged, is something else, or was not exported by mien.
    """
    session = shared_session(_read_model(path), str(path), threads=threads)
    info = info_in(session.metadata, session.origin)
    if info is None:
        raise WeightsError(
            f"{path}: mien did not export this file, so its classes and preprocessing are unknown",
            hint="make the file with `mien export`",
        )
    return info, session


def model_bytes(model: str | Path) -> bytes:
    """The ONNX file of a shipped model or a classic network, checked, or of a path.

    Raises:
        ConfigError: There is no model of that name.
        WeightsError: The file is missing or damaged.
    """
    if _is_file(model):
        return _read_model(Path(model))
    return _known_bytes(model_info(str(model)))


def _known_bytes(info: ModelInfo) -> bytes:
    """The checked file of a model that has a name.

    Raises:
        WeightsError: It is missing or damaged.
    """
    if info.name in shipped_models():
        return verified(FOLDER / info.file, info.sha256)
    return verified(classic_file(info), info.sha256, hint=repair(info))


def training_form(name: str) -> bytes:
    """The safetensors file of a shipped model, from which training can start.

    Raises:
        ConfigError: There is no model of that name.
        WeightsError: The file is missing or damaged.
    """
    info = model_info(name)
    if not info.training_file:
        same = [known for known in shipped_models(info.task).values() if known.training_file and known.form != "int8"]
        able = ", ".join(known.name for known in same)
        raise ConfigError(f"the model '{name}' ships without its training form", hint=f"start from one of {able}")
    return verified(FOLDER / info.training_file, info.training_sha256)


def verified(path: Path, sha256: str, *, hint: str = REINSTALL) -> bytes:
    """The content of a file that must have this hash; `hint` says how to repair it.

    Raises:
        WeightsError: The file is missing, or has another hash.
    """
    data = read_weights(path)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{path}: is damaged or was replaced: sha256 {found[:12]}..., expected {sha256[:12]}...",
            hint=hint,
        )
    return data


def _is_file(model: str | Path) -> bool:
    """Whether a path is meant, not the name of a model."""
    return str(model) not in {*shipped_models(), *classic_models()} and (
        Path(model).suffix == ".onnx" or Path(model).exists()
    )


def _read_model(path: Path) -> bytes:
    """The content of a file that is not recognised as something else than a model."""
    if wrong := wrong_model(path):
        raise wrong
    return read_weights(path)


def _check_shapes(info: ModelInfo, session: Session) -> None:
    """The network must have the inputs and outputs of its description."""
    expected = {part.name: part.shape for part in info.inputs}
    if list(session.inputs.items()) != list(expected.items()):
        raise WeightsError(
            f"{session.origin}: the network's inputs are {session.inputs}, its description says {expected}",
            hint="check that it is the right file",
        )
    expected = {part.name: part.shape for part in info.outputs}
    if session.outputs != expected:
        raise WeightsError(
            f"{session.origin}: the network's outputs are {session.outputs}, its description says {expected}",
            hint="check that it is the right file",
        )


def read_weights(path: Path) -> bytes:
    """The content of a file of weights.

    Raises:
        WeightsError: There is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weights file", hint="check the path of the weights") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}", hint="give the path of a file") from error
