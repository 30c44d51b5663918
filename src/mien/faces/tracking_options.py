"""The options of tracking and smoothing, which load nothing: the command line derives its options from them."""

import math
from dataclasses import dataclass
from typing import Annotated, Final

from mien.errors import ConfigError

# Measured on clips of crossing people and of crowds: at 3, nothing is found less; see `docs/design/tracking.md`.
DETECT_EVERY: Final = 3


@dataclass(frozen=True, slots=True)
class TrackingOptions:
    """How people are followed through videos and cameras; images have no tracks.

    Raises:
        ConfigError: An option has a value out of its range.
    """

    detect_every: Annotated[
        int, "Videos: detect faces on every Nth frame and follow them between; earlier if one is lost or comes."
    ] = DETECT_EVERY
    smooth: Annotated[
        float | None,
        "Videos: seconds over which probabilities are smoothed along a track, by default 0.6; 0 for none. If it is "
        "given, tables also get the smoothed ones.",
    ] = None

    def __post_init__(self) -> None:
        if self.detect_every < 1:
            raise ConfigError(
                f"detect_every: expected a number of frames from 1, got {self.detect_every}", hint="for example 3"
            )
        if self.smooth is not None and not 0 <= self.smooth < math.inf:
            raise ConfigError(f"smooth: expected seconds from 0, got {self.smooth}", hint="for example 0.6")
