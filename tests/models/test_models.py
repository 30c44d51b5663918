"""Conformance of all architectures, and the fused form of the plain network."""

from typing import Literal

import numpy as np
import pytest
import torch
from tests.networks import small
from torch import nn

from mien import models
from mien.assets.manifest import InputSpec
from mien.errors import ConfigError
from mien.models import plain
from mien.models.blocks.network import Fusible

HEADS = {"votes": 10, "fer2013": 7}
GREY = InputSpec(48, "grey", (0.5,), (0.25,))
RGB = InputSpec(48, "rgb", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
# Trainable parameters of the published forms: network, side of the images, channels, classes.
PARAMETERS = [
    ("vgg13", 64, "grey", 8, 8_757_704),
    ("emonet", 48, "grey", 7, 1_832_295),
    ("fourlayer", 48, "grey", 7, 2_345_607),
    ("tflearn", 48, "grey", 7, 56_883_015),
    ("vgg16", 48, "grey", 7, 9_416_903),
    ("inception_v1", 48, "grey", 7, 2_149_159),
    ("vgg16_imagenet", 48, "rgb", 7, 2_773_095),
    ("mini_xception", 64, "grey", 7, 56_951),
]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def noise(name: str, spec: InputSpec, count: int = 1) -> tuple[torch.Tensor, ...]:
    """Noise in the shapes of a network's inputs; windows have four frames."""
    return tuple(torch.randn_like(part) for part in models.example_inputs(name, spec, count=count, frames=4))


def trained(name: str, spec: InputSpec, **options: object) -> models.Network:
    """The network after a few steps on noise, so that no statistic of its norms is what it began with."""
    network = models.build(name, HEADS, spec, **small(name), **options)
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    network.train()
    for _ in range(4):
        inputs = [part * 2 + 1 for part in noise(name, spec, 8)]
        loss = torch.stack([logits.square().mean() + logits[:, 0].mean() for logits in network(*inputs).values()]).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)  # without norms, noise of this size would blow it up
        optimizer.step()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():  # far from 1 and 0, as after a long run
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    return network.eval()


def test_there_are_networks() -> None:
    assert {"plain", "vgg13", "emonet", "resnet18"} <= set(models.names())
    assert not {"network", "parts", "layers"} & set(models.names())


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("spec", [GREY, RGB], ids=["grey", "rgb"])
def test_logits_of_every_head(name: str, spec: InputSpec) -> None:
    network = models.build(name, HEADS, spec, **small(name)).eval()
    with torch.no_grad():
        for count in (1, 3):
            logits = network(*noise(name, spec, count))
            assert {head: tuple(values.shape) for head, values in logits.items()} == {
                head: (count, size) for head, size in HEADS.items()
            }
            assert list(logits) == list(HEADS)


@pytest.mark.parametrize(("name", "size", "channels", "classes", "count"), PARAMETERS, ids=str)
def test_as_many_parameters_as_were_published(
    name: str, size: int, channels: Literal["grey", "rgb"], classes: int, count: int
) -> None:
    depth = 1 if channels == "grey" else 3
    with torch.device("meta"):
        network = models.build(name, {"own": classes}, InputSpec(size, channels, (0.5,) * depth, (0.25,) * depth))
    assert sum(weight.numel() for weight in network.parameters() if weight.requires_grad) == count


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("size", [44, 49, 96, 224])
def test_images_of_usual_sizes(name: str, size: int) -> None:
    with torch.device("meta"):
        spec = InputSpec(size, "rgb", (0.5,) * 3, (0.25,) * 3)
        network = models.build(name, HEADS, spec, **small(name)).eval()
        logits = network(*models.example_inputs(name, spec, count=2))
    assert {head: tuple(values.shape) for head, values in logits.items()} == {"votes": (2, 10), "fer2013": (2, 7)}


@pytest.mark.parametrize("name", models.names())
def test_logits_come_from_the_features_of_the_trunk(name: str) -> None:
    for network in (trained(name, GREY), trained(name, GREY).fused()):
        inputs = noise(name, GREY, 3)
        with torch.no_grad():
            features, logits = network.features(*inputs), network(*inputs)
            from_features = network.classify(features)
        assert features.shape == (3, network.width)
        for head, values in logits.items():
            assert features.shape[1] == network.heads[head].in_features
            torch.testing.assert_close(from_features[head], values, rtol=0, atol=0)


