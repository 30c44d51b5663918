"""Exporting: the file says what the checkpoint says and carries its info; where it is wrong, nothing is written."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors
import safetensors.torch
import torch
from tests.tiny import LANDMARKS, taught_recipe, tiny_recipe

from mien import models
from mien.assets.manifest import METADATA_KEY, ModelInfo, info_in, read_manifest
from mien.assets.store import open_model, verified
from mien.datasets import Samples, store
from mien.errors import ConfigError, MienError, OutputError, WeightsError
from mien.evaluation import calibration, evaluate_model, protocols_of
from mien.expression import ClassifierOptions, OnnxClassifier
from mien.expression.preprocess import fitted, normalised
from mien.models import Network
from mien.training import FitOptions, export_run, fit, load_recipe, task_spec
from mien.training.checkpoints import load_module
from mien.training.expression.module import ExpressionModule
from mien.training.tasks import OtherDataWarning

FILE_FIELDS = ("file", "sha256", "training_file", "training_sha256")


def unfiled(info: ModelInfo) -> ModelInfo:
    """The info without the fields that only the table can have."""
    return replace(info, file="", sha256="", training_file="", training_sha256="")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def val(tiny_samples: Samples) -> Samples:
    return tiny_samples.only("val")


def test_other_data_than_that_of_the_run_is_said(tiny_run: Path, tiny_samples: Samples, tmp_path: Path) -> None:
    recipe = load_recipe(tiny_run / "recipe.toml")
    less = tiny_samples.subset(np.arange(len(tiny_samples) - 2))
    for samples in (tiny_samples, less):
        store.save(samples, tmp_path / "data.h5")
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            task_spec("expression").export(recipe, tiny_run, tmp_path / "data.h5", tmp_path / "out.onnx")
        said = [str(each.message) for each in found if each.category is OtherDataWarning]
        assert [f"{tiny_run} was trained on other data than" in each for each in said] == [True] * (samples is less)


@pytest.fixture(scope="module")
def within(tiny_model: Path) -> ModelInfo:
    """The info inside the file."""
    properties = {item.key: item.value for item in onnx.load(tiny_model).metadata_props}
    found = info_in(properties, "the file")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def beside(tiny_model: Path) -> ModelInfo:
    """The info in the table beside it."""
    (found,) = read_manifest(tiny_model.with_suffix(".entry.toml").read_text(encoding="utf-8"), "the table").values()
    return found


def test_three_files_and_no_more(tiny_model: Path) -> None:
    assert sorted(path.name for path in tiny_model.parent.iterdir()) == [
        "tiny.entry.toml",
        "tiny.onnx",
        "tiny.safetensors",
    ]


def test_the_file_says_what_the_checkpoint_says(tiny_model: Path, tiny_run: Path, tiny_samples: Samples) -> None:
    classifier = OnnxClassifier(tiny_model)
    spec = classifier.info.input
    with torch.no_grad():
        expected = load_module(ExpressionModule, tiny_run / "best.ckpt").network(
            torch.from_numpy(normalised(fitted(tiny_samples.images, spec), spec))
        )
    for batch_size in (1, 7, 1000):
        classifier = OnnxClassifier(ClassifierOptions(tiny_model, batch_size=batch_size))
        (found,) = classifier.logits(tiny_samples.images)
        assert list(found) == ["votes", "fer2013"]
        for head, logits in found.items():
            np.testing.assert_allclose(logits, expected[head], atol=1e-4)


def test_the_file_gives_the_features_that_its_heads_read(tiny_model: Path, tiny_run: Path, val: Samples) -> None:
    info, session = open_model(tiny_model)
    images = normalised(fitted(val.images, info.input), info.input)
    with torch.no_grad():
        expected = load_module(ExpressionModule, tiny_run / "best.ckpt").network.features(torch.from_numpy(images))
    assert info.features is not None
    found = session.run(images, outputs=[info.features.name])[info.features.name]
    assert found.shape == (len(val), info.features.size)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_task_normalises_as_reading_does(tiny_run: Path, val: Samples) -> None:
    """Mean and spread are applied in two places, by torch in training and by numpy in reading."""
    task = load_module(ExpressionModule, tiny_run / "best.ckpt")
    spec = task.recipe.input.spec()
    batch = fitted(val.images, spec)
    with torch.no_grad():
        trained = task(torch.from_numpy(batch).float() / 255)["votes"]
        read = task.network(torch.from_numpy(normalised(batch, spec)))["votes"]
    np.testing.assert_allclose(trained, read, atol=1e-5)


def test_the_file_is_the_fused_form(tiny_model: Path) -> None:
    kinds = [node.op_type for node in onnx.load(tiny_model).graph.node]
    assert kinds.count("Conv") == 1 + 1 + 2
    assert set(kinds) <= {"Conv", "Relu", "ReduceMean", "Gemm"}


def test_the_entry_inside_is_the_one_beside(within: ModelInfo, beside: ModelInfo) -> None:
    assert unfiled(beside) == within
    assert [getattr(within, name) for name in FILE_FIELDS] == [""] * 4


def test_the_entry_says_everything(within: ModelInfo, tiny_samples: Samples) -> None:
    recipe = taught_recipe()
    assert (within.name, within.licence) == ("tiny", "Apache-2.0")
    assert within.input == recipe.input.spec()
    assert [list(point) for point in within.image.landmarks] == LANDMARKS
    assert [head.name for head in within.heads] == ["votes", "fer2013"]
    assert [len(head.emotions) for head in within.heads] == [10, 7]
    assert within.data == "fer2013, FER2013 and FER+ votes"
    options = dict(within.architecture)
    rebuilt = models.build(options.pop("name"), {head.name: len(head.emotions) for head in within.heads}, within.input)
    assert isinstance(rebuilt, Network)
    assert options == recipe.model.options


def test_the_entry_names_its_files(tiny_model: Path, beside: ModelInfo) -> None:
    assert verified(tiny_model.parent / beside.file, beside.sha256) == tiny_model.read_bytes()
    training = verified(tiny_model.parent / beside.training_file, beside.training_sha256)
    assert sha256(training).hexdigest() == beside.training_sha256


def test_the_scores_are_those_of_the_file(tiny_model: Path, within: ModelInfo, val: Samples) -> None:
    assert within.scores == evaluate_model(tiny_model, val, split="val").headline()
    assert set(within.scores) == {"val_labels", "val_majority", "val_argmax"}


def test_the_training_form_can_be_built_again(
    tiny_model: Path, tiny_run: Path, beside: ModelInfo, val: Samples
) -> None:
    path = tiny_model.with_suffix(".safetensors")
    with safetensors.safe_open(path, "pt") as file:
        own = info_in(file.metadata(), str(path))
    assert own == unfiled(beside)
    assert own is not None
    state = safetensors.torch.load_file(path)
    assert {value.dtype for value in state.values()} <= {torch.float16, torch.int64}
    options = dict(own.architecture)
    network = models.build(
        options.pop("name"), {head.name: len(head.emotions) for head in own.heads}, own.input, **options
    )
    network.load_state_dict(state)
    images = torch.from_numpy(normalised(fitted(val.images, own.input), own.input))
    with torch.no_grad():
        found, expected = network.eval()(images), load_module(ExpressionModule, tiny_run / "best.ckpt").network(images)
    for head, logits in expected.items():
        np.testing.assert_allclose(found[head], logits, atol=0.02)  # 16 bits


def test_each_head_is_calibrated_on_its_own_truth(tiny_run: Path, val: Samples, tmp_path: Path) -> None:
    """The votes head on FER+'s majority, over the eight emotions; the labels' head on the labels."""
    votes = np.asarray(val.votes).copy()
    votes[:12] = [4, 3, 3, 0, 0, 0, 0, 0, 0, 0]  # these have no majority; by argmax they would all be anger
    doubtful = replace(val, votes=votes)
    out = tmp_path / "out.onnx"
    export_run(tiny_run, doubtful, out)
    protocols = {protocol.name: protocol for protocol in protocols_of(doubtful)}
    (logits,) = OnnxClassifier(out).logits(val.images)
    fitted_on: dict[tuple[str, str], float] = {}
    for head in OnnxClassifier(out).info.heads:
        for protocol in protocols.values():
            if set(protocol.classes) <= set(head.emotions):
                columns = [head.emotions.index(emotion) for emotion in protocol.classes]
                known = logits[head.name][protocol.kept][:, columns]
                fitted_on[head.name, protocol.name] = calibration.fit_temperature(known, protocol.labels[protocol.kept])
    temperatures = {head.name: head.temperature for head in OnnxClassifier(out).info.heads}
    assert temperatures["votes"] == pytest.approx(fitted_on["votes", "majority"], abs=2e-4)
    assert temperatures["fer2013"] == pytest.approx(fitted_on["fer2013", "labels"], abs=2e-4)
    for name in ("labels", "argmax"):
        assert abs(fitted_on["votes", name] - temperatures["votes"]) > 0.01  # so the above is no accident


def test_the_threshold_lets_four_of_five_faces_pass(tiny_model: Path, within: ModelInfo, val: Samples) -> None:
    protocols = {protocol.name: protocol for protocol in protocols_of(val)}
    for head, name in zip(within.heads, ("majority", "labels"), strict=True):
        protocol = protocols[name]
        classifier = OnnxClassifier(tiny_model).with_classes(protocol.classes)
        confidence = classifier.predict_proba(val.images[protocol.kept]).max(axis=1)
        assert classifier.head == head
        assert head.threshold == pytest.approx(calibration.coverage_threshold(confidence, 0.8), abs=1e-4)
        assert float((confidence >= head.threshold).mean()) == pytest.approx(0.8, abs=0.05)


# --- other models than the two-headed one


@pytest.mark.parametrize("source", ["labels", "votes"])
def test_one_head_alone_is_exported_too(tiny_samples: Samples, val: Samples, tmp_path: Path, source: str) -> None:
    recipe = tiny_recipe(epochs=1, heads={"own": {"source": source}}, input={"channels": "grey"})
    fit(recipe, tiny_samples, tmp_path / "run", FitOptions(progress=False))
    export_run(tmp_path / "run", val, tmp_path / "own.onnx", checkpoint="last")
    exported = OnnxClassifier(tmp_path / "own.onnx")
    info, (head,) = exported.with_classes(7).info, exported.info.heads
    # Calibrated where it has most to say: a votes head over FER+'s eight emotions, not over FER2013's seven.
    suits = {each.name: each for each in protocols_of(val)}["labels" if source == "labels" else "majority"]
    (logits,) = exported.logits(val.images[suits.kept])
    columns = [head.emotions.index(emotion) for emotion in suits.classes]
    expected = calibration.fit_temperature(logits[head.name][:, columns], suits.labels[suits.kept])
    assert head.temperature == pytest.approx(expected, abs=2e-4) != 1
    assert info.image.landmarks == ()
    assert set(info.scores) == ({"val_labels"} if source == "labels" else {"val_labels", "val_majority", "val_argmax"})


# --- what is refused, with nothing written


def refused(kind: type[MienError], told: str, folder: Path, out: Path, samples: Samples, **options: Any) -> None:
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(kind, match=told) as caught:
        export_run(folder, samples, out, **options)
    assert "\n" not in str(caught.value)
    assert sorted(out.parent.rglob("*")) == before


def shifted(network: Network) -> None:
    first = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
    assert first.bias is not None
    first.bias += 0.05


def nothing_known(network: Network) -> None:
    next(iter(network.heads.children())).weight.fill_(torch.nan)  # type: ignore[operator]


@pytest.mark.parametrize("spoil", [shifted, nothing_known])
def test_a_wrong_fused_form_does_not_pass_the_gate(
    tiny_run: Path, val: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Network], None]
) -> None:
    right = Network.fused

    def wrong(self: Network) -> Network:
        network = right(self)
        with torch.no_grad():
            spoil(network)
        return network

    monkeypatch.setattr(Network, "fused", wrong)
    refused(WeightsError, "differs from its checkpoint by", tiny_run, tmp_path / "out.onnx", val)


def test_a_wrong_name_or_checkpoint(tiny_run: Path, val: Samples, tmp_path: Path) -> None:
    refused(ConfigError, r"is an \.onnx file", tiny_run, tmp_path / "out.pt", val)
    refused(WeightsError, "no such checkpoint", tiny_run, tmp_path / "out.onnx", val, checkpoint="first")
    refused(MienError, "no such recipe", tmp_path / "missing", tmp_path / "out.onnx", val)


def test_a_place_that_cannot_be_written(tiny_run: Path, val: Samples, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")
    refused(OutputError, "cannot write", tiny_run, tmp_path / "file" / "out.onnx", val)


def test_the_metadata_is_json(tiny_model: Path) -> None:
    properties = {item.key: item.value for item in onnx.load(tiny_model).metadata_props}
    assert set(properties) == {METADATA_KEY}
    assert json.loads(properties[METADATA_KEY])["inputs"][0]["spec"]["size"] == 48


def test_a_blocked_target_leaves_the_other_files_as_they_were(tiny_run: Path, val: Samples, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").mkdir()
    (tmp_path / "tiny.safetensors").write_bytes(b"older")
    with pytest.raises(OutputError, match="it is a folder"):
        export_run(tiny_run, val, tmp_path / "tiny.onnx")
    assert (tmp_path / "tiny.safetensors").read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.onnx", "tiny.safetensors"]
