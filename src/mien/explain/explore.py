"""The inside of a network as images: activations, filters, and for some units of every layer what they respond to."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.datasets import Samples
from mien.datasets.examples import examples_of, faces_of
from mien.errors import ConfigError
from mien.explain import ExploreOptions
from mien.explain.backward import RULES, images_of_units
from mien.explain.drawing import enlarged, grey_of, points_image, sheet
from mien.explain.explored import Explored
from mien.explain.layers import Layer, all_activations, kernels, layers_of, strongest
from mien.explain.maximise import MaximiseOptions, maximise
from mien.expression.observation import observed

SIDE: Final = 112  # of an image of a unit
CELL: Final = 44  # of a unit in the sheet of a layer
FACES: Final = 9  # that excite a unit most
SHEET: Final = 256  # units of a sheet; the page says so where a layer has more
BARS: Final = 512  # of a layer of single values
_BATCH: Final = 64


@dataclass(frozen=True, eq=False)
class UnitImages:
    """A unit of a layer.

    Attributes:
        number: Of the unit in its layer, from 0.
        activation: Its highest activation by the face; None without a face.
        images: By name ("activation", "gradient", "guided", "deconvolution", "maximised", "filter", "faces"), each
            (H, W, 3) uint8 RGB.
        shows: Highest activations by the faces of the data set, highest first.
    """

    number: int
    activation: float | None
    images: Mapping[str, NDArray[np.uint8]]
    shows: Sequence[float] = field(default_factory=tuple)


@dataclass(frozen=True, eq=False)
class ExploredLayer:
    """A layer with some of its units.

    Attributes:
        layer: Its name, kind and size.
        sheets: "activations" of all units and "filters" of all units, where there are any; (H, W, 3) uint8 RGB.
        units: Those that are shown one by one.
    """

    layer: Layer
    sheets: Mapping[str, NDArray[np.uint8]]
    units: Sequence[UnitImages]


def explore(
    network: Explored,
    options: ExploreOptions,
    samples: Samples | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> list[ExploredLayer]:
    """Explores every layer of a network.

    Args:
        network: The network, with the inputs of a face if there is one.
        options: What is shown.
        samples: Faces, of which those are found that excite a unit most; None for none.
        progress: Called with the number of layers that are done, and of all.

    Raises:
        ConfigError: No layer has such a name, or the network cannot read the faces.
    """
    layers = layers_of(network.network, network.arrays)
    if options.layers is not None:
        chosen = [layer for layer in layers if fnmatch.fnmatch(layer.name, options.layers)]
        if not chosen:
            some = ", ".join(layer.name for layer in layers[:6])
            raise ConfigError(f"--layers {options.layers}: fits no layer", hint=f"its layers are {some}, ...")
        layers = chosen
    values = all_activations(network.network, layers, network.arrays)
    found = _most_exciting(network, layers, samples, options.faces) if samples is not None else {}
    explored = []
    for number, layer in enumerate(layers):
        progress(number, len(layers))
        explored.append(_layer(network, layer, values[layer.name], options, found.get(layer.name)))
    return explored


@dataclass(frozen=True, eq=False)
class _Excited:
    """The faces that excite the units of a layer most: activations (units, F) and images of the faces."""

    values: NDArray[np.float32]
    rows: NDArray[np.int64]
    images: NDArray[np.uint8]


def _layer(
    network: Explored, layer: Layer, values: Tensor, options: ExploreOptions, excited: _Excited | None
) -> ExploredLayer:
    peaks = strongest(values)[0]
    count = min(options.units, layer.units)
    if network.has_face:
        units = torch.argsort(peaks, descending=True, stable=True)[:count].tolist()
    else:
        units = np.unique(np.linspace(0, layer.units - 1, count).round().astype(int)).tolist()
    shown: dict[str, list[NDArray[np.uint8]]] = {}
    if network.has_face:
        if layer.has_maps:
            shown["activation"] = [_heat(values[0, unit].numpy()) for unit in units]
        for rule in RULES:
            gradients = images_of_units(network.network, layer.name, units, network.arrays, rule)[network.place]
            shown[rule] = [_backward_image(network, each) for each in gradients]
    if options.steps:
        settings = MaximiseOptions(steps=options.steps, seed=options.seed)
        best = maximise(network.network, layer.name, units, network.arrays, network.place, settings)
        shown["maximised"] = [_input_image(network, each) for each in best]
    filters = kernels(network.network.get_submodule(layer.name))
    if filters is not None:
        shown["filter"] = [_filter(filters[unit]) for unit in units]
    if excited is not None:
        tiles = [sheet(list(excited.images[excited.rows[unit]]), side=SIDE // 2, columns=FACES) for unit in units]
        shown["faces"] = tiles
    made = [
        UnitImages(
            unit,
            float(peaks[unit]) if network.has_face else None,
            {name: images[place] for name, images in shown.items()},
            () if excited is None else tuple(excited.values[unit].tolist()),
        )
        for place, unit in enumerate(units)
    ]
    return ExploredLayer(layer, _sheets(network, layer, values, filters), made)


def _sheets(network: Explored, layer: Layer, values: Tensor, filters: Tensor | None) -> dict[str, NDArray[np.uint8]]:
    """The sheets of all units of a layer."""
    sheets = {}
    if network.has_face and layer.has_maps:
        tiles = [grey_of(each) for each in values[0, :SHEET].numpy()]
        sheets["activations"] = sheet(tiles, side=CELL, columns=16)
    elif network.has_face:
        flat = strongest(values)[0].numpy()
        sheets["activations"] = bars(flat)
    if filters is not None:
        tiles = [_strongest_kernel(each) for each in filters[:SHEET]]
        sheets["filters"] = sheet(tiles, side=CELL, columns=16)
    return sheets


def _strongest_kernel(kernel: Tensor) -> NDArray[np.uint8]:
    """The kernel (h, w) of the input channel that counts most; that of RGB in colour."""
    if len(kernel) == 3:
        return np.stack([grey_of(each, symmetric=True) for each in kernel.numpy()], axis=2)
    place = int(kernel.flatten(1).norm(dim=1).argmax())
    return grey_of(kernel[place].numpy(), symmetric=True)


def _filter(kernel: Tensor) -> NDArray[np.uint8]:
    """The kernels (inputs, h, w) of a unit, of at most 16 inputs, those that count most."""
    order = torch.argsort(kernel.flatten(1).norm(dim=1), descending=True, stable=True)[:16]
    most = float(kernel.abs().max()) or 1.0
    tiles = [np.rint(127.5 + 127.5 * kernel[place].numpy() / most).astype(np.uint8) for place in order]
    columns = max(1, round(len(tiles) ** 0.5))
    side = max(8, SIDE // columns - 2)
    return enlarged(sheet(tiles, side=side, columns=columns), SIDE)


def _heat(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map as an image (SIDE, SIDE, 3): dark is 0 or below, bright the highest."""
    return enlarged(grey_of(np.maximum(values, 0)), SIDE)


