"""Architectures of networks for expressions, one file each; those of face detectors are in `detection`.

The module of an architecture has one function `build(heads, input, **options) -> Network`: `heads` maps the name of
each head to its number of classes, `input` is the `InputSpec`, and the options are keyword arguments with defaults.
An architecture with pretrained weights also has `load_pretrained(network, state, input)` and `WEIGHTS`, the names of
their tables in `assets/packages.toml` or `assets/remote.toml`, and `WITHOUT_STATISTICS = True` if they lack the
statistics of batch norms. An architecture that does not read single images says so: `INPUTS`, of "images" and
"keypoints" those that it reads, in order; `WINDOWS = True` if it reads several frames at once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mien.assets.manifest import InputSpec
from mien.assets.signature import ImageInput, KeypointInput
from mien.errors import ConfigError, MissingExtraError
from mien.faces.keypoints import COUNTS, MIRRORED, POINTS_68

try:
    import torch
except ImportError as error:
    raise MissingExtraError("training and its networks", "train") from error

from mien.models import pretrained
from mien.models.blocks.architectures import Architectures
from mien.models.blocks.network import Network
from mien.models.pretrained import Origin

__all__ = [
    "FRAMES",
    "Network",
    "Origin",
    "build",
    "example_inputs",
    "has_capsules",
    "inputs_of",
    "lacks_statistics",
    "load_pretrained",
    "names",
    "option_names",
    "reads_images",
    "reads_keypoints",
    "reads_windows",
    "takes_pretrained",
]

COUNT: Final = COUNTS[POINTS_68]  # keypoints that a network reads
FRAMES: Final = 10  # usual length of a window


_ARCHITECTURES: Final = Architectures(__name__, __path__, "network", frozenset({"heads", "input"}))
names, option_names = _ARCHITECTURES.names, _ARCHITECTURES.option_names
lacks_statistics = _ARCHITECTURES.lacks_statistics
_module = _ARCHITECTURES.module


def build(name: str, heads: Mapping[str, int], input: InputSpec, **options: Any) -> Network:
    """Builds the network `name` with random weights.

    Raises:
        ConfigError: No architecture has that name, or an option or its value is invalid.
    """
    network: Network = _ARCHITECTURES.build(name, heads, input, **options)
    return network


def inputs_of(
    name: str, spec: InputSpec, *, landmarks: Sequence[tuple[float, float]] = (), frames: int = 1
) -> tuple[ImageInput | KeypointInput, ...]:
    """The inputs of an architecture, in order, as `ModelInfo` describes them.

    Args:
        name: Name of the architecture.
        spec: Size and normalisation of its images.
        landmarks: Where the five landmarks lie in them.
        frames: Length of a window.
    """
    kinds: dict[str, ImageInput | KeypointInput] = {
        "images": ImageInput("images", spec, tuple(landmarks), frames),
        "keypoints": KeypointInput("keypoints", POINTS_68, COUNT, frames, tuple(MIRRORED[:COUNT].tolist())),
    }
    return tuple(kinds[each] for each in _inputs(name))


def _inputs(name: str) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(_module(name), "INPUTS", ("images",))
    return found


def reads_images(name: str) -> bool:
    """Whether an architecture reads images."""
    return "images" in _inputs(name)


def reads_keypoints(name: str) -> bool:
    """Whether an architecture reads keypoints."""
    return "keypoints" in _inputs(name)


def reads_windows(name: str) -> bool:
    """Whether an architecture reads several frames at once."""
    return getattr(_module(name), "WINDOWS", False)


def has_capsules(name: str) -> bool:
    """Whether an architecture has class capsules, from which a `Decoder` can redraw the image."""
    return hasattr(_module(name), "Decoder")


def example_inputs(name: str, spec: InputSpec, *, count: int = 1, frames: int = FRAMES) -> "tuple[torch.Tensor, ...]":
    """Zeros in the shapes of an architecture's inputs, to count and to export it; windows of `frames`."""
    length = frames if reads_windows(name) else 1
    return tuple(
        torch.zeros(count, *(size or 1 for size in part.shape[1:])) for part in inputs_of(name, spec, frames=length)
    )


def load_pretrained(name: str, network: Network, source: str, *, input: InputSpec, sha256: str = "") -> Origin:
    """Loads pretrained weights into a network.

    Args:
        name: Name of the architecture.
        network: The network from `build`; changed in place.
        source: Name of the weights or path of their file; see `pretrained.read`.
        input: The images of the network; for grey ones, the first convolution sums over the colours.
        sha256: Hash that the file must have; empty: any, unless the weights are named.

    Returns:
        Where the weights come from.

    Raises:
        ConfigError: The architecture has no pretrained weights, or not these.
        WeightsError: The weights are missing, are another file, or do not fit the network.
    """
    module = _module(name)
    known: tuple[str, ...] = getattr(module, "WEIGHTS", ())
    is_file = Path(source).suffix in pretrained.SUFFIXES
    if not known or not (source in known or is_file):
        hint = f"set model.weights to a file or to {' or '.join(known)}" if known else "remove model.weights"
        raise ConfigError(f"the network '{name}' has no pretrained weights '{source}'", hint=hint)
    return _ARCHITECTURES.load_pretrained(name, network, source, sha256, images=input)


def takes_pretrained(name: str) -> tuple[str, ...]:
    """Names of the pretrained weights of an architecture, or none if it does not take any."""
    weights: tuple[str, ...] = getattr(_module(name), "WEIGHTS", ()) if name in names() else ()
    return weights
