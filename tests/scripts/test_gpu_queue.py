"""The GPU's queue on a processor: runs share the time, each has the epochs that fit, and what matters comes back."""

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripts.gpu_queue import WAVES, Job, Queue, Wave, _temperature, bundled, join, pack
from tests.drawn import drawn_samples
from tests.tiny import tiny_recipe

from mien.datasets import store
from mien.datasets.samples import SPLITS
from mien.training import Recipe
from mien.training.recipe import load, to_toml

JOINED = ("heads.votes.soft=0.5", "heads.fer2013.soft=0.5")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queue")
    store.write(drawn_samples(folder, per_class=8), folder / "fer.h5")
    (folder / "tiny.toml").write_text(to_toml(tiny_recipe()), encoding="utf-8")
    return folder / "fer.h5"


def test_waves_are_done_kept_and_taught_by_those_before(data: Path, tmp_path: Path) -> None:
    recipe = str(data.parent / "tiny.toml")
    first = Wave((Job("a", recipe, epochs=2, half=True), Job("b", recipe, ("seed=1",), 2)), 0.5)
    broken = Job("no", recipe, ("model.name=none",), 2)
    queue = Queue([first, Wave((Job("c", recipe, JOINED, 2), broken), 0.5)], data, tmp_path / "runs", tmp_path / "out")
    assert queue.work(600) == ["a", "b", "c"]
    assert [job.name for job in queue.pending()] == ["no"]

    back = tmp_path / "back"
    back.mkdir()
    with tarfile.open(tmp_path / "out" / "bundle-0.tar") as tar:
        for name in tar.getnames():
            content = tar.extractfile(name)
            assert content is not None
            (back / name).write_bytes(content.read())
    assert {path.name for path in back.iterdir()} >= {"a.npz", "a.ckpt", "c.npz", "c.recipe.toml", "c.metrics.csv"}
    with np.load(back / "c.npz") as file:
        assert file["val_labels"].shape == (len(store.read(data, "val")), 7)
        assert file["soft_votes"].shape == (len(store.read(data, "train")), 10)

    # Another machine, which has nothing but what came back.
    again = Queue([first, Wave((Job("d", recipe),), 0.5)], data, tmp_path / "bare", tmp_path / "new", back)
    assert [job.name for job in again.pending()] == ["d"]

    join(data, [back / "a.npz", back / "b.npz"], tmp_path / "soft.h5")
    joined = store.read(tmp_path / "soft.h5")
    training = joined.split == SPLITS.index("train")
    assert joined.soft_labels is not None
    np.testing.assert_allclose(joined.soft_labels[training].sum(axis=1), 1, atol=4e-3)
    assert not joined.soft_labels[~training].any()
    assert joined.about["teachers"] == ["a", "b"]
    pack(data, [back / "a.npz", back / "b.npz"], tmp_path / "mean.npz")
    join(data, [tmp_path / "mean.npz"], tmp_path / "packed.h5")
    packed = store.read(tmp_path / "packed.h5").soft_labels
    assert packed is not None
    np.testing.assert_allclose(packed, joined.soft_labels, atol=4e-3)

    # Elsewhere the store may have more pictures, in another order: each has its own targets.
    rows = np.random.default_rng(0).permutation(len(joined))
    store.write(store.read(data).take(rows), tmp_path / "other.h5")
    join(tmp_path / "other.h5", [tmp_path / "mean.npz"], tmp_path / "elsewhere.h5")
    elsewhere = store.read(tmp_path / "elsewhere.h5").soft_labels
    assert elsewhere is not None
    np.testing.assert_array_equal(elsewhere, packed[rows])
    turned = store.read(data)
    images = turned.images.copy()
    images[1:] = 255 - images[1:]
    store.write(replace(turned, images=images), tmp_path / "most.h5")
    join(tmp_path / "most.h5", [back / "a.npz"], tmp_path / "some.h5")
    some = store.read(tmp_path / "some.h5").soft_votes
    assert some is not None
    assert some.any(axis=1).sum() == training[0]
    store.write(replace(turned, images=255 - turned.images), tmp_path / "none.h5")
    with pytest.raises(ValueError, match="of other pictures"):
        join(tmp_path / "none.h5", [back / "a.npz"], tmp_path / "no.h5")


def test_a_run_that_was_cut_off_begins_again(data: Path, tmp_path: Path) -> None:
    jobs = (Job("long", str(data.parent / "tiny.toml"), epochs=1),)
    runs = tmp_path / "runs"
    for number in (1, 2):  # as if the machine had been taken back within the run
        (runs / "long").mkdir(parents=True)
        (runs / "long" / "recipe.toml").write_text("", encoding="utf-8")
        assert Queue([Wave(jobs, 1)], data, runs, tmp_path / "out").work(300) == ["long"]
        assert (runs / f"long.{number}").exists()
        (runs / "results" / "long.npz").unlink()
        (runs / "long").rename(runs / f"done-{number}")


def test_what_came_back_is_exported_as_a_run_is(data: Path, tmp_path: Path) -> None:
    from mien.training import export_run

    queue = Queue([Wave((Job("a", str(data.parent / "tiny.toml"), epochs=1, half=True),), 1)], data, tmp_path, tmp_path)
    assert queue.work(120) == ["a"]
    run = tmp_path / "again"
    run.mkdir()
    for name, as_ in {"a.ckpt": "best.ckpt", "a.recipe.toml": "recipe.toml", "a.data.json": "data.json"}.items():
        (tmp_path / "results" / name).rename(run / as_)
    assert export_run(run, store.read(data, "val"), tmp_path / "a.onnx")


def test_a_run_has_as_many_epochs_as_fit(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    jobs = (Job("long", str(data.parent / "tiny.toml"), epochs=100_000),)
    assert Queue([Wave(jobs, 1)], data, tmp_path / "runs", tmp_path / "out").work(40) == ["long"]
    epochs = load(tmp_path / "runs" / "long" / "recipe.toml").epochs
    assert 5 < epochs < 5_000
    assert "100000 epochs planned" in capfd.readouterr().out


def test_bundles_hold_what_comes_first(tmp_path: Path) -> None:
    files = []
    for index, size in enumerate((9, 9, 17, 5, 1)):
        files.append(tmp_path / f"{index}")
        files[-1].write_bytes(bytes(size * 2**20))
    written = bundled(files, tmp_path / "out")
    contents = []
    for path in written:
        assert path.stat().st_size <= 16 * 2**20
        with tarfile.open(path) as tar:
            contents.append(tar.getnames())
    assert contents == [["0", "3", "4"], ["1"]]


@pytest.mark.parametrize("job", [job for wave in WAVES for job in wave.jobs], ids=lambda job: job.name)
def test_every_job_is_one_that_training_takes(job: Job) -> None:
    recipe = load(job.recipe, job.changes)
    assert isinstance(recipe, Recipe)
    taught = job not in WAVES[0].jobs
    assert all((head.soft > 0) == taught for head in recipe.heads.values())


def test_what_is_too_sure_of_itself_is_softened(data: Path) -> None:
    judges = store.read(data, "val")
    shares = judges.votes / judges.votes.sum(axis=1, keepdims=True)  # type: ignore[union-attr]
    exact = np.log(shares + 1e-4).astype(np.float32)  # right at temperature 1
    assert _temperature(3 * exact, judges, "votes") == pytest.approx(3, rel=0.02)
    assert _temperature(3 * exact[:, :8], judges, "votes") == pytest.approx(3, rel=0.05)
    sure = np.where(judges.targets > 0, 2.0, 0.0).astype(np.float32)
    assert _temperature(sure, judges, "labels") < 0.1  # never wrong
