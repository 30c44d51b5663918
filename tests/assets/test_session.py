"""The session: names, shapes, and one clear error for whatever onnxruntime says."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.assets.manifest import METADATA_KEY
from mien.assets.session import Session, cores, shared_session
from mien.errors import WeightsError


@pytest.fixture(scope="module")
def session(tiny_model: Path) -> Session:
    return Session(tiny_model.read_bytes(), "tiny")


def test_no_more_threads_than_cores(tiny_model: Path) -> None:
    """A thousand threads would wait for each other, as good as forever."""
    content = tiny_model.read_bytes()
    many, most = (shared_session(content, "tiny", threads=threads) for threads in (1000, cores()))
    assert many is most
    assert many._session.get_session_options().intra_op_num_threads == cores() <= (os.cpu_count() or 1)


def test_it_knows_names_shapes_and_metadata(session: Session) -> None:
    assert session.inputs == {"images": (None, 1, 48, 48)}
    assert session.outputs == {"votes": (None, 10), "fer2013": (None, 7), "features": (None, 24)}
    assert set(session.metadata) == {METADATA_KEY}


@pytest.mark.parametrize("count", [0, 1, 2, 33])
def test_any_number_of_images(session: Session, count: int) -> None:
    found = session.run(np.zeros((count, 1, 48, 48), np.float32))
    shapes = {name: values.shape for name, values in found.items()}
    assert shapes == {"votes": (count, 10), "fer2013": (count, 7), "features": (count, 24)}


@pytest.mark.parametrize("outputs", [["fer2013"], ["features", "votes"]])
def test_the_outputs_that_are_wanted(session: Session, outputs: list[str]) -> None:
    images = np.random.default_rng(0).normal(size=(3, 1, 48, 48)).astype(np.float32)
    everything = session.run(images)
    found = session.run(images, outputs=outputs)
    assert list(found) == outputs
    for name in outputs:
        np.testing.assert_array_equal(found[name], everything[name])


def test_an_output_that_the_network_does_not_have(session: Session) -> None:
    with pytest.raises(WeightsError, match="tiny: cannot be run: "):
        session.run(np.zeros((1, 1, 48, 48), np.float32), outputs=["age"])


def test_threads_do_not_change_what_it_says(tiny_model: Path, session: Session) -> None:
    images = np.random.default_rng(0).normal(size=(5, 1, 48, 48)).astype(np.float32)
    two = Session(tiny_model.read_bytes(), "tiny", threads=2)
    for name, values in session.run(images).items():
        np.testing.assert_allclose(two.run(images)[name], values, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 1, 47, 48), np.float32),
        np.zeros((1, 3, 48, 48), np.float32),
        np.zeros((1, 48, 48), np.float32),
        np.zeros((1, 1, 48, 48), np.float64),
    ],
)
def test_arrays_that_it_does_not_take(session: Session, wrong: NDArray[np.float32]) -> None:
    with pytest.raises(WeightsError, match="tiny: cannot be run: ") as caught:
        session.run(wrong)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_network(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WeightsError, match="here: is not an ONNX network: "):
        Session(b"words", "here")
    assert capfd.readouterr() == ("", "")


def test_onnxruntime_reports_nothing(tmp_path: Path) -> None:
    """From 1.32 on it keeps a session of its telemetry in the folder for temporary files, unless that is disabled."""
    program = "from mien.assets.store import open_model; open_model(None)"
    environment = os.environ | {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=600)
    assert sorted(path.name for path in tmp_path.rglob("*")) == []
