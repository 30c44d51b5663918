"""Checkpoint files: written completely or not at all, and read without executing code."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch

from mien.errors import OutputError, WeightsError
from mien.training.tasks import TrainingModule

M = TypeVar("M", bound=TrainingModule)


def save(contents: Mapping[Path, Mapping[str, Any]]) -> None:
    """Writes several checkpoints beside their places and moves them there together.

    A kill or a full disk leaves the earlier files complete.

    Raises:
        OutputError: A file cannot be written.
    """
    partial = {path: path.with_name(f"{path.name}.partial") for path in contents}
    for path, content in contents.items():
        try:
            torch.save(dict(content), partial[path])
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError when the disk is full
            for each in partial.values():
                each.unlink(missing_ok=True)
            reason = str(error).partition("\n")[0]
            raise OutputError(f"{path}: cannot be written: {reason}", hint="free some space, then --resume") from error
    for path, each in partial.items():
        each.replace(path)


def read(checkpoint: Path) -> dict[str, Any]:
    """Everything in a checkpoint: plain types and tensors.

    Raises:
        WeightsError: The file is missing, damaged, or holds pickled code, which is refused and never run.
    """
    with _readable(checkpoint):
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return content


def load_module(kind: type[M], checkpoint: Path) -> M:
    """The module in a checkpoint, in evaluation mode, with averaged weights if the run averaged them.

    Raises:
        WeightsError: The file is not a checkpoint of such a module, or as for `read`.
    """
    content = read(checkpoint)
    with _readable(checkpoint):
        module = kind(**content["hyper_parameters"])
        module.load_state_dict(content["state_dict"])
        return module.eval()


@contextmanager
def _readable(checkpoint: Path) -> Iterator[None]:
    """Turns whatever is wrong with a checkpoint into a WeightsError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch asks for a bug report if a file is foreign
            yield
    except FileNotFoundError:
        raise WeightsError(f"{checkpoint}: no such checkpoint", hint="give the folder of a finished run") from None
    except UnpicklingError as error:  # torch's own text advises to load it without the check
        raise WeightsError(
            f"{checkpoint}: is damaged, or contains more than weights, which mien does not load", hint="train it again"
        ) from error
    except Exception as error:
        reason = f"no {error} in it" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise WeightsError(f"{checkpoint}: is not a checkpoint, or damaged: {reason}", hint="train it again") from error
