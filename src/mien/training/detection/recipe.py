"""The recipe of a face detector: batches, losses, and how training scenes are composed."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from mien.assets.signature import STRIDES
from mien.models import detection
from mien.training.recipe import (
    Fraction,
    ModelRecipe,
    OptimizerRecipe,
    RunRecipe,
    ScheduleRecipe,
    Table,
)

Chances = dict[int, float]


class SceneRecipe(Table):
    """How scenes are composed; chances are for each cell or face."""

    sizes: Chances = Field(
        default={256: 0.4, 320: 0.35, 448: 0.25}, description="sides of the canvas, multiples of 32, with weights"
    )
    grids: Chances = Field(
        default={1: 0.25, 2: 0.35, 3: 0.2, 4: 0.12, 6: 0.08}, description="cells on a side, with weights"
    )
    whole: Annotated[
        float, Field(ge=0, le=1, description="chance of a scene with one image at about its own scale, not a grid")
    ] = 0.0
    zoom: Annotated[
        tuple[float, float], Field(description="smallest and largest scale of the image in such a scene")
    ] = (0.7, 2.0)
    hard: Annotated[
        float, Field(ge=1, description="weight in such scenes of images with `mistakes` in the labels; others have 1")
    ] = 3.0
    focus: Annotated[
        float, Field(ge=0, le=1, description="chance that such a scene is centred on a mistake or a face of its image")
    ] = 0.6
    favoured: Annotated[
        float, Field(ge=1, description="weight of images that have faces under 36 pixels; others have 1")
    ] = 4.0
    as_taken: Annotated[float, Field(ge=0, le=1, description="chance that such an image keeps about its scale")] = 0.4
    smallest: Annotated[float, Field(gt=0, description="side of the smallest faces, pixels")] = 9.0
    empty: Annotated[float, Field(ge=0, le=1, description="chance of a cell without faces")] = 0.2
    flip: Fraction = 0.5
    tilt: Annotated[float, Field(ge=0, description="standard deviation of small rotations, degrees")] = 8.0
    turned: Annotated[float, Field(ge=0, le=1, description="chance of a large rotation")] = 0.35
    turn: Annotated[float, Field(ge=0, le=180, description="largest rotation, degrees")] = 55.0
    covered: Annotated[float, Field(ge=0, le=1, description="chance of a face of 14 px and more to be covered")] = 0.22
    grey: Fraction = 0.2
    relit: Fraction = 0.6
    dark: Fraction = 0.08
    blurred: Fraction = 0.12
    noisy: Fraction = 0.12
    compressed: Fraction = 0.2

    @field_validator("sizes", "grids")
    @classmethod
    def _can_be_drawn(cls, chances: dict[int, float]) -> dict[int, float]:
        if not chances or min(chances) < 1 or min(chances.values()) < 0 or sum(chances.values()) <= 0:
            raise ValueError(f"expected whole numbers with weights, got {chances}")
        return chances

    @field_validator("zoom")
    @classmethod
    def _is_a_range(cls, zoom: tuple[float, float]) -> tuple[float, float]:
        if not 0 < zoom[0] <= zoom[1]:
            raise ValueError(f"expected two numbers above 0, the smaller one first, got {list(zoom)}")
        return zoom

    @field_validator("sizes")
    @classmethod
    def _are_whole_cells(cls, sizes: dict[int, float]) -> dict[int, float]:
        if wrong := [size for size in sizes if size % STRIDES[-1]]:
            raise ValueError(f"expected multiples of {STRIDES[-1]}, got {', '.join(map(str, wrong))}")
        return sizes


class LossRecipe(Table):
    """Weights of the losses relative to that of the scores, which is 1."""

    box: Annotated[float, Field(ge=0)] = 2.0
    landmarks: Annotated[float, Field(ge=0)] = 25.0
    quality: Annotated[
        float, Field(ge=0, le=1, description="share of the IoU in the target of a face's score; the rest is 1")
    ] = 0.5
    teacher: Annotated[
        float, Field(ge=0, le=1, description="share of the teacher's `score` in the labels in this target")
    ] = 0.0
    distil: Annotated[
        float,
        Field(
            ge=0, description="weight of the distance to the outputs of the published weights that a run starts from"
        ),
    ] = 0.0


class AssignmentRecipe(Table):
    """Which cells predict a face."""

    name: Annotated[
        Literal["size", "dynamic"],
        Field(description="by the face's size and place alone, or those of its cells that predict it best"),
    ] = "size"
    reach: Annotated[float, Field(gt=0, description="size: least distance of cells around the middle, in strides")] = (
        0.5
    )
    ring: Annotated[
        float, Field(ge=0, description="size: width, in strides, of the ring around these that is left out of the loss")
    ] = 0.0


class DetectorRecipe(RunRecipe):
    """The recipe of a face detector."""

    task: Literal["detection"] = "detection"
    steps: Annotated[int, Field(ge=1, description="batches in an epoch")] = 200
    validation_steps: Annotated[int, Field(ge=1, description="batches of validation scenes, always the same")] = 12
    batch_size: Annotated[int, Field(ge=2, description="scenes of the middle size; others by their pixels")] = 24
    workers: Annotated[int, Field(ge=0, description="processes that compose scenes")] = 1
    doubt: Annotated[
        float, Field(gt=0, description="landmarks whose sources differ by more eye distances are not used for training")
    ] = 0.2
    operating_precision: Annotated[
        float, Field(gt=0, lt=1, description="precision, at every size, of the score that the export maps to 0.5")
    ] = 0.95
    model: ModelRecipe = ModelRecipe(name="face_detector")
    optimizer: OptimizerRecipe = OptimizerRecipe(name="adamw", lr=2e-3, weight_decay=0.02)
    schedule: ScheduleRecipe = ScheduleRecipe(warmup=1)
    loss: LossRecipe = LossRecipe()
    assignment: AssignmentRecipe = AssignmentRecipe()
    scenes: SceneRecipe = SceneRecipe()

    @classmethod
    def metrics(cls, plain: Mapping[str, Any]) -> list[str]:
        """The losses, and the mean overlap of the boxes with the labels."""
        return ["val/loss", "val/score/loss", "val/box/loss", "val/landmarks/loss", "val/overlap"]

    @classmethod
    def config_errors(cls, plain: Mapping[str, Any]) -> list[str]:
        """Metrics or a network that do not exist."""
        table = plain.get("model")
        name = table.get("name", "face_detector") if isinstance(table, Mapping) else "face_detector"
        known = detection.names()
        wrong = [] if name in known else [f"model.name: expected {' or '.join(map(repr, known))}, got '{name}'"]
        loss = plain.get("loss")
        if (
            isinstance(loss, Mapping)
            and loss.get("distil")
            and not (isinstance(table, Mapping) and table.get("weights"))
        ):
            wrong.append("loss.distil: needs published weights in model.weights")
        return super().config_errors(plain) + wrong


RECIPE = DetectorRecipe
