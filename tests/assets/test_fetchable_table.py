"""The one list of weights to fetch: pinned, hashed, and known to the detectors that need them."""

import importlib

import pytest

from mien.assets.fetchable import RemoteFile, fetchables
from mien.faces import detectors

FILES = [file for weights in fetchables().values() for file in weights.files]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_addresses_are_pinned(file: RemoteFile) -> None:
    assert file.url.startswith("https://")
    assert file.url.endswith(f"/{file.name}")
    assert not {"master", "main", "HEAD", "4.x"} & set(file.url.split("/"))
    assert int(file.sha256, 16) > 0


def test_every_detector_with_weights_finds_its_table_and_every_table_a_detector() -> None:
    modules = [importlib.import_module(f"mien.faces.detectors.{name}") for name in detectors.names()]
    assert {module.WEIGHTS for module in modules if hasattr(module, "WEIGHTS")} == set(fetchables())


@pytest.mark.parametrize(
    ("url", "sha256", "size"),
    [("http://x/y", "0" * 64, 1), ("https://x/y", "0" * 63, 1), ("https://x/y", "0" * 64, 0)],
)
def test_a_loose_entry_is_refused(url: str, sha256: str, size: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        RemoteFile("y", url, sha256, size)
