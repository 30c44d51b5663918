"""Benchmark results as data: a validated JSON file each, from which the tables in the documents are generated.

A benchmark measures, calls `Results.here(...)` and `save`; `benchmarks/results/<name>.json` is committed.
"""

import datetime
import importlib.metadata
import math
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from mien.evaluation.intervals import wilson

__all__ = ["FOLDER", "Machine", "Measurement", "Results", "load", "markdown", "measure", "origin", "save"]

FOLDER: Final = Path(__file__).parent / "results"

# The packages whose versions move the figures, by their names on the package index.
PACKAGES: Final = ("numpy", "onnxruntime", "opencv-python-headless")

STRICT: Final = ConfigDict(extra="forbid", allow_inf_nan=False)

Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class Machine:
    """Where it was measured.

    Attributes:
        cpu: The processor's model.
        cores: Cores that the process may use.
    """

    cpu: Text
    cores: Annotated[int, Field(ge=1)]

    @classmethod
    def here(cls) -> "Machine":
        """This machine."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cls(cpu=_cpu_model(), cores=cores)


@dataclass(frozen=True, config=STRICT)
class Measurement:
    """Repeated measurements of one thing, in the unit of its `Results`.

    Attributes:
        median: The middle value; of a proportion, the proportion.
        lower: The lower quartile, or end of the interval, at most the median.
        upper: The upper quartile, or end of the interval, at least the median.
        repeats: How many values there were; 1 for a figure that does not vary, such as a count.
    """

    median: float
    lower: float
    upper: float
    repeats: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _ordered(self) -> "Measurement":
        if not self.lower <= self.median <= self.upper:
            raise ValueError(f"expected lower <= median <= upper, got {self.lower}, {self.median}, {self.upper}")
        return self

    @classmethod
    def of(cls, values: Sequence[float]) -> "Measurement":
        """The quartiles of some values, at least one."""
        lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
        return cls(median=median, lower=lower, upper=upper, repeats=len(values))

    @classmethod
    def proportion(cls, hits: int, trials: int) -> "Measurement":
        """Percent of hits in at least one trial, with its 95% interval (Wilson 1927)."""
        share = wilson(hits, trials)
        return cls(median=100 * share.value, lower=100 * share.low, upper=100 * share.high, repeats=trials)


@dataclass(frozen=True, config=STRICT)
class Results:
    """One benchmark's results, as committed.

    Attributes:
        name: Of the benchmark and of its file: small letters, digits, - and _.
        commit: Git commit that was measured, with `-dirty` if files had changed since; `unknown` without git.
        date: Day of the measurement.
        machine: Where.
        versions: Of Python and of the packages that matter, by name.
        unit: Of every measurement: `ms a face`, `%`.
        spread: What `lower` and `upper` of every measurement are.
        measurements: By what was measured.
        ratios: By what is compared, such as `fer / mien`: above 0.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    commit: Annotated[str, Field(pattern=r"^([0-9a-f]{7,40}(-dirty)?|unknown)$")]
    date: datetime.date
    machine: Machine
    versions: Annotated[dict[Text, Text], Field(min_length=1)]
    unit: Text
    measurements: Annotated[dict[Text, Measurement], Field(min_length=1)]
    ratios: dict[Text, Annotated[float, Field(gt=0)]] = field(default_factory=dict)
    spread: Literal["quartiles", "95% interval"] = "quartiles"

    @classmethod
    def here(
        cls,
        name: str,
        unit: str,
        measurements: Mapping[str, Measurement],
        *,
        ratios: Mapping[str, float] | None = None,
        packages: Sequence[str] = (),
        spread: Literal["quartiles", "95% interval"] = "quartiles",
    ) -> "Results":
        """Results measured just now: adds the commit, the date, this machine and the versions.

        `packages` are further ones whose versions matter, such as a rival's; those missing are left out.
        """
        return cls(
            name=name,
            commit=_commit(),
            date=datetime.datetime.now(tz=datetime.UTC).date(),
            machine=Machine.here(),
            versions=_versions((*PACKAGES, *packages)),
            unit=unit,
            measurements=dict(measurements),
            ratios=dict(ratios or {}),
            spread=spread,
        )


_RESULTS: Final = TypeAdapter(Results)


def measure(
    function: Callable[[], object],
    *,
    repeats: int = 50,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> Measurement:
    """Milliseconds of a call, timed one by one after some calls that do not count.

    The clock is the one on the wall, or `time.process_time`: the processor's, for which other programs do not count.
    """
    for _ in range(warm_up):
        function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(1000 * (clock() - start))
    return Measurement.of(times)


def save(results: Results, folder: Path = FOLDER) -> Path:
    """Writes `<folder>/<name>.json` and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{results.name}.json"
    path.write_bytes(_RESULTS.dump_json(results, indent=2) + b"\n")
    return path


def load(path: Path) -> Results:
    """Reads and validates a results file.

    Raises:
        ValueError: Keys are missing, unknown or out of range (all are named), or the file does not bear the
            benchmark's name.
    """
    results = _RESULTS.validate_json(path.read_bytes())
    if path.stem != results.name:
        raise ValueError(f"{path}: expected the name '{path.stem}', got '{results.name}'")
    return results


def markdown(results: Results) -> str:
    """The results as a Markdown table, their ratios, and a line that says where they come from."""
    unit = results.unit if results.spread == "95% interval" else f"{results.unit}, median"
    lines = [f"| | {unit} | {results.spread} |", "|---|---:|---:|"]
    for name, each in results.measurements.items():
        quartiles = f"{_number(each.lower)}-{_number(each.upper)}" if each.repeats > 1 else ""
        lines.append(f"| {_cell(name)} | {_number(each.median)} | {quartiles} |")
    lines += [f"| {_cell(name)} | **{_number(ratio)}x** | |" for name, ratio in results.ratios.items()]
    lines += ["", origin(results)]
    return "\n".join(lines) + "\n"


def origin(results: Results) -> str:
    """One line: the machine, the versions, the commit and the day."""
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    cores = results.machine.cores
    machine = f"{results.machine.cpu}, {cores} core{'s' if cores > 1 else ''}"
    return f"{machine}; {versions}; commit {results.commit}, {results.date.isoformat()}."


def _number(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(digits, 0)}f}"


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


def _cpu_model() -> str:
    """From /proc/cpuinfo; elsewhere what Python knows."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _commit() -> str:
    """The commit checked out; a change of earlier results does not make it dirty."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", f":!{FOLDER.name}")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
