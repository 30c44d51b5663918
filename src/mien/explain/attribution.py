"""Attribution maps: how much each part of a face speaks for a class, by three methods.

- Grad-CAM (Selvaraju et al., ICCV 2017): maps of an inner layer, weighted by the mean gradient of each.
- Integrated gradients (Sundararajan et al., ICML 2017): gradients along the way from a baseline to the face, summed.
- Occlusion (Zeiler & Fergus, ECCV 2014, section 4.2): how far the score falls if a part is replaced by the baseline.

The baseline is the face without detail: blurred, and of keypoints the mean face of the training data, placed as this
face is. captum computes the methods.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.assets.signature import ImageInput
from mien.explain.networks import ExplainedModel
from mien.expression.observation import Observation
from mien.models.blocks.shape import ShapeNorm
from mien.opencv import cv2

GRADCAM: Final = "gradcam"
INTEGRATED: Final = "integrated-gradients"
OCCLUSION: Final = "occlusion"
METHODS: Final = (GRADCAM, INTEGRATED, OCCLUSION)
TITLES: Final = {GRADCAM: "Grad-CAM", INTEGRATED: "Integrated gradients", OCCLUSION: "Occlusion"}

_BLUR: Final = 8  # the baseline is blurred by this part of the side
_STEPS: Final = 32  # of the integral
_WINDOW: Final = 6  # the occluding window is this part of the side
_STRIDE: Final = 12  # its step
_COARSEST: Final = 8  # Grad-CAM takes the last layer whose maps have at least this part of the side


@dataclass(frozen=True)
class Question:
    """Why this class; or why this class and not that one. Both are indices of the head's classes."""

    wanted: int
    against: int | None = None

    def score(self, logits: Tensor) -> Tensor:
        """Logits (N, classes) -> (N,): the class's logit, or its difference to that of the other class."""
        found = logits[:, self.wanted]
        return found if self.against is None else found - logits[:, self.against]


@dataclass(frozen=True, eq=False)
class FaceInputs:
    """A face as the network reads it.

    Attributes:
        arrays: One for each input, in order: images (1, C, H, W) or keypoints (1, K, 2), with frames after the 1 for
            networks that read windows.
        baseline: The same without detail.
        are_images: Of each input, whether it is images.
    """

    arrays: tuple[Tensor, ...]
    baseline: tuple[Tensor, ...]
    are_images: tuple[bool, ...]


def inputs_of(model: ExplainedModel, face: Observation) -> FaceInputs:
    """The inputs of a network for a face, with their baselines."""
    arrays = tuple(torch.from_numpy(np.array(each)) for each in model.classifier.inputs([face]))
    kinds = tuple(isinstance(part, ImageInput) for part in model.classifier.info.inputs)
    mean = mean_face(model.network)
    baseline = tuple(blurred(each) if image else _placed(each, mean) for each, image in zip(arrays, kinds, strict=True))
    return FaceInputs(arrays, baseline, kinds)


