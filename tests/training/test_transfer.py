"""Fine-tuning from published weights, as a user goes: train, export, use, go on; frozen trunks and two rates."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from tests.commands import run_command
from tests.dlib_files import dlib_file, random_state
from tests.tiny import tiny_recipe

from mien.datasets import Samples, store
from mien.errors import ConfigError
from mien.evaluation import evaluate_model
from mien.expression import OnnxClassifier
from mien.training import FitOptions, Hardware, average_runs, export_run, fit, load_recipe, resolve_recipe
from mien.training.checkpoints import load_module, read
from mien.training.expression.module import ExpressionModule
from mien.training.loop import Callback, Run
from mien.training.optim import configured
from mien.training.recipe import changed

WIDTHS = [4, 6, 8, 10, 12]
QUICK = [
    f"model.options.widths={WIDTHS}",
    "epochs=1",
    "batch_size=16",
    'precision="32-true"',
    "input.size=64",
    "augmentation.sizes=[48,64]",
]
OWN = ("amazed", "keen", "dull")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow network in dlib's own format, and in .safetensors with its origin."""
    place = tmp_path_factory.mktemp("published")
    state = random_state(WIDTHS)
    (place / "net.dat").write_bytes(dlib_file(state))
    safetensors.torch.save_file(state, place / "net.safetensors", {"source": "made up", "licence": "CC0-1.0"})
    return place


