"""FER2013 and FER+ as they come, unpacked once."""

import subprocess
import sys
from pathlib import Path

import pytest

from mien.datasets import Samples
from mien.datasets.builders.fer2013 import build


@pytest.fixture(scope="session")
def official(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """`fer2013.csv` and `fer2013new.csv`, Training and PublicTest."""
    folder = tmp_path_factory.mktemp("official")
    subprocess.run([sys.executable, shared / "data" / "fer2013" / "unpack.py", folder], check=True, timeout=600)
    return folder / "fer2013.csv", folder / "fer2013new.csv"


@pytest.fixture(scope="session")
def everything(official: tuple[Path, Path]) -> Samples:
    """All rows, seven classes, with votes; no duplicate dropped."""
    faces, votes = official
    return build(csv=faces, votes=votes, keep_duplicates=True)
