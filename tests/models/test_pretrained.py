"""Published weights by name and by file: what is read, what is refused, and what is said about their origin."""

import hashlib
import importlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.networks import small
from torch import Tensor, nn

from mien import models
from mien.assets import packages
from mien.assets.manifest import InputSpec
from mien.assets.packages import PackagedWeights, list_packaged
from mien.errors import ConfigError, WeightsError
from mien.models import pretrained
from mien.models.blocks.layers import ConvNorm
from mien.models.efficientnet_lite import InvertedResidual

GREY = InputSpec(64, "grey", (0.498,), (0.502,))
RGB = InputSpec(64, "rgb", (0.498,) * 3, (0.502,) * 3)
LITE = "efficientnet_lite"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def published_lite(**options: Any) -> dict[str, Tensor]:
    """A state dict with the key names of `efficientnet_lite_pytorch`, of a narrower network."""
    network = models.build(LITE, {"own": 7}, RGB, **(small(LITE) | options))
    layers = [module for module in network.trunk.modules() if isinstance(module, ConvNorm)]
    state = _named(layers[0], "_conv_stem", "_bn0") | _named(layers[-1], "_conv_head", "_bn1")
    for number, block in enumerate(module for module in network.modules() if isinstance(module, InvertedResidual)):
        parts = [module for module in block.modules() if isinstance(module, ConvNorm)]
        names = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")][-len(parts) :]
        for part, (conv, norm) in zip(parts, names, strict=True):
            state |= _named(part, f"_blocks.{number}.{conv}", f"_blocks.{number}.{norm}")
    return state | {"_fc.weight": torch.randn(4, 4), "_fc.bias": torch.randn(4)}


def _named(layer: ConvNorm, conv: str, norm: str) -> dict[str, Tensor]:
    found = {f"{conv}.weight": torch.randn_like(layer.conv.weight) / layer.conv.weight[0].numel() ** 0.5}
    for name, value in layer.norm.state_dict().items():
        found[f"{norm}.{name}"] = torch.rand_like(value) + 0.5 if value.is_floating_point() else value
    return found


def lite(path: str | Path, spec: InputSpec = RGB, **options: Any) -> models.Network:
    network = models.build(LITE, {"own": 7}, spec, **(small(LITE) | options)).eval()
    models.load_pretrained(LITE, network, str(path), input=spec)
    return network


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(published_lite(), tmp_path / "lite.pth")
    return tmp_path / "lite.pth"


# --- names


@pytest.fixture
def installed(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedWeights:
    """A package with weights, as pip installs it, which cannot be imported."""
    folder = tmp_path / "site" / "some_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "models" / "lite.pth").write_bytes(file.read_bytes())
    about = tmp_path / "site" / "some_weights-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.2\n")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    made = PackagedWeights(
        "efficientnet-lite0",
        "",
        "Apache-2.0",
        "by somebody",
        "some-weights",
        "1.2",
        "some_weights/models/lite.pth",
        digest,
    )
    for module in (packages, pretrained):
        monkeypatch.setattr(module, "list_packaged", lambda: {made.name: made})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    importlib.invalidate_caches()
    return made


def test_weights_of_a_package_by_their_name(installed: PackagedWeights) -> None:
    assert installed.state() == f"installed: {installed.path}"
    network = models.build(LITE, {"own": 7}, RGB, **small(LITE))
    origin = models.load_pretrained(LITE, network, "efficientnet-lite0", input=RGB)
    assert origin == models.Origin("efficientnet-lite0", installed.sha256, "Apache-2.0", "by somebody")
    assert "some_weights" not in sys.modules


def test_a_known_file_keeps_its_licence_wherever_it_is(installed: PackagedWeights, file: Path) -> None:
    assert pretrained.read(str(file)).origin.licence == "Apache-2.0"
    assert pretrained.read(str(file)).origin.name == "efficientnet-lite0"


def test_another_file_in_the_package(installed: PackagedWeights) -> None:
    assert installed.path is not None
    installed.path.write_bytes(b"other")
    with pytest.raises(WeightsError, match="is damaged or was replaced") as caught:
        pretrained.read("efficientnet-lite0")
    assert "pip install --no-deps some-weights==1.2" in caught.value.hint


