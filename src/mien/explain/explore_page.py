"""The page of an explored network: `index.html`, with the images as files beside it."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import __version__
from mien.errors import OutputError
from mien.explain.drawing import enlarged
from mien.explain.explore import BARS, SHEET, ExploredLayer, UnitImages
from mien.explain.explored import Explored
from mien.explain.page import environment
from mien.files import new_file, staging_folder, write_errors

TITLES: Final = {
    "activation": "activation",
    "gradient": "gradient",
    "guided": "guided backpropagation",
    "deconvolution": "deconvolution",
    "maximised": "excites it most",
    "filter": "filter",
    "faces": "faces that excite it most",
}
_FOLDER: Final = "images"  # beside the page


def write_page(out: Path, network: Explored, layers: Sequence[ExploredLayer]) -> Path:
    """Writes the page and its images; those of an earlier run are replaced.

    The images are complete before the page of an earlier run is replaced.

    Args:
        out: The folder; it is created if it does not exist.
        network: What was explored.
        layers: Its layers.

    Returns:
        The page.

    Raises:
        OutputError: Something cannot be written, or `out/images` is a folder that mien did not write.
    """
    page = out / "index.html"
    if (out / _FOLDER).exists() and not page.is_file():
        raise OutputError(f"{out / _FOLDER}: is here already, without the page of mien", hint="give a new folder")
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with staging_folder(out / _FOLDER) as staging:
        images = staging / _FOLDER
        images.mkdir()
        shown = [_layer(images, number, layer, classes_of_units(network)) for number, layer in enumerate(layers)]
        face = _saved(images / "input.png", enlarged(network.image(), 224)) if _is_seen(network) else ""
        if (out / _FOLDER).exists():
            shutil.rmtree(out / _FOLDER)
        images.rename(out / _FOLDER)
    text = (
        environment()
        .get_template("explore.html")
        .render(
            version=__version__,
            model=network.name,
            known={
                "model": network.name,
                "architecture": network.architecture,
                "layers": str(len(layers)),
                "units": f"{sum(layer.layer.units for layer in layers):,}",
            },
            face=face,
            layers=shown,
        )
    )
    with new_file(page, "w", encoding="utf-8") as file:
        file.write(text)
    return page


def classes_of_units(network: Explored) -> dict[str, tuple[str, ...]]:
    """The classes that the units of a layer are, by the name of the layer."""
    if network.model is None:
        return {}
    info = network.model.classifier.info
    found = {f"heads.{head.name}": head.emotions for head in info.heads}
    return found | ({f"heads.{info.affect.name}": ("valence", "arousal")} if info.affect else {})


def _is_seen(network: Explored) -> bool:
    return network.has_face and network.reads_images


def _saved(path: Path, image: NDArray[np.uint8]) -> str:
    """Writes an image; gives its address relative to the page."""
    Image.fromarray(image).save(path, "PNG")
    return f"{_FOLDER}/{path.relative_to(_root(path)).as_posix()}"


def _root(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.name == _FOLDER)


def _layer(
    images: Path, number: int, layer: ExploredLayer, classes: Mapping[str, tuple[str, ...]]
) -> dict[str, object]:
    """What the template shows of a layer, after writing its images."""
    place = f"{number + 1:03d}-{re.sub(r'[^A-Za-z0-9_.-]', '_', layer.layer.name)}"
    folder = images / place
    folder.mkdir()
    size = "x".join(map(str, layer.layer.shape)) or "1 value"
    return {
        "id": f"layer-{number + 1}",
        "name": layer.layer.name,
        "kind": layer.layer.kind,
        "units": layer.layer.units,
        "size": size,
        "most": SHEET if layer.layer.has_maps or "filters" in layer.sheets else BARS,
        "sheets": {name: _saved(folder / f"{name}.png", image) for name, image in layer.sheets.items()},
        "shown": [_unit(folder, unit, classes.get(layer.layer.name)) for unit in layer.units],
    }


def _unit(folder: Path, unit: UnitImages, classes: tuple[str, ...] | None) -> dict[str, object]:
    """What the template shows of a unit, after writing its images."""
    files = {name: _saved(folder / f"unit-{unit.number:03d}.{name}.png", image) for name, image in unit.images.items()}
    return {
        "number": unit.number,
        "meaning": "" if classes is None else classes[unit.number].replace("_", " "),
        "activation": unit.activation,
        "faces": files.pop("faces", ""),
        "highest": unit.shows[0] if unit.shows else None,
        "images": [(name, TITLES[name], path) for name, path in files.items()],
    }
