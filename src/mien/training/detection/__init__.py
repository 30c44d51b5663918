"""The task "detection": face detectors."""

from pathlib import Path

import torch

from mien.assets.manifest import ModelInfo
from mien.assets.signature import Detections, Features, ImageInput
from mien.datasets import face_images
from mien.training.checkpoints import load_module
from mien.training.detection.data import DetectionData
from mien.training.detection.export import Held, export_detector
from mien.training.detection.module import DetectorModule
from mien.training.detection.recipe import DetectorRecipe
from mien.training.hardware import seed_everything
from mien.training.tasks import TaskSpec, TrainingSetup
from mien.training.weights import read_origin

__all__ = ["TASK"]

_CALIBRATION = 96  # scenes that set the ranges of int8


def _setup(recipe: DetectorRecipe, folder: Path) -> TrainingSetup:
    """What the loop needs to train `recipe` on the labelled images in `folder`; see `TaskSpec`."""
    fingerprint = face_images.fingerprint(folder)
    seed_everything(recipe.seed)
    module = DetectorModule(recipe.model_dump(mode="json"))
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = DetectionData(folder, recipe)

    def load_pretrained() -> dict[str, str]:
        if not recipe.model.weights:
            return {}
        # The loader's process composes the scenes: OpenCV's threads in this one would block processes started later.
        first = next(iter(data.train_batches(0)))
        return module.load_pretrained(first.images).as_dict()

    return TrainingSetup(module, data, fingerprint, load_pretrained)


def _export(
    recipe: DetectorRecipe, folder: Path, data: Path, out: Path, *, checkpoint: str = "best", licence: str = ""
) -> list[Path]:
    """Exports a run.

    Scenes of the training split of the images `data` set the ranges of int8. The images of the valid split, unchanged,
    set the operating points, and decide whether the int8 form is used.
    """
    module = load_module(DetectorModule, folder / f"{checkpoint}.ckpt")
    scenes = DetectionData(data, recipe)
    info = ModelInfo(
        name=recipe.name,
        task="detection",
        description=recipe.description,
        inputs=(ImageInput("images"),),
        outputs=(Detections("cells"), Features(module.network.features)),
        architecture={"name": recipe.model.name, **recipe.model.options},
        licence=licence,
        pretrained=read_origin(folder),
        data=f"labelled images {face_images.fingerprint(data)['images']}",
    )
    training, held = scenes.scenes("train", _CALIBRATION, 1), scenes.photographs("valid")
    return export_detector(module.network, info, training, Held(held, recipe.operating_precision), out)


TASK = TaskSpec(Path, _setup, _export)
