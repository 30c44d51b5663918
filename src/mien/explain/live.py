"""What a layer gives for one image after the other: all its units as a sheet, and one of them enlarged."""

import fnmatch
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from mien.errors import ConfigError, NotFoundError
from mien.explain.drawing import enlarged, grey_of, sheet
from mien.explain.explore import SHEET, bars
from mien.explain.explored import Explored, LiveInputs, explore_source
from mien.explain.layers import Layer, activations, layers_of, strongest
from mien.expression.base import ClassifierOptions
from mien.results import Frame

COLUMNS: Final = 16  # of the sheet
_LARGEST: Final = 64  # side of a map in the sheet; larger ones are shrunk
_SIDE: Final = 240  # of the enlarged unit, and of what the network sees


@dataclass(frozen=True, eq=False)
class LiveView:
    """A layer's units for one image.

    Attributes:
        seen: What the network reads, (H, W, 3) uint8 RGB; None if it reads keypoints alone.
        sheet: The maps of the first `SHEET` units, `COLUMNS` in a row, with a line of one pixel between them; or one
            bar for each value, (H, W, 3) uint8 RGB.
        unit: The number of the enlarged unit.
        activation: Its highest activation.
        map: Its map, (H, W, 3) uint8 RGB; None for a single value.
    """

    seen: NDArray[np.uint8] | None
    sheet: NDArray[np.uint8]
    unit: int
    activation: float
    map: NDArray[np.uint8] | None


class LiveExplorer:
    """A network whose layers are looked at while images come in.

    Args:
        model: A shipped model of any task, a run, a checkpoint, an .onnx or a .safetensors file, as for `mien explore`.
        fit: Only the layers whose names fit, such as "trunk.*"; None for all.

    Attributes:
        network: The network.
        layers: Its layers in the order in which they run.

    Raises:
        ConfigError: There is no such model, its inside is not known, or no layer fits.
        WeightsError: The weights are missing or damaged.
    """

    def __init__(self, model: str, fit: str | None = None) -> None:
        self.network, _ = explore_source(ClassifierOptions(model=model))
        found = layers_of(self.network.network, self.network.arrays)
        self.layers = [layer for layer in found if fit is None or fnmatch.fnmatch(layer.name, fit)]
        if not self.layers:
            some = ", ".join(layer.name for layer in found[:6])
            raise ConfigError(f"--layers {fit}: fits no layer", hint=f"its layers are {some}, ...")
        self._inputs = LiveInputs(self.network)

    def layer(self, name: str) -> Layer:
        """The layer of a name.

        Raises:
            NotFoundError: There is none.
        """
        found = next((layer for layer in self.layers if layer.name == name), None)
        if found is None:
            raise NotFoundError(f"there is no layer '{name[:80]}'", hint=f"for example {self.layers[0].name}")
        return found

    def examine(self, frame: Frame, name: str, unit: int | None = None) -> LiveView | None:
        """What a layer gives for an image.

        Args:
            frame: The image; of classifiers and landmark networks its largest face counts.
            name: Of the layer.
            unit: That is enlarged; None for the strongest one.

        Returns:
            The view; None if the image shows no face.

        Raises:
            NotFoundError: There is no such layer or unit.
        """
        layer = self.layer(name)
        if unit is not None and not 0 <= unit < layer.units:
            raise NotFoundError(f"the layer '{name}' has no unit {unit}", hint=f"its units are 0 to {layer.units - 1}")
        seen = self._inputs.of(frame)
        return None if seen is None else _view(seen, layer, unit)


def _view(seen: Explored, layer: Layer, unit: int | None) -> LiveView:
    with torch.no_grad():
        values = activations(seen.network, layer.name, seen.arrays)
    peaks = strongest(values)[0]
    chosen = int(peaks.argmax()) if unit is None else unit
    if not layer.has_maps:
        return LiveView(_seen(seen), bars(peaks.numpy()), chosen, float(peaks[chosen]), None)
    maps = values[0].numpy()
    side = min(_LARGEST, max(maps.shape[1:]))
    tiles = sheet([grey_of(each) for each in maps[:SHEET]], side=side, columns=min(COLUMNS, layer.units), gap=1)
    large = enlarged(grey_of(np.maximum(maps[chosen], 0)), _SIDE)
    return LiveView(_seen(seen), tiles, chosen, float(peaks[chosen]), large)


def _seen(network: Explored) -> NDArray[np.uint8] | None:
    return enlarged(network.image(), _SIDE) if network.reads_images else None
