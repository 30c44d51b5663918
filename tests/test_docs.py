"""What the documents say is true: examples run, tables are the committed results, commands and links exist."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from scripts.tables import filled
from tests.conftest import ROOT
from tests.videos import portrait, write_video
from typer.testing import CliRunner

from mien.cli import build_app

DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("research/*.md")]
)
# Commands that an example may run here, in a folder with the files below; all others are only parsed.
QUICK = ("analyze", "models list", "models show")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=_name)


@every_document
def test_python_examples_run(path: Path, astronaut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("examples", "docs", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    write_video(tmp_path / "clip.mp4", portrait(astronaut, 3))
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(path), "exec"), {})


@every_document
def test_tables_are_the_committed_results(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert filled(text) == text, "run `python -m scripts.tables`"


def test_the_tables_can_be_checked_from_the_command_line() -> None:
    command = [sys.executable, "-m", "scripts.tables", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert result.returncode == 0, result.stdout


@every_document
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


@every_document
def test_links_to_headings_lead_somewhere(path: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#]*)#([^)]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            text = (path.parent / target if target else path).read_text(encoding="utf-8")
            headings = [re.sub(r"[^\w\- ]", "", line) for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
            assert heading in [line.strip().lower().replace(" ", "-") for line in headings], f"{target}#{heading}"


def _shell(path: Path) -> list[str]:
    """The lines of a document's shell examples: indented by four columns or in a fence, without their comments."""
    text = path.read_text(encoding="utf-8")
    fenced = "\n".join(re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    lines = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE) + fenced.splitlines()
    return [" ".join(shlex.split(line, comments=True)) for line in lines if line.strip()]


def _commands(path: Path) -> list[list[str]]:
    return [line.split()[1:] for line in _shell(path) if line.startswith("mien ")]


def _resolve(words: list[str]) -> tuple[str, Any, list[str]]:
    """The command that the first words name, and the words that are left for it."""
    command, rest, names = typer.main.get_command(build_app()), list(words), []
    while rest and hasattr(command, "commands"):
        if rest[0] not in command.commands and hasattr(command, "default"):  # `mien export RUN`
            rest.insert(0, command.default)
        assert rest[0] in command.commands, f"there is no command `mien {' '.join(words)}`"
        names.append(rest.pop(0))
        command = command.commands[names[-1]]
    return " ".join(names), command, rest


@every_document
def test_commands_of_examples_parse(path: Path) -> None:
    for words in _commands(path):
        name, command, rest = _resolve(words)
        context = command.make_context(name, list(rest), resilient_parsing=True)
        command.make_parser(context).parse_args(list(rest))  # raises for an option that does not exist
        needed = [one for one in command.params if one.required and one.param_type_name == "argument"]
        given = [one for one in needed if context.params.get(one.name) not in (None, (), [])]
        assert given == needed, f"`mien {' '.join(words)}` lacks an argument"


@every_document
def test_commands_in_the_text_exist(path: Path) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL))
    for code in re.findall(r"`mien ([a-z][^`]*)`", text):
        _, command, rest = _resolve([word for word in re.split(r"[ |]", code) if not word.startswith("<")])
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= options, code


@every_document
def test_options_in_the_text_exist(path: Path) -> None:
    waiting, known = [typer.main.get_command(build_app())], set[str]()
    while waiting:
        command = waiting.pop()
        waiting.extend(getattr(command, "commands", {}).values())
        known.update(option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts))
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for code in re.findall(r"`(--[^`]*)`", text):
        assert {word for word in re.split(r"[\s=|]", code) if word.startswith("--")} <= known, code


@pytest.fixture
def place(tmp_path: Path, astronaut: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples speak of: photographs and a model file."""
    for name in ("photo.jpg", "party.jpg", "holiday/1.jpg", "crops/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(astronaut, tmp_path / name)
    write_video(tmp_path / "clip.mp4", portrait(astronaut, 3))
    models = {"own.onnx": "mien-s", "a.onnx": "mien-s", "b.onnx": "mien-s", "own-detector.onnx": "mien-detector"}
    for name, model in models.items():
        shutil.copy(ROOT / "src" / "mien" / "assets" / f"{model}.onnx", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _needs(words: list[str]) -> Iterator[str]:
    """The files that a command reads: its words that look like one, but for those that it writes."""
    writes = {"--table", "--annotate", "--svg", "--out", "--report"}
    for before, word in zip(["", *words], words, strict=False):
        if before not in writes:
            yield from (part for part in word.split(",") if re.search(r"/|\.\w+$", part))


@every_document
def test_quick_commands_of_examples_run(path: Path, place: Path, astronaut: Path) -> None:
    for words in _commands(path):
        name, _, rest = _resolve(words)
        if "camera:0" in rest:  # not every machine has one
            continue
        if name in QUICK and all((place / needed).exists() for needed in _needs(rest)):
            result = CliRunner().invoke(build_app(), words, input=astronaut.read_bytes())
            assert result.exit_code == 0, f"`mien {' '.join(words)}`: {result.exception!r} {result.output}"


@every_document
def test_other_commands_of_examples_exist(path: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    text = path.read_text(encoding="utf-8")
    assert {word for line in _shell(path) if line.startswith("make ") for word in line.split()[1:]} <= set(targets)
    for found in re.findall(r"(?:mien|\.)\[(\w+(?:,\w+)*)\]", text):
        assert set(found.split(",")) <= set(extras), found
    for module in re.findall(r"python -m ((?:scripts|benchmarks)\.\w+)", text.partition("git checkout")[0]):
        assert importlib.util.find_spec(module) is not None, module
