"""Ensembles: what members of any classes say together, by property, and through real files of different inputs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tests.drawn import draw_face

import mien
from mien.assets.manifest import (
    DEFAULT,
    ENSEMBLES,
    METADATA_KEY,
    Head,
    InputSpec,
    ModelInfo,
    default_model,
    model_info,
    shipped_models,
)
from mien.assets.signature import ImageInput
from mien.emotions import ALL, vocabulary
from mien.errors import ConfigError
from mien.expression import Classifier, ClassifierOptions, Ensemble, OnnxClassifier, load_classifier
from mien.expression.base import VOTES, Vote
from mien.expression.ensemble import TIE, combined, known_of

Opinion = tuple[NDArray[np.float32], tuple[str, ...]]
EIGHT = vocabulary(8)


@st.composite
def opinions(draw: st.DrawFn, target: tuple[str, ...] = EIGHT) -> list[Opinion]:
    """What one to four members say of three faces; the first knows the whole target, the others parts of it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = draw(st.lists(st.sets(st.sampled_from(target), min_size=1), max_size=3))
    known = [target, *(tuple(name for name in target if name in part) for part in parts)]
    sharp = draw(st.sampled_from([0.1, 1.0, 30.0]))  # up to members that are all but certain
    said = []
    for names in known:
        logits = rng.normal(0, sharp, (3, len(names)))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        said.append((powers / powers.sum(axis=1, keepdims=True)).astype(np.float32))
    return list(zip(said, known, strict=True))


def together(members: list[Opinion], target: tuple[str, ...] = EIGHT, vote: Vote = "soft") -> NDArray[np.float32]:
    return combined([said for said, _ in members], [known for _, known in members], target, vote)


@settings(deadline=None)
@given(opinions(), st.sampled_from(VOTES), st.randoms(use_true_random=False))
def test_distributions_in_any_order_of_the_members(members: list[Opinion], vote: Vote, random: object) -> None:
    found = together(members, vote=vote)
    assert found.shape == (3, 8)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    shuffled = list(members)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    np.testing.assert_allclose(together(shuffled, vote=vote), found, atol=1e-6)


@settings(deadline=None)
@given(opinions())
def test_an_ensemble_of_one_or_of_equals_is_that_member(members: list[Opinion]) -> None:
    alone = members[0]
    np.testing.assert_allclose(together([alone]), alone[0], atol=1e-6)
    np.testing.assert_allclose(together([alone] * 3), alone[0], atol=1e-6)


@settings(deadline=None)
@given(opinions())
def test_classes_that_one_member_alone_knows_are_its_own(members: list[Opinion]) -> None:
    """The others, who cannot see them, neither halve them nor blow them up."""
    others = [(said, known) for said, known in members[1:] if "disgust" in known or "anger" not in known]
    elsewhere = {name for _, known in others for name in known}
    found = together([members[0], *others])
    for place, name in enumerate(EIGHT):
        if name not in elsewhere:
            np.testing.assert_allclose(found[:, place], members[0][0][:, place], atol=1e-6)


@settings(deadline=None)
@given(opinions())
def test_a_member_that_knows_one_class_adds_nothing(members: list[Opinion]) -> None:
    blind = (np.ones((3, 1), np.float32), ("happiness",))
    np.testing.assert_allclose(together([members[0], blind]), members[0][0], atol=1e-6)


@settings(deadline=None)
@given(opinions())
def test_members_that_know_all_classes_are_averaged(members: list[Opinion]) -> None:
    whole = [members[0], (np.roll(members[0][0], 1, axis=1), EIGHT), (members[0][0][::-1], EIGHT)]
    np.testing.assert_allclose(together(whole), np.mean([said for said, _ in whole], axis=0), atol=1e-6)


@settings(deadline=None)
@given(opinions())
def test_a_member_moves_its_own_classes_by_their_ratio(members: list[Opinion]) -> None:
    """Where a member abstains on contempt alone, the rest is the mean of two distributions over seven."""
    eight = members[0][0].astype(float)
    seven = np.full((3, 7), 1 / 7, np.float32)
    found = together([members[0], (seven, EIGHT[:7])])
    rest = eight[:, :7].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found[:, :7], (eight[:, :7] + rest * seven) / 2, atol=1e-6)


def test_anger_of_six_emotions_is_divided_with_disgust() -> None:
    seven = np.array([[0.3, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1]], np.float32)
    six = np.array([[0.8, 0.04, 0.04, 0.04, 0.04, 0.04]], np.float32)  # anger, without disgust
    found = combined([seven, six], [vocabulary(7), vocabulary(6)], vocabulary(7))
    np.testing.assert_allclose(found[0, :2], [(0.3 + 0.6) / 2, (0.1 + 0.2) / 2], atol=1e-6)
    unseen = seven * np.array([0, 0, 1, 1, 1, 1, 1], np.float32)  # the reference gives neither: shared evenly
    found = combined([unseen / unseen.sum(), six], [vocabulary(7), vocabulary(6)], vocabulary(7))
    np.testing.assert_allclose(found[0, :2], [0.2, 0.2], atol=1e-6)


