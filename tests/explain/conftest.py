"""The tiny model, its run and its data, and every architecture as a model that can be explained."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.face_points import drawn_face, face_points, placed
from tests.networks import small
from tests.tiny import LANDMARKS, tiny_model, tiny_run, tiny_samples

from mien import models
from mien.assets.manifest import InputSpec, ModelInfo
from mien.assets.signature import Features, Head
from mien.explain.networks import ExplainedModel, explained
from mien.expression.observation import Observation

__all__ = ["tiny_model", "tiny_run", "tiny_samples"]

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
Build = Callable[[str], ExplainedModel]


@functools.cache
def built(name: str) -> ExplainedModel:
    """A small network of an architecture, with weights and statistics that are not those it begins with."""
    torch.manual_seed(1)
    spec, frames = InputSpec(48, "grey", (0.5,), (0.25,)), 3 if models.reads_windows(name) else 1
    network = models.build(name, {"votes": len(EMOTIONS)}, spec, **small(name)).train()
    parts = models.inputs_of(name, spec, landmarks=[(x, y) for x, y in LANDMARKS], frames=frames)
    with torch.no_grad():
        for _ in range(3):
            network(*(torch.randn(8, *(side or 1 for side in part.shape[1:])) * 2 + 1 for part in parts))
    info = ModelInfo(
        name=f"small-{name}",
        task="expression",
        description="",
        inputs=parts,
        outputs=(Head("votes", EMOTIONS), Features(network.width)),
        architecture={"name": name, **small(name)},
    )
    return explained(network.fused(), info)


@pytest.fixture(scope="session")
def build() -> Build:
    return built


@pytest.fixture(scope="session")
def seen() -> Observation:
    """A drawn face of 48 pixels with its keypoints, as every architecture reads it."""
    points = placed(face_points(), scale=14, turn=0, at=(24, 20))
    image = drawn_face((48, 48), points, np.random.default_rng(0))
    return Observation((image,), points[None].astype(np.float32)[:, :68])
