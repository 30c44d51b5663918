"""Scores against scikit-learn, torch and torchmetrics on shared random cases, and by what must hold."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from mien.evaluation import metrics

Case = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]

positive = hnp.arrays(np.float64, (5, 4), elements=st.floats(0, 10)).filter(lambda a: (a.sum(axis=1) > 0.1).all())


def random_case(seed: int) -> Case:
    """Probabilities, labels, votes; with classes absent from the truth or never predicted, and tied tops."""
    random = np.random.default_rng(seed)
    classes, n = int(random.integers(2, 11)), int(random.integers(1, 400))
    logits = random.normal(size=(n, classes)).round(int(random.integers(0, 3)))  # rounding makes ties
    logits[:, int(random.integers(classes))] -= random.choice([0, 20])
    powers = np.exp(logits)
    labels = random.choice(random.permutation(classes)[: random.integers(1, classes + 1)], size=n)
    votes = random.multinomial(10, np.full(classes, 1 / classes), size=n)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels, votes


@pytest.fixture(params=range(20))
def case(request: pytest.FixtureRequest) -> Case:
    return random_case(request.param)


def test_decisions_agree_with_scikit_learn(case: Case) -> None:
    probabilities, labels, _ = case
    classes = probabilities.shape[1]
    predicted = metrics.predictions(probabilities)
    confusion = metrics.confusion_matrix(labels, predicted, classes)
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(labels, predicted, labels=range(classes)))
    assert metrics.accuracy(confusion) == pytest.approx(sk.accuracy_score(labels, predicted))

    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=np.nan
    )
    scores = metrics.class_scores(confusion)
    np.testing.assert_allclose(scores.precision, precision)
    np.testing.assert_allclose(scores.recall, recall)
    np.testing.assert_allclose(scores.f1, f1)
    np.testing.assert_array_equal(scores.support, support)
    np.testing.assert_array_equal(scores.predicted, np.bincount(predicted, minlength=classes))
    expected = sk.f1_score(labels, predicted, average="macro", labels=np.unique(labels), zero_division=0)
    assert metrics.macro_f1(confusion) == pytest.approx(expected)


def test_decisions_agree_with_torchmetrics(case: Case) -> None:
    probabilities, labels, _ = case
    classes = probabilities.shape[1]
    confusion = metrics.confusion_matrix(labels, metrics.predictions(probabilities), classes)
    # torchmetrics breaks ties elsewhere, so it is given the decisions.
    predicted, truth = torch.from_numpy(metrics.predictions(probabilities)), torch.from_numpy(labels)
    theirs = tm.multiclass_confusion_matrix(predicted, truth, classes)
    np.testing.assert_array_equal(confusion, theirs.numpy())
    assert metrics.accuracy(confusion) == pytest.approx(
        tm.multiclass_accuracy(predicted, truth, classes, average="micro").item()
    )
    f1 = tm.multiclass_f1_score(predicted, truth, classes, average="none").numpy()
    np.testing.assert_allclose(np.nan_to_num(metrics.class_scores(confusion).f1), f1, rtol=1e-5)


def test_distances_agree_with_independent_implementations(case: Case) -> None:
    probabilities, labels, votes = case
    truth = votes / votes.sum(axis=1, keepdims=True)
    soft = torch.nn.functional.cross_entropy(
        torch.from_numpy(np.log(probabilities.astype(np.float64))), torch.from_numpy(truth), reduction="none"
    )
    np.testing.assert_allclose(metrics.cross_entropy(probabilities, votes), soft.numpy(), rtol=1e-5)
    p, q = torch.from_numpy(probabilities).double(), torch.from_numpy(truth)
    entropies = [torch.special.entr(each).sum(dim=1) for each in (p, q, (p + q) / 2)]
    expected = entropies[2] - (entropies[0] + entropies[1]) / 2
    np.testing.assert_allclose(metrics.jensen_shannon(probabilities, votes), expected.numpy(), atol=1e-6)

    nll = metrics.negative_log_likelihood(probabilities, labels)
    doubles = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    loss = sk.log_loss(labels, doubles, labels=range(probabilities.shape[1]))
    assert nll.mean() == pytest.approx(loss, rel=1e-5)


def test_a_stack_of_matrices_gives_the_scores_of_each() -> None:
    stack = np.random.default_rng(0).integers(0, 9, size=(6, 4, 4))
    stack[2, 1] = 0
    np.testing.assert_array_equal(metrics.macro_f1(stack), [metrics.macro_f1(matrix) for matrix in stack])
    np.testing.assert_array_equal(metrics.accuracy(stack), [metrics.accuracy(matrix) for matrix in stack])
    np.testing.assert_array_equal(
        metrics.class_scores(stack).recall, [metrics.class_scores(matrix).recall for matrix in stack]
    )


def test_undefined_scores_are_nan_and_leave_macro_f1_alone() -> None:
    # Truth: five of class 0, one of them read as class 2. 1-3 are absent, 1 and 3 also never predicted.
    confusion = np.zeros((4, 4), np.int64)
    confusion[0] = [4, 0, 1, 0]
    scores = metrics.class_scores(confusion)
    np.testing.assert_allclose(scores.precision, [1, np.nan, 0, np.nan])
    np.testing.assert_allclose(scores.recall, [0.8, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(scores.f1, [8 / 9, np.nan, 0, np.nan])
    assert metrics.macro_f1(confusion) == pytest.approx(8 / 9)
    assert np.isnan(metrics.macro_f1(np.zeros((4, 4), np.int64)))


def test_the_first_of_tied_classes_is_predicted() -> None:
    assert metrics.predictions(np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]])).tolist() == [0, 1]


def test_an_impossible_truth_costs_a_finite_price() -> None:
    probabilities = np.array([[1, 0]], np.float32)
    assert metrics.negative_log_likelihood(probabilities, np.array([1]))[0] == pytest.approx(27.63, abs=0.01)
    assert metrics.cross_entropy(probabilities, np.array([[0, 3]]))[0] == pytest.approx(27.63, abs=0.01)


@given(positive, positive)
@example(np.array([[0.0, 1.0]]), np.array([[5e-324, 1.0]]))  # the smallest number there is, which has no half
def test_jensen_shannon_is_symmetric_and_bounded(p: NDArray[np.float64], q: NDArray[np.float64]) -> None:
    p, q = metrics.distributions(p), metrics.distributions(q)
    divergence = metrics.jensen_shannon(p, q)
    np.testing.assert_allclose(divergence, metrics.jensen_shannon(q, p), atol=1e-12)
    assert (divergence > -1e-12).all()
    assert (divergence < np.log(2) + 1e-12).all()


@given(positive, st.integers(2, 50))
def test_equal_distributions_do_not_diverge(votes: NDArray[np.float64], times: int) -> None:
    shares = metrics.distributions(votes)
    np.testing.assert_allclose(metrics.jensen_shannon(shares, votes * times), 0, atol=1e-12)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)
    np.testing.assert_allclose(metrics.cross_entropy(shares, votes), entropy, atol=1e-9)


def test_distributions_that_share_nothing_diverge_by_log_2() -> None:
    divergence = metrics.jensen_shannon(np.array([[1.0, 0.0]]), np.array([[0, 10]]))
    assert divergence[0] == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([0, 1], [0], r"expected labels and predictions \(N,\), got \(2,\) and \(1,\)"),
        ([0, 3], [0, 1], "labels: expected 0 to 2, got 0 to 3"),
        ([0, 1], [0, -1], "predictions: expected 0 to 2, got -1 to 0"),
    ],
)
def test_wrong_labels_are_refused(labels: list[int], predicted: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.confusion_matrix(np.array(labels), np.array(predicted), 3)


@pytest.mark.parametrize("votes", [[[1, 2], [0, 0]], [[1, 2], [-1, 3]], [1, 2]])
def test_votes_that_are_none_are_refused(votes: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="votes: expected"):
        metrics.distributions(np.array(votes))


def test_shapes_that_do_not_fit_are_refused() -> None:
    probabilities = np.full((3, 2), 0.5)
    with pytest.raises(ValueError, match=r"expected votes of shape \(3, 2\), got \(3, 4\)"):
        metrics.cross_entropy(probabilities, np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"got \(3, 2\) and \(2,\)"):
        metrics.negative_log_likelihood(probabilities, np.array([0, 1]))


@given(hnp.arrays(np.int64, (6, 4), elements=st.integers(0, 12)), st.integers(0, 99))
def test_votes_are_dealt_into_equal_halves(votes: NDArray[np.int64], seed: int) -> None:
    one, other = metrics.halves(votes, seed)
    totals = votes.sum(axis=1)
    np.testing.assert_array_equal(one.sum(axis=1), totals // 2)
    np.testing.assert_array_equal(other.sum(axis=1), totals // 2)
    left = votes - one - other
    assert (left >= 0).all()
    np.testing.assert_array_equal(left.sum(axis=1), totals % 2)


def test_every_deal_is_as_likely_as_another() -> None:
    votes = np.tile([[6, 4]], (20_000, 1))
    one, _ = metrics.halves(votes)
    found = np.bincount(one[:, 0], minlength=6)[1:] / len(votes)
    # Hypergeometric: of six and four, five are drawn.
    np.testing.assert_allclose(found, np.array([6 * 1, 15 * 4, 20 * 6, 15 * 4, 6 * 1]) / 252, atol=0.015)