@pytest.mark.parametrize("name", list(list_packaged()))
def test_a_package_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    packaged = list_packaged()[name]
    with pytest.raises(
        WeightsError, match=rf"'{name}' are in the package {packaged.package}, which is not inst"
    ) as caught:
        pretrained.read(name)
    assert f"pip install --no-deps {packaged.package}=={packaged.version}" in caught.value.hint
    assert packaged.state().startswith("not installed: pip install")


def test_every_name_belongs_to_a_network() -> None:
    taken = {weights for name in models.names() for weights in models.takes_pretrained(name)}
    assert set(list_packaged()) < taken
    for packaged in list_packaged().values():
        assert len(packaged.sha256) == 64
        assert packaged.licence
        assert packaged.source


def test_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are no pretrained weights 'resnet'"):
        pretrained.read("resnet")
    network = models.build(LITE, {"own": 7}, RGB, **small(LITE))
    with pytest.raises(ConfigError, match=r"has no pretrained weights 'dlib-resnet'") as caught:
        models.load_pretrained(LITE, network, "dlib-resnet", input=RGB)
    assert "efficientnet-lite2" in caught.value.hint
    with pytest.raises(WeightsError, match="no such weights file"):
        lite(tmp_path / "none.pth")


# --- files


@pytest.mark.parametrize("form", ["pth", "old pth", "wrapped", "parallel", "safetensors", "half"])
def test_forms_of_files(form: str, tmp_path: Path) -> None:
    state = published_lite()
    path = tmp_path / ("net.safetensors" if form in ("safetensors", "half") else "net.pth")
    if form == "safetensors":
        safetensors.torch.save_file(state, path, {"licence": "MIT", "source": "made up"})
        assert pretrained.read(str(path)).origin.licence == "MIT"
        assert pretrained.read(str(path)).origin.source == "made up"
    elif form == "half":
        half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
        safetensors.torch.save_file(half, path)
    elif form == "wrapped":
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif form == "parallel":
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "pth")
    found = pretrained.read(str(path))
    assert found.origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.state.keys() == state.keys()
    for key, value in state.items():
        torch.testing.assert_close(found.state[key], value, rtol=1e-3, atol=1e-3)
    assert lite(path).features(torch.zeros(1, 3, 64, 64)).isfinite().all()


