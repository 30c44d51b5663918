"""The vocabulary of the project: one standard term for each idea, and none of those it replaced."""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from tests.conftest import ROOT

from mien.cli import build_app

SOURCE = ROOT / "src" / "mien"

# Words that appear in no Python name, command, option or recipe key, and the terms that replaced them.
REPLACED = {
    "looked": "predictions",
    "framed": "crops",
    "framing": "crop_spec",
    "framings": "crop_specs",
    "anchor": "mean_landmarks",
    "anchors": "mean_landmarks",
    "surest": "nms, or selective accuracy",
    "levelling": "illumination",
    "lesson": "TrainingSetup",
    "averaging": "ema_decay",
    "soften": "distil",
    "softened": "distilled",
    "recrop": "add detector crops",
    "soup": "average",
    "spoilt": "corrupted",
    "spoil": "corrupt",
    "roughen": "add_noise",
    "twin": "duplicate",
    "twins": "duplicates",
    "workplace": "staging_folder",
    "mend": "(deleted)",
    "picture": "image",
    "pictures": "images",
    "strips": "tiles",
    "further": "fine_tune",
    "judgement": "Scores",
    "judgements": "scores",
}
# Whole names that are gone everywhere.
GONE = {
    "above_perfect": "above_chance",
    "any_turn": "any_rotation",
    "contract": "base",
    "Entry": "ModelInfo",
    "look": "logits",
    "reading": "with_classes",
    "Reading": "Predictions",
    "views": "tta",
}
# Generic words that are gone only where they had the old meaning: {folder: {name: what replaced it}}.
GONE_IN = {
    "training": {
        "better": "mode",
        "coarse": "downscale",
        "Kind": "TaskSpec",
        "kinds": "tasks",
        "mistakes": "config errors",
        "origin": "load_source",
        "Pictures": "ExpressionDataModule",
        "quiet": "silence",
        "rounds": "stages",
        "select": "monitor",
        "take": "init_weights",
        "Task": "ExpressionModule",
    },
    "recipes": {"better": "mode", "coarse": "downscale", "rounds": "stages", "select": "monitor", "start": "init_from"},
    "analyzer.py": {"reader": "classifier", "readers": "classifiers"},
    "cli": {"reader": "classifier", "readers": "classifiers"},
    "expression": {
        "reader": "classifier",
        "readers": "classifiers",
        "entry": "info",
        "origin": "source",
        "read": "predict_proba",
        "take": "crops",
    },
    "faces": {"quiet": "silence", "shared": "intersection", "turns": "rotations"},
    "evaluation": {
        "reader": "classifier",
        "readers": "classifiers",
        "Loss": "AccuracyDrop",
        "cuts": "slices",
        "Cut": "slices",
    },
}
COMMANDS = {"soup": "average", "data soften": "data distil", "data recrop": "data add-detector-crops"}
OPTIONS = {
    "--ensemble": "--model A,B",
    "--views": "--tta",
    "--any-turn": "--any-rotation",
    "--keep-twins": "--keep-duplicates",
}
PROSE = [
    "framings",
    "surest",
    "soften",
    "recrop",
    "spoilt",
    "levelling",
    "lesson",
    "workplace",
    "twins",
    "soup",
    "lent",
]
TEXTS = sorted([
    *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("research/*.md"),
    *SOURCE.rglob("*.py"), *SOURCE.rglob("*.toml"), *SOURCE.rglob("*.jinja"), *SOURCE.rglob("*.html"),
])  # fmt: skip


def _words(name: str) -> list[str]:
    """`ab_cd` and `AbCd` as words in lower case."""
    return (
        re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().replace("-", "_").replace("/", "_").strip("_").split("_")
    )


def _gone(name: str, folder: str = "", *, local: bool = False) -> str | None:
    """What replaced this name, if it is an old one. Local variables may have names that are gone from interfaces."""
    bare = name.strip("_")
    found = None if local else GONE.get(bare) or GONE_IN.get(folder, {}).get(bare)
    return found or next((REPLACED[word] for word in _words(name) if word in REPLACED), None)


