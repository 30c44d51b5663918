"""The shape of the source tree: no import cycle, modules of a readable size, tests that do not depend on the clock."""

import re
import statistics
from pathlib import Path

import grimp
import pytest
from tests.conftest import ROOT

SOURCE = ROOT / "src" / "mien"
# Each module there is one thing of a kind, however small: to add one takes one file.
REGISTRIES = {path.parent for path in SOURCE.rglob("__init__.py") if "iter_modules(__path__)" in path.read_text()}
SHORT, MOST_SHORT, LEAST_MEDIAN = 60, 20, 120


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """The modules of `mien` that each module imports, also inside functions and under TYPE_CHECKING."""
    graph = grimp.build_graph("mien", exclude_type_checking_imports=False, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in sorted(graph.modules)}


def _cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other: the strongly connected components of more than one module."""
    reached: dict[str, set[str]] = {}
    for module in imports:
        found, waiting = set[str](), [module]
        while waiting:
            waiting.extend(imports[waiting.pop()] - found)
            found.update(waiting)
        reached[module] = found
    groups = {frozenset(other for other in reached[module] if module in reached[other]) for module in imports}
    return sorted(sorted(group) for group in groups if group)


def test_cycles_are_found() -> None:
    assert _cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}, "e": set()}) == [["b", "c"]]


def test_no_module_imports_itself_through_others(imports: dict[str, set[str]]) -> None:
    assert len(imports) > 100
    assert _cycles(imports) == []


def test_lightning_is_imported_by_what_trains() -> None:
    """Its import takes as long as PyTorch's: commands that list, show, export or refuse would wait for it."""
    importing = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if re.search(r"^(?:from|import) lightning\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert importing == []


def test_few_modules_are_short() -> None:
    short = [
        path
        for path in SOURCE.rglob("*.py")
        if path.name != "__init__.py" and path.parent not in REGISTRIES and _lines(path) < SHORT
    ]
    names = [str(path.relative_to(SOURCE)) for path in sorted(short)]
    assert len(names) <= MOST_SHORT, f"join modules that only serve one other: {names}"


def test_the_median_module_is_long_enough() -> None:
    sizes = [_lines(path) for path in SOURCE.rglob("*.py") if path.name != "__init__.py"]
    assert statistics.median(sizes) >= LEAST_MEDIAN


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_time_limits_of_tests_are_generous(path: Path) -> None:
    """A busy machine can take ten times as long as a quiet one; a limit only ends a test that hangs."""
    text = path.read_text(encoding="utf-8")
    limits = re.findall(r"(?:timeout=|[a-z]\.wait\(|monotonic\(\) \+ )(\d+)(?![\d.])", text)
    assert all(int(limit) >= 500 for limit in limits)
    assert not re.search("perf_counte[r]", text), "measure with time.process_time, which other work does not change"
