"""The task "landmarks": networks that find the landmarks and the pose of a cropped face."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import seed_everything

from mien.datasets import landmark_faces
from mien.datasets.landmark_faces import LandmarkFaces
from mien.training.landmarks.data import LandmarkData
from mien.training.landmarks.module import LandmarkModule
from mien.training.landmarks.recipe import LandmarkRecipe
from mien.training.tasks import TaskSpec, TrainingSetup

__all__ = ["TASK"]


def _setup(recipe: LandmarkRecipe, faces: LandmarkFaces) -> TrainingSetup:
    """What the loop needs to train `recipe` on `faces`; see `TaskSpec`."""
    data = LandmarkData(faces, recipe)
    seed_everything(recipe.seed, workers=True, verbose=False)
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
    raise NotImplementedError


TASK = TaskSpec(landmark_faces.load, _setup, _export)
