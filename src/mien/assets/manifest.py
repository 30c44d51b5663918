"""What travels with weights: labels, preprocessing, calibration, licence, provenance, scores.

An `ModelInfo` stands twice: in `manifest.toml` for the weights that ship in the package, and as JSON in the metadata of
every ONNX file that `mien export` writes, so that a file on its own can be used. No constant of it stands elsewhere.
"""

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError, WeightsError

__all__ = [
    "METADATA_KEY",
    "CropSpec",
    "Head",
    "Illumination",
    "InputSpec",
    "ModelInfo",
    "dump_toml",
    "five_points",
    "info",
    "shipped_models",
    "toml_key",
    "toml_value",
]

FOLDER: Final = Path(__file__).parent
METADATA_KEY: Final = "mien.info"
Illumination = Literal["none", "plane"]


@dataclass(frozen=True, slots=True, eq=False)
class CropSpec:
    """Where a crop shall show a face's landmarks.

    Attributes:
        size: Side of the square crop in pixels.
        points: (5, 2) float32 x, y in pixels of the crop, in the order of `results.LANDMARKS`.
    """

    size: int
    points: NDArray[np.float32]

    def resized(self, size: int) -> "CropSpec":
        """The same crop at another size."""
        return CropSpec(size, (self.points / self.size * size).astype(np.float32))

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size: expected a number of pixels above 0, got {self.size}")
        object.__setattr__(self, "points", five_points(self.points))


def five_points(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """A read-only float32 copy of five finite points."""
    points = np.array(value, np.float32)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ValueError(f"points: expected (5, 2) finite numbers, got {points.shape} {points.tolist()}")
    points.flags.writeable = False
    return points


@dataclass(frozen=True)
class InputSpec:
    """What a network wants to see: square images, (value / 255 - mean) / std.

    Attributes:
        size: Side in pixels.
        channels: "grey" (one channel) or "rgb".
        mean: One number a channel, for values 0-1.
        std: Likewise.
        illumination: What each image goes through before mean and std: "none", or "plane": its histogram is equalised,
            the plane of light that fits it best is taken away, and it gets unit variance.
    """

    size: int
    channels: Literal["grey", "rgb"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    illumination: Illumination = "none"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != self.depth:
                raise ValueError(f"{name}: expected {self.depth} numbers for {self.channels}")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std: expected numbers above 0, got {self.std}")
        if self.illumination not in get_args(Illumination):
            raise ValueError(
                f"illumination: expected one of {', '.join(get_args(Illumination))}, got '{self.illumination}'"
            )

    @property
    def depth(self) -> int:
        """Number of channels."""
        return 1 if self.channels == "grey" else 3


@dataclass(frozen=True)
class Head:
    """One output of a network.

    Attributes:
        name: Of the ONNX output, which holds logits (N, C).
        emotions: The C classes.
        temperature: Divides the logits before the softmax (Guo et al. 2017).
        threshold: Top probabilities under it are uncertain.
    """

    name: str
    emotions: tuple[str, ...]
    temperature: float = 1.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "emotions", tuple(self.emotions))
        if not self.temperature > 0:
            raise ValueError(f"temperature: expected a positive number, got {self.temperature}")


@dataclass(frozen=True)
class ModelInfo:
    """All that is known of one model.

    Attributes:
        name: What `--model` takes.
        description: One sentence.
        input: Size, channels and normalisation.
        heads: By order of the ONNX outputs.
        landmarks: (5, 2) where the five landmarks land in the crop, as fractions of its side; empty where that is
            unknown, and the model then reads cropped faces only.
        architecture: Name in `mien.models` and its options, to build the training form.
        licence: Of the weights.
        data: What they were trained on.
        scores: Measured figures by protocol.
        file: Name of the ONNX file beside the manifest; empty inside the file itself.
        sha256: Of that file.
        training_file: Name of the unfused training form (safetensors, fp16).
        training_sha256: Of that file.
    """

    name: str
    description: str
    input: InputSpec
    heads: tuple[Head, ...]
    landmarks: tuple[tuple[float, float], ...]
    architecture: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    data: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""
    training_file: str = ""
    training_sha256: str = ""

    @property
    def crop_spec(self) -> CropSpec:
        """How a detected face is cropped for this model.

        Raises:
            ConfigError: The info does not know them.
        """
        if not self.landmarks:
            raise ConfigError(
                f"the model '{self.name}' does not say how its faces are framed",
                hint="give it faces that are cropped already: --faces-are-crops",
            )
        return CropSpec(self.input.size, np.asarray(self.landmarks, np.float32) * self.input.size)

    def as_dict(self) -> dict[str, Any]:
        """Plain types."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    def to_json(self) -> str:
        """For the metadata of an ONNX file."""
        return json.dumps(self.as_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], origin: str) -> "ModelInfo":
        """The info described by plain types.

        Raises:
            WeightsError: Something is missing or of the wrong form; `origin` says where.
        """
        try:
            values = dict(plain)
            values["input"] = InputSpec(**values["input"])
            values["heads"] = tuple(Head(**head) for head in values["heads"])
            values["landmarks"] = tuple((float(x), float(y)) for x, y in values["landmarks"])
            if len(values["landmarks"]) not in (0, 5):
                raise ValueError(f"landmarks: expected 5 points or none, got {len(values['landmarks'])}")
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{origin}: its info is not one mien understands: {error}", hint="export the model again"
            ) from error

    @classmethod
    def from_json(cls, text: str, origin: str) -> "ModelInfo":
        """The info in an ONNX file's metadata."""
        try:
            plain = json.loads(text)
        except json.JSONDecodeError as error:
            raise WeightsError(f"{origin}: its info is not JSON: {error}", hint="export the model again") from error
        return cls.from_dict(plain, origin)


@cache
def shipped_models() -> Mapping[str, ModelInfo]:
    """The shipped models by name, the default first."""
    tables = tomllib.loads((FOLDER / "manifest.toml").read_text(encoding="utf-8"))
    return {
        name: ModelInfo.from_dict({"name": name, **table}, f"manifest.toml [{name}]") for name, table in tables.items()
    }


def info(name: str) -> ModelInfo:
    """The shipped model `name`.

    Raises:
        ConfigError: There is none.
    """
    try:
        return shipped_models()[name]
    except KeyError:
        known = ", ".join(shipped_models())
        raise ConfigError(
            f"there is no model '{name}'", hint=f"known: {known}; or give the path of an .onnx file"
        ) from None


def dump_toml(info: ModelInfo) -> str:
    """The info as a table of `manifest.toml`."""
    plain = info.as_dict()
    name = toml_key(plain.pop("name"))
    lines = [f"[{name}]"]
    tables: list[tuple[str, Any]] = []
    for key, value in plain.items():
        if isinstance(value, dict):
            tables.append((f"[{name}.{key}]", value))
        elif value and isinstance(value, list) and isinstance(value[0], dict):
            tables.extend((f"[[{name}.{key}]]", item) for item in value)
        else:
            lines.append(f"{key} = {toml_value(value)}")
    for header, table in tables:
        lines += ["", header, *(f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def toml_key(key: str) -> str:
    """A key in TOML: bare where that is allowed, else quoted."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def toml_value(value: Any) -> str:
    """A plain value in TOML, of which JSON's scalars and arrays are almost part; a table becomes an inline one."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # nan, inf and -inf
    # Unlike JSON, TOML knows no pairs of escapes for the characters beyond 16 bits, and wants one for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
