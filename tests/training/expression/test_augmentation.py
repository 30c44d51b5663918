"""Augmentation: settings of nothing change nothing, and every setting keeps to what it says."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from mien.training.degradation import Degradation, compressed, degrade
from mien.training.expression.augmentation import augment, mixup
from mien.training.expression.recipe import Augmentation

NOTHING = {
    "flip": 0,
    "rotation": 0,
    "scale": 1,
    "stretch": 1,
    "shear": 0,
    "shift": 0,
    "gain": 1,
    "offset": 0,
    "downscale": 0,
    "erase": 0,
    "mixup": 0,
}


def only(**changes: object) -> Augmentation:
    return Augmentation.model_validate(NOTHING | changes)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(16, 1, 48, 48)


@pytest.mark.parametrize("shape", [(16, 1, 48, 48), (3, 3, 32, 32), (1, 1, 49, 49), (2, 1, 64, 64)])
def test_settings_of_nothing_change_nothing(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape)
    np.testing.assert_allclose(augment(images, only()), images, atol=2e-5)


def test_a_flip_mirrors(images: Tensor) -> None:
    np.testing.assert_allclose(augment(images, only(flip=1)), images.flip(3), atol=2e-5)


def test_half_are_flipped(images: Tensor) -> None:
    many = images[:1].expand(400, -1, -1, -1)
    found = augment(many, only(flip=0.5))
    mirrored = (found - many.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-4
    same = (found - many).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert (mirrored | same).all()
    assert 140 < int(mirrored.sum()) < 260


@pytest.mark.parametrize("shape", [(8, 1, 48, 48), (5, 3, 33, 33)])
def test_shapes_and_ranges_are_kept(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape)
    before = images.clone()
    strong = only(
        flip=0.5, rotation=180, scale=2, stretch=2, shear=1, shift=1, gain=4, offset=1, downscale=0.5, erase=0.7
    )
    found = augment(images, strong)
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1
    torch.testing.assert_close(images, before, rtol=0, atol=0)


def test_the_same_seed_gives_the_same_images(images: Tensor) -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(augment(images, Augmentation()))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert (found[0] - found[2]).abs().max() > 0.1


def test_every_picture_is_changed_in_its_own_way(images: Tensor) -> None:
    same = images[:1].expand(8, -1, -1, -1)
    found = augment(same, Augmentation(erase=0, downscale=0)).flatten(1)
    assert (torch.cdist(found, found) + torch.eye(8) > 0.5).all()


def centre(image: Tensor) -> tuple[float, float]:
    """Of the bright mass in (1, H, W), in pixels."""
    weights = image[0].double()
    rows, columns = torch.meshgrid(torch.arange(weights.shape[0]), torch.arange(weights.shape[1]), indexing="ij")
    return float((weights * columns).sum() / weights.sum()), float((weights * rows).sum() / weights.sum())


@pytest.mark.parametrize("reach", [0.1, 0.25])
def test_a_shift_is_a_share_of_the_side(reach: float) -> None:
    spots = torch.zeros(300, 1, 48, 48)
    spots[:, :, 22:26, 22:26] = 1
    places = np.array([centre(image) for image in augment(spots, only(shift=reach))]) - 23.5
    assert np.abs(places).max() <= reach * 48 + 0.01
    assert (np.abs(places).max(axis=0) > 0.9 * reach * 48).all()
    assert np.abs(places.mean(axis=0)).max() < reach * 6


def test_a_rotation_keeps_the_distance_and_reaches_its_angle() -> None:
    spots = torch.zeros(300, 1, 48, 48)
    spots[:, :, 23:25, 36:38] = 1  # 13 pixels right of the middle
    places = np.array([centre(image) for image in augment(spots, only(rotation=30))]) - 23.5
    np.testing.assert_allclose(np.hypot(*places.T), 13, atol=0.1)
    angles = np.degrees(np.arctan2(places[:, 1], places[:, 0]))
    assert np.abs(angles).max() < 30.5
    assert angles.max() > 27
    assert angles.min() < -27


def test_a_scale_goes_both_ways() -> None:
    squares = torch.zeros(300, 1, 48, 48)
    squares[:, :, 16:32, 16:32] = 1
    sides = augment(squares, only(scale=1.3)).sum(dim=(1, 2, 3)).sqrt() / 16
    assert sides.max() <= 1.31
    assert sides.min() >= 1 / 1.35  # reduced without ema_decay, a square loses a little more
    assert sides.max() > 1.25
    assert sides.min() < 0.8


def test_light_keeps_to_its_settings() -> None:
    flat = torch.full((300, 1, 8, 8), 0.5)
    levels = augment(flat, only(offset=0.2))[:, 0, 0, 0]
    assert levels.min() >= 0.3 - 1e-5
    assert levels.max() <= 0.7 + 1e-5
    assert levels.max() - levels.min() > 0.35
    halves = flat.clone()
    halves[..., :4] = 0.4
    found = augment(halves, only(gain=1.5))
    gains = (found[:, 0, 0, 7] - found[:, 0, 0, 0]) / 0.1
    assert gains.min() >= 1 / 1.51
    assert gains.max() <= 1.51
    np.testing.assert_allclose(found.mean(dim=(1, 2, 3)), 0.45, atol=1e-4)


def test_downscaled_images_lose_detail_and_keep_their_brightness(images: Tensor) -> None:
    found = augment(images, only(downscale=1))
    assert float(found.var()) < 0.4 * float(images.var())
    np.testing.assert_allclose(found.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)), atol=0.01)


def test_dark_pictures_have_less_light_each_its_own_share(images: Tensor) -> None:
    found = augment(images, only(dark=1))
    shares = (found / images.clamp(min=1e-3)).flatten(1).median(dim=1).values
    assert shares.min() >= 0.149
    assert shares.max() <= 0.601
    assert len(set(shares.tolist())) == len(images)


def test_noise_is_as_strong_as_is_said_and_keeps_the_range() -> None:
    grey = torch.full((200, 1, 32, 32), 0.5)
    sigmas = augment(grey, only(noise=1)).flatten(1).std(dim=1)
    assert 0 <= sigmas.min() < 0.01
    assert 0.07 < sigmas.max() < 0.085
    half = augment(grey, only(noise=0.5)).flatten(1).std(dim=1)
    assert 60 < int((half < 1e-6).sum()) < 140
    white = augment(torch.ones(8, 1, 16, 16), only(noise=1))
    assert white.max() <= 1


def test_compressed_pictures_are_those_that_jpeg_leaves(images: Tensor) -> None:
    for quality in (10, 20, 50, 90):
        for side in (48, 44):  # 44 is no whole number of blocks
            greys = (images[:4, 0, :side, :side] * 255).round()
            found = compressed(greys[:, None] / 255, torch.full((4,), float(quality)))[:, 0] * 255
            for grey, theirs in zip(greys, found, strict=True):
                data = cv2.imencode(".jpg", grey.numpy().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
                expected = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
                whole = slice(0, side - side % 8)  # at the border encoders fill up as they like
                apart = np.abs(theirs.numpy() - expected)[whole, whole]
                assert apart.mean() < 1  # where two steps are equally near, libjpeg's whole numbers round otherwise
                assert np.median(apart) < 0.5


def test_some_pictures_are_compressed_each_in_its_quality(images: Tensor) -> None:
    many = images[:1].expand(200, -1, -1, -1).clone()
    changes = (augment(many, only(jpeg=0.5)) - many).abs().mean(dim=(1, 2, 3))
    assert 60 < int((changes < 1e-6).sum()) < 140
    losses = changes[changes > 1e-6]
    assert losses.max() > 1.5 * losses.min()


def test_a_mask_hides_the_lower_face_alone(images: Tensor) -> None:
    many = images[:1].expand(100, -1, -1, -1).clone()
    found = augment(many, only(mask=1))
    hidden = (found - many).abs()[:, 0] > 1e-4
    assert not hidden[:, : int(0.45 * 48)].any()
    assert 0.15 < float(hidden.float().mean()) < 0.5
    for image, cloth in zip(found[:20, 0], hidden[:20], strict=True):
        assert image[cloth].unique().numel() == 1  # one grey
    some = (augment(many, only(mask=0.5)) - many).abs().flatten(1).amax(dim=1) > 1e-4
    assert 30 < int(some.sum()) < 70


@pytest.mark.parametrize("side", [32, 40, 48, 64])
def test_the_side_is_that_which_is_asked_for(images: Tensor, side: int) -> None:
    found = augment(images, only(), side)
    assert found.shape == (16, 1, side, side)
    slope = torch.linspace(0, 1, 48).expand(2, 1, 48, 48)  # of a slope, every size shows the same
    expected = torch.nn.functional.interpolate(slope, (side, side), mode="bilinear")
    np.testing.assert_allclose(augment(slope, only(), side), expected, atol=1e-4)


def test_an_erased_rectangle_keeps_to_its_size(images: Tensor) -> None:
    many = images[:1].expand(300, -1, -1, -1)
    found = augment(many, only(erase=1, erase_size=[0.2, 0.5]))
    changed = (found - many).abs()[:, 0] > 1e-4
    heights, widths = changed.any(dim=2).sum(dim=1), changed.any(dim=1).sum(dim=1)
    for sides in (heights, widths):
        assert int(sides.min()) >= math.floor(0.2 * 48) - 1
        assert int(sides.max()) <= math.ceil(0.5 * 48) + 1
    for image, hole in zip(found[:20, 0], changed[:20], strict=True):
        assert image[hole].unique().numel() == 1  # one grey
    assert found.min() >= 0
    assert found.max() <= 1


def test_no_erasing_leaves_all(images: Tensor) -> None:
    chosen = augment(images[:1].expand(400, -1, -1, -1), only(erase=0.4)) - images[:1]
    assert 110 < int((chosen.abs().amax(dim=(1, 2, 3)) > 1e-3).sum()) < 210


def test_reduced_precision_around_it_does_not_move_images(images: Tensor) -> None:
    """Training runs in bf16, whose eight bits are too few for places in a image."""
    found = []
    for reduced in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            found.append(augment(images, Augmentation()))
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


# --- mixup


def test_reduced_precision_around_it_does_not_stop_degradation(images: Tensor) -> None:
    settings = Degradation(downscale=0.5, dark=0.5, noise=0.5, jpeg=0.5, mask=0.5)
    torch.manual_seed(3)
    expected = degrade(images.clone(), settings)
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        found = degrade(images.clone(), settings)
    torch.testing.assert_close(found, expected)


def test_mixup_of_nothing_is_nothing(images: Tensor) -> None:
    targets = {"a": torch.rand(16, 7)}
    mixed, mixed_targets = mixup(images, targets, 0)
    assert mixed is images
    assert mixed_targets is targets


def test_mixup_blends_pictures_and_targets_alike() -> None:
    """Images that show their own row's number: what was blended can be read off them."""
    torch.manual_seed(0)
    rows = torch.arange(16.0)
    images = rows.reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4) / 16
    mixed, targets = mixup(images, {"own": torch.eye(16), "none": torch.zeros(16, 7)}, 0.4)
    np.testing.assert_allclose(targets["own"].sum(dim=1), 1, rtol=1e-5)
    np.testing.assert_allclose(targets["own"] @ rows / 16, mixed[:, 0, 0, 0], atol=1e-5)
    assert (targets["none"] == 0).all()


def test_mixup_of_rows_without_targets_keeps_their_partners_share() -> None:
    torch.manual_seed(2)
    known = torch.zeros(8, 7)
    known[:4, 3] = 1
    _, mixed = mixup(torch.rand(8, 1, 4, 4), {"own": torch.eye(8), "half": known}, 1.0)
    np.testing.assert_allclose(mixed["half"].sum(dim=1), mixed["own"][:, :4].sum(dim=1), atol=1e-6)
    assert float(mixed["half"].sum()) == pytest.approx(4, rel=1e-5)  # the batch's mass is kept
    assert mixed["half"].isfinite().all()
