"""What travels with weights: inputs, outputs, preprocessing, calibration, licence, provenance, scores.

There is one `ModelInfo` for every kind of model. It is in `manifest.toml` for the models in the package, and as JSON in
the metadata of every file that `mien export` writes, so that a file can be used on its own. No constant of it is
repeated elsewhere.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np

from mien.assets.recipes import recipes, recipes_of
from mien.assets.recognise import is_path
from mien.assets.signature import (
    INPUTS,
    OUTPUTS,
    CropSpec,
    Detections,
    FaceScore,
    Features,
    Head,
    ImageInput,
    InputSpec,
    KeypointInput,
    Landmarks,
    Pose,
    ValenceArousal,
    from_tables,
)
from mien.errors import ConfigError, WeightsError, meant, nearest

__all__ = [
    "DEFAULT",
    "ENSEMBLES",
    "FORMAT",
    "METADATA_KEY",
    "CropSpec",
    "Head",
    "InputSpec",
    "ModelInfo",
    "Task",
    "classic_models",
    "default_model",
    "ensemble_name",
    "info_in",
    "model_info",
    "read_manifest",
    "shipped_models",
]

FOLDER: Final = Path(__file__).parent
FORMAT: Final = 1  # of the description; a file of another format has to be exported again
METADATA_KEY: Final = "mien.model"
_AGAIN: Final = "export it again with `mien export`"
# Models that no longer ship, and what to use instead.
REPLACED: Final = {
    "mien-base": "mien-s or mien-m",
    "mien-base-int8": "mien-m-int8",
    "mien-s-third-int8": "mien-s-int8",
}
# Names for several models that vote, wherever a command takes several: the most accurate that ships.
ENSEMBLES: Final[Mapping[str, tuple[str, ...]]] = {"mien-x": ("mien-m-int8", "mien-l")}
DEFAULT: Final = "mien-x"  # which of them reads images unless a model is named
Task = Literal["expression", "detection", "landmarks"]
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class ModelInfo:
    """The description of one model.

    Attributes:
        name: As given to `--model`.
        task: What it does.
        description: One sentence.
        inputs: In the order in which they are given to the network.
        outputs: In any order.
        form: "full" or "int8".
        architecture: Name of the module in `mien.models`, and the network's options.
        licence: Of the weights.
        data: What they were trained on.
        pretrained: Where the published weights come from that training started from: `name`, `sha256`, `licence`,
            `source`; empty if it started from random weights.
        scores: Measured figures.
        file: Name of the ONNX file beside the manifest; empty inside the file itself.
        sha256: Of that file.
        training_file: Name of the form that training can start from (safetensors, fp16).
        training_sha256: Of that file.
        general_file: Name of the general set of faces that `mien personalise` needs; empty without one.
        general_sha256: Of that file.
    """

    name: str
    task: Task
    description: str
    inputs: tuple[ImageInput | KeypointInput, ...]
    outputs: tuple[Head | Features | ValenceArousal | Landmarks | Pose | FaceScore | Detections, ...]
    form: Literal["full", "int8"] = "full"
    architecture: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    data: str = ""
    pretrained: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""
    training_file: str = ""
    training_sha256: str = ""
    general_file: str = ""
    general_sha256: str = ""

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ValueError(f"task: expected one of {', '.join(get_args(Task))}, got '{self.task}'")
        names = [part.name for part in (*self.inputs, *self.outputs)]
        if len(set(names)) != len(names):
            raise ValueError(f"inputs and outputs: expected different names, got {', '.join(names)}")

    @property
    def image(self) -> ImageInput:
        """The input that takes images.

        Raises:
            ConfigError: There is none.
        """
        if found := _first(ImageInput, self.inputs):
            return found
        raise ConfigError(f"the model '{self.name}' does not take images", hint="choose another --model")

    @property
    def input(self) -> InputSpec:
        """Size and normalisation of its images.

        Raises:
            ConfigError: It takes none, or images of any size.
        """
        if found := self.image.spec:
            return found
        raise ConfigError(f"the model '{self.name}' takes entire images, not faces", hint="choose another --model")

    @property
    def heads(self) -> tuple[Head, ...]:
        """The outputs that hold class logits."""
        return tuple(part for part in self.outputs if isinstance(part, Head))

    @property
    def features(self) -> Features | None:
        """The output that holds the features of the trunk."""
        return _first(Features, self.outputs)

    @property
    def affect(self) -> ValenceArousal | None:
        """The output that holds valence and arousal, in place of their expectation."""
        return _first(ValenceArousal, self.outputs)

    @property
    def detections(self) -> Detections:
        """The output that holds faces.

        Raises:
            ConfigError: There is none.
        """
        if found := _first(Detections, self.outputs):
            return found
        raise ConfigError(f"the model '{self.name}' does not detect faces", hint="give another --detector-weights")

    @property
    def landmarks(self) -> Landmarks:
        """The output that holds the points of a face.

        Raises:
            ConfigError: There is none.
        """
        if found := _first(Landmarks, self.outputs):
            return found
        raise ConfigError(f"the model '{self.name}' does not find landmarks", hint="give another --landmark-weights")

    @property
    def pose(self) -> Pose | None:
        """The output that holds the pose of the head."""
        return _first(Pose, self.outputs)

    @property
    def face_score(self) -> FaceScore | None:
        """The output that says whether a crop shows a face."""
        return _first(FaceScore, self.outputs)

    @property
    def crop_spec(self) -> CropSpec:
        """How a detected face is cropped for this model.

        Raises:
            ConfigError: The description does not say it.
        """
        if not self.image.landmarks:
            raise ConfigError(
                f"the model '{self.name}' does not define where landmarks are in its input images",
                hint="use cropped faces: --faces-are-crops",
            )
        spec = self.input
        points = np.asarray(self.image.landmarks, np.float32) * spec.size
        return CropSpec(spec.size, points, grey=spec.channels == "grey")

    def with_outputs(self, *changed: Head | FaceScore | Detections) -> "ModelInfo":
        """The description with these outputs in the place of those that have their names."""
        by_name = {part.name: part for part in changed}
        return replace(self, outputs=tuple(by_name.get(part.name, part) for part in self.outputs))

    def as_dict(self) -> dict[str, Any]:
        """Plain types, without what is None."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        for key, kinds in (("inputs", INPUTS), ("outputs", OUTPUTS)):
            named = {form: kind for kind, form in kinds.items()}
            plain[key] = [
                {"kind": named[type(part)]} | {name: value for name, value in values.items() if value is not None}
                for part, values in zip(getattr(self, key), plain[key], strict=True)
            ]
        for name in ("pretrained", "general_file", "general_sha256"):  # that few models have
            if not plain[name]:
                del plain[name]
        return plain

    def to_json(self) -> str:
        """For the metadata of a file, which cannot hold its own hash."""
        inside = replace(
            self, file="", sha256="", training_file="", training_sha256="", general_file="", general_sha256=""
        )
        return json.dumps({"format": FORMAT} | inside.as_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], origin: str) -> "ModelInfo":
        """The description made of plain types.

        Raises:
            WeightsError: Something is missing or has a wrong form; `origin` says where.
        """
        try:
            values = dict(plain)
            values["inputs"] = from_tables(INPUTS, values["inputs"])
            values["outputs"] = from_tables(OUTPUTS, values["outputs"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise WeightsError(f"{origin}: the description of the model is wrong: {reason}", hint=_AGAIN) from error


def _first(kind: type[_Part], parts: Iterable[object]) -> _Part | None:
    return next((part for part in parts if isinstance(part, kind)), None)


def info_in(metadata: Mapping[str, str], origin: str) -> ModelInfo | None:
    """The description in the metadata of an ONNX or safetensors file; None if mien did not make the file.

    Raises:
        WeightsError: It has another format, or is wrong.
    """
    if METADATA_KEY not in metadata and not any(key.startswith("mien.") for key in metadata):
        return None
    try:
        plain = json.loads(metadata.get(METADATA_KEY, "{}"))
    except json.JSONDecodeError as error:
        raise WeightsError(f"{origin}: the description of the model is not JSON: {error}", hint=_AGAIN) from error
    return ModelInfo.from_dict(_checked(plain, origin), origin)


def _checked(plain: object, origin: str) -> dict[str, Any]:
    """The table without its format.

    Raises:
        WeightsError: It is not a table, or has another format.
    """
    values = dict(plain) if isinstance(plain, dict) else {}
    found = values.pop("format", "of an earlier version of mien")
    if found != FORMAT:
        raise WeightsError(
            f"{origin}: expected a model description of format {FORMAT}, found format {found}", hint=_AGAIN
        )
    return values


def read_manifest(text: str, origin: str) -> dict[str, ModelInfo]:
    """The models of a manifest (TOML) by name.

    Raises:
        WeightsError: It has another format, or an entry is wrong.
    """
    models = _checked(tomllib.loads(text), origin).get("models", {})
    return {name: ModelInfo.from_dict({"name": name, **table}, f"{origin} [{name}]") for name, table in models.items()}


@cache
def shipped_models(task: Task | None = None) -> Mapping[str, ModelInfo]:
    """The shipped models by name, or those of one task; the default of each task comes first."""
    if task is None:
        return read_manifest((FOLDER / "manifest.toml").read_text(encoding="utf-8"), "manifest.toml")
    return {name: info for name, info in shipped_models().items() if info.task == task}


@cache
def classic_models() -> Mapping[str, ModelInfo]:
    """The classic networks by name, whose files are outside the package; see `mien.assets.classics`."""
    return read_manifest((FOLDER / "classics.toml").read_text(encoding="utf-8"), "classics.toml")


def default_model(task: Task = "expression") -> str:
    """Name of the model where one network is needed and none is named: the first of its task in the manifest."""
    return next(iter(shipped_models(task)))


def ensemble_name(models: Sequence[object]) -> str | None:
    """The name in `ENSEMBLES` of some models that vote, if there is one."""
    given = sorted(map(str, models))
    return next((name for name, members in ENSEMBLES.items() if sorted(members) == given), None)


def quick_model(task: Task = "expression") -> str:
    """Name of the model for many images: the int8 form of `default_model`, which is as accurate, if it is shipped."""
    default = default_model(task)
    forms = [name for name, info in shipped_models(task).items() if info.form == "int8" and name.startswith(default)]
    return next(iter(forms), default)


def model_info(name: str, task: Task | None = None) -> ModelInfo:
    """The shipped model, or the classic network, `name`.

    Raises:
        ConfigError: There is no such model, it no longer ships, or it has another task.
    """
    known = {**shipped_models(task), **({} if task not in (None, "expression") else classic_models())}
    # `mien models list` writes the networks of the classics with _, their recipes with -.
    found = known.get(name) or classic_models().get(name.replace("_", "-"))
    if found and task in (None, found.task):
        return found
    if name in REPLACED:
        raise ConfigError(f"the model '{name}' is no longer shipped", hint=f"use {REPLACED[name]}")
    if name in ENSEMBLES:
        members = " and ".join(f"'{member}'" for member in ENSEMBLES[name])
        raise ConfigError(f"'{name}' is the vote of {members}, and one model is needed here", hint="name one of them")
    names = [*known, *(ENSEMBLES if task in (None, "expression") else ())]
    listed = f"known: {', '.join(names)}; or give the path of an .onnx file"
    if other := {**shipped_models(), **classic_models()}.get(name):
        hint = f"{meant(name, known)}{listed}"
        raise ConfigError(f"the model '{name}' is for {other.task}, expected one for {task}", hint=hint)
    if task not in (None, "expression"):
        near = meant(name, known)
    elif untrained := without_file(name):
        reason, hint = untrained
        raise ConfigError(f"there is no model '{name}': {reason}", hint=f"{hint}; {listed}")
    else:
        near = meant_model(name, known)
    raise ConfigError(f"there is no model '{name}'{', and no such file' * is_path(name)}", hint=f"{near}{listed}")


def without_file(name: str) -> tuple[str, str] | None:
    """Why there is no file of the recipe or the network `name`, and how to train one; None if there is no such name."""
    found = recipes_of(name)
    if not found:
        return None
    if able := [each.name for each in found if each.name in {**shipped_models(), **classic_models()}]:
        hint = f"choose a model of this network: {', '.join(able)}"
        return ("it is the name of a network", hint) if found[0].network == name else None
    kind, training = "the name of a recipe", found[0].training
    if found[0].name != name.replace("_", "-"):
        kind = "the name of a network"
        training = f"choose one of its recipes, {', '.join(each.name for each in found)}; {training}"
    return (
        f"it is {kind} whose trained file is neither in the package nor in the folder `weights` of a clone",
        training,
    )


def meant_model(name: str, known: Iterable[str]) -> str:
    """The start of a hint that suggests the nearest name, among the known ones and the recipes; empty if none is."""
    known = set(known)
    near = nearest(name, [*known, *recipes()])
    if near and near not in known:
        return f"did you mean {near}? It is a recipe without a trained file: mien models show {near}; "
    return f"did you mean {near}? " if near else ""
