"""The recipe of a landmark network: what a batch holds, how crops are placed and degraded, and the losses."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from mien.training.degradation import Degradation
from mien.training.recipe import (
    Fraction,
    ModelRecipe,
    OptimizerRecipe,
    RunRecipe,
    ScheduleRecipe,
    Table,
)

NETWORK = "landmarks"


class ShareRecipe(Table):
    """What a batch holds, as weights: their sum is the whole batch. Kinds that the data lacks are left out."""

    images: Annotated[float, Field(ge=0, description="faces of images with dense landmarks")] = 0.30
    fer2013: Annotated[float, Field(ge=0, description="faces of FER2013")] = 0.42
    five: Annotated[float, Field(ge=0, description="faces with five landmarks only")] = 0.12
    no_face: Annotated[float, Field(ge=0, description="crops without a face")] = 0.16


class PlacementRecipe(Table):
    """How far the crop of a face is from its best place: standard deviations."""

    turn: Annotated[float, Field(ge=0, description="degrees")] = 4.0
    scale: Annotated[float, Field(ge=0, description="of the logarithm of the size")] = 0.06
    shift: Annotated[float, Field(ge=0, description="as a fraction of the side")] = 0.02


class WidePlacementRecipe(PlacementRecipe):
    """The same for crops that are placed less well."""

    turn: Annotated[float, Field(ge=0, description="degrees")] = 12.0
    scale: Annotated[float, Field(ge=0, description="of the logarithm of the size")] = 0.2
    shift: Annotated[float, Field(ge=0, description="as a fraction of the side")] = 0.06


class LossRecipe(Table):
    """Weights of the losses."""

    points: Annotated[float, Field(ge=0, description="mean distance of the points, in eye distances")] = 20.0
    jaw: Annotated[Fraction, Field(description="weight of a point of the jaw in it; others have 1")] = 0.4
    openings: Annotated[float, Field(ge=0, description="error of the openings of eyes and mouth")] = 6.0
    five: Annotated[float, Field(ge=0, description="mean distance of five landmarks that are all that is known")] = 4.0
    pose: Annotated[float, Field(ge=0, description="mean error of yaw, pitch and roll, in degrees")] = 0.05
    score: Annotated[float, Field(ge=0, description="cross-entropy of the face score")] = 0.4


class LandmarkRecipe(RunRecipe):
    """The recipe of a landmark network."""

    task: Literal["landmarks"] = "landmarks"
    size: Annotated[int, Field(ge=32, le=256, description="side of the network's crops, pixels")] = 80
    steps: Annotated[int, Field(ge=1, description="batches in an epoch")] = 300
    model: ModelRecipe = ModelRecipe(name=NETWORK)
    optimizer: OptimizerRecipe = OptimizerRecipe(name="adamw", lr=2e-3, weight_decay=0.02)
    schedule: ScheduleRecipe = ScheduleRecipe(warmup=1)
    shares: ShareRecipe = ShareRecipe()
    close: Annotated[PlacementRecipe, Field(description="as a second pass or a good detector places a crop")] = (
        PlacementRecipe()
    )
    wide: Annotated[WidePlacementRecipe, Field(description="as a box alone places it")] = WidePlacementRecipe()
    wide_share: Annotated[Fraction, Field(description="of the crops that are placed widely")] = 0.5
    flip: Fraction = 0.5
    augmentation: Degradation = Degradation(
        downscale=0.3, details=(0.25, 0.8), dark=0.06, noise=0.12, jpeg=0.15, mask=0.03, erase=0.2
    )
    loss: LossRecipe = LossRecipe()

    @classmethod
    def metrics(cls, plain: Mapping[str, Any]) -> list[str]:
        """The losses; `val/image/loss` and `val/fer2013/loss` are errors of points without the jaw."""
        return ["val/loss", "val/image/loss", "val/fer2013/loss", "val/jaw/loss", "val/pose/loss", "val/score/loss"]

    @classmethod
    def config_errors(cls, plain: Mapping[str, Any]) -> list[str]:
        """Metrics or a network that do not exist, and shares of nothing."""
        table = plain.get("model")
        name = table.get("name", NETWORK) if isinstance(table, Mapping) else NETWORK
        wrong = [] if name == NETWORK else [f"model.name: expected '{NETWORK}', got '{name}'"]
        shares = plain.get("shares", {})
        if isinstance(shares, Mapping) and shares.get("images") == 0 and shares.get("fer2013") == 0:
            wrong.append("shares: images and fer2013 are both 0, and only their faces have dense landmarks")
        return super().config_errors(plain) + wrong


RECIPE = LandmarkRecipe
