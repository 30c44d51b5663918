"""FER+ label processing: from ten annotators' votes to labels or distributions, in its four modes.

Source: Barsoum, Zhang, Canton Ferrer and Zhang, "Training deep networks for facial expression recognition
with crowd-sourced label distribution", ICMI 2016, and the label processing published with its data. All
functions take votes (N, 10) in the order of `emotions.ALL`; they are vectorised over the rows.
"""

from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.errors import ConfigError

__all__ = ["COLUMNS", "EMOTIONS", "MODES", "Mode", "argmax", "entropy", "mode_of", "one_against_rest", "process"]

Votes = NDArray[np.uint8]
Mode = Literal["majority", "probability", "crossentropy", "multi_target"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)

# The order of FER+'s own CSV; only a tie between two emotions can show it.
COLUMNS: Final = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "not_a_face",
)
EMOTIONS: Final = 8  # the first eight of `emotions.ALL`; unknown and not_a_face follow


def mode_of(name: str) -> Mode:
    """The label mode of that name.

    Raises:
        ConfigError: There is none.
    """
    found = next((mode for mode in MODES if mode == name), None)
    if found is None:
        raise ConfigError(f"there is no label mode '{name}'", hint=f"choose one of {', '.join(MODES)}")
    return found


def process(votes: Votes, mode: Mode) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Turns votes (N, 10) into targets over the eight emotions.

    Single votes are outliers and do not count. S below is the sum of what remains.

    - `majority`: the top class, if it holds more than S/2.
    - `probability`, `crossentropy`: classes are gathered from the top, tied ones together, while less than
      three quarters of S and fewer than three classes are gathered. Meeting unknown or not_a_face ends it, and
      that class counts only if it came first. More than three classes, or S/2 or less: dropped.
    - `multi_target`: every class with at least 0.3 S, if together they hold more than S/2.

    Returns:
        targets (N, 8) float32, rows summing to 1 where kept and zero elsewhere; kept (N,) bool. A row is
        dropped as said above, or if its top class is unknown or not_a_face.
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
    """The classes that the modes `probability` and `crossentropy` take, as counts (N, 10)."""
    order = np.argsort(-counts, axis=1, kind="stable")  # unknown and not_a_face come last in a tie
    ranked = np.take_along_axis(counts, order, axis=1)
    before = ranked.cumsum(axis=1) - ranked  # gathered ahead of each rank
    rank = np.arange(counts.shape[1])
    # A tie is entered as a whole: what counts is the state at its first rank.
    first = (ranked[:, :, None] == ranked[:, None, :]).argmax(axis=2)  # (N, 10)
    entered = (4 * np.take_along_axis(before, first, axis=1) < 3 * total) & (first < 3)
    other = order >= EMOTIONS
    ended = other.cumsum(axis=1) - other > 0  # unknown or not_a_face stands ahead
    taken = entered & ~ended & (~other | (rank == 0))
    gathered = np.where(taken, ranked, 0)
    valid = (2 * gathered.sum(axis=1) > total[:, 0]) & (taken.sum(axis=1) <= 3)
    result = np.zeros_like(counts)
    np.put_along_axis(result, order, gathered * valid[:, None], axis=1)
    return result


def argmax(votes: Votes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The class with most votes, single votes included, a tie going to the first of `COLUMNS`.

    Returns:
        labels (N,) as indices into the eight emotions; kept (N,) bool, false where the top class is unknown or
        not_a_face or nobody voted.
    """
    labels = _top(votes)
    kept = (labels < EMOTIONS) & (votes.sum(axis=1) > 0)
    return np.where(kept, labels, 0), kept


def entropy(votes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """How far the annotators of each face disagree (N,): the entropy of their votes (N, C) in nats.

    0 where all chose the same, log C where they spread evenly; 0, too, where nobody voted.
    """
    shares = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)  # (N, C)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropies: NDArray[np.float64] = np.abs((shares * logs).sum(axis=1))  # the sum is never above 0
    return entropies


def one_against_rest(votes: Votes) -> NDArray[np.float64]:
    """How often one annotator of a face chooses what the others chose most (N,), 0-1; 0 where nobody voted.

    The others' choice is the class with most of the remaining votes, a tie going to the first of `COLUMNS`. The mean
    is about what one person reaches under the protocol `argmax`: a ceiling of a kind.
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
    """The column (N,) of votes (N, 10) that holds most, a tie going to the first of `COLUMNS`."""
    columns = np.asarray([emotions.ALL.index(name) for name in COLUMNS])
    top: NDArray[np.int64] = columns[votes[:, columns].argmax(axis=1)]
    return top