def test_no_member_knows_all_classes() -> None:
    with pytest.raises(ValueError, match="a member that knows all"):
        combined([np.ones((1, 1), np.float32)], [("fear",)], ("fear", "anger"))


def test_a_hard_vote() -> None:
    def sure(name: str, known: tuple[str, ...], much: float) -> Opinion:
        said = np.full((1, len(known)), (1 - much) / (len(known) - 1), np.float32)
        said[0, known.index(name)] = much
        return said, known

    fear, anger = EIGHT.index("fear"), EIGHT.index("anger")
    votes = [sure("fear", EIGHT, 0.3), sure("fear", EIGHT, 0.4), sure("anger", EIGHT, 0.99)]
    assert together(votes)[0].argmax() == anger
    found = together(votes, vote="hard")[0]
    assert found.argmax() == fear
    np.testing.assert_allclose(found[[fear, anger]], [2 / 3, 1 / 3], atol=2 * TIE)
    tied = together(votes[1:], vote="hard")[0]
    assert tied.argmax() == anger  # the surer of the two
    assert tied.max() < 0.5 + TIE
    # One that cannot see contempt does not vote where those who can see little else.
    contempt = [sure("contempt", EIGHT, 0.9), sure("neutral", EIGHT[:7], 0.9)]
    np.testing.assert_allclose(together(contempt, vote="hard")[0].max(), 1, atol=2 * TIE)


# --- through files


