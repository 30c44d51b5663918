"""The tables that every kind of recipe has: what the trainer itself needs, whatever is learnt."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "Fraction",
    "ModelRecipe",
    "OptimizerRecipe",
    "RoundRecipe",
    "RunRecipe",
    "ScheduleRecipe",
    "StoppingRecipe",
    "Table",
    "better",
]

Fraction = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    """One table of a recipe: unknown keys are mistakes, values stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
    """How the rate changes: linear warm-up, then one of four ways.

    `cosine` falls by half a cosine to `final` times the rate; `step` multiplies the rate by `factor` at each of the
    epochs `at`; `plateau` does so when `select` has not got better for `patience` epochs; `constant` leaves it.
    """

    name: Literal["cosine", "step", "plateau", "constant"] = "cosine"
    warmup: Annotated[
        float | None, Field(ge=0, description="epochs; left out: 2 for the cosine, none for the others")
    ] = None
    final: Annotated[Fraction, Field(description="of the cosine")] = 0.0
    at: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(description="whole epochs done before each step")] = ()
    factor: Annotated[float, Field(gt=0, lt=1, description="of step and plateau")] = 0.1
    patience: Annotated[int, Field(ge=1, description="of plateau, epochs")] = 5

    @property
    def warm(self) -> float:
        """Epochs of warm-up."""
        return (2.0 if self.name == "cosine" else 0.0) if self.warmup is None else self.warmup

    @model_validator(mode="after")
    def _fits(self) -> "ScheduleRecipe":
        if bool(self.at) != (self.name == "step"):
            raise ValueError("at: expected epochs for the schedule 'step', and none for another")
        if list(self.at) != sorted(set(self.at)):
            raise ValueError(f"at: expected rising epochs, got {list(self.at)}")
        if self.name == "plateau" and self.warm:
            raise ValueError("warmup: the schedule 'plateau' has none")
        return self


class StoppingRecipe(Table):
    """Early stopping on a validation figure."""

    monitor: str = "val/loss"
    patience: Annotated[int, Field(ge=1)] = 10


class RoundRecipe(Table):
    """A round that goes on from the best of those before it."""

    epochs: Annotated[int, Field(ge=1)]
    lr: Annotated[float, Field(gt=0)]


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
    start: Annotated[
        str,
        Field(description="whose weights it begins with: a shipped model, a .safetensors file, a run; empty: none"),
    ] = ""
    further: Annotated[
        bool, Field(description="made to go on from other weights: `--from` leaves its rate and its rounds as they are")
    ] = False
    model: ModelRecipe
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    stopping: StoppingRecipe | None = None
    rounds: Annotated[
        tuple[RoundRecipe, ...], Field(description="after the first, which has `epochs` and `optimizer.lr`")
    ] = ()

    @property
    def all_rounds(self) -> tuple[RoundRecipe, ...]:
        """Every round, the first one included."""
        return (RoundRecipe(epochs=self.epochs, lr=self.optimizer.lr), *self.rounds)

    def figures(self) -> list[str]:
        """The validation figures that this kind of run takes; of those named `.../loss` less is better."""
        return ["val/loss"]

    def mistakes(self) -> list[str]:
        """What is wrong between keys that are right each for itself; a kind adds its own."""
        figures = self.figures()
        named = {"select": self.select, "stopping.monitor": self.stopping.monitor if self.stopping else figures[0]}
        return [
            f"{key}: there is no figure '{figure}', choose one of {', '.join(figures)}"
            for key, figure in named.items()
            if figure not in figures
        ]

    @classmethod
    def unknown_names(cls, plain: Mapping[str, Any]) -> list[str]:
        """Names in a recipe's plain form that stand for nothing, such as that of a network; a kind knows them.

        The plain form may be wrong in other ways, which are told elsewhere.
        """
        return []

    @model_validator(mode="after")
    def _fits_together(self) -> "RunRecipe":
        if mistakes := self.mistakes():
            raise ValueError("; ".join(mistakes))
        return self


def better(figure: str) -> Literal["min", "max"]:
    """Whether less or more of a validation figure is better."""
    return "min" if figure.endswith("loss") else "max"
