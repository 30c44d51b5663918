"""dlib's network: its file, its function compared with dlib's own, and its trainable form."""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.dlib_files import dlib_file, random_state
from torch import Tensor, nn

from mien import models
from mien.assets.manifest import InputSpec
from mien.assets.packages import list_packaged
from mien.models.blocks.network import set_statistics
from mien.models.pretrained import dlib_file as reader

NARROW = (4, 6, 8, 10, 12)
OPTIONS = {"widths": NARROW}
SMALL = dlib_file(random_state(NARROW))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def chips(astronaut: Path) -> np.ndarray:
    """Parts of a photograph (N, 150, 150, 3): a face, twice, and something else."""
    picture = Image.open(astronaut).convert("RGB")
    boxes = [(150, 55, 300, 205), (165, 70, 280, 205), (0, 180, 150, 330)]
    return np.stack([np.asarray(picture.crop(box).resize((150, 150), Image.Resampling.BICUBIC)) for box in boxes])


def loaded(state: dict[str, Tensor], spec: InputSpec, tmp_path: Path, **options: object) -> models.Network:
    (tmp_path / "net.dat").write_bytes(dlib_file(state))
    network = models.build("dlib_resnet", {"own": 3}, spec, **options).eval()
    models.load_pretrained("dlib_resnet", network, str(tmp_path / "net.dat"), input=spec)
    return network


def normalised(images: np.ndarray, spec: InputSpec) -> Tensor:
    values = torch.from_numpy(images).float().permute(0, 3, 1, 2) / 255
    values = values.mean(dim=1, keepdim=True) if spec.depth == 1 else values
    return (values - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.std)[:, None, None]


# --- compared with dlib

COLOURS = InputSpec(150, "rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def embeddings(path: Path, images: np.ndarray) -> np.ndarray:
    dlib = pytest.importorskip("dlib")
    network = dlib.face_recognition_model_v1(str(path))
    return np.array([np.array(network.compute_face_descriptor(np.ascontiguousarray(image))) for image in images])


def test_it_equals_dlib(astronaut: Path, tmp_path: Path) -> None:
    """Random weights in a file that dlib itself reads: no published file is needed."""
    state = random_state()
    network = loaded(state, COLOURS, tmp_path)
    images = chips(astronaut)
    expected = embeddings(tmp_path / "net.dat", images)
    for form in (network, network.fused()):
        with torch.no_grad():
            found = form.features(normalised(images, COLOURS))[:, 256:] @ state["fc.weight"].T
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_published_file_equals_dlib(astronaut: Path) -> None:
    packaged = list_packaged()["dlib-resnet"]
    if packaged.path is None:
        pytest.skip(packaged.install)
    network = models.build("dlib_resnet", {"own": 3}, COLOURS).eval()
    origin = models.load_pretrained("dlib_resnet", network, "dlib-resnet", input=COLOURS)
    assert origin.licence == "CC0-1.0"
    images = chips(astronaut)
    with torch.no_grad():
        features = network.features(normalised(images, COLOURS))[:, 256:]
    found = features @ models.pretrained.read("dlib-resnet").state["fc.weight"].T
    np.testing.assert_allclose(found, embeddings(packaged.path, images), rtol=0, atol=1e-5)


@pytest.mark.real_data
def test_the_tensors_at_hand_equal_dlib(astronaut: Path, shared: Path, tmp_path: Path) -> None:
    """The published weights, rounded to half precision, as .safetensors and in dlib's own format."""
    source = shared / "weights" / "dlib_resnet_fp16.safetensors"
    network = models.build("dlib_resnet", {"own": 3}, COLOURS).eval()
    assert "CC0" in models.load_pretrained("dlib_resnet", network, str(source), input=COLOURS).source
    state = models.pretrained.read(str(source)).state
    (tmp_path / "net.dat").write_bytes(dlib_file(state))
    images = chips(astronaut)
    with torch.no_grad():
        found = network.features(normalised(images, COLOURS))[:, 256:] @ state["fc.weight"].T
    np.testing.assert_allclose(found, embeddings(tmp_path / "net.dat", images), rtol=0, atol=1e-5)


# --- the trainable form


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(112, "grey", (0.45,), (1.0,)),
        InputSpec(96, "grey", (0.508,), (0.255,)),
        InputSpec(150, "rgb", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ],
    ids=lambda spec: f"{spec.channels}-{spec.size}",
)
def test_the_function_does_not_depend_on_the_normalisation(spec: InputSpec, astronaut: Path, tmp_path: Path) -> None:
    """A grey image has the same features in every form of the input."""
    grey = chips(astronaut).mean(axis=3, keepdims=True).round().repeat(3, axis=3)
    state = random_state(NARROW)
    with torch.no_grad():
        found = loaded(state, spec, tmp_path, **OPTIONS).features(normalised(grey, spec))
        expected = loaded(state, COLOURS, tmp_path, **OPTIONS).features(normalised(grey, COLOURS))
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_every_convolution_has_the_size_of_he(tmp_path: Path) -> None:
    spec = InputSpec(96, "grey", (0.45,), (1.0,))
    network = loaded(random_state(NARROW), spec, tmp_path, **OPTIONS)
    for layer in (module for module in network.trunk.modules() if isinstance(module, nn.Conv2d)):
        sizes = layer.weight.flatten(1).square().mean(dim=1).sqrt()
        torch.testing.assert_close(sizes, torch.full_like(sizes, (2 / layer.weight[0].numel()) ** 0.5))


