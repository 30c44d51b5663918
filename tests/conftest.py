"""Shared by all tests: where the real images and the real data are."""

from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

# No test depends on the clock: hypothesis would fail examples that take longer than 200 ms.
settings.register_profile("mien", deadline=None)
settings.load_profile("mien")


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
