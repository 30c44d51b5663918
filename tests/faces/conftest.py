from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    """NASA's portrait of Eileen Collins, public domain, without its lower part: (330, 512, 3) RGB, one face."""
    return np.asarray(Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB"))[:330]


@pytest.fixture(scope="session")
def face_data() -> Path:
    """The folder of labelled face images."""
    folder = ROOT.parent / "shared" / "data" / "faces"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/faces")
    return folder
