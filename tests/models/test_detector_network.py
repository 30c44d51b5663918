"""The detector's network: what it gives, and its fused form."""

import numpy as np
import torch
from torch import nn

from mien.faces.detectors.mien import grid
from mien.models.blocks.network import Fusible
from mien.models.detection.face_detector import FaceDetector

SMALL = {"stem": (4, 6), "widths": (8, 8, 8), "depths": (1, 1, 2), "neck": 8}


def network() -> FaceDetector:
    torch.manual_seed(0)
    made = FaceDetector(**SMALL)  # type: ignore[arg-type]
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.3, 0.3)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return made.eval()


def test_every_cell_of_every_stride_says_fifteen_numbers() -> None:
    with torch.no_grad():
        for high, wide in ((32, 32), (64, 96), (160, 32)):
            rows = network()(torch.rand(2, 3, high, wide))
            assert rows.shape == (2, len(grid(high, wide)[1]), 15)
            assert torch.isfinite(rows).all()


def test_the_order_of_the_cells_is_that_of_the_grid() -> None:
    """What is seen at a place moves the cells there most."""
    made, images = network(), torch.full((1, 3, 64, 64), 0.5)
    centres, strides = grid(64, 64)
    with torch.no_grad():
        before = made(images)[0]
        images[:, :, 8:16, 40:48] = 1.0
        change = (made(images)[0] - before).abs().sum(dim=1).numpy()
    fine = strides == 8
    moved = centres[fine][change[fine].argmax()]
    assert np.abs(moved - (44, 12)).max() <= 16


def test_the_fused_form_is_the_same_function() -> None:
    made, images = network(), torch.rand(2, 3, 64, 64)
    fused = made.fused()
    with torch.no_grad():
        assert torch.allclose(fused(images), made(images), atol=1e-4)
    assert not any(isinstance(module, (Fusible, nn.BatchNorm2d)) for module in fused.modules())
    assert any(isinstance(module, Fusible) for module in made.modules())


def test_before_it_learns_hardly_anything_is_a_face() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        scores = torch.sigmoid(FaceDetector().eval()(torch.rand(1, 3, 64, 64))[..., 0])
    assert float(scores.max()) < 0.05


def test_gradients_reach_everything() -> None:
    made = FaceDetector(**SMALL).train()  # type: ignore[arg-type]
    made(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in made.parameters())