@pytest.mark.parametrize("name", models.names())
def test_logits_of_a_face_do_not_depend_on_its_batch(name: str) -> None:
    network = trained(name, GREY)
    inputs = noise(name, GREY, 5)
    with torch.no_grad():
        together, again = network(*inputs), network(*inputs)
        alone = [network(*(part[row : row + 1] for part in inputs)) for row in range(5)]
    for head, logits in together.items():
        torch.testing.assert_close(again[head], logits, rtol=0, atol=0)
        np.testing.assert_allclose(np.concatenate([one[head] for one in alone]), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", models.names())
def test_every_parameter_learns(name: str) -> None:
    network = models.build(name, HEADS, GREY, **small(name)).train()
    logits = network(*noise(name, GREY, 16))
    torch.cat([values.flatten() for values in logits.values()]).square().sum().backward()  # type: ignore[no-untyped-call]
    without = [
        key
        for key, weight in network.named_parameters()
        if weight.requires_grad and (weight.grad is None or not weight.grad.any())
    ]
    assert without == []


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in models.names()), ("plain", {"joined": "kernels"})], ids=str
)
@pytest.mark.parametrize("spec", [GREY, RGB], ids=["grey", "rgb"])
def test_the_fused_form_is_the_same_function(name: str, options: dict[str, object], spec: InputSpec) -> None:
    network = trained(name, spec, **options)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fused = network.fused()
    inputs = noise(name, spec, 5)
    with torch.no_grad():
        expected, found = network(*inputs), fused(*inputs)
    for head, logits in expected.items():
        assert logits.abs().max() > 0.01
        np.testing.assert_allclose(found[head], logits, atol=1e-4)
    assert not fused.training
    assert not any(isinstance(module, Fusible) for module in fused.modules())
    for key, value in network.state_dict().items():  # the training form is left as it was
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_the_statistics_of_the_norms_count() -> None:
    """The fused form must follow them: without that, the test above would prove little."""
    network = trained("plain", GREY)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.running_mean is not None and norm.running_mean.abs().max() > 0.01 for norm in norms)
    images = torch.randn(2, 1, 48, 48)
    with torch.no_grad():
        before = network.fused()(images)["votes"]
        norms[0].get_buffer("running_mean").add_(1)
        assert (network.fused()(images)["votes"] - before).abs().max() > 1e-3


def test_the_fused_plain_network_has_plain_convolutions_alone() -> None:
    leaves = {type(module) for module in trained("plain", GREY).fused().trunk.modules() if not list(module.children())}
    assert leaves == {nn.Conv2d, nn.ReLU}
    convolutions = [module for module in trained("plain", GREY).fused().modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 1 + 2 + 2
    assert all(layer.kernel_size == (3, 3) and layer.groups == 1 for layer in convolutions)


def test_layers_joined_by_their_kernels_begin_near_the_identity() -> None:
    layer = plain.DiracLayer(8, 8, 1).eval()
    maps = torch.rand(2, 8, 12, 12)
    with torch.no_grad():
        layer.square.weight.mul_(0)
        np.testing.assert_allclose(layer(maps), maps, rtol=1e-4)
        layer.square.skip.zero_()  # type: ignore[union-attr]
        assert not layer(maps).any()
    assert plain.DiracLayer(8, 9, 1).square.skip is None
    assert plain.DiracLayer(8, 8, 2).square.skip is None


def test_both_ways_to_join_give_the_same_network_in_the_end() -> None:
    shapes = [
        {name: value.shape for name, value in trained("plain", GREY, joined=way).fused().state_dict().items()}
        for way in ("maps", "kernels")
    ]
    assert shapes[0] == shapes[1]


def test_an_unknown_way_to_join() -> None:
    with pytest.raises(ConfigError, match="joined: unknown 'sums'") as caught:
        models.build("plain", HEADS, GREY, joined="sums")
    assert "maps, kernels" in caught.value.hint


@pytest.mark.parametrize("name", models.names())
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(models.build(name, HEADS, GREY, **small(name)).state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=0, atol=0)


@pytest.mark.parametrize("name", models.names())
def test_what_a_network_reads_is_what_it_says(name: str) -> None:
    inputs = models.inputs_of(name, GREY, frames=4 if models.reads_windows(name) else 1)
    shapes = [part.shape[1:] for part in inputs]
    assert shapes == [tuple(part.shape[1:]) for part in noise(name, GREY)]
    kinds = {"images": models.reads_images(name), "keypoints": models.reads_keypoints(name)}
    assert [part.name for part in inputs] == [kind for kind, read in kinds.items() if read]


def test_an_unknown_network() -> None:
    with pytest.raises(ConfigError, match="unknown network 'plane'") as caught:
        models.build("plane", HEADS, GREY)
    assert "plain" in caught.value.hint
    with pytest.raises(ConfigError, match="unknown network 'network'"):
        models.build("network", HEADS, GREY)


@pytest.mark.parametrize("name", models.names())
def test_unknown_options(name: str) -> None:
    with pytest.raises(ConfigError, match="no option breadth, heights"):
        models.build(name, HEADS, GREY, heights=3, breadth=4)


@pytest.mark.parametrize(
    "options", [{"widths": [8], "depths": [1, 2]}, {"stem": "wide"}, {"stem": -4}, {"depths": 3}, {"dropout": 2}]
)
def test_invalid_values_of_options(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="the network 'plain' cannot be built: ") as caught:
        models.build("plain", HEADS, GREY, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("width", [-1, 0, "big", True, float("nan")])
def test_invalid_widths(width: object) -> None:
    with pytest.raises(ConfigError, match=r"model\.options\.width: expected a number above 0"):
        models.build("fourlayer", HEADS, GREY, width=width)
