"""A detector from labelled images to a file that reads: the real commands, on drawn faces."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.commands import run_command
from tests.face_images import drawn_image, random_yunet, write_images

from mien.assets.manifest import METADATA_KEY, read_manifest
from mien.assets.store import open_model
from mien.datasets.face_images import read
from mien.errors import ConfigError, DataError, WeightsError
from mien.faces.boxes import iou
from mien.faces.detectors import DetectorOptions, load
from mien.training import FitOptions, fit, load_recipe, resolve_recipe, task_spec
from mien.training.detection.recipe import DetectorRecipe
from mien.training.loop import Callback, Run

TINY = [
    "epochs=3",
    "steps=60",
    "validation_steps=2",
    "batch_size=4",
    "ema_decay=0.9",
    "optimizer.lr=0.01",
    "schedule.warmup=0.1",
    "workers=0",
    "precision=32-true",
    "model.options={stem=[4, 8], widths=[8, 8, 8], depths=[1, 1, 1], neck=8}",
    "scenes.sizes={64=0.5, 96=0.5}",
    "scenes.grids={1=1.0}",
    "scenes.smallest=20.0",
    "scenes.turned=0.0",
    "scenes.covered=0.0",
    "scenes.dark=0.0",
]


def changed(*settings: str) -> list[str]:
    """The settings of TINY, with these in place of those with the same keys."""
    keys = {setting.partition("=")[0] for setting in settings}
    return [*(setting for setting in TINY if setting.partition("=")[0] not in keys), *settings]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "faces", train=16, valid=8)


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    run = folder.parent / "run"
    settings = [part for each in TINY for part in ("--set", each)]
    done = run_command("train", "detector-from-scratch", "--data", folder, "--out", run, "--quiet", *settings)
    assert done.returncode == 0, done.stderr
    return run


def test_a_run_leaves_what_a_run_leaves(run: Path) -> None:
    assert {path.name for path in run.iterdir()} >= {
        "recipe.toml",
        "data.json",
        "metrics.csv",
        "best.ckpt",
        "last.ckpt",
    }
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "val/loss", "val/overlap", "val/landmarks/loss"} <= set(header)
    assert isinstance(load_recipe(run / "recipe.toml"), DetectorRecipe)


def test_a_run_that_was_stopped_resumes_to_the_same_result(folder: Path, tmp_path: Path) -> None:
    quick = changed("steps=4", "epochs=2")
    recipe, whole, cut = load_recipe("detector-from-scratch", quick), tmp_path / "whole", tmp_path / "cut"
    fit(recipe, folder, whole, FitOptions(progress=False))

    class Stop(Exception):
        pass

    class Stopping(Callback):
        def on_step_start(self, run: Run) -> None:
            if run.state.epoch == 1:
                raise Stop

    with pytest.raises(Stop):
        fit(recipe, folder, cut, FitOptions(progress=False, callbacks=[Stopping()]))
    fit(recipe, folder, cut, FitOptions(resume=True, progress=False))
    one, other = (torch.load(place / "last.ckpt", weights_only=True)["state_dict"] for place in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_export_reads_images(run: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.onnx"
    written = task_spec("detection").export(load_recipe(run / "recipe.toml"), run, folder, out, licence="Apache-2.0")
    assert {path.suffix for path in written} == {".onnx", ".safetensors", ".toml"}
    info, session = open_model(out, task="detection")
    assert info.licence == "Apache-2.0"
    assert "train" in info.data
    assert info.architecture["neck"] == 8
    assert info.form == ("int8" if info.scores["int8_f1"] >= info.scores["full_f1"] - 0.01 else "full")
    assert (b"QuantizeLinear" in out.read_bytes()) == (info.form == "int8")
    assert METADATA_KEY in session.metadata
    ((name, entry),) = read_manifest((tmp_path / "own.entry.toml").read_text(), "the entry").items()
    assert name == "detector-from-scratch"
    assert entry.detections == info.detections
    assert info.scores["faces"] == sum(len(image.boxes) for image in read(folder, "valid"))
    assert all(0 < point < 1 for _, point in info.detections.by_size)
    assert entry.features == info.features
    image = drawn_image(np.random.default_rng(50), 1)
    found = load(DetectorOptions("mien", weights=out)).detect(image.image, min_score=0.2)
    assert float(iou(found.boxes, image.boxes).max()) > 0.4


def test_a_run_with_every_new_setting_trains_and_keeps_its_recipe(run: Path, folder: Path, tmp_path: Path) -> None:
    settings = ["epochs=2", "steps=3", "assignment.name='dynamic'", "scenes.whole=0.5", "loss.teacher=0.3"]
    recipe = load_recipe(run / "recipe.toml", settings)
    fit(recipe, folder, tmp_path / "new", FitOptions(progress=False))
    again = load_recipe(tmp_path / "new" / "recipe.toml")
    assert again == recipe
    task_spec("detection").export(again, run, folder, tmp_path / "new.onnx")
    assert load(DetectorOptions("mien", weights=tmp_path / "new.onnx")) is not None


def test_a_run_starts_from_published_weights_and_learns_from_their_outputs(folder: Path, tmp_path: Path) -> None:
    weights = random_yunet(tmp_path / "published.onnx")
    settings = changed(
        "epochs=1",
        "steps=3",
        "scenes.whole=1.0",
        "optimizer.lr=1e-4",
        "model.options={early=[16, 56, 64, 64]}",
        "ema_decay=0",
    )
    source = [f"model.weights='{weights}'", "model.name='yunet'", "loss.distil=1.0"]
    recipe = load_recipe("detector-from-scratch", [*settings, *source])
    fit(recipe, folder, tmp_path / "run", FitOptions(progress=False))
    assert json.loads((tmp_path / "run" / "pretrained.json").read_text())["name"] == "published.onnx"
    header, values = (line.split(",") for line in (tmp_path / "run" / "metrics.csv").read_text().splitlines())
    assert float(dict(zip(header, values, strict=True))["val/distil/loss"]) > 0
    # A run from the run's weights needs no published ones.
    weights.unlink()
    again, _ = resolve_recipe(None, ["epochs=1", "steps=1"], init_from=str(tmp_path / "run"))
    fit(again, folder, tmp_path / "again", FitOptions(progress=False))
    with pytest.raises(ConfigError, match=r"loss\.distil=1\.0: needs published weights in model\.weights"):
        load_recipe("detector-from-scratch", ["loss.distil=1.0"])


def test_a_second_run_starts_from_the_weights_of_the_first(run: Path, folder: Path, tmp_path: Path) -> None:
    recipe, said = resolve_recipe(None, ["epochs=1", "steps=4"], init_from=str(run))
    assert isinstance(recipe, DetectorRecipe)
    assert recipe.optimizer.lr == pytest.approx(0.001)
    assert any("starts from the weights" in line for line in said)
    fit(recipe, folder, tmp_path / "second", FitOptions(progress=False))
    first, second = ((place / "metrics.csv").read_text().splitlines() for place in (run, tmp_path / "second"))
    column = first[0].split(",").index("val/loss")
    assert float(second[-1].split(",")[column]) < float(first[1].split(",")[column])


def test_a_detector_that_finds_nothing_is_not_exported(folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe("detector-from-scratch", changed("epochs=1", "steps=1", "ema_decay=0"))
    fit(recipe, folder, tmp_path / "run", FitOptions(progress=False))
    with pytest.raises(WeightsError, match=r"finds none of the \d+ faces"):
        task_spec("detection").export(recipe, tmp_path / "run", folder, tmp_path / "none.onnx")
    assert not list(tmp_path.glob("none*"))


def test_data_that_changed_is_refused(folder: Path, run: Path, tmp_path: Path) -> None:
    other = write_images(tmp_path / "other", seed=3)
    recipe = load_recipe(run / "recipe.toml")
    with pytest.raises(ConfigError, match="was started on other data"):
        fit(recipe, other, run, FitOptions(resume=True, progress=False))


def test_every_mistake_of_a_recipe_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text(
        'task = "detection"\nname = "x"\nsteps = 0\nworkers = "two"\nheads = 1\n[model]\nname = "plain"\n'
        "[scenes]\nflip = 2\n[scenes.sizes]\n100 = 1.0\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe)
    for key in ("steps", "workers", "heads", "scenes.flip", "scenes.sizes"):
        assert key in str(caught.value)


def test_a_network_that_cannot_be_built(folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe("detector-from-scratch", ["model.options={widths=[8, 8]}"])
    with pytest.raises(ConfigError, match="the detector 'face_detector' cannot be built"):
        fit(recipe, folder, tmp_path / "run", FitOptions(progress=False))
    assert not (tmp_path / "run").exists()


def test_pictures_without_faces_teach_nothing(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "drawn.zip").write_bytes((folder / "drawn.zip").read_bytes())
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    text = "\n".join(json.dumps(row | {"faces": [], "ignore": []}) for row in rows)
    (bare / "labels.jsonl").write_text(text)
    with pytest.raises(DataError, match="no image of the split 'train' has a face"):
        fit(load_recipe("detector-from-scratch", TINY), bare, tmp_path / "run", FitOptions(progress=False))


def test_a_wrong_folder_is_named_by_the_command(tmp_path: Path) -> None:
    done = run_command("train", "detector-from-scratch", "--data", tmp_path, "--out", tmp_path / "run")
    assert done.returncode != 0
    assert "no labels.jsonl" in done.stderr
    assert "Traceback" not in done.stderr
