"""What travels with a face detector's weights: its operating point, licence, provenance, scores.

As with the classifiers' `ModelInfo`, it stands twice: in `detectors.toml` for the weights that ship, and as JSON in the
metadata of every ONNX file that `mien export` writes.
"""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from mien.assets.manifest import FOLDER, toml_key, toml_value
from mien.assets.session import Session
from mien.assets.store import read_weights, verified
from mien.errors import WeightsError

__all__ = ["METADATA_KEY", "OUTPUTS", "STRIDES", "DetectorInfo", "dump_toml", "open_detector", "shipped"]

METADATA_KEY: Final = "mien.detector"
# The form of the network: cells of these strides, in this order, each with a score (logit), a box (centre x, y; log of
# width, height) and five points (x, y); places and sizes in units of the stride, places counted from the cell's middle.
STRIDES: Final = (8, 16, 32)
OUTPUTS: Final = 1 + 4 + 10


@dataclass(frozen=True)
class DetectorInfo:
    """All that is known of one detector's weights.

    Attributes:
        name: Of the recipe.
        description: One sentence.
        operating_point: The network's own score, 0-1, that becomes 0.5.
        form: "int8" or "full".
        architecture: Options of `mien.models.detection.face_detector`, to build the training form.
        licence: Of the weights.
        data: What they were trained on.
        scores: Measured figures.
        file: Name of the ONNX file in the package; empty inside the file itself.
        sha256: Of that file.
        training_file: Name of the unfused training form (safetensors, fp16).
        training_sha256: Of that file.
    """

    name: str
    description: str = ""
    operating_point: float = 0.5
    form: str = "full"
    architecture: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    data: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""
    training_file: str = ""
    training_sha256: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.operating_point) and 0 < self.operating_point < 1):
            raise ValueError(f"operating_point: expected a number between 0 and 1, got {self.operating_point}")

    def to_json(self) -> str:
        """For the metadata of an ONNX file."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], origin: str) -> "DetectorInfo":
        """The info described by plain types.

        Raises:
            WeightsError: Something is missing or of the wrong form; `origin` says where.
        """
        try:
            return cls(**plain)
        except (TypeError, ValueError) as error:
            raise WeightsError(
                f"{origin}: its info is not one mien understands: {error}", hint="export the detector again"
            ) from error


@cache
def shipped() -> DetectorInfo:
    """The detector in the package."""
    tables = tomllib.loads((FOLDER / "detectors.toml").read_text(encoding="utf-8"))
    ((name, table),) = tables.items()
    return DetectorInfo.from_dict({"name": name, **table}, f"detectors.toml [{name}]")


def open_detector(weights: Path | None = None) -> tuple[DetectorInfo, Session]:
    """Opens the shipped detector, or any exported one by the path of its ONNX file.

    Raises:
        WeightsError: The file is missing, damaged, or no detector that mien exported.
    """
    if weights is None:
        info = shipped()
        session = Session(verified(FOLDER / info.file, info.sha256), info.file)
    else:
        session = Session(read_weights(weights), str(weights))
        try:
            plain = json.loads(session.metadata[METADATA_KEY])
        except (KeyError, json.JSONDecodeError) as error:
            raise WeightsError(
                f"{weights}: carries no info of mien's for a face detector", hint="make the file with `mien export`"
            ) from error
        info = DetectorInfo.from_dict(plain, str(weights))
    if list(session.inputs.values()) != [(None, None, None, 3)] or list(session.outputs.values()) != [
        (None, None, OUTPUTS)
    ]:
        raise WeightsError(
            f"{session.origin}: takes {session.inputs} and gives {session.outputs}, "
            f"expected images (N, H, W, 3) and cells (N, cells, {OUTPUTS})",
            hint="is it the right file?",
        )
    return info, session


def dump_toml(info: DetectorInfo) -> str:
    """The info as `detectors.toml` has it."""
    plain = asdict(info)
    lines = [f"[{toml_key(plain.pop('name'))}]"]
    return "\n".join([*lines, *(f"{toml_key(key)} = {toml_value(value)}" for key, value in plain.items())]) + "\n"
