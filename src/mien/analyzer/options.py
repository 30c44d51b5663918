"""The options of an analyzer, and what may stand for a part of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from mien.errors import ConfigError, check_flag
from mien.expression.base import ClassifierOptions
from mien.faces.detectors import Detector, DetectorOptions
from mien.faces.landmarks import LandmarkOptions
from mien.media.decode import shown
from mien.media.picking import TrackingOptions

# The options, the name or the file of a detector, or a ready one; None for the default.
DetectorSource = DetectorOptions | Detector | str | Path | None


@dataclass(frozen=True, slots=True)
class AnalyzerOptions:
    """Everything that can be chosen about an analyzer: frozen, and can be pickled and sent to another process."""

    detector: DetectorOptions = field(default_factory=DetectorOptions)
    classifier: ClassifierOptions = field(default_factory=ClassifierOptions)
    landmarks: LandmarkOptions = field(default_factory=LandmarkOptions)
    tracking: TrackingOptions = field(default_factory=TrackingOptions)
    keypoints: Annotated[bool, "Also find dense keypoints, the head pose and measures of each face."] = False
    largest_only: Annotated[bool, "Keep only the largest face of each frame."] = False
    align: Annotated[
        bool, "Align faces, also images that are cropped faces (whole-image), by landmarks of a network of their own."
    ] = True
    keep_images: Annotated[bool, "Results carry the pixels of their frames, for drawing."] = False

    def __post_init__(self) -> None:
        """Refuses values of other types: text such as "no" would count as yes.

        Raises:
            ConfigError: There is one.
        """
        for name, kind in PARTS.items():
            if not isinstance(value := getattr(self, name), kind):
                hint = f"write {kind.__name__}({shown(repr(value))})" if isinstance(value, (str, Path)) else ""
                raise ConfigError(f"{name}: expected {kind.__name__}, got {type(value).__name__}", hint=hint)
        for name in ("keypoints", "largest_only", "align", "keep_images"):
            check_flag(name, getattr(self, name))


# The fields of the options that are options themselves.
PARTS: Final[Mapping[str, type]] = {
    "detector": DetectorOptions,
    "classifier": ClassifierOptions,
    "landmarks": LandmarkOptions,
    "tracking": TrackingOptions,
}