@pytest.fixture(scope="module")
def own(tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three classes that are no emotions, without votes."""
    few = tiny_samples.subset(tiny_samples.targets[:, :3].sum(axis=1) > 0)
    few = replace(
        few,
        targets=np.ascontiguousarray(few.targets[:, :3]),
        classes=OWN,
        votes=None,
        about={"data_set": "folder own", "labels": "3 classes"},
    )
    path = tmp_path_factory.mktemp("own") / "own.h5"
    store.save(few, path)
    return path


@pytest.fixture(scope="module")
def run(published: Path, own: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run on own classes by the real command, and what the command said."""
    out = tmp_path_factory.mktemp("transfer") / "run"
    said = mien(
        "train", "dlib-resnet", "--data", own, "--from", published / "net.safetensors", "--out", out, *sets(QUICK)
    )
    return out, said


def sets(settings: Sequence[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def mien(*arguments: object) -> str:
    done = run_command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout


def test_own_classes_from_published_weights(run: tuple[Path, str], own: Path, published: Path, tmp_path: Path) -> None:
    folder, said = run
    words = " ".join(said.split())
    assert "starts from the published weights" in words
    assert "the head 'votes' is left out: it learns from votes, and the data has none" in words
    assert "pretrained weights: net.safetensors, licence CC0-1.0 (made up; sha256" in words
    origin = json.loads((folder / "pretrained.json").read_text(encoding="utf-8"))
    assert origin["licence"] == "CC0-1.0"
    assert len(origin["sha256"]) == 64
    recipe = load_recipe(folder / "recipe.toml")
    assert recipe.model.weights == str(published / "net.safetensors")
    assert recipe.optimizer.lr == load_recipe("dlib-resnet").optimizer.lr  # not a tenth of it
    export_run(folder, store.load(own, "val"), tmp_path / "own.onnx")
    info = OnnxClassifier(tmp_path / "own.onnx").info
    assert info.pretrained == origin
    assert [head.emotions for head in info.heads] == [OWN]
    assert evaluate_model(tmp_path / "own.onnx", store.load(own, "val"), split="val").scores
    with safetensors.safe_open(tmp_path / "own.safetensors", "pt") as file:
        assert "CC0-1.0" in file.metadata()["mien.model"]


def test_the_origin_follows_the_weights(run: tuple[Path, str], own: Path, tmp_path: Path) -> None:
    folder, _ = run
    recipe, _ = resolve_recipe(None, [], init_from=str(folder))
    fit(recipe, store.load(own), tmp_path / "next", FitOptions(progress=False))
    average_runs(tmp_path / "next", [str(folder)], tmp_path / "mean")
    origin = json.loads((folder / "pretrained.json").read_text(encoding="utf-8"))
    for name in ("next", "mean"):
        assert json.loads((tmp_path / name / "pretrained.json").read_text(encoding="utf-8")) == origin
    export_run(tmp_path / "mean", store.load(own, "val"), tmp_path / "mean.onnx")
    recipe, _ = resolve_recipe("dlib-resnet", QUICK, init_from=str(tmp_path / "mean.safetensors"))
    assert recipe.init_from
    fit(recipe, store.load(own), tmp_path / "last", FitOptions(progress=False))
    assert json.loads((tmp_path / "last" / "pretrained.json").read_text(encoding="utf-8")) == origin


def test_a_run_from_random_weights_has_no_origin(tiny_run: Path, tiny_model: Path) -> None:
    assert not (tiny_run / "pretrained.json").exists()
    assert OnnxClassifier(tiny_model).info.pretrained == {}
    assert "pretrained" not in OnnxClassifier(tiny_model).info.as_dict()


def test_dlibs_own_file_gives_the_same_network(published: Path, own: Path, tmp_path: Path) -> None:
    """A recipe key and the option are one mechanism; what is not trained is what was loaded."""
    still = [*QUICK, "optimizer.freeze_epochs=1", "ema_decay=0.0"]
    states = []
    for name, setting in (("net.dat", "init_from"), ("net.safetensors", "model.weights")):
        recipe = load_recipe("dlib-resnet", [*still, f"{setting}={published / name}"])
        best = fit(recipe, store.load(own), tmp_path / name, FitOptions(progress=False))
        states.append(read(best)["state_dict"])
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=0, atol=0)


def test_a_recipe_is_needed(published: Path) -> None:
    with pytest.raises(
        ConfigError, match="no recipe is given for the published weights 'efficientnet-lite1'"
    ) as caught:
        resolve_recipe(None, [], init_from="efficientnet-lite1")
    assert "mien train RECIPE --from efficientnet-lite1, with one of efficientnet-lite0" in caught.value.hint
    with pytest.raises(ConfigError, match="no recipe is given") as caught:
        resolve_recipe(None, [], init_from=str(published / "net.dat"))
    assert "dlib-resnet" in caught.value.hint
    with pytest.raises(ConfigError, match="cannot start from"):
        resolve_recipe("mien-s", [], init_from=str(published / "net.dat"))


def test_all_heads_stay_where_there_are_votes(tiny_samples: Samples, published: Path, tmp_path: Path) -> None:
    recipe = load_recipe("dlib-resnet", [*QUICK, f"model.weights={published / 'net.dat'}"])
    best = fit(recipe, tiny_samples, tmp_path / "run", FitOptions(progress=False))
    assert list(load_module(ExpressionModule, best).classes) == ["votes", "fer2013"]


def test_a_head_that_is_not_optional_needs_votes(tiny_samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the head 'votes' learns from votes, and the data has none"):
        fit(tiny_recipe(), replace(tiny_samples, votes=None), tmp_path / "run", FitOptions(progress=False))
    only = {"votes": {"source": "votes", "optional": True}}
    with pytest.raises(ConfigError, match="the head 'votes' learns from votes, and the data has none"):
        fit(tiny_recipe(heads=only), replace(tiny_samples, votes=None), tmp_path / "run", FitOptions(progress=False))


# --- frozen trunks, two rates


class Watch(Callback):
    """Keeps the weights and the statistics after each epoch."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def on_epoch_end(self, run: Run) -> None:
        self.states.append({name: value.clone() for name, value in run.module.state_dict().items()})


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The parts of the network that changed."""
    return {name.split(".")[1] for name, value in before.items() if not torch.equal(value, after[name])}


def test_a_frozen_trunk_stays_with_its_statistics(tiny_samples: Samples, tmp_path: Path) -> None:
    recipe = changed(tiny_recipe(epochs=4, ema_decay=0.0), ["optimizer.freeze_epochs=2"])
    watch = Watch()
    fit(recipe, tiny_samples, tmp_path / "run", FitOptions(progress=False, callbacks=[watch]))
    changes = [moved(one, two) for one, two in zip(watch.states[:-1], watch.states[1:], strict=True)]
    assert changes == [{"heads"}, {"trunk", "heads"}, {"trunk", "heads"}]


def test_a_frozen_run_is_resumed_to_the_same_result(tiny_samples: Samples, tmp_path: Path) -> None:
    class Stop(Callback):
        def on_epoch_end(self, run: Run) -> None:
            if run.state.epoch == 1:
                raise KeyboardInterrupt

    recipe = changed(tiny_recipe(epochs=3), ["optimizer.freeze_epochs=2", "optimizer.head_lr_scale=0.5"])
    whole = fit(recipe, tiny_samples, tmp_path / "whole", FitOptions(progress=False))
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tiny_samples, tmp_path / "parts", FitOptions(progress=False, callbacks=[Stop()]))
    parts = fit(recipe, tiny_samples, tmp_path / "parts", FitOptions(progress=False, resume=True))
    for key, value in read(whole)["state_dict"].items():
        torch.testing.assert_close(read(parts)["state_dict"][key], value, rtol=0, atol=0)


def test_trunk_and_heads_have_rates_of_their_own() -> None:
    recipe = changed(tiny_recipe(), ["optimizer.trunk_lr_scale=0.1", "optimizer.head_lr_scale=0.5", "optimizer.lr=0.2"])
    module = ExpressionModule(recipe.model_dump(mode="json"), {"votes": ["a", "b"], "fer2013": ["c", "d"]})
    optimizer, _ = configured(module, recipe, 10)
    rates = {id(each): group["initial_lr"] for group in optimizer.param_groups for each in group["params"]}
    decays = {id(each): group["weight_decay"] for group in optimizer.param_groups for each in group["params"]}
    assert len(rates) == len(list(module.parameters()))
    for name, parameter in module.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.1 if ".heads." in name else 0.02)
        assert decays[id(parameter)] == (recipe.optimizer.weight_decay if parameter.ndim > 1 else 0)
    plain, _ = configured(module, tiny_recipe(), 10)
    assert len(plain.param_groups) == 2  # earlier checkpoints have these


def test_freezing_needs_one_process(tiny_samples: Samples, tmp_path: Path) -> None:
    recipe = changed(tiny_recipe(), ["optimizer.freeze_epochs=1"])
    options = FitOptions(progress=False, hardware=Hardware(devices=2, accelerator="cpu"))
    with pytest.raises(ConfigError, match=r"optimizer\.freeze_epochs = 1 needs one process, got 2"):
        fit(recipe, tiny_samples, tmp_path / "run", options)
    assert not (tmp_path / "run").exists()


# --- the commands that show it


def test_a_recipe_is_shown_with_its_weights() -> None:
    shown = mien("models", "show", "dlib-resnet")
    words = " ".join(shown.split())
    assert "from dlib-resnet: dlib_face_recognition_resnet_model_v1.dat by Davis King" in words
    assert "CC0-1.0; " in words