def blurred(images: Tensor) -> Tensor:
    """Images (..., H, W) blurred until no feature of the face is left."""
    sigma = images.shape[-1] / _BLUR
    flat = images.reshape(-1, *images.shape[-2:]).numpy()
    soft = [cv2.GaussianBlur(each, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for each in flat]
    return torch.from_numpy(np.stack(soft)).reshape(images.shape)


def mean_face(network: nn.Module | None) -> Tensor | None:
    """The mean keypoints (68, 2) that a network has seen, relative to centroid, size and roll; None if it has none."""
    norms = [] if network is None else [each.norm for each in network.modules() if isinstance(each, ShapeNorm)]
    if not norms or norms[0].running_mean is None:
        return None
    return norms[0].running_mean.reshape(5, -1)[:2].T.clone()


def _placed(points: Tensor, mean: Tensor | None) -> Tensor:
    """The mean face where the face (..., K, 2) is; its centroid, for all points, if there is no mean face."""
    centre = points.nanmean(dim=-2, keepdim=True)
    if mean is None or torch.isnan(points).any():
        return centre.expand_as(points).clone()
    size = (points - centre).square().sum(-1, keepdim=True).mean(-2, keepdim=True).sqrt()  # as in `shape_features`
    axis = points[..., 42:48, :].mean(-2, keepdim=True) - points[..., 36:42, :].mean(-2, keepdim=True)
    axis = axis / axis.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    across, down = axis[..., :1], axis[..., 1:]
    x, y = mean[:, :1] * across - mean[:, 1:] * down, mean[:, :1] * down + mean[:, 1:] * across
    placed = points.clone()
    placed[..., : len(mean), :] = centre + size * torch.cat([x, y], dim=-1)
    return placed


# What each method gives: for each input a map (H, W) or the values of points (K,); None where it has no meaning.
Maps = tuple[NDArray[np.float32] | None, ...]


def attributions(model: ExplainedModel, face: FaceInputs, question: Question) -> Mapping[str, Maps]:
    """The maps of every method that the model allows, by its name in `METHODS`.

    Positive values speak for the question's class, negative ones against it. Without the network there is occlusion
    alone; Grad-CAM needs maps, which networks of keypoints do not have.
    """
    found: dict[str, Maps] = {}
    if model.network is not None:
        found[GRADCAM] = gradcam(model, face, question)
        found[INTEGRATED] = integrated_gradients(model, face, question)
    found[OCCLUSION] = occlusion(model, face, question)
    return {name: maps for name, maps in found.items() if any(each is not None for each in maps)}


def gradcam(model: ExplainedModel, face: FaceInputs, question: Question) -> Maps:
    """Grad-CAM of the last layer with maps of at least an eighth of the side, without its ReLU.

    Without the ReLU, parts that speak against the class are negative, as with the other methods.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    layer = map_layer(model.need_network(), face)
    if layer is None:
        return tuple(None for _ in face.arrays)
    attribute = LayerGradCam(_scorer(model, question), layer).attribute
    coarse = attribute(face.arrays, relu_attributions=False)  # (1, 1, h, w), or a row for each frame
    maps: list[NDArray[np.float32] | None] = []
    for array, is_image in zip(face.arrays, face.are_images, strict=True):
        if not is_image:
            maps.append(None)
            continue
        side = tuple(array.shape[-2:])
        fine = LayerAttribution.interpolate(coarse, side, "bilinear")
        maps.append(fine.detach().sum(dim=(0, 1)).numpy().astype(np.float32))
    return tuple(maps)


def map_layer(network: nn.Module, face: FaceInputs) -> nn.Module | None:
    """The last layer whose output has maps of at least an eighth of the side of the image; None if it has no maps."""
    sides = [array.shape[-1] for array, is_image in zip(face.arrays, face.are_images, strict=True) if is_image]
    if not sides:
        return None
    found: list[tuple[int, nn.Module]] = []

    def note(module: nn.Module, arguments: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            found.append((min(output.shape[-2:]), module))

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with torch.no_grad():
            network(*face.arrays)
    finally:
        for hook in hooks:
            hook.remove()
    least = math.ceil(sides[0] / _COARSEST)
    fine = [module for side, module in found if side >= least] or [module for _, module in found]
    return fine[-1] if fine else None


def integrated_gradients(model: ExplainedModel, face: FaceInputs, question: Question) -> Maps:
    """Integrated gradients from the baseline; their sum is the difference of the two scores."""
    from captum.attr import IntegratedGradients

    model.need_network()
    attribute = IntegratedGradients(_scorer(model, question)).attribute
    found = attribute(face.arrays, face.baseline, n_steps=_STEPS, internal_batch_size=_STEPS)
    return tuple(_summed(each, image) for each, image in zip(found, face.are_images, strict=True))


def occlusion(model: ExplainedModel, face: FaceInputs, question: Question) -> Maps:
    """The fall of the score if a square of a sixth of the side, or a point, becomes that of the baseline."""
    from captum.attr import Occlusion

    windows, strides = [], []
    for array, image in zip(face.arrays, face.are_images, strict=True):
        shape = array.shape[1:]
        side = shape[-1]
        window = (max(2, side // _WINDOW),) * 2 if image else (1, 2)
        stride = (max(1, side // _STRIDE),) * 2 if image else (1, 2)
        windows.append((*shape[:-2], *window))  # all channels and frames together
        strides.append((*shape[:-2], *stride))
    with torch.no_grad():
        found = Occlusion(_scorer(model, question)).attribute(
            face.arrays,
            sliding_window_shapes=tuple(windows),
            strides=tuple(strides),
            baselines=face.baseline,
            perturbations_per_eval=32,
        )
    return tuple(_mean(each, image) for each, image in zip(found, face.are_images, strict=True))


def _scorer(model: ExplainedModel, question: Question) -> Callable[..., Tensor]:
    """The inputs -> the score (N,)."""
    return lambda *arrays: question.score(model.forward(*arrays))


def _summed(values: Tensor, is_image: bool) -> NDArray[np.float32]:
    """(1, [T,] C, H, W) -> (H, W); (1, [T,] K, 2) -> (K,)."""
    flat = values.detach().float().nan_to_num().reshape(-1, *values.shape[-2:]).sum(dim=0)
    return (flat if is_image else flat.sum(dim=1)).numpy()


def _mean(values: Tensor, is_image: bool) -> NDArray[np.float32]:
    """As `_summed`; each value stands for the whole window, so they are averaged over channels and frames."""
    flat = values.detach().float().nan_to_num().reshape(-1, *values.shape[-2:]).mean(dim=0)
    return (flat if is_image else flat.mean(dim=1)).numpy()
