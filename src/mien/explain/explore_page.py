"""The page of an explored network: `index.html`, with the images as files beside it.

`images/mien-explore.txt` lists the images, so that a later run deletes those and nothing else.
"""

import os
import re
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
from mien.files import check_folder, new_file, staging_folder, write_errors

TITLES: Final = {
    "activation": "activation",
    "gradient": "gradient",
    "guided": "guided backpropagation",
    "deconvolution": "deconvolution",
    "maximised": "excites it most",
    "filter": "filter",
    "faces": "faces that excite it most",
}
PAGE: Final = "index.html"
_FOLDER: Final = "images"  # beside the page
_LIST: Final = "mien-explore.txt"  # in the folder: the images that mien wrote
_GENERATOR: Final = "mien explore"
_HINT: Final = "give a new folder as --out"


def check_out(out: Path) -> None:
    """Refuses a folder that cannot be written, or whose page or images are not those of an earlier run.

    Raises:
        OutputError: The folder is refused.
    """
    check_folder(out)
    page, images = out / PAGE, out / _FOLDER
    with write_errors(out):
        foreign = [page] if os.path.lexists(page) and not _is_own(page) else []
        is_empty = images.is_dir() and not any(images.iterdir())
        if os.path.lexists(images) and not is_empty and not (images / _LIST).is_file():
            foreign.append(images)
    if foreign:
        raise OutputError(f"{foreign[0]}: was not written by `{_GENERATOR}`, and is not replaced", hint=_HINT)


def _is_own(page: Path) -> bool:
    """Whether a page is one of `mien explore`."""
    try:
        with page.open(encoding="utf-8", errors="replace") as file:
            return f'<meta name="generator" content="{_GENERATOR} ' in file.read(1000)
    except OSError:
        return False


def images_of(out: Path) -> list[Path]:
    """The images of the page in a folder."""
    try:
        lines = (out / _FOLDER / _LIST).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    paths = map(Path, filter(None, lines))
    return [out / _FOLDER / path for path in paths if not path.is_absolute() and ".." not in path.parts]


def write_page(out: Path, network: Explored, layers: Sequence[ExploredLayer]) -> Path:
    """Writes the page and its images; those of an earlier run are replaced, and other files stay.

    The images are complete before the page of an earlier run is replaced.

    Args:
        out: The folder; it is created if it does not exist.
        network: What was explored.
        layers: Its layers.

    Returns:
        The page.

    Raises:
        OutputError: Something cannot be written, or would replace what `mien explore` did not write.
    """
    check_out(out)
    page = out / PAGE
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with staging_folder(out / _FOLDER) as staging:
        images = staging / _FOLDER
        images.mkdir()
        shown = [_layer(images, number, layer, classes_of_units(network)) for number, layer in enumerate(layers)]
        face = _saved(images / "input.png", enlarged(network.image(), 224)) if _is_seen(network) else ""
        _replace(out, images)
    text = (
        environment()
        .get_template("explore.html")
        .render(
            version=__version__,
            generator=_GENERATOR,
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


def _replace(out: Path, staged: Path) -> None:
    """Deletes the images of an earlier run, and moves the new ones to their place.

    Raises:
        OutputError: A file that is not of an earlier run has the name of a new one.
    """
    new = sorted(path.relative_to(staged) for path in staged.rglob("*") if path.is_file())
    old, folder = images_of(out), out / _FOLDER
    for path in new:
        if os.path.lexists(folder / path) and folder / path not in old:
            raise OutputError(f"{folder / path}: was not written by `{_GENERATOR}`, and is not replaced", hint=_HINT)
    for each in old:
        each.unlink(missing_ok=True)
    for place in {each.parent for each in old} - {folder}:
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
    folder.mkdir(exist_ok=True)
    # First the list: after a crash, it may have more names than there are images, but never fewer.
    with new_file(folder / _LIST, "w", encoding="utf-8") as file:
        file.write("".join(f"{path.as_posix()}\n" for path in new))
    for path in new:
        (folder / path).parent.mkdir(exist_ok=True)
        os.replace(staged / path, folder / path)


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
