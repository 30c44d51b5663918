"""Shared by all tests: where the real images and the real data are."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

# No test depends on the clock: hypothesis would fail examples that take longer than 200 ms.
settings.register_profile("mien", deadline=None)
settings.load_profile("mien")


def common_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of pytest that all of its processes see (pytest-xdist)."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def once(place: Path) -> Iterator[bool]:
    """Whether `place` is still to be made, in this block; other processes that ask meanwhile wait for it."""
    made = place.with_name(f"{place.name}.made")
    with place.with_name(f"{place.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not made.exists()
        made.touch()


@pytest.fixture(scope="session")
def astronaut() -> Path:
    """NASA's portrait of Eileen Collins, 512x512, one smiling face at about (170, 65, 280, 205)."""
    return ROOT / "examples" / "astronaut.jpg"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data beside the project; tests that use it are marked `real_data`."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("../shared/data is not here")
    return folder


@pytest.fixture(scope="session")
def official(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """`fer2013.csv` and `fer2013new.csv` as they come, Training and PublicTest."""
    folder = common_folder(tmp_path_factory) / "official"
    with once(folder) as new:
        if new:
            script = shared / "data" / "fer2013" / "unpack.py"
            subprocess.run([sys.executable, script, folder], check=True, timeout=600)
    return folder / "fer2013.csv", folder / "fer2013new.csv"


@pytest.fixture
def no_nohup() -> Iterator[None]:
    """The programs of a test heed SIGHUP: under nohup they would inherit that it is ignored, which mien respects."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
