"""The kind of recipe that teaches a face detector."""

from pathlib import Path

import lightning
import torch

from mien.assets.manifest import ModelInfo
from mien.assets.signature import Detections, Features, ImageInput
from mien.datasets import face_images
from mien.training.checkpoints import readable
from mien.training.detection.data import Scenes
from mien.training.detection.module import DetectorModule
from mien.training.detection.recipe import DetectorRecipe
from mien.training.tasks import TaskSpec, TrainingSetup

__all__ = ["TASK", "export", "setup"]

_CALIBRATION, _HELD = 96, 240  # scenes that set the ranges of int8, and those that judge


def setup(recipe: DetectorRecipe, folder: Path) -> TrainingSetup:
    """What `recipe` learns from the labelled images in `folder`.

    Raises:
        ConfigError: The network cannot be built.
        InputError: The images cannot be read.
        DataError: They are not labelled as they should be.
    """
    fingerprint = face_images.fingerprint(folder)
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    task = DetectorModule(recipe.model_dump(mode="json"))
    task.to(memory_format=torch.channels_last)
    return TrainingSetup(task, Scenes(folder, recipe), fingerprint)


def export(
    recipe: DetectorRecipe, folder: Path, data: Path, out: Path, *, checkpoint: str = "best", licence: str = ""
) -> list[Path]:
    """Exports a run's checkpoint to `out` (.onnx), with its training form and its info beside it.

    Args:
        recipe: The run's own.
        folder: The run's folder.
        data: The labelled images: the training split sets the ranges of int8, the other one judges.
        out: The ONNX file to write.
        checkpoint: "best" or "last".
        licence: Of the weights, for the info.

    Raises:
        WeightsError: The run has no such checkpoint, or what is exported is worse.
        OutputError: The files cannot be written.
    """
    from mien.training.detection.export import export_detector

    path = folder / f"{checkpoint}.ckpt"
    with readable(path):
        task = DetectorModule.load_from_checkpoint(path, map_location="cpu", weights_only=True).eval()
    scenes = Scenes(data, recipe)
    counts = face_images.fingerprint(data)["images"]
    info = ModelInfo(
        name=recipe.name,
        task="detection",
        description=recipe.description,
        inputs=(ImageInput("images"),),
        outputs=(Detections("cells"), Features(task.network.widths[-1])),
        architecture={"name": "face_detector", **recipe.model.options},
        licence=licence,
        data=f"labelled images {counts}",
    )
    return export_detector(
        task.network, info, scenes.scenes("train", _CALIBRATION, 1), scenes.scenes("valid", _HELD, 2), out
    )


TASK = TaskSpec(DetectorRecipe, Path, setup, export)