def bars(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Values as bars from a middle line, the first `BARS` of them: up for positive ones."""
    values = np.nan_to_num(values[:BARS])
    high, wide = 120, max(2, 704 // max(len(values), 1))
    canvas = np.full((high, wide * len(values), 3), 244, np.uint8)
    most = max(float(np.abs(values).max(initial=0)), 1e-12)
    for place, value in enumerate(values.tolist()):
        end = round(high / 2 - value / most * (high / 2 - 2))
        top, bottom = sorted((high // 2, end))
        canvas[top : bottom + 1, place * wide : place * wide + max(1, wide - 1)] = (
            (214, 64, 28) if value > 0 else (32, 96, 208)
        )
    return canvas


def _backward_image(network: Explored, gradient: Tensor) -> NDArray[np.uint8]:
    """A gradient of the shown input, summed over frames, as an image: middle grey is 0."""
    if not network.reads_images:
        values = gradient.reshape(-1, *gradient.shape[-2:]).sum(dim=0)
        return points_image(network.arrays[0].reshape(-1, *values.shape)[-1].numpy(), SIDE, values.norm(dim=1).numpy())
    values = gradient.reshape(-1, *gradient.shape[-3:]).sum(dim=0)  # (C, H, W)
    limit = float(torch.quantile(values.abs().flatten(), 0.995)) or 1.0
    scaled = (127.5 + 127.5 * (values / limit).clamp(-1, 1)).round().byte().permute(1, 2, 0).numpy()
    return enlarged(scaled[..., 0] if scaled.shape[2] == 1 else scaled, SIDE)


def _input_image(network: Explored, values: Tensor) -> NDArray[np.uint8]:
    """An optimised input as an image."""
    if not network.reads_images:
        return points_image(values.numpy(), SIDE)
    return enlarged(network.pixels(values), SIDE)


def _most_exciting(network: Explored, layers: Sequence[Layer], samples: Samples, limit: int) -> dict[str, _Excited]:
    """For each layer the faces that excite its units most.

    Raises:
        ConfigError: The network does not classify faces, or the data lacks what it reads.
    """
    if network.model is None:
        raise ConfigError(f"'{network.name}' reads no faces of a store", hint="leave out --data")
    classifier = network.model.classifier
    examples = examples_of(samples, classifier.frames)
    faces = faces_of(samples, examples, classifier.keypoint_scheme)
    rows = np.sort(np.random.default_rng(0).permutation(len(examples))[:limit])
    peaks: dict[str, list[NDArray[np.float32]]] = {layer.name: [] for layer in layers}
    for start in range(0, len(rows), _BATCH):
        batch = [observed(faces[row]) for row in rows[start : start + _BATCH].tolist()]
        arrays = tuple(torch.from_numpy(np.array(each)) for each in classifier.inputs(batch))
        for name, values in all_activations(network.network, layers, arrays).items():
            peaks[name].append(strongest(values).numpy())
    found = {}
    images = samples.images[examples.rows[rows, -1]]
    for name, parts in peaks.items():
        by_face = np.nan_to_num(np.concatenate(parts))  # (faces, units)
        order = np.argsort(-by_face, axis=0, kind="stable")[:FACES].T  # (units, FACES)
        found[name] = _Excited(np.take_along_axis(by_face.T, order, axis=1), order, images)
    return found
