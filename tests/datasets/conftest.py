"""FER2013 and FER+ as they come, read once."""

from pathlib import Path

import pytest

from mien.datasets import Samples
from mien.datasets.builders.fer2013 import build
from mien.datasets.exclude import RowOptions


@pytest.fixture(scope="session")
def everything(official: tuple[Path, Path]) -> Samples:
    """All rows, seven classes, with votes; no duplicate dropped."""
    faces, votes = official
    return build(csv=faces, votes=votes, choice=RowOptions(keep_duplicates=True))
