"""Every shipped recipe runs to its end on drawn faces, with its network narrower; every network is exported."""

import functools
import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.drawn import drawn_samples
from tests.moving import moving_samples
from tests.networks import small
from torch import nn

from mien import models
from mien.assets import download as table
from mien.assets.download import RemoteFile, RemoteWeights, fetch
from mien.assets.manifest import InputSpec
from mien.assets.packages import list_packaged
from mien.datasets import Samples
from mien.errors import ConfigError, WeightsError
from mien.expression import OnnxClassifier
from mien.training import ExpressionRecipe, FitOptions, export_run, fit, load_recipe, recipe_names
from mien.training.checkpoints import load_module
from mien.training.expression.module import ExpressionModule

RECIPES = [name for name in recipe_names() if isinstance(load_recipe(name), ExpressionRecipe)]
# One recipe of each network, whose run is exported too.
EXPORTED = {load_recipe(name).model.name: name for name in reversed(RECIPES)}
# These take over ten seconds each: `make test-long` runs them.
SLOW = {
    "efficientnet-lite0", "emonet", "emonet-deep", "image-landmark", "image-lstm", "inception-v1", "landmark-lstm",
    "mini-xception", "resnet18", "vgg16", "vgg16-imagenet",
}  # fmt: skip
assert SLOW.issubset(RECIPES)
IMAGENET = "vgg16_imagenet"
NUMBERS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]  # torchvision's, of VGG-16's convolutions


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """64 drawn faces to learn from, 16 to judge, with soft targets as made-up teachers would give them."""
    few = drawn_samples(tmp_path_factory.mktemp("few"), per_class=8)
    assert few.votes is not None
    shares = (few.votes + 0.1) / (few.votes + 0.1).sum(axis=1, keepdims=True)
    return replace(few, soft_labels=few.targets * 0.9 + 0.1 / 7, soft_votes=shares.astype(np.float32))


@pytest.fixture(scope="module")
def clips() -> Samples:
    """Clips of drawn faces with their keypoints."""
    return moving_samples("looks", (2, 1), each=2, frames=3)


def rgb(size: int = 48) -> InputSpec:
    return InputSpec(size, "rgb", (0.5,) * 3, (0.25,) * 3)


def torchvision_like(**options: Any) -> dict[str, torch.Tensor]:
    """A state dict as torchvision's VGG-16 has it, of a narrower network: its convolutions and something else."""
    torch.manual_seed(11)
    layers = convolutions(models.build(IMAGENET, {"own": 7}, rgb(), **options))
    state = {
        f"features.{number}.{name}": torch.randn_like(value) / 10
        for number, layer in zip(NUMBERS, layers, strict=True)
        for name, value in layer.state_dict().items()
    }
    return state | {"classifier.0.weight": torch.randn(4, 4)}


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def moved(network: nn.Module, published: Path) -> list[int]:
    """torchvision's numbers of the convolutions that are not as published."""
    state = torch.load(published, weights_only=True)
    return [
        number
        for number, layer in zip(NUMBERS, convolutions(network), strict=True)
        if not all(torch.equal(value, state[f"features.{number}.{name}"]) for name, value in layer.state_dict().items())
    ]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Made-up weights in a server's folder, the table that has their hash, and an empty cache."""
    buffer = io.BytesIO()
    torch.save(torchvision_like(**small(IMAGENET)), buffer, _use_new_zipfile_serialization=False)  # as the real one
    path = tmp_path / "served" / f"vgg16-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.pth"
    path.parent.mkdir()
    path.write_bytes(buffer.getvalue())
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(path.parent))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        pin(monkeypatch, path)
        monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
        fetch("vgg16-imagenet", f"http://127.0.0.1:{server.server_port}/")
        yield path
        server.shutdown()


def pin(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    content = path.read_bytes()
    file = RemoteFile(path.name, f"https://127.0.0.1:9/{path.name}", hashlib.sha256(content).hexdigest(), len(content))
    monkeypatch.setattr(
        table, "list_remote", lambda: {"vgg16-imagenet": RemoteWeights("vgg16-imagenet", "", "", (file,))}
    )


def short(name: str) -> ExpressionRecipe:
    """The recipe with its own layers, targets, losses and augmentation, for one epoch of small batches."""
    recipe = load_recipe(name, ["epochs=1", "batch_size=16", 'precision="32-true"'], form=ExpressionRecipe)
    model = recipe.model.model_copy(update={"options": recipe.model.options | small(recipe.model.name)})
    if recipe.model.weights in list_packaged():  # of full width; tests/training/test_transfer.py starts from weights
        model = model.model_copy(update={"weights": ""})
    heads = {key: head.model_copy(update={"classes": 0}) for key, head in recipe.heads.items()}  # drawn: always seven
    augmentation = recipe.augmentation.model_copy(update={"covers": 0.0})  # drawn faces have no keypoints to place them
    return recipe.model_copy(update={"model": model, "heads": heads, "augmentation": augmentation})


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in SLOW else ()) for name in RECIPES]
)
def test_it_runs_to_its_end_and_is_exported(
    name: str, faces: Samples, clips: Samples, published: Path, tmp_path: Path
) -> None:
    recipe = short(name)
    moving = models.reads_windows(recipe.model.name) or models.reads_keypoints(recipe.model.name)
    faces = clips if moving else faces
    if "votes" in recipe.heads and faces.votes is None:
        recipe = recipe.model_copy(update={"heads": {key: recipe.heads[key] for key in recipe.heads if key != "votes"}})
    best = fit(recipe, faces, tmp_path / "run", FitOptions(progress=False))
    task = load_module(ExpressionModule, best)
    assert all(value.isfinite().all() for value in task.state_dict().values())
    if EXPORTED[recipe.model.name] != name:
        return
    val = faces.only("val")
    written = export_run(tmp_path / "run", val, tmp_path / "out.onnx", licence="Apache-2.0")  # gates on parity
    assert len(written) == 3
    classifier = OnnxClassifier(tmp_path / "out.onnx").with_classes("model")
    assert classifier.frames == recipe.input.frames
    if moving:
        return  # tests/training/expression/test_moving_faces.py compares them with their checkpoints
    assert classifier.info.input == recipe.input.spec()
    with torch.no_grad():
        images = torch.from_numpy(np.stack([val.images] * task.recipe.input.spec().depth, axis=1))
        if recipe.input.size == val.images.shape[1]:  # else `fitted` would have to enlarge them first
            expected = task(images.float() / 255)
            for head, logits in classifier.logits(val.images)[0].items():
                np.testing.assert_allclose(logits, expected[head], atol=2e-3)


