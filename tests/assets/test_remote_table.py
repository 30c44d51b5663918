"""The one list of weights to fetch: pinned, hashed, and known to the detectors and networks that need them."""

import importlib

import pytest

from mien import models
from mien.assets.download import RemoteFile, list_remote
from mien.faces import detectors

FILES = [file for weights in list_remote().values() for file in weights.files]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_addresses_are_pinned(file: RemoteFile) -> None:
    assert file.url.startswith("https://")
    assert file.url.endswith(f"/{file.name}")
    assert not {"master", "main", "HEAD", "4.x"} & set(file.url.split("/"))
    assert int(file.sha256, 16) > 0


def test_all_that_have_weights_find_their_table_and_every_table_is_used() -> None:
    modules = [importlib.import_module(f"mien.faces.detectors.{name.replace('-', '_')}") for name in detectors.names()]
    modules += [importlib.import_module(f"mien.models.{name}") for name in models.names()]
    assert {module.WEIGHTS for module in modules if hasattr(module, "WEIGHTS")} == set(list_remote())


@pytest.mark.parametrize(
    ("url", "sha256", "size"),
    [("http://x/y", "0" * 64, 1), ("https://x/y", "0" * 63, 1), ("https://x/y", "0" * 64, 0)],
)
def test_a_loose_entry_is_refused(url: str, sha256: str, size: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        RemoteFile("y", url, sha256, size)
