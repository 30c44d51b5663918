"""The tables that every kind of recipe has: what the trainer itself needs, whatever is learnt."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Fraction", "ModelRecipe", "OptimizerRecipe", "RunRecipe", "ScheduleRecipe", "StoppingRecipe", "Table"]

Fraction = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    """One table of a recipe: unknown keys are mistakes, values stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelRecipe(Table):
    """Which network, and its options as its module names them."""

    name: str
    weights: Annotated[
        str, Field(description="published weights to begin with: their name, or their file's path; empty: none")
    ] = ""
    options: dict[str, Any] = {}


class OptimizerRecipe(Table):
    """Stochastic gradient descent, Adam or AdamW; no decay on norms and biases."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4


class ScheduleRecipe(Table):
    """Linear warm-up, then half a cosine down to `final` times the rate."""

    warmup: Annotated[float, Field(ge=0, description="epochs")] = 2.0
    final: Fraction = 0.0


class StoppingRecipe(Table):
    """Early stopping on a validation figure."""

    monitor: str = "val/loss"
    patience: Annotated[int, Field(ge=1)] = 10


class RunRecipe(Table):
    """What every run needs; a kind of recipe adds its own tables and names its figures.

    A kind fixes `task` to its own name by a literal type.
    """

    task: str
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    description: str = ""
    epochs: Annotated[int, Field(ge=1)] = 50
    batch_size: Annotated[int, Field(ge=2)] = 128
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    averaging: Annotated[float, Field(ge=0, lt=1, description="decay of the weight average; 0: none")] = 0.999
    select: Annotated[
        str, Field(description="validation figure of the best checkpoint; lower is better for losses")
    ] = "val/loss"
    model: ModelRecipe
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    stopping: StoppingRecipe | None = None

    def figures(self) -> list[str]:
        """The validation figures that this kind of run takes; of those named `.../loss` less is better."""
        return ["val/loss"]

    @model_validator(mode="after")
    def _figures_exist(self) -> "RunRecipe":
        figures = self.figures()
        for key, figure in (("select", self.select), ("stopping.monitor", self.stopping and self.stopping.monitor)):
            if figure is not None and figure not in figures:
                raise ValueError(f"{key}: there is no figure '{figure}', choose one of {', '.join(figures)}")
        return self
