"""Attribution maps of every architecture, and what each method promises."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.explain.conftest import EMOTIONS, Build
from tests.networks import small
from torch import nn

from mien import models
from mien.assets.manifest import METADATA_KEY, InputSpec, ModelInfo
from mien.assets.signature import Features, Head, ValenceArousal
from mien.explain.attribution import (
    GRADCAM,
    INTEGRATED,
    OCCLUSION,
    FaceInputs,
    Question,
    attributions,
    inputs_of,
    integrated_gradients,
)
from mien.explain.faces import randomised
from mien.explain.faithfulness import CELLS, deletion
from mien.explain.networks import ExplainedModel, explained, load
from mien.expression import ClassifierOptions
from mien.expression.observation import Observation
from mien.models import Network

CORNER = slice(0, 12)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corner() -> ExplainedModel:
    """A network whose first class is the contrast in the upper left corner, and whose second class is nothing."""

    class Trunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)
            nn.init.ones_(self.conv.weight)
            nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = torch.relu(self.conv(images))
            kept = torch.zeros_like(maps)
            kept[..., CORNER, CORNER] = maps[..., CORNER, CORNER]
            return kept

    network = Network(Trunk(), 1, {"votes": 2})
    weights = {"heads.votes.weight": torch.tensor([[150.0], [0.0]]), "heads.votes.bias": torch.zeros(2)}
    network.load_state_dict(network.state_dict() | weights)
    spec = InputSpec(48, "grey", (0.5,), (0.25,))
    inputs = models.inputs_of("plain", spec)
    return explained(
        network.eval(), ModelInfo("corner", "expression", "", inputs, (Head("votes", ("bright", "dark")),))
    )


@pytest.fixture(scope="module")
def checks() -> Observation:
    """A checkerboard: bright and dark squares of 3 pixels, which a blur removes."""
    rows, columns = np.indices((48, 48)) // 3
    return Observation((np.where((rows + columns) % 2, 255, 0).astype(np.uint8),))


@pytest.mark.parametrize("name", models.names())
def test_every_architecture_has_maps(name: str, build: Build, seen: Observation) -> None:
    model = build(name)
    face = inputs_of(model, seen)
    maps = attributions(model, face, Question(3))
    expected = [GRADCAM] * models.reads_images(name) + [INTEGRATED, OCCLUSION]
    assert list(maps) == expected
    for method in (INTEGRATED, OCCLUSION):
        for part, array in zip(maps[method], face.arrays, strict=True):
            assert part is not None
            assert part.shape == (tuple(array.shape[-2:]) if array.shape[-1] > 2 else (array.shape[-2],))
            assert np.isfinite(part).all()
        assert any(np.abs(part).max() > 0 for part in maps[method] if part is not None)
    found = deletion(model, face, dict(maps), 3)
    assert all(0 <= area <= 1 for area in (*found.areas.values(), found.random_area))
    assert found.curves[OCCLUSION][0] == pytest.approx(found.random[0])  # nothing is deleted yet
    assert found.curves[OCCLUSION][-1] == pytest.approx(found.random[-1], abs=1e-5)  # everything is


@pytest.mark.parametrize("name", models.names())
def test_integrated_gradients_sum_up_to_the_difference_of_the_scores(
    name: str, build: Build, seen: Observation
) -> None:
    model = build(name)
    face, question = inputs_of(model, seen), Question(0, against=4)
    with torch.no_grad():
        here, there = (float(question.score(model.forward(*each))) for each in (face.arrays, face.baseline))
    total = sum(float(part.sum()) for part in integrated_gradients(model, face, question) if part is not None)
    # 32 steps: the sum is near the difference, not equal to it.
    assert total == pytest.approx(here - there, abs=0.25 * max(1.0, abs(here - there)))


@pytest.mark.parametrize("method", [GRADCAM, INTEGRATED, OCCLUSION])
def test_the_map_is_where_the_network_looks(method: str, corner: ExplainedModel, checks: Observation) -> None:
    found = attributions(corner, inputs_of(corner, checks), Question(0))[method][0]
    assert found is not None
    inside = found[CORNER, CORNER].mean()
    outside = np.abs(found[24:, 24:]).mean()
    assert inside > 10 * outside or (outside == 0 and inside > 0)


def test_the_other_class_has_the_opposite_map(corner: ExplainedModel, checks: Observation) -> None:
    face = inputs_of(corner, checks)
    one, other = (attributions(corner, face, Question(*pair)) for pair in ((0, 1), (1, 0)))
    for name, maps in one.items():
        assert maps[0] is not None
        np.testing.assert_allclose(maps[0], -np.asarray(other[name][0]), atol=1e-5)


def test_deletion_of_the_right_part_removes_the_score(corner: ExplainedModel, checks: Observation) -> None:
    face = inputs_of(corner, checks)
    right = np.zeros((48, 48), np.float32)
    right[CORNER, CORNER] = 1
    found = deletion(corner, face, {"right": (right,), "wrong": (-right,)}, 0)
    after = int(np.ceil((12 * CELLS / 48) ** 2 / CELLS**2 * (len(found.shares) - 1)))  # the corner's share of the cells
    assert found.curves["right"][0] > 0.99
    assert found.curves["right"][after + 1] == pytest.approx(found.curves["right"][-1], abs=1e-3)
    assert found.areas["right"] < found.random_area < found.areas["wrong"]


@pytest.mark.parametrize("name", ["plain", "resnet18"])
def test_maps_follow_the_weights(name: str, build: Build, seen: Observation) -> None:
    model = build(name)
    face = inputs_of(model, seen)
    maps, shuffled = (attributions(each, face, Question(3)) for each in (model, randomised(model)))
    for method, parts in maps.items():
        pair = np.stack([np.ravel(np.asarray(parts[0])), np.ravel(np.asarray(shuffled[method][0]))])
        assert abs(np.corrcoef(pair)[0, 1]) < 0.6, method
    assert attributions(model, face, Question(3)).keys() == maps.keys()  # the first model is unchanged
    np.testing.assert_array_equal(
        np.asarray(attributions(model, face, Question(3))[INTEGRATED][0]), maps[INTEGRATED][0]
    )


def test_keypoints_that_are_not_known_are_no_error(build: Build) -> None:
    model = build("landmark")
    unknown = Observation((), np.full((1, 68, 2), np.nan, np.float32))
    face: FaceInputs = inputs_of(model, unknown)
    maps = attributions(model, face, Question(0))
    assert all(np.isfinite(np.asarray(parts[0])).all() for parts in maps.values())


def test_a_network_with_a_head_for_valence_and_arousal(seen: Observation, tmp_path: Path) -> None:
    spec = InputSpec(48, "grey", (0.5,), (0.25,))
    network = models.build("plain", {"emotion": 7, "affect": 2}, spec, **small("plain"))
    info = ModelInfo(
        name="rated",
        task="expression",
        description="",
        inputs=models.inputs_of("plain", spec),
        outputs=(Head("emotion", EMOTIONS), ValenceArousal("affect"), Features(network.width)),
        architecture={"name": "plain", **small("plain")},
    )
    data = safetensors.torch.save(network.state_dict(), metadata={METADATA_KEY: info.to_json()})
    (tmp_path / "rated.safetensors").write_bytes(data)
    model = load(ClassifierOptions(model=tmp_path / "rated.safetensors"))
    assert list(attributions(model, inputs_of(model, seen), Question(0))) == [GRADCAM, INTEGRATED, OCCLUSION]
    with torch.no_grad():
        expected = network.eval()(*inputs_of(model, seen).arrays)["affect"].clamp(-1, 1)
    (expression,) = model.classifier([seen])
    assert expression.affect is not None
    assert (expression.affect.valence, expression.affect.arousal) == pytest.approx(expected[0].tolist(), abs=1e-4)