def linear_model(
    path: Path,
    classes: tuple[str, ...],
    *,
    size: int = 24,
    channels: str = "grey",
    seed: int = 0,
    landmarks: tuple[tuple[float, float], ...] | None = None,
) -> Path:
    """An exported model of one matrix, with an info as `mien export` writes it."""
    depth = 1 if channels == "grey" else 3
    spec = InputSpec(size, channels, (0.5,) * depth, (0.25,) * depth)  # type: ignore[arg-type]
    points = model_info(default_model()).image.landmarks if landmarks is None else landmarks
    heads = (Head("labels", classes, 2.0, 0.3),)
    known = ModelInfo(path.stem, "expression", "linear", (ImageInput("images", spec, points),), heads)
    weights = np.random.default_rng(seed).normal(0, 0.2, (depth * size * size, len(classes))).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["labels"]),
        ],
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["faces", depth, size, size])],
        [helper.make_tensor_value_info("labels", TensorProto.FLOAT, ["faces", len(classes)])],
        [helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: known.to_json()})
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def faces() -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    return np.stack([draw_face(emotion, rng) for emotion in EIGHT for _ in range(2)])


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colour model of seven classes and another size."""
    return linear_model(tmp_path_factory.mktemp("m") / "seven.onnx", vocabulary(7), size=32, channels="rgb")


@pytest.mark.parametrize("size", [6, 7, 8, 10])
def test_one_member_gives_the_result_of_the_classifier(faces: NDArray[np.uint8], size: int) -> None:
    one, alone = Ensemble(ClassifierOptions("mien-s", emotions=size)), OnnxClassifier("mien-s").with_classes(size)
    np.testing.assert_array_equal(one.predict_proba(faces), alone.predict_proba(faces))
    assert (one.emotions, one.threshold, one.name) == (alone.emotions, alone.threshold, alone.name)
    assert [read.uncertain for read in one(faces)] == [read.uncertain for read in alone(faces)]
    hard = Ensemble(ClassifierOptions("mien-s", emotions=size, vote="hard")).predict_proba(faces)
    np.testing.assert_array_equal(hard.argmax(axis=1), alone.predict_proba(faces).argmax(axis=1))


def test_members_of_other_sizes_channels_and_classes(seven: Path, faces: NDArray[np.uint8]) -> None:
    mixed = Ensemble(["mien-s", seven, "mien-m-int8"])
    assert mixed.emotions == EIGHT  # what any member knows
    found = mixed.predict_proba(faces)
    parts = [
        OnnxClassifier("mien-s").predict_proba(faces),
        OnnxClassifier(seven).with_classes(7).predict_proba(faces),
        OnnxClassifier("mien-m-int8").predict_proba(faces),
    ]
    expected = combined(parts, [EIGHT, vocabulary(7), EIGHT], EIGHT)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    swapped = Ensemble([seven, "mien-m-int8", "mien-s"])
    np.testing.assert_allclose(swapped.predict_proba(faces), found, atol=1e-6)
    assert swapped.threshold == pytest.approx(mixed.threshold)
    assert mixed.threshold == pytest.approx(np.mean([member.threshold for member in mixed.members]))
    assert mixed.name == "mien-s + seven + mien-m-int8"
    np.testing.assert_allclose(
        Ensemble(ClassifierOptions(("mien-s", seven), emotions=7)).predict_proba(faces),
        (OnnxClassifier("mien-s").with_classes(7).predict_proba(faces) + parts[1]) / 2,
        atol=1e-6,
    )


@pytest.mark.parametrize("vote", VOTES)
def test_with_classes_uses_the_same_logits(seven: Path, faces: NDArray[np.uint8], vote: Vote) -> None:
    members = ("mien-s", seven)
    for eight in (
        Ensemble(ClassifierOptions(members, vote=vote, abstain=0.4)),
        OnnxClassifier(ClassifierOptions("mien-s", abstain=0.4, tta="flip")),
    ):
        other = eight.with_classes(vocabulary(7))
        if isinstance(eight, Ensemble):
            fresh: Classifier = Ensemble(ClassifierOptions(members, vote=vote, emotions=7, abstain=0.4))
        else:
            fresh = OnnxClassifier(ClassifierOptions("mien-s", emotions=7, abstain=0.4, tta="flip"))
        logits = eight.logits(faces)
        np.testing.assert_array_equal(other.proba_from(logits), fresh.predict_proba(faces))
        np.testing.assert_array_equal(eight.proba_from(logits), eight.predict_proba(faces))
        assert (other.emotions, other.threshold, other.name) == (fresh.emotions, fresh.threshold, fresh.name)
    with pytest.raises(ConfigError):
        Ensemble([seven]).with_classes(vocabulary(10))


def test_no_faces(seven: Path) -> None:
    for vote in VOTES:
        assert Ensemble(ClassifierOptions(("mien-s", seven), vote=vote)).predict_proba([]).shape == (0, 8)
        assert Ensemble(ClassifierOptions(("mien-s", seven), vote=vote))([]) == []


@pytest.mark.parametrize(("abstain", "uncertain"), [(0.0, False), (1.0, True)])
def test_abstaining(faces: NDArray[np.uint8], abstain: float, uncertain: bool) -> None:
    read = Ensemble(ClassifierOptions(("mien-s", "mien-m-int8"), abstain=abstain))(faces)
    assert {expression.uncertain for expression in read} == {uncertain}


def test_without_a_majority_a_hard_vote_is_uncertain(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    members = tuple(linear_model(tmp_path / f"{seed}.onnx", EIGHT, seed=seed) for seed in range(3))
    tops = np.stack([OnnxClassifier(member).predict_proba(faces).argmax(axis=1) for member in members])  # (3, N)
    most = np.stack([(tops == place).sum(axis=0) for place in range(8)]).max(axis=0)
    assert {1, 2} <= set(most.tolist())
    read = Ensemble(ClassifierOptions(members, vote="hard"))(faces)
    assert [expression.uncertain for expression in read] == (most <= 1).tolist()


def test_own_classes_vote_too(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    own = ("bored", "keen")
    members = [linear_model(tmp_path / f"own{seed}.onnx", own, seed=seed) for seed in range(2)]
    pair = Ensemble(members)
    assert pair.emotions == own
    expected = np.mean(
        [OnnxClassifier(member).with_classes("model").predict_proba(faces) for member in members], axis=0
    )
    np.testing.assert_allclose(pair.predict_proba(faces), expected, atol=1e-6)
    with pytest.raises(ConfigError, match="'own0' knows none of the classes anger") as caught:
        Ensemble(["mien-s", members[0]])
    assert "bored, keen" in caught.value.hint


def test_invalid_ensembles_are_refused(seven: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no member of the ensemble knows all of anger, .*contempt") as caught:
        Ensemble(ClassifierOptions(seven, emotions=8))
    assert "seven: anger" in caught.value.hint
    with pytest.raises(ConfigError, match=r"vote: unknown value 'loud' \(choose one of soft, hard\)"):
        ClassifierOptions("mien-s", vote="loud")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="model: expected at least one name"):
        ClassifierOptions(())
    with pytest.raises(ConfigError, match="no model 'nobody'"):
        Ensemble(["mien-s", "nobody"])
    with pytest.raises(ConfigError, match=r"--vote needs several models \(name them: --model A,B\)"):
        load_classifier(ClassifierOptions("mien-s", vote="hard"))
    with pytest.raises(ConfigError, match="expected one model, got 2"):
        OnnxClassifier("mien-m,mien-s")


def test_the_head_that_knows_most() -> None:
    base = model_info("mien-s")
    assert known_of(base, ("contempt", "fear")) == ("contempt", "fear")
    assert known_of(base, ("fear", "boredom")) == ("fear",)
    fewer = replace(base, outputs=tuple(head for head in base.heads if len(head.emotions) == 7))
    assert known_of(fewer, ALL) == vocabulary(7)


def test_text_with_commas_names_several_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a,b.onnx").touch()
    assert ClassifierOptions(("x,y", "z", "a,b.onnx", "p, q")).models == ("x", "y", "z", "a,b.onnx", "p", "q")
    for lacking in ("", "p,", "p,,q", ",", ("p", "")):  # as of a variable that is not set
        with pytest.raises(ConfigError, match=r"model: .*empty"):
            ClassifierOptions(lacking)
    assert ClassifierOptions("a,b.onnx").models == ("a,b.onnx",)  # a file that exists
    assert ClassifierOptions(Path("c,d.onnx")).models == (Path("c,d.onnx"),)
    assert ClassifierOptions().models == ()


def test_text_with_commas_is_an_ensemble(faces: NDArray[np.uint8]) -> None:
    both, listed = load_classifier("mien-m,mien-s"), load_classifier(["mien-m", "mien-s"])
    assert isinstance(both, Ensemble)
    assert both.name == "mien-m + mien-s"
    np.testing.assert_array_equal(both.predict_proba(faces), listed.predict_proba(faces))
    assert isinstance(load_classifier("mien-s"), OnnxClassifier)


# --- in the analyzer


def test_the_analyzer_crops_once_for_each_crop_spec(astronaut: Path, tmp_path: Path) -> None:
    wide = tuple((0.25 + x / 2, 0.25 + y / 2) for x, y in model_info("mien-s").image.landmarks)
    other = linear_model(tmp_path / "wide.onnx", vocabulary(7), size=40, channels="rgb", landmarks=wide)
    analyzer = mien.Analyzer(classifier=["mien-s", other, "mien-m-int8"], emotions=7)
    assert len(analyzer.classifier.crop_specs) == 2
    (face,) = analyzer.analyze(astronaut)
    singles = [mien.Analyzer(classifier=model, emotions=7).analyze(astronaut)[0] for model in ("mien-s", other)]
    parts = [single.expression.probabilities for single in singles if single.expression]
    small = mien.Analyzer(classifier="mien-m-int8", emotions=7).analyze(astronaut)[0].expression
    assert small is not None
    assert face.expression is not None
    np.testing.assert_allclose(face.expression.probabilities, np.mean([*parts, small.probabilities], axis=0), atol=1e-5)
    assert analyzer.analyze([np.zeros((200, 200, 3), np.uint8), astronaut])[0].faces == ()


def test_crops_for_the_wrong_number_of_crop_specs_are_refused(faces: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="expected crops for each of 1 crop specs, or one, got 2"):
        Ensemble(["mien-m", "mien-s"]).logits(faces, faces)


def test_mien_analyze_takes_an_ensemble(astronaut: Path) -> None:
    options = mien.AnalyzerOptions(classifier=ClassifierOptions(("mien-s", "mien-m-int8"), vote="hard"))
    result = mien.analyze(astronaut, options=options)
    assert result[0].emotion == "happiness"
    crops = mien.analyze(np.zeros((48, 48), np.uint8), classifier=["mien-s", "mien-m-int8"], detector="whole-image")
    assert len(crops) == 1


def test_the_ensemble_that_ships_has_a_name() -> None:
    for name, members in ENSEMBLES.items():
        assert name not in shipped_models()
        assert ClassifierOptions(name).models == members
        assert ClassifierOptions(f"{name},mien-s").models == (*members, "mien-s")
        assert set(members) <= set(shipped_models("expression"))
        with pytest.raises(ConfigError, match=f"'{name}' is the vote of '{members[0]}' and"):
            model_info(name)
        assert Ensemble(ClassifierOptions(members)).name == Ensemble(ClassifierOptions(members[::-1])).name == name
    with pytest.raises(ConfigError) as caught:
        model_info("mien-q")
    assert "mien-x" in (caught.value.hint or "")


def test_without_a_model_the_default_votes(faces: NDArray[np.uint8]) -> None:
    ready = Ensemble(ClassifierOptions()), load_classifier(), load_classifier(ClassifierOptions(DEFAULT))
    assert [each.name for each in ready] == [DEFAULT] * 3
    first, *others = (each.predict_proba(faces) for each in ready)
    for found in others:
        np.testing.assert_array_equal(found, first)


def test_a_file_with_the_name_of_the_ensemble_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ClassifierOptions("./mien-x").models == ("./mien-x",)