def test_every_network_has_a_recipe() -> None:
    assert set(EXPORTED) == set(models.names())


@pytest.mark.parametrize("name", recipe_names())
def test_it_opens_with_command_hardware_and_minutes(name: str) -> None:
    text = (Path(models.__file__).parents[1] / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    header = text.partition(f'name = "{name}"')[0].splitlines()
    assert header[0].startswith(f"# mien train {name} --data ")
    assert all(line.startswith("#") for line in header)
    for word in ("# Hardware: ", "# Minutes: "):
        assert any(line.startswith(word) for line in header), word
    assert (
        load_recipe(name).score
        or name in ("mien-detector", "detector-from-scratch", "mien-landmarks")
        or "# Minutes: not trained yet." in header
    )


# --- published weights


def test_the_frozen_layers_keep_the_published_weights(faces: Samples, published: Path, tmp_path: Path) -> None:
    best = fit(short("vgg16-imagenet"), faces, tmp_path / "run", FitOptions(progress=False))
    assert moved(load_module(ExpressionModule, best).network, published) == []


def test_fine_tuning_changes_the_last_block_only(faces: Samples, published: Path, tmp_path: Path) -> None:
    best = fit(short("vgg16-imagenet-top"), faces, tmp_path / "run", FitOptions(progress=False))
    assert moved(load_module(ExpressionModule, best).network, published) == NUMBERS[-3:]


def test_a_file_serves_as_well(published: Path) -> None:
    network = models.build(IMAGENET, {"own": 7}, rgb(), **small(IMAGENET))
    models.load_pretrained(IMAGENET, network, str(published), input=rgb())
    assert moved(network, published) == []


def test_grey_pictures_are_seen_as_grey_in_three_colours(published: Path) -> None:
    networks = {}
    for spec in (rgb(), InputSpec(48, "grey", (0.5,), (0.25,))):
        network = models.build(IMAGENET, {"own": 7}, spec, **small(IMAGENET)).eval()
        models.load_pretrained(IMAGENET, network, "vgg16-imagenet", input=spec)
        networks[spec.channels] = nn.Sequential(*list(network.trunk.children())[:5])
    image = torch.randn(1, 1, 48, 48)
    with torch.no_grad():
        expected = networks["rgb"](image.expand(-1, 3, -1, -1))
        np.testing.assert_allclose(networks["grey"](image), expected, atol=1e-4)


def refused(kind: type[Exception], told: str, source: str, **options: Any) -> str:
    network = models.build(IMAGENET, {"own": 7}, rgb(), **(small(IMAGENET) | options))
    with pytest.raises(kind, match=told) as caught:
        models.load_pretrained(IMAGENET, network, source, input=rgb())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_that_are_not_here(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "empty"))
    assert "mien models fetch vgg16-imagenet" in refused(WeightsError, "have not been fetched", "vgg16-imagenet")
    refused(WeightsError, "no such weights", str(tmp_path / "none.pth"))


def test_weights_that_are_missing_leave_no_run(
    faces: Samples, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "empty"))
    with pytest.raises(WeightsError, match="have not been fetched"):
        fit(short("vgg16-imagenet"), faces, tmp_path / "run", FitOptions(progress=False))
    assert not (tmp_path / "run").exists()


def test_another_file_under_the_name(published: Path) -> None:
    published.write_bytes(published.read_bytes() + b"x")
    refused(WeightsError, "is damaged or was replaced", str(published))


def test_weights_of_another_width(published: Path) -> None:
    refused(
        WeightsError, r"vgg16-[0-9a-f]{8}\.pth: does not fit the network 'vgg16_imagenet'", str(published), width=0.25
    )


def test_a_malicious_pickle_is_refused_even_with_the_right_hash(
    tmp_path: Path,
) -> None:
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (mark,))

    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    digest = hashlib.sha256((tmp_path / "evil.pth").read_bytes()).hexdigest()
    named = (tmp_path / "evil.pth").rename(tmp_path / f"vgg16-{digest[:8]}.pth")
    refused(WeightsError, "contains more than weights", str(named))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["plain", IMAGENET])
def test_weights_that_a_network_cannot_begin_with(name: str) -> None:
    network = models.build(name, {"own": 7}, rgb(), **small(name))
    with pytest.raises(ConfigError, match=f"the network '{name}' has no pretrained weights 'yunet'"):
        models.load_pretrained(name, network, "yunet", input=rgb())
