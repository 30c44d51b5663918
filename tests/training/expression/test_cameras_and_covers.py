"""Cameras and covers: off they draw nothing, on they stay in their place and follow the face."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.datasets.derive.test_targets import photographs
from tests.drawn import drawn_samples
from tests.tiny import tiny_recipe
from torch import Tensor

from mien.assets.manifest import InputSpec
from mien.datasets import Samples
from mien.datasets.derive.keypoints import add_keypoints
from mien.datasets.derive.textures import SIDE, load_textures, save_textures
from mien.errors import ConfigError, InputError
from mien.faces import landmarks
from mien.faces.keypoints import COUNTS, POINTS_70, five_of
from mien.models import build
from mien.models.blocks.layers import DropPath, drop_rates
from mien.training import FitOptions, fit
from mien.training.expression.covers import CoverBank
from mien.training.expression.data import POINTS, ExpressionData
from mien.training.expression.recipe import Augmentation
from mien.training.photometry import Photometry, photograph

__all__ = ["photographs"]

PLACES = torch.tensor([[0.33, 0.4], [0.67, 0.4], [0.5, 0.6], [0.38, 0.75], [0.62, 0.75]])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(5)


@pytest.mark.parametrize("camera", ["film", "phone", "webcam"])
@pytest.mark.parametrize("depth", [1, 3])
def test_cameras_change_some_images_and_no_place(camera: str, depth: int) -> None:
    down = torch.linspace(0.2, 0.8, 48)[None, None, :, None].expand(40, depth, 48, 48)
    found = photograph(down.clone(), Photometry.model_validate({camera: 0.5}))
    changed = (found != down).flatten(1).any(dim=1)
    assert 8 <= int(changed.sum()) <= 32
    assert ((found >= 0) & (found <= 1)).all()
    for image in found[changed]:  # still brighter below
        rows = image.mean(dim=(0, 2))
        assert np.corrcoef(rows, np.arange(48))[0, 1] > 0.5


def test_no_camera_draws_no_random_number() -> None:
    images = torch.rand(4, 1, 48, 48)
    before = torch.get_rng_state()
    assert photograph(images, Photometry()) is images
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("kind", "inside", "outside"),
    [((1, 0, 0), (0.68, 0.5), (0.3, 0.5)), ((0, 1, 0), (0.41, 0.33), (0.8, 0.5))],
    ids=["mask", "sunglasses"],
)
def test_covers_lie_where_they_belong(
    kind: tuple[float, float, float], inside: tuple[float, float], outside: tuple[float, float]
) -> None:
    bank = CoverBank.drawn(Augmentation(cover_kinds=kind))
    images = torch.full((64, 1, 48, 48), 0.5)
    found = bank.cover(images, PLACES.expand(64, -1, -1).clone(), 1.0)
    changed = ((found - images).abs() > 0.02)[:, 0].float().mean(dim=0)
    y, x = (round(47 * each) for each in inside)
    assert changed[y, x] > 0.8
    y, x = (round(47 * each) for each in outside)
    assert changed[y, x] < 0.2


def test_covers_follow_a_turned_face() -> None:
    bank = CoverBank.drawn(Augmentation(cover_kinds=(1, 0, 0)))
    turned = (PLACES - 0.5) @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]]) + 0.5  # by 90 degrees
    images = torch.full((64, 1, 48, 48), 0.5)
    found = bank.cover(images, turned.expand(64, -1, -1).clone(), 1.0)
    changed = ((found - images).abs() > 0.02)[:, 0].float().mean(dim=0)
    mouth = turned[3:].mean(dim=0) * 48
    eyes = turned[:2].mean(dim=0) * 48
    assert changed[int(mouth[1]), int(mouth[0])] > 0.8 > 0.3 > changed[int(eyes[1]), int(eyes[0])]


def test_faces_without_points_stay_uncovered() -> None:
    bank = CoverBank.drawn(Augmentation(cover_kinds=(0.2, 0.2, 0.6)))
    images = torch.rand(6, 3, 48, 48)
    points = PLACES.expand(6, -1, -1).clone()
    points[::2] = float("nan")
    found = bank.cover(images, points, 1.0)
    assert torch.equal(found[::2], images[::2])
    assert (found[1::2] != images[1::2]).flatten(1).any(dim=1).all()
    assert bank.cover(images, points, 0.0) is images


def with_points(samples: Samples) -> Samples:
    """Samples with 70 points, of which the five landmarks are `PLACES`; unknown for the first face."""
    points = np.zeros((len(samples), COUNTS[POINTS_70], 2), np.float32)
    for place, rows in zip(PLACES.numpy() * 48, (range(36, 42), range(42, 48), [30], [48], [54]), strict=True):
        points[:, list(rows)] = place
    points[0] = np.nan
    return replace(samples, keypoints=points, keypoint_scheme=POINTS_70)


def test_training_covers_faces_by_their_keypoints(tmp_path: Path) -> None:
    samples = drawn_samples(tmp_path / "drawn", per_class=4)
    recipe = tiny_recipe(epochs=1, augmentation={"covers": 0.7, "film": 0.3, "phone": 0.3, "webcam": 0.3})
    with pytest.raises(ConfigError, match=r"augmentation\.covers: the data has no dense keypoints"):
        ExpressionData(samples, recipe)
    samples = with_points(samples)
    data = ExpressionData(samples, recipe)
    for _, targets in data.train_batches(0):
        points = targets[POINTS]
        known = torch.isfinite(points).all(dim=(1, 2))
        np.testing.assert_allclose(points[known], PLACES.expand(int(known.sum()), -1, -1), atol=1e-5)
    assert all(POINTS not in targets for _, targets in data.val_batches())
    fit(recipe, samples, tmp_path / "run", FitOptions(progress=False))
    assert (tmp_path / "run" / "best.ckpt").is_file()


def test_keypoints_of_a_store(astronaut: Path) -> None:
    face = np.asarray(Image.open(astronaut).convert("L").crop((150, 20, 310, 180)).resize((64, 64)))
    images = np.stack([face, np.full_like(face, 128)])
    samples = Samples(
        images,
        np.zeros(2, np.int64),
        ("a", "b"),
        np.zeros(2, np.uint8),
        np.eye(2, dtype=np.float32),
        np.array(["1", "2"]),
    )
    found = add_keypoints(samples, landmarks.load())
    assert found.keypoints is not None
    assert np.isnan(found.keypoints[1]).all()
    right, left, nose, *_ = five_of(found.keypoints[0])
    assert right[0] < nose[0] < left[0]
    assert max(right[1], left[1]) < nose[1]


def test_textures_are_cut_from_photographs_and_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    patches = {kind: rng.integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8) for kind in ("cloth", "skin")}
    save_textures(patches, tmp_path / "textures.npz")
    found = load_textures(tmp_path / "textures.npz")
    np.testing.assert_array_equal(found["skin"], patches["skin"])
    settings = Augmentation(cover_textures=str(tmp_path / "textures.npz"))
    drawn = CoverBank.drawn(settings).covers
    assert not torch.equal(drawn, CoverBank.drawn(Augmentation()).covers)
    assert ((drawn >= 0) & (drawn <= 1)).all()


@pytest.mark.parametrize("content", [None, b"text", b"PK\x03\x04"])
def test_files_that_are_no_textures(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(InputError, match="textures"):
        load_textures(tmp_path / "t.npz")


def test_stochastic_depth_leaves_out_paths_in_training_only() -> None:
    layer, maps = DropPath(0.25), torch.ones(4000, 1, 1, 1)
    found = layer(maps)
    assert sorted(set(found.flatten().tolist())) == pytest.approx([0, 4 / 3])
    assert float(found.mean()) == pytest.approx(1, abs=0.05)
    assert layer.eval()(maps) is maps
    assert drop_rates(0.2, 4) == pytest.approx([0.05, 0.1, 0.15, 0.2])


@pytest.mark.parametrize("name", ["efficientnet_lite", "resnet18", "dlib_resnet"])
def test_networks_with_stochastic_depth(name: str) -> None:
    spec = InputSpec(48, "grey", (0.5,), (0.25,))
    network = build(name, {"labels": 7}, spec, width=0.25, drop_path=0.5, dropout=0.0)
    rates = [module.rate for module in network.modules() if isinstance(module, DropPath)]
    assert rates[-1] == pytest.approx(0.5)
    assert rates == sorted(rates)

    def twice() -> tuple[Tensor, Tensor]:
        images = torch.linspace(0, 1, 2 * 48 * 48).reshape(2, 1, 48, 48)
        return network(images)["labels"], network(images)["labels"]

    with torch.no_grad():
        network.train()
        first, second = twice()
        assert not torch.equal(first, second)
        network.eval()
        first, second = twice()
        assert torch.equal(first, second)
    with pytest.raises(ConfigError, match=r"drop_path: expected a number from 0 to below 1"):
        build(name, {"labels": 7}, spec, drop_path=1.0)
