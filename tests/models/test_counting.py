"""Counting and drawing of every network: counts compared with sums by hand and with torch, complete drawings."""

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
import torch
from tests.conftest import ROOT
from tests.networks import small
from torch.utils.flop_counter import FlopCounterMode

from mien import models
from mien.assets.manifest import InputSpec
from mien.errors import ConfigError
from mien.models.blocks.counting import anatomy
from mien.models.blocks.drawing import draw_network
from mien.training.catalogue import listed

HEADS = {"votes": 10, "fer2013": 7}
GREY = InputSpec(48, "grey", (0.5,), (0.25,))
SVG = "{http://www.w3.org/2000/svg}"


def test_the_four_layer_network_by_hand() -> None:
    found = anatomy("fourlayer", {"own": 7}, GREY)
    convolutions = [46**2 * 32 * 9, 44**2 * 64 * 32 * 9, 20**2 * 128 * 64 * 9, 8**2 * 128 * 128 * 9]
    expected = [*convolutions, 2048 * 1024, 1024 * 7]
    assert [layer.operations for layer in found.layers if layer.operations] == expected
    assert found.fused_operations == sum(expected)
    assert found.parameters == found.trained == 2_345_607
    shapes = [(layer.title, layer.shape) for layer in found.layers][-4:]
    assert shapes[:2] == [("dropout 0.25", (128, 4, 4)), ("dense", (1024,))]
    assert shapes[2:] == [("dropout 0.5", (1024,)), ("dense", (7,))]


@pytest.mark.parametrize("name", models.names())
def test_operations_are_those_that_torch_counts(name: str) -> None:
    found = anatomy(name, HEADS, GREY, **small(name))
    # oneDNN's LSTM, which runs on processors, is not counted by torch; without data it is matrix products.
    with torch.device("meta" if models.reads_windows(name) else "cpu"):
        network = models.build(name, HEADS, GREY, **small(name)).eval()
        inputs = models.example_inputs(name, GREY)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.fused()(*inputs)
    assert counter.get_total_flops() == 2 * found.fused_operations


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in models.names()), ("plain", {"joined": "kernels"})], ids=str
)
def test_all_parameters_are_counted_in_layers_and_stages(name: str, options: dict[str, str]) -> None:
    found = anatomy(name, HEADS, GREY, **small(name), **options)
    network = models.build(name, HEADS, GREY, **small(name), **options)
    assert found.parameters == sum(weight.numel() for weight in network.parameters())
    assert found.trained == sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    heads = sum(weight.numel() for weight in network.heads.parameters())
    assert sum(stage.parameters for stage in found.stages) == found.parameters - heads
    assert len({layer.name for layer in found.layers}) == len(found.layers)


def test_a_separable_convolution_counts_its_own_channels_alone() -> None:
    layers = {layer.title: layer for layer in anatomy("mini_xception", {"own": 7}, GREY).layers[::-1]}
    depthwise = layers["depthwise convolution 3x3"]
    assert depthwise.operations == depthwise.shape[0] * depthwise.shape[1] * depthwise.shape[2] * 9


def test_measuring_leaves_no_hooks_behind() -> None:
    network = models.build("plain", HEADS, GREY, **small("plain"))
    anatomy("plain", HEADS, GREY, **small("plain"))
    assert not any(module._forward_hooks for module in network.modules())


def test_nameless_layers_of_one_shape_are_one_stage() -> None:
    found = anatomy("plain", HEADS, GREY, **small("plain"))
    assert [[part.shape for part in stage.parts] for stage in found.stages] == [
        [(4, 48, 48)],
        [(6, 24, 24)] * 2,
        [(8, 12, 12)] * 2,
    ]


@pytest.mark.parametrize("name", models.names())
def test_the_drawing_is_whole(name: str) -> None:
    found = anatomy(name, HEADS, GREY)
    root = ElementTree.fromstring(draw_network("a <name> & more", found, "a note"))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    words = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert "a <name> & more" in words
    assert f"{found.parameters:,} parameters" in " ".join(words)
    assert {"votes", "fer2013", "10 classes", "7 classes"} <= set(words)
    faces = [corners(face) for face in root.iter(f"{SVG}polygon")]
    assert len(faces) == 3 * (1 + sum(len(stage.parts) for stage in found.stages))
    for face in faces:
        assert all(0 <= x <= width and 90 <= y <= height for x, y in face)


def corners(face: ElementTree.Element) -> list[tuple[float, ...]]:
    return [tuple(map(float, pair.split(","))) for pair in face.attrib["points"].split()]


def test_solids_are_as_wide_as_channels_and_as_high_as_maps() -> None:
    """Of emonet's stages, each has twice the channels and half the side of the one before."""
    root = ElementTree.fromstring(draw_network("emonet", anatomy("emonet", {"own": 7}, GREY)))
    fronts = [corners(face) for face in root.iter(f"{SVG}polygon") if face.get("fill") == "#5b8def"]
    sides = [(front[2][0] - front[1][0], front[0][1] - front[1][1]) for front in fronts[::2]]
    for (wide, high), (next_wide, next_high) in pairwise(sides):
        assert next_wide == pytest.approx(2 * wide, rel=0.02)
        assert next_high == pytest.approx(high / 2, rel=0.02)


def test_the_drawing_in_the_documents_is_of_this_network() -> None:
    found = listed("vgg13-pld")
    committed = (ROOT / "docs" / "vgg13.svg").read_text(encoding="utf-8")
    assert committed == draw_network(found.recipe.name, found.anatomy, found.recipe.description)


def test_networks_that_cannot_be_built() -> None:
    with pytest.raises(ConfigError, match="unknown network 'plane'"):
        anatomy("plane", HEADS, GREY)
    with pytest.raises(ConfigError, match="images of 16x16 pixels are too small"):
        anatomy("fourlayer", HEADS, InputSpec(16, "grey", (0.5,), (0.25,)))


def test_large_networks_need_no_memory() -> None:
    wide = anatomy("tflearn", {"own": 7}, InputSpec(224, "rgb", (0.5,) * 3, (0.25,) * 3))
    assert wide.parameters > 1_000_000_000
