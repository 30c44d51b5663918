"""What was found of a data set: one line for each image, most suspicious first, as the CSV file has it."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mien.curate.copies import Copies
from mien.curate.images import Faceness, Quality
from mien.datasets import Samples
from mien.datasets.exclude import IMAGE, KEEP, NAME, fingerprint
from mien.datasets.samples import NO_LABEL, SPLITS
from mien.evaluation.curation import Curation
from mien.evaluation.report.text import columns
from mien.files import new_file
from mien.names import printable

# The reasons in the order in which one image gets them, with their meaning.
REASONS: Final[Mapping[str, str]] = {
    "blank": "every pixel is the same",
    "not-a-face": "neither the landmark network nor the detector finds a face",
    "conflicting-duplicate": "the same image is there with another label, which is more probable",
    "duplicate": "the same image, bit for bit, is there with the same label",
    "near-duplicate": "nearly the same image is there with the same label",
    "label": "another class is more probable, by confident learning",
    "low-quality": "dark, bright, without contrast, or blurred",
}
_NO_CLASS: Final = ("blank", "not-a-face")  # an image that shows no face has no better label
COLUMNS: Final = (KEEP, NAME, "split", "row", "reason", "score", "label", "proposed", "also", "note", IMAGE)


@dataclass(frozen=True, slots=True)
class Find:
    """An image that is suspicious.

    Attributes:
        row: Its place in the samples.
        reason: A key of `REASONS`.
        score: How suspicious it is, 0-1; comparable within one reason.
        label: The given label; empty without one.
        proposed: The class that is more probable; empty if none is proposed.
        note: The details in words.
        also: Further reasons.
        other: The row of the copy that stays; None if the reason is not a copy.
    """

    row: int
    reason: str
    score: float
    label: str = ""
    proposed: str = ""
    note: str = ""
    also: tuple[str, ...] = ()
    other: int | None = None


def collect(
    samples: Samples,
    *,
    judged: Curation | None = None,
    copies: Copies | None = None,
    too_many: Mapping[int, int] | None = None,
    faces: Faceness | None = None,
    quality: Quality | None = None,
) -> list[Find]:
    """One find for each suspicious image: in the order of `REASONS`, in each the most suspicious first."""
    by_row: dict[int, list[Find]] = {}
    for find in (
        *(_blank(quality) if quality else ()),
        *(_faceless(faces) if faces else ()),
        *(_copies(samples, copies, too_many or {}) if copies else ()),
        *(_mislabelled(judged) if judged else ()),
        *(_poor(quality) if quality else ()),
    ):
        by_row.setdefault(find.row, []).append(find)
    rank = {reason: place for place, reason in enumerate(REASONS)}
    found = []
    for row, finds in by_row.items():
        first, *others = sorted(finds, key=lambda find: rank[find.reason])
        label = "" if samples.labels[row] == NO_LABEL else samples.classes[samples.labels[row]]
        proposed = next((find.proposed for find in (first, *others) if find.proposed), "")
        proposed = "" if first.reason in _NO_CLASS else proposed
        also = tuple(find.reason for find in others)
        note = "; ".join(filter(None, (first.note, *(find.note for find in others))))
        found.append(Find(row, first.reason, first.score, label, proposed, note, also, first.other))
    return sorted(found, key=lambda find: (rank[find.reason], -find.score, find.row))


def _blank(quality: Quality) -> Iterator[Find]:
    for row in np.flatnonzero(quality.blank).tolist():
        yield Find(row, "blank", 1.0)


def _faceless(faces: Faceness) -> Iterator[Find]:
    for row in np.flatnonzero(faces.missing).tolist():
        note = f"face scores: landmarks {faces.landmarks[row]:.2f}, detector {faces.detector[row]:.2f}"
        yield Find(row, "not-a-face", float(faces.suspicion[row]), note=note)


def _copies(samples: Samples, copies: Copies, too_many: Mapping[int, int]) -> Iterator[Find]:
    for row, stays in too_many.items():
        differ = samples.labels[row] not in (NO_LABEL, samples.labels[stays])
        same = samples.images[row].tobytes() == samples.images[stays].tobytes()
        place = SPLITS[samples.split[stays]]
        title = samples.names[stays] or f"row {stays}"
        note = f"{'copy' if same else 'near copy'} of {title} in {place}"
        proposed = samples.classes[samples.labels[stays]] if differ else ""
        reason = "conflicting-duplicate" if differ else "duplicate" if same else "near-duplicate"
        yield Find(row, reason, copies.pairs[row][stays], "", proposed, note, (), stays)


def _mislabelled(judged: Curation) -> Iterator[Find]:
    for row in np.flatnonzero(judged.suspect).tolist():
        margin = float(-judged.margin[row])
        yield Find(row, "label", max(margin, 0.0), "", judged.classes[judged.better[row]])


def _poor(quality: Quality) -> Iterator[Find]:
    for row, (reason, score) in quality.trouble.items():
        yield Find(row, "low-quality", min(score, 1.0), note=reason)


def counts_of(finds: Sequence[Find]) -> dict[str, int]:
    """The number of finds of each reason that has any, in the order of `REASONS`."""
    counts = Counter(find.reason for find in finds)
    return {reason: counts[reason] for reason in REASONS if counts[reason]}


def write_csv(path: Path, samples: Samples, finds: Sequence[Find]) -> None:
    """Writes the list that `--exclude` reads.

    Raises:
        OutputError: It cannot be written.
    """
    with new_file(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for find in finds:
            writer.writerow(
                [
                    "",
                    samples.names[find.row],
                    SPLITS[samples.split[find.row]],
                    find.row,
                    find.reason,
                    f"{find.score:.3f}",
                    find.label,
                    find.proposed,
                    " ".join(find.also),
                    printable(find.note),
                    fingerprint(samples.images[find.row]),
                ]
            )


@dataclass(frozen=True, slots=True, eq=False)
class Curated:
    """What was found of a data set.

    Attributes:
        name: Of the data.
        samples: The images, with their labels.
        finds: By reason, most suspicious first.
        labels: What confident learning says; None if labels were not judged.
        judged_by: What the labels were judged by, in words; empty if they were not.
        left_out: Images that cannot be read, with the reason.
        notes: What the user should know.
    """

    name: str
    samples: Samples
    finds: tuple[Find, ...]
    labels: Curation | None = None
    judged_by: str = ""
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The summary."""
        total = len(self.samples)
        suspicious = f"{len(self.finds):,} of {total:,} images are suspicious ({len(self.finds) / total:.1%})"
        lines = [suspicious]
        if self.labels is not None:
            known = int((self.labels.labels != NO_LABEL).sum())
            lines.append(f"labels: about {self.labels.noise:.1%} of {known:,} are wrong by estimate; {self.judged_by}")
        rows = [("reason", "images", "share")]
        rows += [(reason, f"{count:,}", f"{count / total:.1%}") for reason, count in counts_of(self.finds).items()]
        return "\n".join(lines) + "\n\n" + columns(rows, "<>>")

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        return {
            "data": self.name,
            "images": len(self.samples),
            "suspicious": len(self.finds),
            "reasons": counts_of(self.finds),
            "judged_by": self.judged_by,
            "labels": None if self.labels is None else self.labels.as_dict(),
            "left_out": list(self.left_out),
            "notes": list(self.notes),
        }
