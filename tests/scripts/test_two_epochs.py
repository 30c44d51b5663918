"""Two epochs of a recipe, on drawn faces: it is trained, exported and evaluated by the real commands."""

from pathlib import Path

import pytest
from tests.drawn import drawn_samples

from mien.datasets import store
from scripts import tables, two_epochs


@pytest.mark.long
def test_a_recipe_is_proven(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    samples = drawn_samples(tmp_path, per_class=16)
    store.save(samples, tmp_path / "drawn.h5")
    found = two_epochs.prove("fourlayer", tmp_path / "drawn.h5", tmp_path)
    assert len(found["losses"]) == 2
    assert 0 <= found["scores"]["val_labels"] <= 1
    assert found["seconds"] >= 1
    assert (tmp_path / "fourlayer.onnx").is_file()


def test_recipes_that_teach_expressions_alone() -> None:
    names = two_epochs.expression_recipes()
    assert {"mien-s", "fourlayer", "vgg13-pld"} <= set(names)
    assert "mien-detector" not in names
    assert not set(two_epochs.pending()) & {"mien-s", "mien-m", *two_epochs.proven()}


def test_the_table_has_a_row_for_every_proof() -> None:
    table = tables.two_epochs()
    assert all(f"| `{name}` |" in table for name in two_epochs.proven())


def test_the_openings_of_the_recipes_say_what_was_found() -> None:
    for name, found in two_epochs.proven().items():
        text = (two_epochs.RECIPES / f"{name}.toml").read_text(encoding="utf-8")
        assert two_epochs.headed(text, found) == text, "run python -m scripts.two_epochs"


def test_a_recipe_with_a_real_score_is_left_alone() -> None:
    found = {"scores": {"val_labels": 0.5}, "device": "2 cores of an x", "seconds": 90}
    scored = '# Minutes: 60.\n\n[[score]]\nprotocol = "FER2013"\nsplit = "val"\naccuracy = 0.682\n'
    assert two_epochs.headed(scored, found) == scored
    new = two_epochs.headed("# Minutes: not trained yet.\nname = 'x'\n", found)
    assert "# Minutes: 1.5 for the two epochs." in new
    assert "accuracy = 0.5\nepochs = 2\n" in new
