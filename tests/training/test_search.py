"""`mien search`: the real command on drawn faces, cut off and gone on with; and what a space may say."""

import math
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.commands import run_command
from tests.tiny import tiny_recipe

from mien.datasets import Samples, store
from mien.errors import EXIT_CODES, ConfigError, DivergedError, MienError, OutputError, StoppedError
from mien.training import FitOptions, load_recipe
from mien.training.loop import State
from mien.training.recipe import to_toml
from mien.training.search import Dimension, Outcome, Search, outcomes, space_of, usual_space

pytest.importorskip("optuna")
RATE = "optimizer.lr=0.001..0.5:log"


@pytest.fixture(scope="module")
def place(tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    store.save(tiny_samples, folder / "drawn.h5")
    other = tiny_samples.subset(tiny_samples.split != 2)
    store.save(other, folder / "other.h5")
    (folder / "tiny.toml").write_text(to_toml(tiny_recipe()), encoding="utf-8")
    return folder


def words(place: Path, out: Path, *arguments: object, data: str = "drawn.h5") -> list[str]:
    base = ["search", str(place / "tiny.toml"), "--data", str(place / data), "--out", str(out)]
    return [*base, *map(str, arguments)]


def mien(place: Path, out: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run_command(*words(place, out, *arguments))


@pytest.fixture(scope="module")
def searched(place: Path) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    out = place / "three"
    return out, mien(place, out, "--trials", 3, "--space", RATE, "--space", "optimizer.name=sgd,adamw")


class TestTheCommand:
    def test_it_finds_the_best_and_says_how_to_go_on(
        self, place: Path, searched: tuple[Path, "subprocess.CompletedProcess[str]"]
    ) -> None:
        out, done = searched
        assert done.returncode == 0, done.stderr
        assert "3 trials: 3 complete" in done.stdout
        assert f"next: mien train {out / 'best.toml'}" in done.stdout
        found = outcomes(out)
        best = min(found, key=lambda outcome: outcome.value or 0)
        assert best.best
        recipe = load_recipe(out / "best.toml")
        assert recipe.optimizer.lr == pytest.approx(best.values["optimizer.lr"])
        assert recipe.optimizer.name == best.values["optimizer.name"]
        assert load_recipe(out / "best" / "recipe.toml") == recipe
        rows = (out / "best" / "metrics.csv").read_text().splitlines()
        column = rows[0].split(",").index("val/loss")
        assert min(float(row.split(",")[column]) for row in rows[1:]) == pytest.approx(best.value, rel=1e-4)
        assert sorted(path.name for path in out.iterdir()) == ["best", "best.toml", "study.db"]

    def test_the_first_trial_is_the_recipe_as_it_is(
        self, searched: tuple[Path, "subprocess.CompletedProcess[str]"]
    ) -> None:
        assert outcomes(searched[0])[0].values == {"optimizer.lr": 0.05, "optimizer.name": "sgd"}

    def test_show_tells_the_same_without_data(
        self, place: Path, searched: tuple[Path, "subprocess.CompletedProcess[str]"]
    ) -> None:
        shown = run_command("search", "--show", "--out", searched[0])
        assert shown.returncode == 0, shown.stderr
        assert "3 trials: 3 complete" in shown.stdout

    def test_other_data_and_another_space_are_refused(
        self, place: Path, searched: tuple[Path, "subprocess.CompletedProcess[str]"]
    ) -> None:
        again = run_command(*words(place, searched[0], "--trials", 4, "--space", RATE, data="other.h5"))
        assert again.returncode == EXIT_CODES[ConfigError]
        assert "started with another data and another space" in again.stderr
        assert len(outcomes(searched[0])) == 3

    @pytest.mark.parametrize(
        "number",
        [pytest.param(signal.SIGKILL, id="kill", marks=pytest.mark.long), pytest.param(signal.SIGINT, id="Ctrl-C")],
    )
    def test_a_search_that_was_stopped_continues(self, place: Path, tmp_path: Path, number: int) -> None:
        """The command gets the signal in the middle of its second trial."""
        out = tmp_path / "search"
        arguments = ("--trials", 3, "--space", RATE, "--set", "epochs=6")
        program = (
            "import os, sys\n"
            "from dataclasses import replace\n"
            "from mien.cli import main\n"
            "from mien.training import Callback, search\n"
            "class Signal(Callback):\n"
            "    def on_step_start(self, run):\n"
            "        if run.folder.name == 'trial-1' and (run.state.epoch, run.step) == (1, 1):\n"
            f"            os.kill(os.getpid(), {int(number)})\n"
            "fit = search.fit\n"
            "search.fit = lambda recipe, data, place, options: fit(\n"
            "    recipe, data, place, replace(options, callbacks=[*options.callbacks, Signal()]))\n"
            "main()\n"
        )
        line = [sys.executable, "-c", program, *words(place, out, *arguments)]
        stopped = subprocess.run(line, capture_output=True, text=True, timeout=600)
        if number == signal.SIGINT:
            assert stopped.returncode == EXIT_CODES[StoppedError], stopped.stderr
            assert "repeat the command to continue" in stopped.stderr
        else:
            assert stopped.returncode == -number
        done = mien(place, out, *arguments)
        assert done.returncode == 0, done.stderr
        assert "3 trials: " in done.stdout
        assert not list(out.glob("trial-*"))
        assert len({outcome.values["optimizer.lr"] for outcome in outcomes(out)}) == 3

    def test_all_mistakes_of_a_space_at_once(self, place: Path, tmp_path: Path) -> None:
        done = mien(
            place,
            tmp_path / "no",
            "--space",
            "optimizer.rate=0.1..1",
            "--space",
            "epochs=0..3",
            "--space",
            "batch_size",
        )
        assert done.returncode == EXIT_CODES[ConfigError]
        for word in ("optimizer.rate", "epochs", "'batch_size' is not a valid search dimension"):
            assert word in done.stderr
        assert not (tmp_path / "no").exists()

    @pytest.mark.parametrize("own", ["notes.txt", "best.toml", "best/weights.txt", "trial-1/x.txt", "trial-notes.txt"])
    def test_a_folder_without_a_study_stays(self, own: str, place: Path, tmp_path: Path) -> None:
        (tmp_path / own).parent.mkdir(exist_ok=True)
        (tmp_path / own).write_text("mine")
        done = mien(place, tmp_path, "--trials", 1, "--space", RATE)
        assert done.returncode == EXIT_CODES[OutputError], done.stderr
        assert "contains files, but no study of `mien search`" in done.stderr
        assert "choose a new or empty folder" in done.stderr
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / own]
        assert (tmp_path / own).read_text() == "mine"

    def test_an_output_that_is_a_file(self, place: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        done = mien(place, tmp_path / "file", "--space", RATE)
        assert (done.returncode, "is a file" in done.stderr) == (EXIT_CODES[OutputError], True), done.stderr

    def test_no_study_to_show(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="does not contain a study"):
            outcomes(tmp_path)
        (tmp_path / "study.db").write_bytes(b"nothing of the kind" * 99)
        with pytest.raises(ConfigError, match="is not a study, or damaged"):
            outcomes(tmp_path)


def scripted(monkeypatch: pytest.MonkeyPatch, loss: Any) -> None:
    """Trains nothing: the loss of each epoch is `loss(rate, epoch)`. What a real run does is tested above."""

    def fit(recipe: Any, data: Any, folder: Path, options: FitOptions) -> None:
        folder.mkdir()
        for epoch in range(recipe.epochs):
            value = loss(recipe.optimizer.lr, epoch)
            if not math.isfinite(value):
                raise DivergedError(f"training diverged: val/loss is {value} after epoch {epoch + 1}")
            run = SimpleNamespace(state=State(epoch=epoch + 1), metrics={"val/loss": value})
            options.callbacks[0].on_epoch_end(run)  # type: ignore[arg-type]

    monkeypatch.setattr("mien.training.search.fit", fit)


def looked(tmp_path: Path, samples: Samples, trials: int) -> list[Outcome]:
    recipe = tiny_recipe(epochs=6)
    search = Search(recipe, samples, space_of(recipe, [RATE]), tmp_path / "search")
    search.run(trials, progress=False)
    return search.outcomes


class TestTrials:
    def test_hopeless_ones_are_ended_early_and_the_best_is_found(
        self, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scripted(monkeypatch, lambda rate, epoch: abs(rate - 0.2) + 1 / (epoch + 1))
        found = looked(tmp_path, tiny_samples, 25)
        states = [outcome.state for outcome in found]
        assert len(found) == 25
        assert 3 <= states.count("ended early") < 25
        best = next(outcome for outcome in found if outcome.best)
        assert abs(best.values["optimizer.lr"] - 0.2) < 0.06

    def test_one_that_breaks_does_not_end_the_search(
        self, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scripted(monkeypatch, lambda rate, epoch: float("nan") if rate > 0.04 else rate)
        found = looked(tmp_path, tiny_samples, 8)
        assert found[0].state == "failed"
        assert "val/loss is nan after epoch 1" in found[0].error
        assert any(outcome.state == "complete" for outcome in found)

    def test_if_all_break_it_says_so(
        self, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scripted(monkeypatch, lambda rate, epoch: float("inf"))
        with pytest.raises(MienError, match=r"all 3 trials failed; the last error: .* val/loss is inf"):
            looked(tmp_path, tiny_samples, 3)


class TestTheFolder:
    """What the search did not write stays, also in the folder of a study."""

    @pytest.fixture
    def study(self, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        scripted(monkeypatch, lambda rate, epoch: rate)
        recipe = tiny_recipe(epochs=2)
        return lambda: Search(recipe, tiny_samples, space_of(recipe, [RATE]), tmp_path)

    def test_other_files_and_folders_stay(self, study: Any, tmp_path: Path) -> None:
        study().run(1, progress=False)
        (tmp_path / "trial-notes.txt").write_text("mine")
        for name in ("trial-old", "trial-0"):  # the second is left from a trial of the study
            (tmp_path / name).mkdir()
            (tmp_path / name / "file").write_text("mine")
        study().run(2, progress=False)
        assert {path.name for path in tmp_path.glob("trial-*")} == {"trial-notes.txt", "trial-old"}
        assert (tmp_path / "trial-old" / "file").is_file()

    def test_a_second_search_is_refused_while_one_runs(
        self, tiny_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would take the trial that is running for one that was interrupted, and delete its run."""
        refused: list[int] = []

        def during(rate: float, epoch: int) -> float:
            with pytest.raises(OutputError, match="a search is running there"):
                Search(recipe, tiny_samples, space_of(recipe, [RATE]), tmp_path)
            refused.append(epoch)
            return rate

        recipe = tiny_recipe(epochs=2)
        scripted(monkeypatch, during)
        search = Search(recipe, tiny_samples, space_of(recipe, [RATE]), tmp_path)
        search.run(1, progress=False)
        assert refused
        assert [outcome.state for outcome in search.outcomes] == ["complete"]

    def test_a_folder_with_the_name_of_a_later_trial_is_refused(self, study: Any, tmp_path: Path) -> None:
        study().run(1, progress=False)
        (tmp_path / "trial-1").mkdir()
        with pytest.raises(OutputError, match=r"trial-1: was not written by this search"):
            study()
        assert (tmp_path / "trial-1").is_dir()

    def test_a_best_run_is_refused_before_there_is_one(self, study: Any, tmp_path: Path) -> None:
        study()
        (tmp_path / "best").mkdir()
        with pytest.raises(OutputError, match=r"best: was not written by this search"):
            study()

    def test_the_database_of_another_program_stays(self, study: Any, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "study.db")) as database:
            database.execute("CREATE TABLE mine (x)")
        before = (tmp_path / "study.db").read_bytes()
        with pytest.raises(ConfigError, match="is not a study of `mien search`"):
            study()
        assert (tmp_path / "study.db").read_bytes() == before

    def test_another_study_of_optuna_stays(self, study: Any, tmp_path: Path) -> None:
        import optuna

        optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="mine")
        with pytest.raises(ConfigError, match="is not a study of `mien search`"):
            study()
        with closing(sqlite3.connect(tmp_path / "study.db")) as database:
            assert database.execute("SELECT study_name FROM studies").fetchall() == [("mine",)]

    def test_a_study_that_was_killed_when_it_was_made_is_made_again(self, study: Any, tmp_path: Path) -> None:
        (tmp_path / "study.db").touch()
        study().run(1, progress=False)
        assert len(outcomes(tmp_path)) == 1


class TestSpace:
    @given(low=st.floats(1e-6, 1), factor=st.floats(1.5, 1e4), log=st.booleans())
    def test_a_dimension_reads_back(self, low: float, factor: float, log: bool) -> None:
        dimension = Dimension("optimizer.lr", low, low * factor, log)
        assert Dimension.parse(str(dimension)) == dimension
        assert dimension.holds(low)
        assert not dimension.holds(low * factor * 2)

    @pytest.mark.parametrize(
        "text", ["lr", "lr=", "=1..2", "lr=3..1", "lr=0..1:log", "lr=a..b", "lr=1..2:even", "lr=1", "lr=true..false"]
    )
    def test_texts_that_are_none(self, text: str) -> None:
        with pytest.raises(ConfigError):
            Dimension.parse(text)

    def test_whole_numbers_stay_whole(self) -> None:
        assert type(Dimension.parse("batch_size=8..64").distribution()).__name__ == "IntDistribution"
        assert type(Dimension.parse("optimizer.lr=1..64.0").distribution()).__name__ == "FloatDistribution"
        assert Dimension.parse("optimizer.name=sgd, adam").choices == ("sgd", "adam")
        assert Dimension.parse("batch_size=32,64").choices == (32, 64)

    def test_the_usual_space_is_right_for_every_recipe(self) -> None:
        for name in ("mien-s", "fourlayer", "vgg13-pld"):
            recipe = load_recipe(name)
            dimensions = usual_space(recipe)
            assert "optimizer.lr" in {dimension.key for dimension in dimensions}
            assert space_of(recipe, [str(dimension) for dimension in dimensions]) == dimensions
