"""The network to explore, of any task, with the inputs of one face or one photograph."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.analyzer import Analyzer, AnalyzerOptions
from mien.assets.manifest import ModelInfo, model_info, shipped_models
from mien.assets.signature import InputSpec
from mien.errors import ConfigError, InputError
from mien.explain.attribution import mean_face
from mien.explain.networks import ExplainedModel, load
from mien.expression.base import ClassifierOptions
from mien.expression.observation import Observation
from mien.expression.preprocess import fitted, normalised
from mien.faces.align import Aligner
from mien.faces.detectors import DetectorOptions
from mien.faces.keypoints import COUNTS, POINTS_68
from mien.media import frame_of
from mien.models import detection
from mien.models.landmarks.face_landmarks import FaceLandmarks
from mien.opencv import resized
from mien.results import Frame
from mien.training.weights import load_source

DETECTOR_SIDE: Final = 256  # longer side of the image that a detector searches here
_STRIDE: Final = 32  # a detector's sides are multiples of it
_COLOURS: Final = InputSpec(DETECTOR_SIDE, "rgb", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True, eq=False)
class Explored:
    """A network and the inputs of one example.

    Attributes:
        name: Of the model.
        architecture: Its name.
        network: In evaluation mode.
        arrays: The inputs: of a face, or zeros (of keypoints: the mean face) if none is given.
        spec: Size and normalisation of its images; None if it reads keypoints alone.
        has_face: Whether the inputs are those of a face.
        model: The classifier, for the faces of a data set; None for other tasks.
    """

    name: str
    architecture: str
    network: nn.Module
    arrays: tuple[Tensor, ...]
    spec: InputSpec | None
    has_face: bool
    model: ExplainedModel | None = None

    @property
    def place(self) -> int:
        """The input that is shown and optimised: the images, or else the keypoints."""
        return next((number for number, each in enumerate(self.arrays) if each.shape[-1] > 2), 0)

    @property
    def reads_images(self) -> bool:
        """Whether that input holds images."""
        return self.arrays[self.place].shape[-1] > 2

    def image(self) -> NDArray[np.uint8]:
        """The image of the inputs, of several frames the last one, (H, W, 3) uint8 RGB."""
        values = self.arrays[self.place]
        return self.pixels(values.reshape(-1, *values.shape[-3:])[-1])

    def pixels(self, values: Tensor) -> NDArray[np.uint8]:
        """Values of the network's images (C, H, W) as an image (H, W, 3) uint8 RGB."""
        assert self.spec is not None
        mean, std = (torch.tensor(each)[:, None, None] for each in (self.spec.mean, self.spec.std))
        levels = ((values * std + mean).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        return np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels


def explore_source(
    options: ClassifierOptions, image: str | Path | None = None, *, is_crop: bool = False
) -> tuple[Explored, Observation | None]:
    """Loads a model with its inputs for an image; the face as the network reads it, for classifiers.

    Args:
        options: Its model: a shipped one of any task, an .onnx or .safetensors file, a run or a checkpoint.
        image: A photograph or a crop of a face; None: there are no activations to show.
        is_crop: Whether the image is a crop.

    Raises:
        ConfigError: There is no such model, or its network is not known.
        InputError: The image cannot be read, or shows no face.
        WeightsError: The weights are missing or damaged.
    """
    chosen = str(options.models[0]) if options.models else None
    info = shipped_models().get(chosen) if chosen else None
    if info is not None and info.task != "expression":
        return _of_other_task(info, image), None
    model = load(options)
    model.need_network()
    if image is None:
        return without_face(model), None
    detector = DetectorOptions(name="whole-image") if is_crop else DetectorOptions()
    analyzer = Analyzer(AnalyzerOptions(detector=detector, largest_only=True), classifier=model.classifier)
    if not len(analyzer.analyze(frame_of(image))):
        raise InputError(f"{image}: no face was found", hint="for a cropped face, add --faces-are-crops")
    seen = model.classifier.kept[0]
    return with_face(model, seen), seen


def with_face(model: ExplainedModel, seen: Observation) -> Explored:
    """A classifier with the inputs of a face."""
    arrays = tuple(torch.from_numpy(np.array(each)) for each in model.classifier.inputs([seen]))
    return replace(without_face(model), arrays=arrays, has_face=True)


def without_face(model: ExplainedModel) -> Explored:
    """A classifier with grey images and a mean face as its inputs."""
    info, network = model.classifier.info, model.need_network()
    mean = mean_face(network)
    arrays = []
    for part in info.inputs:
        array = torch.zeros(1, *(side or 1 for side in part.shape[1:]))
        if array.shape[-1] == 2 and mean is not None:
            array[..., : COUNTS[POINTS_68], :] = mean
        arrays.append(array)
    spec = info.input if any(array.shape[-1] > 2 for array in arrays) else None
    return Explored(info.name, model.architecture, network, tuple(arrays), spec, False, model)


def _of_other_task(info: ModelInfo, image: str | Path | None) -> Explored:
    """A detector or a landmark network."""
    if not info.training_file:
        raise ConfigError(f"the inside of '{info.name}' is not known: its training form does not ship")
    weights = dict(load_source(info.name).weights)
    options = dict(info.architecture)
    name = str(options.pop("name"))
    pixels = None if image is None else np.asarray(frame_of(image).image)
    if info.task == "detection":
        network: nn.Module = detection.build(name, **options)
        spec = _COLOURS
    else:
        network = FaceLandmarks(weights["mean_shape"].tolist(), **{"size": info.input.size} | options)
        spec = info.input
    arrays = _inputs(info, pixels)
    if arrays is None:
        raise InputError(f"{image}: no face was found", hint="give a photograph of a face")
    network.load_state_dict(weights)
    fused: nn.Module = network.fused()  # type: ignore[operator]
    return Explored(info.name, name, fused, (arrays,), spec, image is not None)


def _inputs(info: ModelInfo, pixels: NDArray[np.uint8] | None) -> Tensor | None:
    """An image as a detector or a landmark network reads it; None if no face is found in it."""
    return searched(pixels) if info.task == "detection" else _cropped(info, pixels)


class LiveInputs:
    """The inputs of a network for one image after the other.

    Args:
        network: The network, of any task.
    """

    def __init__(self, network: Explored) -> None:
        self._network = network
        self._analyzer = None
        if network.model is not None:
            options = AnalyzerOptions(largest_only=True)
            self._analyzer = Analyzer(options, classifier=network.model.classifier)

    def of(self, frame: Frame) -> Explored | None:
        """The network with the inputs of the largest face, or of the whole image for a detector; None without a face.

        Raises:
            InputError: The image cannot be read.
        """
        if self._analyzer is not None and (model := self._network.model) is not None:
            if not len(self._analyzer.analyze(frame)):
                return None
            arrays = tuple(
                torch.from_numpy(np.array(each)) for each in model.classifier.inputs(model.classifier.kept[:1])
            )
            return replace(self._network, arrays=arrays, has_face=True)
        found = _inputs(model_info(self._network.name), np.asarray(frame.image))
        return None if found is None else replace(self._network, arrays=(found,), has_face=True)


def searched(pixels: NDArray[np.uint8] | None) -> Tensor:
    """An image (H, W, 3) as a detector searches it: RGB 0-1, no larger than `DETECTOR_SIDE`, zeros where there is none.

    None gives an empty image.
    """
    if pixels is None:
        return torch.zeros(1, 3, DETECTOR_SIDE // 2, DETECTOR_SIDE // 2)
    small, _ = resized(pixels, min(1.0, DETECTOR_SIDE / max(pixels.shape[:2])))
    height, width = (-(-side // _STRIDE) * _STRIDE for side in small.shape[:2])
    values = torch.zeros(1, 3, height, width)
    values[0, :, : small.shape[0], : small.shape[1]] = torch.from_numpy(small.copy()).permute(2, 0, 1) / 255
    return values


def _cropped(info: ModelInfo, pixels: NDArray[np.uint8] | None) -> Tensor | None:
    """The crop of the largest face as the landmark network reads it; grey without an image, None without a face."""
    spec = info.input
    if pixels is None:
        return torch.zeros(1, spec.depth, spec.size, spec.size)
    crops = Aligner(crop_specs=(info.crop_spec,)).largest(pixels)
    return None if crops is None else torch.from_numpy(normalised(fitted([crops[0]], spec), spec))
