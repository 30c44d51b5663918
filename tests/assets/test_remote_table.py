"""The one list of weights to fetch: pinned, hashed, and known to the detectors and networks that need them."""

import importlib

import pytest

from mien import models
from mien.assets.download import RemoteFile, list_remote
from mien.assets.packages import list_packaged
from mien.faces import detectors

FILES = [file for weights in list_remote().values() for file in weights.files]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_addresses_are_pinned(file: RemoteFile) -> None:
    assert file.url.startswith("https://")
    assert file.url.endswith(f"/{file.name}")
    assert not {"master", "main", "HEAD", "4.x"} & set(file.url.split("/"))
    assert int(file.sha256, 16) > 0


def test_all_weights_have_a_table_and_every_table_is_used() -> None:
    """Weights to download and weights in packages: each is named by what needs it, and each name has its table."""
    modules = [importlib.import_module(f"mien.faces.detectors.{name.replace('-', '_')}") for name in detectors.names()]
    named = {module.WEIGHTS for module in modules if hasattr(module, "WEIGHTS")}
    for name in models.names():
        named.update(getattr(importlib.import_module(f"mien.models.{name}"), "WEIGHTS", ()))
    assert named == set(list_remote()) | set(list_packaged())
    assert not set(list_remote()) & set(list_packaged())
    detectors_use = {module.WEIGHTS for module in modules if hasattr(module, "WEIGHTS")}
    for name, weights in list_remote().items():  # for the hint that names the option
        assert weights.option == ("--detector-weights" if name in detectors_use else "--from")


@pytest.mark.parametrize(
    ("url", "sha256", "size"),
    [("http://x/y", "0" * 64, 1), ("https://x/y", "0" * 63, 1), ("https://x/y", "0" * 64, 0)],
)
def test_a_loose_entry_is_refused(url: str, sha256: str, size: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        RemoteFile("y", url, sha256, size)
