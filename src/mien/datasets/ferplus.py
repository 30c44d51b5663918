"""Label processing of FER+: from the votes of ten annotators to labels or distributions, in its four modes.

Source: Barsoum, Zhang, Canton Ferrer and Zhang, "Training deep networks for facial expression recognition with
crowd-sourced label distribution", ICMI 2016, and the label processing published with its data. All functions are
vectorised over rows of votes (N, 10) in the order of `emotions.ALL`.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.errors import ConfigError

Votes = NDArray[np.uint8]
Mode = Literal["majority", "probability", "crossentropy", "multi_target"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)

# The column order of the CSV of FER+; it decides ties.
_NAMES = "neutral happiness surprise sadness anger disgust fear contempt unknown not_a_face"
COLUMNS: Final = tuple(_NAMES.split())
EMOTIONS: Final = 8  # the first eight of `emotions.ALL`; unknown and not_a_face follow


def mode_of(name: str) -> Mode:
    """The label mode of that name.

    Raises:
        ConfigError: No label mode has that name.
    """
    for mode in MODES:
        if mode == name:
            return mode
    raise ConfigError(f"unknown label mode '{name}'", hint=f"choose one of {', '.join(MODES)}")


def ballot(cells: Sequence[str]) -> list[int] | None:
    """The votes of one face in the order of `emotions.ALL`, from cells in the order of `COLUMNS`.

    None if a cell is not a number from 0 to 255.
    """
    if not all(cell.isdecimal() and int(cell) <= 255 for cell in cells):
        return None
    return [int(cells[COLUMNS.index(name)]) for name in emotions.ALL]


def process(votes: Votes, mode: Mode) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Turns votes (N, 10) into targets over the eight emotions.

    Single votes are outliers and do not count. S below is the sum of the other votes.

    - `majority`: the class with most votes, if it has more than S/2; otherwise the row is dropped.
    - `probability`, `crossentropy`: classes are collected in the order of their votes, ties together, as long as
      the collected classes have less than three quarters of S and are fewer than three. Reaching unknown or not_a_face
      stops this, and that class counts only if it came first. Rows with more than three classes, or with S/2 votes or
      fewer, are dropped.
    - `multi_target`: all classes with at least 0.3 S, if together they have more than S/2; otherwise the row is
      dropped.

    Returns:
        targets (N, 8) float32, with rows that sum to 1 where kept and zeros elsewhere; kept (N,) bool. Rows whose top
        class is unknown or not_a_face are dropped, too.
    """
    counts = np.where(votes > 1, votes, 0).astype(np.int64)  # (N, 10)
    total = counts.sum(axis=1, keepdims=True)  # (N, 1)
    if mode == "majority":
        taken = counts * (counts == counts.max(axis=1, keepdims=True))
        taken *= 2 * taken.max(axis=1, keepdims=True) > total
    elif mode == "multi_target":
        taken = np.where(10 * counts >= 3 * total, counts, 0)
        taken *= 2 * taken.sum(axis=1, keepdims=True) > total
    else:
        taken = _gather(counts, total)
    kept = (taken.sum(axis=1) > 0) & (taken.argmax(axis=1) < EMOTIONS)
    cut = np.where(kept[:, None], taken[:, :EMOTIONS], 0)
    mass = np.maximum(cut.sum(axis=1, keepdims=True), 1)
    return (cut / mass).astype(np.float32), kept


def _gather(counts: NDArray[np.int64], total: NDArray[np.int64]) -> NDArray[np.int64]:
    """The votes (N, 10) of the classes that the modes `probability` and `crossentropy` collect."""
    order = np.argsort(-counts, axis=1, kind="stable")  # unknown and not_a_face come last in a tie
    ranked = np.take_along_axis(counts, order, axis=1)
    before = ranked.cumsum(axis=1) - ranked  # votes of the classes ahead of each rank
    rank = np.arange(counts.shape[1])
    # Tied classes are collected together: the state at the first of them decides.
    first = (ranked[:, :, None] == ranked[:, None, :]).argmax(axis=2)  # (N, 10)
    entered = (4 * np.take_along_axis(before, first, axis=1) < 3 * total) & (first < 3)
    other = order >= EMOTIONS
    ended = other.cumsum(axis=1) - other > 0  # unknown or not_a_face is ahead
    taken = entered & ~ended & (~other | (rank == 0))
    gathered = np.where(taken, ranked, 0)
    valid = (2 * gathered.sum(axis=1) > total[:, 0]) & (taken.sum(axis=1) <= 3)
    result = np.zeros_like(counts)
    np.put_along_axis(result, order, gathered * valid[:, None], axis=1)
    return result


def argmax(votes: Votes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The class with most votes, single votes included; ties go to the first of `COLUMNS`.

    Returns:
        labels (N,) as indices into the eight emotions; kept (N,) bool, false if the top class is unknown or not_a_face
        or there are no votes.
    """
    labels = _top(votes)
    kept = (labels < EMOTIONS) & (votes.sum(axis=1) > 0)
    return np.where(kept, labels, 0), kept


def majority_class(votes: Votes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The class with the majority of the votes (N, 10), single votes left out, among all ten of `emotions.ALL`.

    Returns:
        classes (N,) as indices into `emotions.ALL`; clear (N,) bool, whether it has more than half of these votes.
    """
    counts = np.where(votes > 1, votes, 0).astype(np.int64)
    top = counts.argmax(axis=1)
    return top, 2 * counts.max(axis=1) > counts.sum(axis=1)


def entropy(votes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """The disagreement of the annotators (N,): the entropy of their votes (N, C) in nats.

    0 if all chose the same class, log C for uniform votes; also 0 without votes.
    """
    shares = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)  # (N, C)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropies: NDArray[np.float64] = np.abs((shares * logs).sum(axis=1))  # the sum is at most 0
    return entropies


def one_against_rest(votes: Votes) -> NDArray[np.float64]:
    """How often one annotator of a face agrees with the majority of the others (N,), 0-1; 0 without votes.

    The majority is the class with most of the remaining votes; ties go to the first of `COLUMNS`. The mean estimates
    the accuracy of one person under the protocol `argmax`.
    """
    agreeing = np.zeros(len(votes), np.int64)
    for chosen in range(votes.shape[1]):
        voted = votes[:, chosen] > 0
        rest = votes[voted].astype(np.int64)
        rest[:, chosen] -= 1
        agreeing[voted] += np.where(_top(rest) == chosen, votes[voted, chosen], 0)
    shares: NDArray[np.float64] = agreeing / np.maximum(votes.sum(axis=1), 1)
    return shares


def _top(votes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The class (N,) with most votes (N, 10); ties go to the first of `COLUMNS`."""
    columns = np.asarray([emotions.ALL.index(name) for name in COLUMNS])
    top: NDArray[np.int64] = columns[votes[:, columns].argmax(axis=1)]
    return top
