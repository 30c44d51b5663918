"""The kind of recipe that teaches a face detector."""

from pathlib import Path

import lightning
import torch

from mien.assets.detectors import DetectorEntry
from mien.datasets import face_images as facepictures
from mien.training.checkpoints import readable
from mien.training.detection.data import Scenes
from mien.training.detection.module import DetectorTask
from mien.training.detection.recipe import DetectorRecipe
from mien.training.tasks import Kind, Lesson

__all__ = ["KIND", "export", "lesson"]

_CALIBRATION, _HELD = 96, 240  # scenes that set the ranges of int8, and those that judge


def lesson(recipe: DetectorRecipe, folder: Path) -> Lesson:
    """What `recipe` learns from the labelled pictures in `folder`.

    Raises:
        ConfigError: The network cannot be built.
        InputError: The pictures cannot be read.
        DataError: They are not labelled as they should be.
    """
    fingerprint = facepictures.fingerprint(folder)
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    task = DetectorTask(recipe.model_dump(mode="json"))
    task.to(memory_format=torch.channels_last)
    return Lesson(task, Scenes(folder, recipe), fingerprint)


def export(
    recipe: DetectorRecipe, folder: Path, data: Path, out: Path, *, checkpoint: str = "best", licence: str = ""
) -> list[Path]:
    """Exports a run's checkpoint to `out` (.onnx), with its training form and its entry beside it.

    Args:
        recipe: The run's own.
        folder: The run's folder.
        data: The labelled pictures: the training split sets the ranges of int8, the other one judges.
        out: The ONNX file to write.
        checkpoint: "best" or "last".
        licence: Of the weights, for the entry.

    Raises:
        WeightsError: The run has no such checkpoint, or what is exported is worse.
        OutputError: The files cannot be written.
    """
    from mien.training.detection.export import export_detector

    path = folder / f"{checkpoint}.ckpt"
    with readable(path):
        task = DetectorTask.load_from_checkpoint(path, map_location="cpu", weights_only=True).eval()
    scenes = Scenes(data, recipe)
    counts = facepictures.fingerprint(data)["pictures"]
    entry = DetectorEntry(
        name=recipe.name,
        description=recipe.description,
        architecture=recipe.model.options,
        licence=licence,
        data=f"labelled pictures {counts}",
    )
    return export_detector(
        task.network, entry, scenes.scenes("train", _CALIBRATION, 1), scenes.scenes("valid", _HELD, 2), out
    )


KIND = Kind(DetectorRecipe, Path, lesson, export)
