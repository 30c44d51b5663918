"""Checkpoint files: written whole or not at all, and read without running what they hold."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from mien.errors import OutputError, WeightsError
from mien.training.recipe_base import better

__all__ = ["BestCheckpoint", "CheckpointFiles", "bare", "read", "readable"]


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there: a kill or a full disk leaves the old one whole.

    Lightning's own writes to the system's temporary folder, whence moving is copying if that is another disk.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Writes `checkpoint` to `path`.

        Raises:
            OutputError: It cannot be written.
        """
        partial = Path(f"{os.fspath(path)}.partial")
        try:
            torch.save(checkpoint, partial)
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # torch raises the second when the disk is full
            partial.unlink(missing_ok=True)
            reason = str(error).partition("\n")[0]
            raise OutputError(f"{path}: cannot be written: {reason}", hint="make room, then --resume") from error


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best epoch's checkpoint as `best.ckpt`, through all rounds of a run, wherever its folder moves."""

    def __init__(self, folder: Path, figure: str) -> None:
        super().__init__(
            dirpath=folder, filename="best", monitor=figure, mode=better(figure), enable_version_counter=False
        )

    @property
    def state_key(self) -> str:
        """That of its base class, under which older runs have it."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up a state, also one that was saved where the run's folder lay before.

        Lightning forgets the best figure then, and the next epoch would be the best, whatever its figure.
        """
        path, score = str(Path(self.dirpath or "") / "best.ckpt"), state_dict["best_model_score"]
        best = {path: score} if state_dict["best_k_models"] else {}
        moved = {"dirpath": self.dirpath, "best_model_path": path, "kth_best_model_path": path, "best_k_models": best}
        super().load_state_dict(state_dict | moved)


def read(checkpoint: Path) -> dict[str, Any]:
    """All that a checkpoint holds, plain types and tensors.

    Raises:
        WeightsError: It is missing, damaged, or holds pickled code, which is refused and never run.
    """
    with readable(checkpoint):
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return content


@contextmanager
def readable(checkpoint: Path) -> Iterator[None]:
    """Says what is wrong with a checkpoint that cannot be loaded.

    Raises:
        WeightsError: It is missing, damaged, not mien's, or holds pickled code, which is refused and never run.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch asks for a bug report where a file is foreign
            yield
    except FileNotFoundError:
        raise WeightsError(f"{checkpoint}: no such checkpoint", hint="give the folder of a finished run") from None
    except UnpicklingError as error:  # torch's own text advises to load it all the same
        raise WeightsError(
            f"{checkpoint}: is damaged, or holds more than weights, which mien does not load", hint="train it again"
        ) from error
    except Exception as error:
        if isinstance(error, (OSError, EOFError)) and checkpoint.is_file():
            reason = "it is cut short or damaged"
        else:
            reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(f"{checkpoint}: cannot be loaded: {reason}", hint="train it again") from error


def bare(content: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's content without the state of the training: what is read and exported as before, not resumed."""
    kept = ("epoch", "global_step", "pytorch-lightning_version", "hyper_parameters", "hparams_name", "state_dict")
    return {key: content[key] for key in kept if key in content}
