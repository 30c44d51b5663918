"""The recipe of an expression network: input, heads, augmentation."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from mien import models
from mien.assets.manifest import InputSpec
from mien.assets.signature import Illumination
from mien.training.degradation import Degradation
from mien.training.photometry import Photometry
from mien.training.recipe import Fraction, RunRecipe, Table, meant, shorten

HeadName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class InputRecipe(Table):
    """The input of the network; see `InputSpec`."""

    size: Annotated[int, Field(ge=16, le=512)] = 48
    channels: Literal["grey", "rgb"] = "grey"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    illumination: Illumination = "none"
    landmarks: Annotated[
        tuple[tuple[float, float], ...],
        Field(description="where the five landmarks lie in the images, as fractions of the side; empty: unknown"),
    ] = ()
    frames: Annotated[
        int, Field(ge=1, le=64, description="frames of a window, for networks that read sequences; 1: single images")
    ] = 1

    @model_validator(mode="after")
    def _fits(self) -> "InputRecipe":
        self.spec()
        if len(self.landmarks) not in (0, 5):
            raise ValueError(f"landmarks: expected five points or none, got {len(self.landmarks)}")
        return self

    def spec(self) -> InputSpec:
        """The input as `ModelInfo` describes it."""
        return InputSpec(self.size, self.channels, self.mean, self.std, self.illumination)


WEIGHTINGS: Final = ("none", "balanced", "sqrt")


def _class_weights(value: Any) -> Any:
    """A weighting or a weight by class, checked; any other value is one error, not one for each type."""
    if isinstance(value, str) and value in WEIGHTINGS:
        return value
    if isinstance(value, Mapping) and value:
        numbers = [
            weight for weight in value.values() if isinstance(weight, int | float) and not isinstance(weight, bool)
        ]
        if len(numbers) == len(value) and all(0 < weight < float("inf") for weight in numbers):
            return {str(name): float(weight) for name, weight in value.items()}
    raise ValueError(f"expected {', '.join(WEIGHTINGS)} or a number above 0 for each class, got {shorten(str(value))}")


class HeadRecipe(Table):
    """One kind of label, learned by one linear layer."""

    source: Annotated[
        Literal["labels", "votes", "affect"],
        Field(description="affect: the valence and arousal of the data, beside a head that learns classes"),
    ]
    labels: Annotated[
        Literal["shares", "majority", "pld", "cel", "multi"],
        Field(description="what the votes become: their shares over ten classes, or one of FER+'s modes over eight"),
    ] = "shares"
    classes: Annotated[
        int, Field(ge=0, description="classes that the labels of the data must have for this recipe; 0: any number")
    ] = 0
    weight: Annotated[float, Field(gt=0)] = 1.0
    loss: Annotated[
        Literal["cross-entropy", "margin", "ccc"],
        Field(
            description="margin: that of capsules, on the sigmoid of each logit, their length; ccc: 1 - the "
            "concordance correlation coefficient, for valence and arousal"
        ),
    ] = "cross-entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    optional: Annotated[
        bool, Field(description="leave the head out if the data has no such labels, and its soft targets")
    ] = False
    soft: Annotated[Fraction, Field(description="share of the teachers' soft targets in the targets")] = 0.0
    class_weights: Annotated[
        Literal["none", "balanced", "sqrt"] | dict[str, float],
        PlainValidator(_class_weights),
        Field(
            description="weights of the classes in the loss: balanced, inverse to their number of training faces; "
            "sqrt, inverse to its square root; or a table of weights by class, 1 for the others"
        ),
    ] = "none"
    logit_adjustment: Annotated[
        Fraction,
        Field(
            description="power of the class shares that the loss removes from the logits (Menon et al. 2021); 1: "
            "balanced softmax (Ren et al. 2020); 0: none"
        ),
    ] = 0.0

    @model_validator(mode="after")
    def _has_votes(self) -> "HeadRecipe":
        if (self.source == "affect") != (self.loss == "ccc"):
            raise ValueError("loss: expected 'ccc' with source = \"affect\", and nowhere else")
        unfit = ("label_smoothing", "soft", "logit_adjustment")
        if self.source == "affect" and (self.class_weights != "none" or any(getattr(self, name) for name in unfit)):
            raise ValueError(f"{', '.join(unfit)}, class_weights: are for classes, which valence and arousal are not")
        if self.labels != "shares" and self.source != "votes":
            raise ValueError(f"labels: '{self.labels}' is made from votes, expected source = \"votes\"")
        if self.classes and self.source != "labels":
            raise ValueError(f"classes: is for labels, and the source is '{self.source}'")
        if self.soft and self.labels in ("pld", "multi"):
            raise ValueError(f"soft: '{self.labels}' learns from labels only, expected shares, majority or cel")
        if self.label_smoothing and self.labels == "multi":
            raise ValueError("label_smoothing: every class with a share is right for 'multi', expected 0")
        if self.class_weights != "none" and self.labels == "multi":
            raise ValueError("class_weights: the loss of 'multi' has no weights, expected shares, majority, pld or cel")
        if self.logit_adjustment and self.labels == "multi":
            raise ValueError("logit_adjustment: not for the loss of 'multi', expected shares, majority, pld or cel")
        if self.loss == "margin" and (self.labels == "multi" or self.logit_adjustment):
            raise ValueError("loss: 'margin' goes with neither the labels 'multi' nor logit_adjustment")
        return self


class Augmentation(Degradation, Photometry):
    """Random changes of the training images; lengths are fractions of the side."""

    flip: Fraction = 0.5
    rotation: Annotated[float, Field(ge=0, le=180, description="degrees, either way")] = 15.0
    scale: Annotated[float, Field(ge=1, le=2, description="largest factor, or its inverse")] = 1.2
    stretch: Annotated[float, Field(ge=1, le=2, description="largest ratio of the axes, or its inverse")] = 1.1
    shear: Annotated[float, Field(ge=0, le=1)] = 0.05
    shift: Fraction = 0.1
    mixup: Annotated[float, Field(ge=0, description="alpha of the beta distribution; 0: no mixup")] = 0.2
    covers: Annotated[
        Fraction, Field(description="chance of a mask, sunglasses or a hand, placed by the face's keypoints")
    ] = 0.0
    cover_kinds: Annotated[
        tuple[Fraction, Fraction, Fraction], Field(description="shares of masks, sunglasses and hands")
    ] = (0.6, 0.2, 0.2)
    cover_textures: Annotated[
        str, Field(description="a file of textures, from `mien data textures`; empty: drawn ones only")
    ] = ""
    keypoint_noise: Annotated[
        float,
        Field(ge=0, le=0.5, description="of the keypoints that a network reads, relative to the size of the face"),
    ] = 0.0
    sizes: Annotated[
        tuple[Annotated[int, Field(ge=16, le=512)], ...],
        Field(description="sides of the training images, in equal parts of the epochs; empty: that of the input"),
    ] = ()

    @model_validator(mode="after")
    def _has_kinds(self) -> "Augmentation":
        if not sum(self.cover_kinds):
            raise ValueError("cover_kinds: expected three shares, not all of them 0")
        return self


class ExpressionRecipe(RunRecipe):
    """The recipe of a network that classifies expressions."""

    task: Literal["expression"] = "expression"
    input: InputRecipe = InputRecipe()
    heads: Annotated[dict[HeadName, HeadRecipe], Field(min_length=1)]
    row_weights: Annotated[
        bool, Field(description="weight each face as the data says, for example by `scripts.curate`")
    ] = False
    sampler: Annotated[
        Literal["shuffle", "balanced"],
        Field(
            description="shuffle: each training face once an epoch; balanced: as many draws, with replacement, "
            "each class of the first head equally often"
        ),
    ] = "shuffle"
    reconstruction: Annotated[
        float,
        Field(ge=0, description="weight of redrawing the image from its capsules, on the sum of the squared errors"),
    ] = 0.0
    augmentation: Augmentation = Augmentation()

    @property
    def class_heads(self) -> dict[str, HeadRecipe]:
        """The heads that learn classes."""
        return {name: head for name, head in self.heads.items() if head.source != "affect"}

    def for_other_data(self) -> Self:
        """All heads are optional."""
        heads = {name: head.model_copy(update={"optional": True}) for name, head in self.heads.items()}
        return self.model_copy(update={"heads": heads})

    @classmethod
    def metrics(cls, plain: Mapping[str, Any]) -> list[str]:
        """The sum of the losses; the loss, the accuracy and the mean recall of each head, or its CCC and RMSE."""
        heads = plain.get("heads")
        kinds = {
            name: ("loss", "ccc", "rmse") if _is_affect(head) else ("loss", "accuracy", "mean_recall")
            for name, head in (heads.items() if isinstance(heads, Mapping) else ())
        }
        return ["val/loss", *(f"val/{name}/{kind}" for name, found in kinds.items() for kind in found)]

    @classmethod
    def config_errors(cls, plain: Mapping[str, Any]) -> list[str]:
        """Metrics, a network or options of the network that do not exist."""
        errors, table = super().config_errors(plain), plain.get("model")
        name, options = (table.get("name"), table.get("options", {})) if isinstance(table, Mapping) else (None, {})
        heads = plain.get("heads")
        kinds = [_is_affect(head) for head in heads.values()] if isinstance(heads, Mapping) else []
        if kinds and all(kinds):
            errors.append("heads: expected one that learns classes, from labels or votes, beside that of affect")
        if sum(kinds) > 1:
            errors.append('heads: expected at most one with source = "affect"')
        if not isinstance(name, str):
            return errors  # a missing name is reported already
        if name not in models.names():
            return [*errors, f"model.name: there is no network '{name}'{meant(name, models.names())}"]
        errors += _misfits(name, plain)
        known = models.option_names(name)
        return errors + [
            f"model.options.{option}: the network '{name}' has no such option{meant(option, known)}"
            for option in (options if isinstance(options, Mapping) else {})
            if option not in known
        ]


def _misfits(name: str, plain: Mapping[str, Any]) -> list[str]:
    """What a recipe asks of the network `name` that it cannot do."""
    input, augmentation = (plain.get(key) for key in ("input", "augmentation"))
    frames = input.get("frames", 1) if isinstance(input, Mapping) else 1
    covers = augmentation.get("covers", 0) if isinstance(augmentation, Mapping) else 0
    heads = plain.get("heads")
    errors = []
    if isinstance(heads, Mapping) and any(
        isinstance(each, Mapping) and each.get("labels") == "multi" for each in heads.values()
    ):
        usual = Augmentation().mixup
        if (augmentation.get("mixup", usual) if isinstance(augmentation, Mapping) else usual) != 0:
            errors.append("augmentation.mixup: every class with a share is right for the labels 'multi', expected 0")
        if plain.get("row_weights"):
            errors.append("row_weights: the loss of the labels 'multi' has no weights, expected false")
    if models.has_capsules(name) and isinstance(heads, Mapping) and any(map(_is_affect, heads.values())):
        errors.append(f"heads: the capsules of '{name}' are classes, expected no head with source = \"affect\"")
    if models.reads_windows(name) and frames == 1:
        errors.append(f"input.frames: the network '{name}' reads sequences, expected at least 2 frames, e.g. 10")
    if not models.reads_windows(name) and frames != 1:
        errors.append(f"input.frames: the network '{name}' reads single images, expected 1, got {frames}")
    if covers and not (models.reads_images(name) and frames == 1):
        errors.append(f"augmentation.covers: for networks that read single images, which '{name}' does not")
    if plain.get("reconstruction") and not models.has_capsules(name):
        errors.append(f"reconstruction: the network '{name}' has no capsules, expected 0")
    return errors


def _is_affect(head: Any) -> bool:
    """Whether a head, given as plain types that may be wrong, learns valence and arousal."""
    return isinstance(head, Mapping) and head.get("source") == "affect"


RECIPE = ExpressionRecipe