def test_training_starts_from_the_function_that_was_loaded(astronaut: Path, tmp_path: Path) -> None:
    spec = InputSpec(96, "grey", (0.45,), (1.0,))
    network = loaded(random_state(NARROW), spec, tmp_path, **OPTIONS)
    images = normalised(chips(astronaut)[:, ::2, ::2], spec)
    with torch.no_grad():
        expected = network.features(images)
        before = network.train().features(images)
        network.eval()
        for module in network.modules():  # forwards in training mode move the statistics
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
        set_statistics(network, images)
        assert not network.training
        torch.testing.assert_close(network.features(images), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network.train().features(images), expected, rtol=1e-3, atol=1e-3)
    assert (before - expected).abs().max() > 0.1


@pytest.mark.parametrize("size", [96, 108, 112, 128, 150])
def test_any_size_is_usual(size: int) -> None:
    spec = InputSpec(size, "grey", (0.45,), (1.0,))
    network = models.build("dlib_resnet", {"own": 3}, spec, **OPTIONS).eval()
    with torch.no_grad():
        features = network.features(torch.randn(2, 1, size, size))
    assert features.shape == (2, NARROW[-1] + NARROW[-2])
    assert features.isfinite().all()


# --- files


def test_the_file_has_all_tensors() -> None:
    state = random_state(NARROW)
    found = reader.parse(dlib_file(state))
    assert found.keys() == state.keys()
    for key, value in state.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it ends at byte 0"),
        (SMALL[: len(SMALL) // 2], "it ends at byte"),
        (SMALL + b"x", "1 bytes follow after the last layer"),
        (b"PK\x03\x04" + b"0" * 100, "is not the start of a number"),
        (SMALL.replace(b"loss_metric_2", b"loss_mmod_999"), "its loss is 'loss_mmod_999'"),
        (SMALL.replace(b"affine_", b"bn_con2"), "of an unknown kind 'bn_con2'"),
        (SMALL.replace(b"input_rgb_image_sized", b"input_rgb_image_pyram"), "its input is"),
    ],
    ids=["empty", "half", "longer", "zip", "detector", "training form", "pyramid"],
)
def test_other_files(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        reader.parse(data)


@given(place=st.integers(0, len(SMALL) - 1), value=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=150)
def test_damaged_files_end_in_an_error_or_in_tensors(place: int, value: int, cut: bool) -> None:
    data = SMALL[:place] if cut else SMALL[:place] + bytes([value]) + SMALL[place + 1 :]
    found = None
    with contextlib.suppress(ValueError):  # any other error would end the test
        found = reader.parse(data)
    if found is not None:
        assert not cut
        assert sum(each.numel() for each in found.values()) * 4 < len(data)


@given(data=st.binary(max_size=300))
def test_noise_is_no_network(data: bytes) -> None:
    for start in (b"", SMALL[:17], SMALL[:180]):
        with pytest.raises(ValueError, match=r"byte|version|expected|name|its "):
            reader.parse(start + data)


def test_a_length_beyond_the_file_takes_no_memory() -> None:
    """The size of the first tensor, changed to four times 2^24, is compared with the file before anything is made."""
    place = SMALL.index(b"con_4") + 5
    huge = SMALL[:place] + b"\x01\x02" + b"\x03\xff\xff\xff" * 4 + SMALL[place + 12 :]
    with pytest.raises(ValueError, match="more are expected"):
        reader.parse(huge)


def test_the_package_is_not_imported() -> None:
    """It needs an old setuptools to be imported; its file is found without it."""
    assert list_packaged()["dlib-resnet"].state()
    assert "face_recognition_models" not in sys.modules
