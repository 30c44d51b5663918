"""The explanation of a face: its classes, the maps of every method, the check of the maps, and the images of them."""

import copy
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from mien import emotions as vocabularies
from mien.analyzer import Analyzer, AnalyzerOptions
from mien.errors import ConfigError, InputError
from mien.explain.attribution import (
    INTEGRATED,
    METHODS,
    OCCLUSION,
    TITLES,
    FaceInputs,
    Maps,
    Question,
    attributions,
    inputs_of,
)
from mien.explain.drawing import face_image, overlay, panel
from mien.explain.faithfulness import Deletion, deletion
from mien.explain.networks import ExplainedModel
from mien.expression.observation import Observation
from mien.media import STANDARD_INPUT, FrameSource, frames_of
from mien.results import Face, FrameResult

# Maps are smoothed by this part of the side to be drawn: those of single pixels, and those of squares.
_SMOOTHED: Final = {INTEGRATED: 1 / 32, OCCLUSION: 1 / 20}


@dataclass(frozen=True)
class Place:
    """Where a face is.

    Attributes:
        source: The image.
        number: Of the face in it, from 0, largest first.
        name: The path of the image below the folder that all images share.
        stem: The same for its files: without the suffix, unless another image differs only in this.
    """

    source: str = ""
    number: int = 0
    name: str = ""
    stem: str = ""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model gives a class to a face.

    Attributes:
        place: The image, and the number of the face.
        face: The face, with its expression.
        seen: The face as the network reads it.
        wanted: The class that is explained.
        against: The class that it is compared with.
        maps: By method, what speaks for the class.
        contrast: By method, what speaks for the class and not for the other.
        deletion: The check of `maps`.
        panels: By method, an image (H, W, 3) uint8 RGB with both maps.
        missing: By method, why it is not here.
    """

    place: Place
    face: Face
    seen: Observation
    wanted: str
    against: str
    maps: Mapping[str, Maps]
    contrast: Mapping[str, Maps]
    deletion: Deletion
    panels: Mapping[str, NDArray[np.uint8]]
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def tile(self) -> NDArray[np.uint8]:
        """The face as an image (H, W, 3) uint8 RGB."""
        return face_image(self.seen)

    def check(self) -> str:
        """The figures of the check on one line."""
        areas = ", ".join(f"{TITLES[name]} {area:.2f}" for name, area in self.deletion.areas.items())
        return f"area under the deletion curve: {areas}; random {self.deletion.random_area:.2f}"


def explain(
    model: ExplainedModel,
    images: FrameSource,
    options: AnalyzerOptions,
    *,
    wanted: str | None = None,
    against: str | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Iterator[Explanation | FrameResult]:
    """Explains every face of some images, in their order.

    An image that cannot be read, or shows no face, gives its result instead.

    Args:
        model: The model.
        images: The images, from `mien.media.open_frames`.
        options: How faces are found; its classifier is that of the model.
        wanted: The class to explain; None for the most probable one of each face.
        against: The class to compare it with; None for the most probable other one.
        progress: Called with the number of images that are done, and of all.

    Raises:
        ConfigError: The model does not have such a class, or both are the same.
        InputError: One of the images is a video.
    """
    known = model.classifier.emotions
    wanted = None if wanted is None else _class(wanted, known, "--class")
    against = None if against is None else _class(against, known, "--against")
    if wanted is not None and wanted == against:
        raise ConfigError(f"--class and --against are the same class, {wanted}", hint="give two classes")
    if images.has_video:
        raise InputError("explanations are of images, got a video or a camera", hint="give single frames of it")
    analyzer = Analyzer(options, classifier=model.classifier)
    places = places_of(images.items)
    for done, frame in enumerate(frames_of(iter(images), "result")):
        progress(done, len(images.items))
        result = next(analyzer.stream([frame]))
        if result.error is not None or not result.faces:
            yield result
            continue
        seen = list(model.classifier.kept)
        for number, (face, each) in enumerate(zip(result.faces, seen, strict=True)):
            place = replace(places.get(result.source, Place(name=result.source, stem=result.source)), number=number)
            yield explain_face(
                model, face, each, wanted=wanted, against=against, place=replace(place, source=result.source)
            )
    progress(len(images.items), len(images.items))


def _class(name: str, known: Sequence[str], option: str) -> str:
    try:
        return vocabularies.find(name, known)
    except ConfigError as error:
        raise ConfigError(f"{option}: '{name}' is none of the model's classes", hint=error.hint) from error


def explain_face(
    model: ExplainedModel,
    face: Face,
    seen: Observation,
    *,
    wanted: str | None = None,
    against: str | None = None,
    place: Place = Place(),
) -> Explanation:
    """Explains one face.

    Args:
        model: The model.
        face: The face, with its expression.
        seen: The face as the network reads it.
        wanted: See `explain`.
        against: See `explain`.
        place: Its image, and its number in it.
    """
    assert face.expression is not None  # the analyzer has classified it
    names, probabilities = face.expression.emotions, face.expression.probabilities
    ranked = [names[place_] for place_ in np.argsort(-probabilities, kind="stable")]
    wanted = wanted or next(name for name in ranked if name != against)
    against = against or next(name for name in ranked if name != wanted)
    head = model.classifier.head.emotions
    inputs = inputs_of(model, seen)
    maps = attributions(model, inputs, Question(head.index(wanted)))
    contrast = attributions(model, inputs, Question(head.index(wanted), head.index(against)))
    checked = deletion(model, inputs, maps, names.index(wanted))
    missing = {name: _why_missing(model, inputs) for name in METHODS if name not in maps}
    panels = {
        name: _panel(model, seen, (wanted, against), (maps[name], contrast[name]), name, checked) for name in maps
    }
    return Explanation(place, face, seen, wanted, against, maps, contrast, checked, panels, missing)


def _why_missing(model: ExplainedModel, inputs: FaceInputs) -> str:
    if model.network is None:
        return f"needs the training form of the model: {model.missing}"
    return "the network reads keypoints and has no maps" if not any(inputs.are_images) else "the network has no maps"


def _panel(
    model: ExplainedModel,
    seen: Observation,
    classes: tuple[str, str],
    maps: tuple[Maps, Maps],
    method: str,
    checked: Deletion,
) -> NDArray[np.uint8]:
    """The face and its two maps, with the figure of the check."""
    wanted, against = (name.replace("_", " ") for name in classes)
    spec = model.classifier.info.crop_spec if seen.images and model.classifier.info.image.landmarks else None
    tiles = [("the face, cropped for the network", face_image(seen))]
    for caption, each in zip((f"why {wanted}", f"why {wanted} and not {against}"), maps, strict=True):
        tiles.append((caption, overlay(seen, each, spec, smooth=_SMOOTHED.get(method, 0.0))))
    note = (
        f"red: speaks for it, blue: against it. Deletion of what is marked leaves an area of "
        f"{checked.areas[method]:.2f}, random deletion {checked.random_area:.2f}"
    )
    return panel(f"{TITLES[method]}, {model.classifier.name}", tiles, note)


def places_of(items: Sequence[str | Path]) -> dict[str, Place]:
    """How each image is called on the page and in the names of files; no two have the same name."""
    paths = {os.fspath(item): Path(os.path.abspath(item)) for item in items if str(item) != STANDARD_INPUT}
    try:
        shared = os.path.commonpath([path.parent for path in paths.values()])
        names = {source: path.relative_to(shared) for source, path in paths.items()}
    except ValueError:  # no images, or several drives
        names = {source: Path(path.name) for source, path in paths.items()}
    # Some file systems do not distinguish upper and lower case.
    counts = Counter(str(name.with_suffix("")).casefold() for name in names.values())
    places, taken = dict[str, Place](), set[str]()
    for source, name in names.items():
        plain = name.with_suffix("")
        base = stem = (name if counts[str(plain).casefold()] > 1 else plain).as_posix()
        number = 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{base}-{number}"
        taken.add(stem.casefold())
        shown = name.as_posix() if number == 1 else f"{name.as_posix()} ({number})"
        places[source] = Place(source, 0, shown, stem)
    return places


def randomised(model: ExplainedModel, seed: int = 0) -> ExplainedModel:
    """The model with random weights, for the check of Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018.

    A map that stays the same when the weights are random shows the image, not the network. Every weight tensor keeps
    its values in another order, so that their distribution stays.
    """
    network = copy.deepcopy(model.need_network())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            order = torch.randperm(weight.numel(), generator=generator)
            weight.copy_(weight.flatten()[order].reshape(weight.shape))
    return replace(model, network=network)
