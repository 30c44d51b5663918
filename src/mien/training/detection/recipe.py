"""The recipe of a detector's training run."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mien.training.detection.scenes import SceneRecipe
from mien.training.recipe_base import ModelRecipe, OptimizerRecipe, RunRecipe, ScheduleRecipe, Table

__all__ = ["DetectorRecipe", "LossRecipe"]


class LossRecipe(Table):
    """Weights of the losses beside that of the scores, which has 1."""

    box: Annotated[float, Field(ge=0)] = 2.0
    landmarks: Annotated[float, Field(ge=0)] = 25.0


class DetectorRecipe(RunRecipe):
    """The whole of a training run."""

    task: Literal["detection"] = "detection"
    steps: Annotated[int, Field(ge=1, description="batches an epoch")] = 200
    validation_steps: Annotated[int, Field(ge=1, description="batches of held-back scenes, always the same")] = 12
    batch_size: Annotated[int, Field(ge=2, description="scenes of the middle size; others by their pixels")] = 24
    workers: Annotated[int, Field(ge=0, description="processes that make scenes")] = 1
    doubt: Annotated[
        float, Field(gt=0, description="landmarks whose sources differ by more eye distances are not learnt from")
    ] = 0.2
    model: ModelRecipe = ModelRecipe(name="detector")
    optimizer: OptimizerRecipe = OptimizerRecipe(name="adamw", lr=2e-3, weight_decay=0.02)
    schedule: ScheduleRecipe = ScheduleRecipe(warmup=1)
    loss: LossRecipe = LossRecipe()
    scenes: SceneRecipe = SceneRecipe()

    def figures(self) -> list[str]:
        """The validation figures of a run."""
        return ["val/loss", "val/score/loss", "val/box/loss", "val/landmarks/loss", "val/overlap"]

    @model_validator(mode="after")
    def _network_exists(self) -> "DetectorRecipe":
        if self.model.name != "detector":
            raise ValueError(f"model.name: expected 'detector', got '{self.model.name}'")
        return self
