"""Model soups: the mean of runs is a run, read, exported and begun from like any."""

import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.commands import run_command

from mien.datasets import Samples, store
from mien.errors import ConfigError, OutputError, WeightsError
from mien.expression import OnnxClassifier
from mien.training import FitOptions, average_runs, fit, load_recipe, resolve_recipe
from mien.training.checkpoints import read
from mien.training.recipe import changed, to_toml
from mien.training.weights import load_source


@pytest.fixture(scope="module")
def other(tiny_run: Path, tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that began with the weights of the first."""
    folder = tmp_path_factory.mktemp("soup") / "other"
    recipe, _ = resolve_recipe(None, ["epochs=1", "seed=9"], init_from=str(tiny_run))
    fit(recipe, tiny_samples, folder)
    return folder


def test_every_weight_is_the_mean(tiny_run: Path, other: Path, tmp_path: Path) -> None:
    average_runs(tiny_run, [str(other), str(other)], tmp_path / "mean")
    one, two, mean = (load_source(str(run)).weights for run in (tiny_run, other, tmp_path / "mean"))
    assert set(mean) == set(one)
    assert any(not torch.equal(one[name], two[name]) for name in one)
    for name, value in mean.items():
        expected = (one[name] + 2 * two[name]) / 3 if value.is_floating_point() else one[name]
        torch.testing.assert_close(value, expected)
    assert "training" not in read(tmp_path / "mean" / "best.ckpt")


def test_the_command_makes_what_is_exported_and_read(
    tiny_run: Path, other: Path, tiny_samples: Samples, tmp_path: Path
) -> None:
    store.save(tiny_samples, tmp_path / "drawn.h5")
    for line in (
        ["average", tiny_run, other, "--out", "mean"],
        ["export", "mean", "--data", "drawn.h5", "--out", "mean.onnx"],
    ):
        run = run_command(*line, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
    probabilities = OnnxClassifier(tmp_path / "mean.onnx").with_classes("model").predict_proba(tiny_samples.images[:4])
    assert probabilities.shape == (4, 10)


def test_what_cannot_be_averaged(tiny_run: Path, other: Path, tiny_samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="averaging needs at least two"):
        average_runs(tiny_run, [], tmp_path / "mean")
    with pytest.raises(ConfigError, match="different architecture"):
        average_runs(tiny_run, ["mien-s"], tmp_path / "mean")
    with pytest.raises(ConfigError, match="cannot start from 'no-such'"):
        average_runs(tiny_run, ["no-such"], tmp_path / "mean")
    with pytest.raises(OutputError, match="already contains a run"):
        average_runs(tiny_run, [str(other)], other)
    assert not (tmp_path / "mean").exists()
    larger = tmp_path / "larger"
    shutil.copytree(other, larger)
    recipe = load_recipe(larger / "recipe.toml")
    (larger / "recipe.toml").write_text(to_toml(changed(recipe, {"input.std": [0.5]})), encoding="utf-8")
    with pytest.raises(ConfigError, match="trained on images of another size or form"):
        average_runs(tiny_run, [str(larger)], tmp_path / "mean")
    broken = tmp_path / "broken"
    shutil.copytree(other, broken)
    (broken / "best.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError):
        average_runs(tiny_run, [str(broken)], tmp_path / "mean")


def test_unrelated_runs_are_refused(tiny_run: Path, tiny_samples: Samples, tmp_path: Path) -> None:
    recipe = load_recipe(tiny_run / "recipe.toml").model_copy(update={"seed": 9, "epochs": 1})
    fit(recipe, tiny_samples, tmp_path / "unrelated", FitOptions(progress=False))
    with pytest.raises(ConfigError, match="did not start from the same weights") as caught:
        average_runs(tiny_run, [str(tmp_path / "unrelated")], tmp_path / "mean")
    assert "--model" in caught.value.hint
    assert not (tmp_path / "mean").exists()


def test_weights_of_unknown_classes_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    weights = {name: value.contiguous() for name, value in load_source(str(tiny_run)).weights.items()}
    safetensors.torch.save_file(weights, foreign)
    with pytest.raises(ConfigError, match="other classes"):
        average_runs(tiny_run, [str(foreign)], tmp_path / "mean")


def test_other_classes_are_refused(tiny_run: Path, other: Path, tmp_path: Path) -> None:
    swapped = tmp_path / "swapped"
    shutil.copytree(other, swapped)
    content = read(swapped / "best.ckpt")
    content["hyper_parameters"]["classes"]["fer2013"].reverse()
    torch.save(content, swapped / "best.ckpt")
    with pytest.raises(ConfigError, match="other classes"):
        average_runs(tiny_run, [str(swapped)], tmp_path / "mean")
