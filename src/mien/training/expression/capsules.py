"""What training a network of capsules adds: the margin loss, redrawing the images, and a picture of the redrawn faces.

Sabour, Frosst and Hinton, "Dynamic routing between capsules", NeurIPS 2017, sections 3 and 4.1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mien.assets.manifest import InputSpec
from mien.datasets import Samples
from mien.errors import OutputError
from mien.expression.preprocess import fitted
from mien.files import replacing
from mien.models.capsnet import CapsuleNetwork, Decoder, logits_of

REDRAWN: Final = "redrawn.png"  # in a run's folder

_LONG, _SHORT, _ABSENT = 0.9, 0.1, 0.5  # of the margin loss: the lengths, and the weight of absent classes
_SHOWN: Final = 4  # faces of each class in the picture
_ZOOM: Final = 2


class CapsuleModule(Protocol):
    """The part of a training module that draws: see `mien.training.expression.module`."""

    decoder: Decoder | None
    spec: InputSpec

    @property
    def network(self) -> nn.Module:
        """The network of capsules."""

    def normalised_inputs(self, images: Tensor, points: Tensor | None) -> list[Tensor]:
        """The inputs of the network for images (N, C, H, W), values 0-1."""


def margin(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """The margin loss: capsules of the right class should be longer than .9, the others shorter than .1 (equation 4).

    A target with shares counts each class by its share. The mean over the mass of the targets; with `weights`, of
    weighted sums.

    Args:
        logits: (N, C), whose sigmoid is the length of a capsule.
        target: (N, C); rows of zeros are not counted.
        weights: (C,) of the classes.
    """
    lengths, mass = torch.sigmoid(logits.float()), target.sum(dim=1)
    share = target / mass[:, None].clamp(min=1e-6)
    each = share * (_LONG - lengths).clamp(min=0).square()
    each = each + _ABSENT * (1 - share) * (lengths - _SHORT).clamp(min=0).square()
    each = each if weights is None else each * weights.to(each)
    return (each.sum(dim=1) * mass).sum() / mass.sum().clamp(min=1e-6)


def learned(
    network: CapsuleNetwork, decoder: Decoder, inputs: Sequence[Tensor], images: Tensor, targets: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """The logits (N, C) by head; and the sum of the squared errors of redrawing an image, mean over the images.

    Args:
        network: The network.
        decoder: Redraws the images from the capsules of the first head.
        inputs: The normalised inputs of the network.
        images: (N, C, H, W), values 0-1, that it has to redraw.
        targets: By head; the decoder sees only the capsules of classes in the target.
    """
    capsules = network.capsules(network.features(*inputs))
    first, side = next(iter(capsules)), decoder.shape[-1]
    if images.shape[-1] != side:
        images = nn.functional.interpolate(images, (side, side), mode="bilinear")
    errors = decoder(capsules[first], targets[first]) - images
    return {name: logits_of(each) for name, each in capsules.items()}, errors.square().sum(dim=(1, 2, 3)).mean()


@torch.no_grad()
def redrawn(network: CapsuleNetwork, decoder: Decoder, inputs: Sequence[Tensor]) -> Tensor:
    """What the decoder draws (N, C, H, W), values 0-1, from the longest class capsule of each image."""
    first = next(iter(network.capsules(network.features(*inputs)).values()))
    chosen = nn.functional.one_hot(logits_of(first).argmax(dim=1), first.shape[1]).to(first)
    drawn: Tensor = decoder(first, chosen)
    return drawn


def write_redrawn(module: CapsuleModule, samples: Samples, folder: Path) -> None:
    """Writes `redrawn.png` into a run's folder: held-out faces, each above what the decoder makes of it.

    A column of pairs for each class.

    Args:
        module: With the weights to show.
        samples: The validation split.
        folder: Of the run.

    Raises:
        OutputError: The file cannot be written.
    """
    network, decoder = module.network, module.decoder
    if not isinstance(network, CapsuleNetwork) or decoder is None:
        raise ValueError("module: expected a network of capsules with a decoder")
    rows = [np.flatnonzero(samples.labels == label)[:_SHOWN] for label in range(len(samples.classes))]
    faces = torch.from_numpy(fitted(samples.images[np.concatenate(rows)], module.spec)).float() / 255
    drawn = redrawn(network, decoder, module.normalised_inputs(faces, None))
    pairs = torch.cat([faces, drawn.cpu()], dim=2).mul(255).round().byte().numpy()  # (N, C, 2 H, W)
    depth, height, width = pairs.shape[1:]
    sheet = np.full((_SHOWN * height, len(rows) * width, depth), 255, np.uint8)
    numbers = iter(range(len(pairs)))
    for column, found in enumerate(rows):
        for row in range(len(found)):
            place = slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width)
            sheet[place] = pairs[next(numbers)].transpose(1, 2, 0)
    large = cv2.resize(sheet, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_CUBIC)
    encoded = cv2.imencode(".png", large[..., ::-1] if large.ndim == 3 else large)[1]
    try:
        with replacing(folder / REDRAWN) as partial:
            partial.write_bytes(encoded.tobytes())
    except OSError as error:
        raise OutputError(f"{folder / REDRAWN}: cannot be written: {error.strerror}", hint="free some space") from error
