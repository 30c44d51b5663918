"""The recipe of a detector's training run."""

from typing import Annotated

from pydantic import Field

from mien.training.detection.scenes import SceneRecipe
from mien.training.recipe import OptimizerRecipe, ScheduleRecipe, _Table

__all__ = ["DetectorRecipe"]


class DetectorRecipe(_Table):
    """The whole of a training run."""

    name: str
    epochs: Annotated[int, Field(ge=1)] = 50
    steps: Annotated[int, Field(ge=1, description="batches an epoch")] = 200
    validation_steps: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=2, description="scenes of the middle size")] = 24
    seed: int = 0
    averaging: float = 0.999
    workers: Annotated[int, Field(ge=0)] = 1
    doubt: Annotated[float, Field(gt=0)] = 0.2
    options: dict[str, object] = {}
    optimizer: OptimizerRecipe = OptimizerRecipe(name="adamw", lr=2e-3, weight_decay=0.02)
    schedule: ScheduleRecipe = ScheduleRecipe(warmup=1)
    scenes: SceneRecipe = SceneRecipe()
    box_weight: float = 2.0
    landmark_weight: float = 15.0