def _defined(tree: ast.AST, *, local: bool = False) -> Iterator[tuple[str, int, bool]]:
    """Names that a module defines: functions, classes, arguments, variables and attributes, with their lines.

    The last value tells whether the name is local: a variable of a function, or an argument of a private one.
    """
    for node in ast.iter_child_nodes(tree):
        inside = local
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno, local
            if not isinstance(node, ast.ClassDef):
                arguments = node.args
                hidden = node.name.startswith("_") and not node.name.startswith("__")
                for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                    yield one.arg, one.lineno, hidden
                inside = True
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno, False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno, local
        yield from _defined(node, local=inside)


def _commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, f"{path} {name}".strip())


def _models(base: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    """Every configuration model that `mien` defines, once the recipes' modules are imported."""
    for model in base.__subclasses__():
        if model.__module__.startswith("mien."):
            yield model
        yield from _models(model)


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from _keys(below)
    elif isinstance(value, list):
        for below in value:
            yield from _keys(below)


def offenders() -> Iterator[str]:
    """Every old name that is left, with its place and its replacement."""
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE)
        folder = place.parts[0]
        for name in place.with_suffix("").parts:
            if new := _gone(name, folder):
                yield f"src/mien/{place}: module {name} -> {new}"
        for name, line, local in _defined(ast.parse(path.read_text(encoding="utf-8"))):
            if new := _gone(name, folder, local=local):
                yield f"src/mien/{place}:{line}: {name} -> {new}"
    for words, command in _commands(typer.main.get_command(build_app())):
        if words in COMMANDS:
            yield f"command `mien {words}` -> {COMMANDS[words]}"
        for option in {option for parameter in command.params for option in parameter.opts if option.startswith("--")}:
            if new := OPTIONS.get(option) or _gone(option):
                yield f"option `mien {words} {option}` -> {new}"
    for path in SOURCE.glob("training/**/recipe.py"):
        importlib.import_module(".".join(path.relative_to(SOURCE.parent).with_suffix("").parts))
    for model in sorted(set(_models()), key=lambda model: model.__name__):
        for key in model.model_fields:
            if new := _gone(key, "recipes"):
                yield f"recipe key {model.__name__}.{key} -> {new}"
    for path in sorted(SOURCE.rglob("*.toml")):
        for key in set(_keys(tomllib.loads(path.read_text(encoding="utf-8")))):
            if new := _gone(key, "recipes"):
                yield f"{path.relative_to(ROOT)}: key {key} -> {new}"


def riddles(path: Path) -> Iterator[str]:
    """Every old word in the text of a file: prose, help, messages, docstrings and comments."""
    soups = 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        soups += line.count("model soup")
        kept = line.replace("model soup", "") if path.parent.name == "training" and soups == 1 else line
        for word in PROSE:
            if re.search(rf"\b{word}\b", kept, re.IGNORECASE):
                yield f"{path.relative_to(ROOT)}:{number}: {word}: {line.strip()}"


def test_words_of_names() -> None:
    assert _words("ReaderOfFaces_asTwins") == ["reader", "of", "faces", "as", "twins"]
    assert _gone("_crop_framings") == "crop_specs"
    assert _gone("origin") is None
    assert _gone("origin", "training") == "load_source"
    assert _gone("origin", "training", local=True) is None
    names = list(_defined(ast.parse("class A:\n    b: int\n    def c(self, d):\n        e = self.f = d")))
    expected = {"A": False, "b": False, "c": False, "self": False, "d": False, "e": True, "f": False}
    assert {name: local for name, _, local in names} == expected


def test_no_old_name_is_left() -> None:
    assert list(offenders()) == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_old_word_is_left_in_a_text(path: Path) -> None:
    assert list(riddles(path)) == []


if __name__ == "__main__":
    print(*offenders(), *[found for path in TEXTS for found in riddles(path)], sep="\n")
