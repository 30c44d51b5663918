"""`mien models` and detectors by weights, as a person runs them: the real command, a real server."""

import functools
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.commands import run_command
from tests.conftest import ROOT

from mien.assets.download import remote_weights
from mien.assets.manifest import DEFAULT, ENSEMBLES, classic_models, default_model, quick_model, shipped_models
from mien.assets.packages import list_packaged
from mien.cli import print_table
from mien.errors import ConfigError, MissingExtraError, OutputError, WeightsError, exit_code
from mien.training.catalogue import catalogue, other_recipes

YUNET = "yunet_n_640_640.onnx"
OTHER_NETWORK = Path(__file__).parents[2] / "src" / "mien" / "assets" / "mien-s.onnx"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def mien(cache: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, env={"MIEN_CACHE": str(cache), "COLUMNS": "1000"})


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """What `mien models list` prints, and its cache, in which nothing is."""
    empty = tmp_path_factory.mktemp("listed") / "cache"
    return empty, mien(empty, "models", "list")


def test_the_list_names_all_that_ships_and_all_that_can_be_fetched(
    listed: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    cache, done = listed
    assert done.returncode == 0
    for info in shipped_models().values():
        assert f"  {info.name}" in done.stdout
        assert f"file    {info.file}, {info.form}, " in done.stdout
        for head in info.heads:
            assert f"head    {head.name}: {', '.join(head.emotions)}" in done.stdout
    for name, info in shipped_models("expression").items():  # the figures that were measured, rounded once
        measured = json.loads((ROOT / "benchmarks" / "scores" / f"{name}.json").read_text(encoding="utf-8"))
        for protocol, scores in measured["protocols"].items():
            shown = f"accuracy {scores['accuracy']['value']:.1%} on {scores['n']:,} faces"
            assert f"{shown} ({info.scores[f'val_{protocol}']['protocol']})" in done.stdout
    assert f"state   not fetched: {cache / 'yunet'}" in done.stdout
    assert f"state   not fetched: {cache / 'ssd'}" in done.stdout
    for packaged in list_packaged().values():
        assert f"  {packaged.name}: {packaged.description}" in done.stdout
        assert f"state   {packaged.state()}" in done.stdout
        assert f"source  {packaged.source}; {packaged.licence}" in done.stdout
    assert not cache.exists()


def test_the_list_names_every_network_and_recipe(listed: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    printed = listed[1].stdout
    for found in catalogue():
        (line,) = [line for line in printed.splitlines() if line.split()[1:2] == [found.recipe.name]]
        assert line.split()[0] == found.recipe.model.name
        assert f"{found.anatomy.trained:,}" in line
        assert line.endswith(found.score)


@pytest.mark.parametrize("name", ["detector-from-scratch", "mien-detector", "mien-landmarks"])
def test_recipes_of_other_tasks_are_listed(listed: tuple[Path, "subprocess.CompletedProcess[str]"], name: str) -> None:
    recipe = other_recipes()[name]
    (line,) = [line for line in listed[1].stdout.splitlines() if line.split()[1:3] == [name, recipe.task]]
    assert line.endswith(recipe.description)


def test_a_recipe_of_another_task(cache: Path, tmp_path: Path) -> None:
    done = mien(cache, "models", "show", "detector-from-scratch")
    assert done.stdout.startswith("face_detector, by the recipe detector-from-scratch: ")
    assert "mien train detector-from-scratch --data" in done.stdout
    drawn = mien(cache, "models", "show", "detector-from-scratch", "--svg", tmp_path / "d.svg")
    assert drawn.returncode == 2
    assert "is a recipe for detection, which is not drawn" in drawn.stderr


def test_an_unknown_name_says_all_that_are_known(cache: Path) -> None:
    known = mien(cache, "models", "show", "nothing").stderr
    assert all(name in known for name in (*ENSEMBLES, "detector-from-scratch", "mien-landmarks", "vgg13-pld"))


def test_names_stay_whole_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("network", "recipe", "score"), [("dlib_resnet", "valence-arousal", "a long " * 9)], whole=(0, 1))
    assert "  dlib_resnet  valence-arousal  a long" in capsys.readouterr().out


def test_without_torch_the_shipped_models_are_listed_all_the_same(cache: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['mien', *sys.argv[1:]]; import mien.cli as c; c.main()"
    )
    environment = os.environ | {"MIEN_CACHE": str(cache)}
    listed, shown, entry = (
        subprocess.run(
            [sys.executable, "-c", program, "models", *command],
            capture_output=True,
            text=True,
            timeout=600,
            env=environment,
        )
        for command in (["list"], ["show", "vgg13"], ["show", "mien-m-int8"])
    )
    assert listed.returncode == 0
    assert f"{DEFAULT} (default for images)" in listed.stdout
    assert f"{default_model()} (default where one network is needed)" in listed.stdout
    assert f"{quick_model()} (default for videos)" in listed.stdout
    assert "pip install 'mien[train]'" in listed.stdout
    assert shown.returncode == exit_code(MissingExtraError("", ""))
    assert "pip install 'mien[train]'" in shown.stderr
    assert entry.returncode == 0, entry.stderr
    assert "head    votes: " in entry.stdout
    assert "layers are shown after pip install 'mien[train]'" in entry.stdout


def test_a_network_is_shown_and_drawn(cache: Path, tmp_path: Path) -> None:
    done = mien(cache, "models", "show", "tflearn", "--svg", tmp_path / "net.svg")
    assert done.returncode == 0
    assert "56,883,015" in done.stdout
    assert re.search(r"trunk\.dense\.0 +dense +3072 +56,626,176 +56,623,104", done.stdout)
    assert (tmp_path / "net.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.svg"]


def test_everything_in_the_list_can_be_shown(cache: Path) -> None:
    """What `mien models list` shows first is what a user asks about first."""
    for name, info in {**shipped_models(), **classic_models()}.items():
        done = mien(cache, "models", "show", name)
        assert done.returncode == 0, done.stderr
        assert f"  {name}" in done.stdout
        assert f"file    {info.file}, {info.form}, " in done.stdout
        for head in info.heads:
            assert f"head    {head.name}: {', '.join(head.emotions)}" in done.stdout
        assert ("multiply-adds" in done.stdout) == (info.task == "expression")
    shown = mien(cache, "models", "show", "mien-m-int8").stdout
    assert "plain, by the recipe mien-m: " in shown
    assert "dlib-resnet also trains this network" in mien(cache, "models", "show", "mien-l").stdout
    done = mien(cache, "models", "show", "mien-detector", "--svg", cache / "net.svg")
    assert done.returncode == exit_code(ConfigError(""))


def test_an_exported_file_is_shown(cache: Path) -> None:
    done = mien(cache, "models", "show", OTHER_NETWORK)
    assert done.returncode == 0, done.stderr
    assert f"  {OTHER_NETWORK}: " in done.stdout
    assert "head    fer2013: " in done.stdout
    assert "plain, by the recipe mien-s: " in done.stdout
    assert mien(cache, "models", "show", "none.onnx").returncode == exit_code(WeightsError(""))


def test_a_network_that_is_none_or_a_drawing_that_has_no_place(cache: Path, tmp_path: Path) -> None:
    done = mien(cache, "models", "show", "vgg14")
    assert done.returncode == exit_code(ConfigError(""))
    assert "no model, network or recipe 'vgg14'" in done.stderr
    (tmp_path / "file").write_text("text", encoding="utf-8")
    done = mien(cache, "models", "show", "plain", "--svg", tmp_path / "file" / "net.svg")
    assert done.returncode == exit_code(OutputError(""))


@pytest.mark.real_data
def test_fetched_and_used(cache: Path, served: tuple[Path, str], shared: Path, astronaut: Path) -> None:
    folder, address = served
    (folder / YUNET).write_bytes((shared / "weights" / YUNET).read_bytes())
    done = mien(cache, "models", "fetch", "yunet", "--from", address)
    assert done.returncode == 0
    assert done.stdout == f"{cache / 'yunet' / YUNET}\n"
    assert YUNET in done.stderr  # the progress bar
    assert f"state   fetched: {cache / 'yunet'}" in mien(cache, "models", "list").stdout
    done = mien(cache, "analyze", astronaut, "--detector", "yunet")
    assert done.returncode == 0
    assert "happiness" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("1 image, 1 face")
    assert "WARN" not in done.stderr


@pytest.mark.real_data
def test_weights_by_path(cache: Path, shared: Path, astronaut: Path) -> None:
    done = mien(cache, "analyze", astronaut, "--detector", "yunet", "--detector-weights", shared / "weights" / YUNET)
    assert done.returncode == 0
    assert "happiness" in done.stdout
    assert not cache.exists()


def test_a_wrong_file_from_the_network(cache: Path, served: tuple[Path, str]) -> None:
    folder, address = served
    (folder / YUNET).write_text("<html>log in first</html>")
    done = mien(cache, "models", "fetch", "yunet", "--from", address)
    assert done.returncode == exit_code(WeightsError(""))
    assert "is not the expected yunet_n_640_640.onnx, and the download was removed" in done.stderr
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_no_network(cache: Path) -> None:
    """A mirror that is down; the pinned address is not tried, so that tests need no network."""
    done = mien(cache, "models", "fetch", "yunet", "--from", "http://127.0.0.1:9/")
    assert done.returncode == exit_code(WeightsError(""))
    message = done.stderr.replace("\n", "")
    assert "cannot be fetched from 127.0.0.1:9" in message
    assert f"put there by hand: {cache / 'yunet' / YUNET} (sha256 {remote_weights('yunet').files[0].sha256})" in message


def test_no_weights(cache: Path, astronaut: Path) -> None:
    done = mien(cache, "analyze", astronaut, "--detector", "yunet")
    assert done.returncode == exit_code(WeightsError(""))
    assert f"the weights 'yunet' have not been fetched: {cache / 'yunet'} lacks {YUNET}" in done.stderr
    assert "mien models fetch yunet; on a machine without a network" in done.stderr


def test_wrong_weights(cache: Path, astronaut: Path) -> None:
    done = mien(cache, "analyze", astronaut, "--detector", "yunet", "--detector-weights", OTHER_NETWORK)
    assert done.returncode == exit_code(WeightsError(""))
    assert "mien-s.onnx: is not YuNet" in done.stderr


def test_an_ensemble_is_shown_by_its_members(cache: Path, tmp_path: Path) -> None:
    shown = mien(cache, "models", "show", DEFAULT)
    assert shown.returncode == 0, shown.stderr
    assert f"{DEFAULT} (default for images): the vote of mien-m-int8 and mien-l" in shown.stdout
    for name in ENSEMBLES[DEFAULT]:
        assert f"file    {shipped_models()[name].file}, int8, " in shown.stdout
    drawn = mien(cache, "models", "show", DEFAULT, "--svg", tmp_path / "net.svg")
    assert drawn.returncode == exit_code(ConfigError(""))
    assert "is the vote of mien-m-int8 and mien-l" in drawn.stderr
    assert "draw one of them" in drawn.stderr
