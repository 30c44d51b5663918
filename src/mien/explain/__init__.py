"""Why a network decides as it does: attribution maps for a face, and what its layers and units respond to.

Needs the extra `explain` (torch and captum). Nothing in the inference flow imports this package.
"""

import importlib
from dataclasses import dataclass
from typing import Annotated

from mien.errors import ConfigError, MissingExtraError


def need_extra() -> None:
    """Checks that what this package needs is installed, before anything is loaded.

    Raises:
        MissingExtraError: torch, captum or another package of the extra is missing.
    """
    try:
        for name in ("torch", "captum.attr", "jinja2"):
            importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("explaining a network", "explain") from error


@dataclass(frozen=True, slots=True)
class ExploreOptions:
    """What is shown of a network; the command line derives its options from these fields.

    Raises:
        ConfigError: A number is below its least value.
    """

    units: Annotated[int, "Units that are shown of each layer: those that the face excites most."] = 6
    layers: Annotated[str | None, "Only the layers whose names fit, such as 'trunk.*' or '*conv*'."] = None
    faces: Annotated[int, "Faces of --data that are searched."] = 1000
    steps: Annotated[int, "Steps of activation maximisation; 0 for none."] = 64
    seed: Annotated[int, "Of the noise that activation maximisation begins with."] = 0

    def __post_init__(self) -> None:
        for name, least in {"units": 1, "faces": 1, "steps": 0}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: expected a number from {least}, got {getattr(self, name)}")
