"""The task "landmarks": networks that find the landmarks and the pose of a cropped face."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mien.datasets import landmark_faces
from mien.datasets.landmark_faces import LandmarkFaces
from mien.training.checkpoints import load_module
from mien.training.hardware import seed_everything
from mien.training.landmarks.data import LandmarkData
from mien.training.landmarks.export import description, export_landmarks
from mien.training.landmarks.module import LandmarkModule
from mien.training.landmarks.recipe import LandmarkRecipe
from mien.training.tasks import TaskSpec, TrainingSetup

__all__ = ["TASK"]


def _setup(recipe: LandmarkRecipe, faces: LandmarkFaces) -> TrainingSetup:
    """What the loop needs to train `recipe` on `faces`; see `TaskSpec`."""
    data = LandmarkData(faces, recipe)
    seed_everything(recipe.seed)
    module = LandmarkModule(recipe.model_dump(mode="json"), data.mean_shape().round(5).tolist(), data.room)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainingSetup(module, data, _fingerprint(faces))


def _fingerprint(faces: LandmarkFaces) -> dict[str, Any]:
    """What tells one data set from another."""
    digest = hashlib.sha256()
    for name in landmark_faces.COLUMNS:
        digest.update(getattr(faces, name).tobytes())
    return {"about": dict(faces.about), "counts": faces.counts(), "sha256": digest.hexdigest()}


def _export(
    recipe: LandmarkRecipe, folder: Path, data: Path, out: Path, *, checkpoint: str = "best", licence: str = ""
) -> list[Path]:
    """Exports a run; the val split of the faces `data` sets the operating point of the face score and the errors."""
    module = load_module(LandmarkModule, folder / f"{checkpoint}.ckpt")
    faces = landmark_faces.load(data)
    held = LandmarkData(faces, recipe)
    info = replace(
        description(recipe.name, recipe.description, held, recipe.size, module.network.width),
        architecture={"name": "face_landmarks", **recipe.model.options},
        licence=licence,
        data=f"{faces.counts()['train']['dense landmarks']:,} faces with dense landmarks",
    )
    return export_landmarks(module.network, info, held, out)


TASK = TaskSpec(landmark_faces.load, _setup, _export)
