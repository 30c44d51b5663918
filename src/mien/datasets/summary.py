"""The content of a store in figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.datasets import ferplus
from mien.datasets.samples import NO_LABEL, Samples

__all__ = ["Agreement", "Summary", "counts_table", "summarise", "text"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of the annotators of one split, over the faces whose top class is an emotion.

    Attributes:
        faces: Number of these faces.
        entropy: Mean entropy of the votes of a face on the eight emotions, in nats.
        one_against_rest: How often one annotator agrees with the majority of the others, 0-1.
    """

    faces: int
    entropy: float
    one_against_rest: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The content of a store.

    Attributes:
        counts: Number of labelled faces by split and class.
        unlabelled: Number of faces without a label by split.
        duplicates: Number of cross-split duplicates by split.
        dropped_duplicates: Number of training duplicates that were dropped when the store was built.
        constant: Number of images with a single grey level or colour by split.
        agreement: Agreement of the annotators by split; empty without votes.
    """

    counts: dict[str, dict[str, int]]
    unlabelled: dict[str, int]
    duplicates: dict[str, int]
    dropped_duplicates: int
    constant: dict[str, int]
    agreement: dict[str, Agreement]


def summarise(samples: Samples) -> Summary:
    """Summarises samples."""
    splits = {name: samples.only(name) for name in samples.counts()}
    agreement = {name: _agreement(part.votes) for name, part in splits.items() if part.votes is not None}
    return Summary(
        counts=samples.counts(),
        unlabelled={name: int((part.labels == NO_LABEL).sum()) for name, part in splits.items()},
        duplicates={name: int(part.duplicate.sum()) for name, part in splits.items()},
        dropped_duplicates=int(str(samples.about.get("dropped_training_duplicates", 0))),
        constant={name: _constant(part) for name, part in splits.items()},
        agreement={name: found for name, found in agreement.items() if found.faces},
    )


def _constant(samples: Samples) -> int:
    flat = samples.images.reshape(len(samples), samples.images.shape[1] * samples.images.shape[2], -1)
    return int((flat == flat[:, :1]).all(axis=(1, 2)).sum())


def _agreement(votes: ferplus.Votes) -> Agreement:
    _, kept = ferplus.argmax(votes)
    if not kept.any():
        return Agreement(0, np.nan, np.nan)
    chosen = votes[kept]
    return Agreement(
        faces=len(chosen),
        entropy=float(ferplus.entropy(chosen[:, : ferplus.EMOTIONS]).mean()),
        one_against_rest=float(ferplus.one_against_rest(chosen).mean()),
    )


def text(summary: Summary) -> str:
    """The summary as lines of text with one column per split."""
    splits = list(summary.counts)
    parts = [("duplicates", summary.duplicates), ("constant", summary.constant)]
    if any(summary.unlabelled.values()):
        parts.insert(0, ("without a label", summary.unlabelled))
    tables = [counts_table(summary.counts), _columns([(name, [f"{n[key]:,}" for key in splits]) for name, n in parts])]
    notes = [
        "Duplicates: the same image, bit for bit, is in train and in val or test of the source; "
        f"{summary.dropped_duplicates:,} of train were dropped when the store was built.",
        "Constant: images with a single grey level or colour.",
    ]
    if summary.agreement:
        known = [summary.agreement.get(name) for name in splits]
        rows = [
            ("votes: faces", [f"{found.faces:,}" if found else "-" for found in known]),
            ("mean entropy (nats)", [f"{found.entropy:.3f}" if found else "-" for found in known]),
            ("one against the rest", [f"{found.one_against_rest:.1%}" if found else "-" for found in known]),
        ]
        tables.append(_columns(rows))
        notes += [
            "Votes: faces whose top class is an emotion. Entropy: of the votes of a face on the emotions.",
            "One against the rest: how often one annotator agrees with the majority of the others.",
        ]
    return "\n\n".join([*tables, "\n".join(notes)]) + "\n"


def counts_table(counts: dict[str, dict[str, int]]) -> str:
    """Number of faces by class (rows) and split (columns), with sums."""
    classes = next(iter(counts.values()), {})
    rows = [("class", list(counts))]
    rows += [(name, [f"{table[name]:,}" for table in counts.values()]) for name in classes]
    rows.append(("all", [f"{sum(table.values()):,}" for table in counts.values()]))
    return _columns(rows)


def _columns(rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    return "\n".join(f"{name:<22}" + "".join(f"{cell:>10}" for cell in cells) for name, cells in rows)
