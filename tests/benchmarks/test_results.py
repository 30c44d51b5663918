"""Benchmark results: what a committed file must hold, and the table made of it."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def _load_module() -> ModuleType:
    """`benchmarks/results.py`, which belongs to no package, under a name that nothing else has."""
    spec = importlib.util.spec_from_file_location("benchmark_results", BENCHMARKS / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic looks annotations up there
    spec.loader.exec_module(module)
    return module


bench: Any = _load_module()

RECORD: dict[str, Any] = {
    "name": "face_ms",
    "commit": "0123456789ab",
    "date": "2026-11-20",
    "machine": {"cpu": "AMD EPYC", "cores": 2},
    "versions": {"python": "3.11.4", "numpy": "2.4.6"},
    "unit": "ms a face",
    "measurements": {
        "mien": {"median": 0.4123, "lower": 0.4, "upper": 0.4251, "repeats": 50},
        "fer | Haar": {"median": 1234.5, "lower": 1200, "upper": 1300, "repeats": 20},
        "faces": {"median": 3589, "lower": 3589, "upper": 3589, "repeats": 1},
    },
    "ratios": {"fer / mien": 12.34},
    "spread": "quartiles",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "face_ms.json"
    path.write_text(json.dumps(RECORD))
    return path


def test_a_file_is_read_and_written_unchanged(file: Path, tmp_path: Path) -> None:
    results = bench.load(file)
    assert results.machine.cores == 2
    assert results.measurements["mien"].median == 0.4123
    written = bench.save(results, tmp_path / "new")
    assert written == tmp_path / "new" / "face_ms.json"
    assert json.loads(written.read_text()) == RECORD
    assert bench.load(written) == results


@pytest.mark.parametrize(
    ("where", "value", "named"),
    [
        (("name",), "Face ms", "name"),
        (("commit",), "yesterday", "commit"),
        (("date",), "20.11.2026", "date"),
        (("machine", "cores"), 0, "machine.cores"),
        (("machine", "cpu"), "", "machine.cpu"),
        (("versions",), {}, "versions"),
        (("unit",), "", "unit"),
        (("measurements",), {}, "measurements"),
        (("measurements", "mien", "repeats"), 0, "measurements.mien.repeats"),
        (("measurements", "mien", "median"), 9, "lower <= median <= upper"),
        (("measurements", "mien", "median"), "NaN", "measurements.mien.median"),
        (("ratios", "fer / mien"), 0, "ratios.fer / mien"),
        (("spread",), "2 sigma", "spread"),
        (("extra",), 1, "extra"),
    ],
)
def test_a_broken_file_is_refused(file: Path, where: tuple[str, ...], value: object, named: str) -> None:
    record = json.loads(file.read_text())
    part = record
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=named):
        bench.load(file)


def test_all_mistakes_are_named_at_once(file: Path) -> None:
    record = {**RECORD, "unit": "", "commit": "?"}
    del record["machine"]
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="3 validation errors") as caught:
        bench.load(file)
    assert all(name in str(caught.value) for name in ("unit", "commit", "machine"))


def test_a_file_bears_the_name_of_its_benchmark(file: Path) -> None:
    moved = file.rename(file.with_name("other.json"))
    with pytest.raises(ValueError, match="expected the name 'other', got 'face_ms'"):
        bench.load(moved)


def test_the_table(file: Path) -> None:
    assert bench.markdown(bench.load(file)) == (
        "| | ms a face, median | quartiles |\n"
        "|---|---:|---:|\n"
        "| mien | 0.412 | 0.400-0.425 |\n"
        "| fer \\| Haar | 1,234 | 1,200-1,300 |\n"
        "| faces | 3,589 |  |\n"
        "| fer / mien | **12.3x** | |\n"
        "\n"
        "AMD EPYC, 2 cores; python 3.11.4, numpy 2.4.6; commit 0123456789ab, 2026-11-20.\n"
    )


def test_older_files_without_a_spread_have_quartiles(file: Path) -> None:
    record = json.loads(file.read_text())
    del record["spread"]
    file.write_text(json.dumps(record))
    assert bench.load(file).spread == "quartiles"


def test_the_table_of_intervals(file: Path) -> None:
    file.write_text(json.dumps({**RECORD, "unit": "%", "spread": "95% interval"}))
    assert bench.markdown(bench.load(file)).startswith("| | % | 95% interval |\n|---|---:|---:|\n| mien | 0.412 |")


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),  # Newcombe 1998, Statistics in Medicine 17, table I, method 3; and mirrored
    [
        (81, 263, 25.53, 36.62),
        (15, 148, 6.24, 16.05),
        (0, 20, 0.0, 16.11),
        (20, 20, 83.89, 100.0),
        (1, 29, 0.61, 17.18),
    ],
)
def test_the_interval_of_a_proportion(hits: int, trials: int, low: float, high: float) -> None:
    measured = bench.Measurement.proportion(hits, trials)
    assert measured.median == pytest.approx(100 * hits / trials)
    assert measured.repeats == trials
    assert (measured.lower, measured.upper) == pytest.approx((low, high), abs=0.01)


def test_measuring_calls_and_gives_milliseconds() -> None:
    calls = []
    measured = bench.measure(lambda: calls.append(sum(range(20_000))), repeats=7, warm_up=2)
    assert len(calls) == 9
    assert measured.repeats == 7
    assert 0.01 < measured.lower <= measured.median <= measured.upper < 1000


def test_quartiles_of_values() -> None:
    measured = bench.Measurement.of([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (measured.lower, measured.median, measured.upper, measured.repeats) == (2, 3, 4, 5)


def test_results_of_here_can_be_saved_and_loaded(tmp_path: Path) -> None:
    results = bench.Results.here(
        "trial", "ms", {"sum": bench.Measurement.of([1.0])}, packages=["pytest", "no-such-package-at-all"]
    )
    assert {"python", "numpy", "pytest"} <= set(results.versions)
    assert "no-such-package-at-all" not in results.versions
    assert results.machine.cores >= 1
    assert bench.load(bench.save(results, tmp_path)) == results


@pytest.mark.parametrize("path", sorted((BENCHMARKS / "results").glob("*.json")), ids=lambda path: path.stem)
def test_committed_results_are_valid(path: Path) -> None:
    assert bench.markdown(bench.load(path)).startswith("| |")
