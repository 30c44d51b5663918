"""The GPU's queue on a processor: jobs that fit are done and kept, one that does not is gone on with."""

from pathlib import Path

import numpy as np
import pytest
from scripts.gpu_queue import JOBS, Job, Queue, join
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


def test_jobs_are_done_in_order_kept_and_taught_by(data: Path, tmp_path: Path) -> None:
    recipe = str(data.parent / "tiny.toml")
    jobs = [Job("a", recipe), Job("b", recipe, ("seed=1",)), Job("c", recipe, JOINED, ("a", "b"))]
    queue = Queue(jobs, data, tmp_path / "runs", tmp_path / "out")
    assert queue.work(600) == ["a", "b", "c"]
    assert queue.pending() == []
    assert queue.work(600) == []
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"a.csv", "a.entry.toml", "a.targets.npz", "c.onnx"}

    # Another machine, which has nothing but what came back.
    again = Queue([*jobs, Job("d", recipe)], data, tmp_path / "bare", tmp_path / "new", tmp_path / "out")
    assert [job.name for job in again.pending()] == ["d"]

    join(data, [tmp_path / "out" / "a.targets.npz", tmp_path / "out" / "b.targets.npz"], tmp_path / "soft.h5")
    joined = store.read(tmp_path / "soft.h5")
    training = joined.split == SPLITS.index("train")
    assert joined.soft_labels is not None
    np.testing.assert_allclose(joined.soft_labels[training].sum(axis=1), 1, atol=2e-3)
    assert not joined.soft_labels[~training].any()
    assert joined.about["teachers"] == ["a.targets", "b.targets"]
    short = tmp_path / "short.h5"
    store.write(store.read(data).take(np.arange(9)), short)
    with pytest.raises(ValueError, match="the store wants"):
        join(short, [tmp_path / "out" / "a.targets.npz"], tmp_path / "no.h5")


def test_a_job_that_does_not_fit_is_gone_on_with(data: Path, tmp_path: Path) -> None:
    queue = Queue(
        [Job("long", str(data.parent / "tiny.toml"), ("epochs=500",))], data, tmp_path / "runs", tmp_path / "out"
    )
    metrics = tmp_path / "runs" / "long" / "metrics.csv"
    epochs = [0]
    for _ in range(2):
        assert queue.work(45) == []  # thirty seconds of them are kept for the parting
        assert [job.name for job in queue.pending()] == ["long"]
        epochs.append(metrics.read_text(encoding="utf-8").count("\n"))
    assert epochs == sorted(set(epochs))


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_every_job_is_one_that_training_takes(job: Job) -> None:
    recipe = load(job.recipe, job.changes)
    assert isinstance(recipe, Recipe)
    names = [other.name for other in JOBS]
    assert set(job.taught_by) <= set(names[: names.index(job.name)])
    assert all(head.soft > 0 for head in recipe.heads.values()) or not job.taught_by
