"""What the documents say is true: examples run, tables are the committed results, commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripts.tables import filled
from tests.conftest import ROOT

from mien.cli import build_app

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def _names(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=_names)
def test_python_examples_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(path), "exec"), {})


@pytest.mark.parametrize("path", DOCUMENTS, ids=_names)
def test_tables_are_the_committed_results(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert filled(text) == text, "run `python -m scripts.tables`"


@pytest.mark.parametrize("path", DOCUMENTS, ids=_names)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=_names)
def test_commands_and_options_exist(path: Path) -> None:
    import typer

    known = typer.main.get_command(build_app())
    for line in re.findall(r"^ {4}mien (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        words = line.partition("#")[0].split()
        command = known
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_the_tables_can_be_checked_from_the_command_line() -> None:
    command = [sys.executable, "-m", "scripts.tables", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert result.returncode == 0, result.stdout
