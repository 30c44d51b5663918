"""The detectors' networks: what every one gives, its fused form, and the published weights that one can start from."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from tests.face_images import random_yunet
from torch import nn

from mien.errors import ConfigError, WeightsError
from mien.faces.detectors.mien import grid
from mien.media import read_image
from mien.models import detection, pretrained
from mien.models.blocks.network import Fusible
from mien.models.detection import DetectionNetwork, yunet

SMALL = {
    "face_detector": {"stem": (4, 6), "widths": (8, 8, 8), "depths": (1, 1, 2), "neck": 8},
    "yunet": {"stem": 8, "early": (8, 12, 12, 16), "width": 16},
}
PUBLISHED = "yunet_n_640_640.onnx"
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.fixture(params=detection.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def network(name: str) -> DetectionNetwork:
    torch.manual_seed(0)
    made = detection.build(name, **SMALL[name])
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.3, 0.3)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return made.eval()


def test_every_cell_of_every_stride_says_fifteen_numbers(network: DetectionNetwork) -> None:
    with torch.no_grad():
        for high, wide in ((32, 32), (64, 96), (160, 32)):
            images = torch.rand(2, 3, high, wide)
            rows = network(images)
            assert rows.shape == (2, len(grid(high, wide)[1]), 15)
            assert torch.isfinite(rows).all()
            assert network.levels(images)[-1].shape[1] == network.features


def test_the_order_of_the_cells_is_that_of_the_grid(network: DetectionNetwork) -> None:
    """What is seen at a place moves the cells there most."""
    images = torch.full((1, 3, 64, 64), 0.5)
    centres, strides = grid(64, 64)
    with torch.no_grad():
        before = network(images)[0]
        images[:, :, 8:16, 40:48] = 1.0
        change = (network(images)[0] - before).abs().sum(dim=1).numpy()
    fine = strides == 8
    moved = centres[fine][change[fine].argmax()]
    assert np.abs(moved - (44, 12)).max() <= 16


def test_the_fused_form_is_the_same_function(network: DetectionNetwork) -> None:
    images = torch.rand(2, 3, 64, 64)
    fused = network.fused()
    with torch.no_grad():
        assert torch.allclose(fused(images), network(images), atol=1e-4)
    assert not any(isinstance(module, (Fusible, nn.BatchNorm2d)) for module in fused.modules())
    assert any(isinstance(module, Fusible) for module in network.modules())


def test_before_it_learns_hardly_anything_is_a_face(name: str) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        scores = torch.sigmoid(detection.build(name).eval()(torch.rand(1, 3, 64, 64))[..., 0])
    assert float(scores.max()) < 0.05


def test_gradients_reach_everything(name: str) -> None:
    made = detection.build(name, **SMALL[name]).train()
    made(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in made.parameters())


def test_wrong_names_and_options() -> None:
    with pytest.raises(ConfigError, match="unknown detector 'yolo'"):
        detection.build("yolo")
    with pytest.raises(ConfigError, match="the detector 'yunet' has no option depth"):
        detection.build("yunet", depth=2)
    with pytest.raises(ConfigError, match="the detector 'face_detector' has no pretrained weights"):
        detection.load_pretrained("face_detector", detection.build("face_detector"), "weights.onnx", IMAGES)


# --- YuNet's published weights


def published(shared: Path) -> Path:
    path = shared / "weights" / PUBLISHED
    if not path.exists():
        pytest.skip("needs ../shared/weights")
    return path


@pytest.mark.real_data
def test_with_the_published_weights_it_is_yunet(shared: Path) -> None:
    weights = published(shared)
    network = detection.build("yunet")
    origin = detection.load_pretrained("yunet", network, str(weights), IMAGES)
    assert (origin.name, origin.licence) == ("yunet", "Apache-2.0")
    portrait = read_image(Path(__file__).parents[2] / "examples" / "astronaut.jpg")
    image = np.zeros((640, 640, 3), np.uint8)
    image[: min(640, len(portrait)), : portrait.shape[1]] = portrait[:640, :640]
    session = onnxruntime.InferenceSession(weights)
    found = session.run(None, {"input": image[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)})
    outputs = {output.name: value[0] for output, value in zip(session.get_outputs(), found, strict=True)}
    fit, face, box, points = (
        np.concatenate([outputs[f"{part}_{stride}"] for stride in (8, 16, 32)])
        for part in ("cls", "obj", "bbox", "kps")
    )
    with torch.no_grad():
        cells = network.eval()(torch.from_numpy(image[None].transpose(0, 3, 1, 2).copy()).float() / 255)[0]
    scores = torch.sigmoid(cells[:, 0]).numpy()
    assert scores.max() > 0.8
    np.testing.assert_allclose(scores, np.sqrt(fit * face)[:, 0], atol=1e-3)  # a score of 0 is clipped
    np.testing.assert_allclose(cells[:, 1:5].numpy(), box - np.array([0.5, 0.5, 0, 0]), atol=1e-3)
    np.testing.assert_allclose(cells[:, 5:].numpy() + 0.5, points, atol=1e-3)


@pytest.mark.real_data
def test_a_narrower_network_still_finds_the_face(shared: Path) -> None:
    network = detection.build("yunet", early=(16, 48, 48, 64))
    image = read_image(Path(__file__).parents[2] / "examples" / "astronaut.jpg")[:320, :512]
    pixels = torch.from_numpy(image[None].transpose(0, 3, 1, 2).copy()).float() / 255
    detection.load_pretrained("yunet", network, str(published(shared)), pixels)
    with torch.no_grad():
        cells = network.eval()(pixels)[0]
    best = int(cells[:, 0].argmax())
    assert torch.sigmoid(cells[best, 0]) > 0.5
    centre = grid(*image.shape[:2])[0][best]
    assert np.abs(centre - (226, 120)).max() < 40


def test_a_narrower_layer_does_without_channels_that_others_can_replace(tmp_path: Path) -> None:
    """Two channels have no influence; two others are always the same, so that one can do the work of both."""
    state = dict(pretrained.read(str(random_yunet(tmp_path / "some.onnx"))).state)
    state["conv9.weight"][:, [3, 8]] = 0  # the pointwise convolution after the third unit at stride 4
    for part in ("conv7.weight", "conv7.bias", "conv8.weight", "conv8.bias"):
        state[part][30] = state[part][20]
    full, narrow = detection.build("yunet"), detection.build("yunet", early=(16, 64, 61, 64))
    assert isinstance(full, yunet.YuNet)
    assert isinstance(narrow, yunet.YuNet)
    yunet.load_pretrained(full, state, IMAGES)
    yunet.load_pretrained(narrow, state, IMAGES)
    others = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = full.eval().levels(others)[0]
        found = narrow.eval().levels(others)[0]
    assert (found - expected).norm() < 0.01 * expected.norm()


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    network = detection.build("yunet")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no network at all")
    with pytest.raises(WeightsError, match="is not an ONNX file"):
        detection.load_pretrained("yunet", network, str(damaged), IMAGES)
    empty = tmp_path / "empty.onnx"
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [])), empty)
    with pytest.raises(WeightsError, match="it has 0 convolutions, YuNet has 59"):
        detection.load_pretrained("yunet", network, str(empty), IMAGES)
    wide = random_yunet(tmp_path / "wide.onnx", (16, 16, 16, 64, 64, 72))
    with pytest.raises(WeightsError, match="does not fit the detector 'yunet'"):
        detection.load_pretrained("yunet", network, str(wide), IMAGES)
    file = str(random_yunet(tmp_path / "a.onnx"))
    for wrong in ({"width": 96}, {"stem": 8}, {"early": (16, 96, 64, 64)}, {"early": (16, 64, 64, 48)}):
        with pytest.raises(WeightsError, match="only the layers at stride 4, except the last one, may be narrower"):
            detection.load_pretrained("yunet", detection.build("yunet", **wrong), file, IMAGES)
