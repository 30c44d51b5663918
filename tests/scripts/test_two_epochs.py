"""The proof of a recipe, on drawn faces: it is trained, exported and judged by the real commands."""

from pathlib import Path

import pytest
from tests.drawn import drawn_samples

from mien.datasets import store
from scripts import tables, two_epochs


def test_a_recipe_is_proven(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    samples = drawn_samples(tmp_path, per_class=16)
    store.write(samples, tmp_path / "drawn.h5")
    found = two_epochs.prove("fourlayer", tmp_path / "drawn.h5", tmp_path)
    assert len(found["losses"]) == 2
    assert 0 <= found["scores"]["val_labels"] <= 1
    assert found["seconds"] >= 1
    assert (tmp_path / "fourlayer.onnx").is_file()


def test_recipes_that_teach_expressions_alone() -> None:
    names = two_epochs.expression_recipes()
    assert {"mien-base", "fourlayer", "vgg13-pld"} <= set(names)
    assert "mien-detector" not in names


def test_the_table_has_a_row_for_every_proof() -> None:
    table = tables.two_epochs()
    assert all(f"| `{name}` |" in table for name in two_epochs.proven())