def test_a_hash_that_the_file_must_have(file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert pretrained.read(str(file), digest.upper()).origin.sha256 == digest
    with pytest.raises(WeightsError, match=r"lite\.pth: is damaged or was replaced: .*expected 000000000000\.\.\."):
        pretrained.read(str(file), "0" * 64)
    named = file.with_name(f"lite-{digest[:8]}.pth")
    named.write_bytes(file.read_bytes())
    pretrained.read(str(named))
    wrong = file.with_name("lite-01234567.pth")
    wrong.write_bytes(file.read_bytes())
    with pytest.raises(WeightsError, match="expected 01234567"):
        pretrained.read(str(wrong))


@pytest.mark.parametrize("content", [[1, 2], {"a": "b"}, torch.zeros(3), {"state_dict": {"a": 1}}], ids=str)
def test_files_without_a_state_dict(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="does not contain a state dict"):
        pretrained.read(str(tmp_path / "net.pth"))


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    torch.save(published_lite() | {"_fc.bias": torch.tensor([1.0, float("nan")])}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"is damaged: _fc\.bias has values that are not finite"):
        pretrained.read(str(tmp_path / "net.pth"))


def _bytes(form: str) -> bytes:
    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.zeros(3)}
    if form == "safetensors":
        return safetensors.torch.save(state, {"source": "made up"})
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=form == "pth")
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["pth", "old pth", "safetensors"])
@given(where=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=60)
def test_damaged_files_end_in_an_error_or_in_tensors(
    form: str, where: float, value: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = _bytes(form)
    place = int(where * len(data))
    path = tmp_path_factory.getbasetemp() / f"damaged.{form.rsplit(maxsplit=1)[-1]}"
    path.write_bytes(data[:place] if cut else data[:place] + bytes([value]) + data[place + 1 :])
    try:
        found = pretrained.read(str(path))
    except WeightsError as error:
        told = str(error)
    else:
        told = ""
        assert all(isinstance(each, Tensor) for each in found.state.values())
    assert "\n" not in told
    assert not (cut and not told)


# --- networks


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_the_published_network_is_the_same_function(variant: int, astronaut: Path) -> None:
    """Compared with the published implementation and its weights, at its own size and at another."""
    original = pytest.importorskip("efficientnet_lite_pytorch")
    name = f"efficientnet-lite{variant}"
    packaged = list_packaged()[name]
    if packaged.path is None:
        pytest.skip(packaged.install)
    size = (224, 240, 260)[variant]
    spec = InputSpec(size, "rgb", (127 / 255,) * 3, (128 / 255,) * 3)
    reference = original.EfficientNet.from_pretrained(name, weights_path=str(packaged.path)).eval()
    network = models.build(LITE, {"own": 7}, spec, variant=variant).eval()
    assert models.load_pretrained(LITE, network, name, input=spec).licence == "Apache-2.0"
    picture = Image.open(astronaut).convert("RGB").resize((size, size))
    images = (torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()[None] - 127) / 128
    with torch.no_grad():
        expected = reference.extract_features(images).mean(dim=(2, 3))
        torch.testing.assert_close(network.features(images), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(network.fused().features(images), expected, rtol=0, atol=1e-4)


def test_grey_images_are_seen_as_grey_in_three_colours(file: Path) -> None:
    image = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        expected = lite(file).features(image.expand(-1, 3, -1, -1))
        found = lite(file, GREY).features(image)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_weights_of_another_variant_or_width(file: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"does not fit the network 'efficientnet_lite': it has 16 blocks, expected 21"
    ):
        lite(file, variant=1)
    with pytest.raises(WeightsError, match=r"_conv_stem\.weight has the shape \(4, 3, 3, 3\), expected \(8, 3, 3, 3\)"):
        lite(file, width=0.25)
    with pytest.raises(WeightsError, match=r"does not fit the network 'dlib_resnet': it has no trunk\.conv\.weight"):
        models.load_pretrained("dlib_resnet", models.build("dlib_resnet", {"own": 7}, RGB), str(file), input=RGB)
    with pytest.raises(ConfigError, match="variant: expected 0, 1 or 2, got 4"):
        models.build(LITE, {"own": 7}, RGB, variant=4)


def test_a_tensor_that_is_missing(tmp_path: Path) -> None:
    state = published_lite()
    del state["_blocks.3._bn1.running_var"]
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"it has no _blocks\.3\._bn1\.running_var"):
        lite(tmp_path / "net.pth")


@pytest.mark.parametrize("pattern", ["conv{}_{}", "conv_{}_{}"])
def test_the_layout_of_vgg_face(pattern: str, tmp_path: Path) -> None:
    """The keys of the published PyTorch files of VGG-Face; its images have 0-255 minus a mean of each colour."""
    network = models.build("vgg16_imagenet", {"own": 7}, RGB, **small("vgg16_imagenet"))
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    places = [(stage, part) for stage, depth in enumerate((2, 2, 3, 3, 3), 1) for part in range(1, depth + 1)]
    state = {
        f"{pattern.format(*place)}.{name}": torch.randn_like(value)
        for place, layer in zip(places, layers, strict=True)
        for name, value in layer.state_dict().items()
    }
    dense = {"fc6.weight": torch.randn(4, 4), "fc8.bias": torch.randn(3)}
    torch.save(dict(reversed(list((state | dense).items()))), tmp_path / "vgg_face.pth")
    models.load_pretrained("vgg16_imagenet", network, str(tmp_path / "vgg_face.pth"), input=RGB)
    for place, layer in zip(places, layers, strict=True):
        torch.testing.assert_close(layer.weight.data, state[f"{pattern.format(*place)}.weight"], rtol=0, atol=0)
    del state[f"{pattern.format(3, 2)}.weight"], state[f"{pattern.format(3, 2)}.bias"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(WeightsError, match="it has 12 convolutions, expected 13"):
        models.load_pretrained("vgg16_imagenet", network, str(tmp_path / "less.pth"), input=RGB)
