"""The content of a store: figures as text, and plots of counts, contact sheets and the agreement of annotators."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mien.datasets import ferplus
from mien.datasets.clips import clips_of
from mien.datasets.samples import NO_LABEL, SPLITS, Samples
from mien.errors import MissingExtraError
from mien.files import replacing, write_errors
from mien.output.drawing.palette import colour_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        sources: What the classes were called in the source; see `source_rows`.
        clips: Number of labelled clips by split and class; empty without clips.
        notes: The clips, the persons, the keypoints, the affect and what was left out, in words.
    """

    counts: dict[str, dict[str, int]]
    unlabelled: dict[str, int]
    duplicates: dict[str, int]
    dropped_duplicates: int
    constant: dict[str, int]
    agreement: dict[str, Agreement]
    sources: list[list[str]]
    clips: dict[str, dict[str, int]]
    notes: list[str]


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
        sources=source_rows(samples.about),
        clips=clip_counts(samples),
        notes=_notes(samples),
    )


def clip_counts(samples: Samples) -> dict[str, dict[str, int]]:
    """Number of labelled clips by split and class; empty without clips."""
    clips = clips_of(samples)
    return {
        split: {
            name: sum(clip.split == split and clip.label == index for clip in clips)
            for index, name in enumerate(samples.classes)
        }
        for split in SPLITS
        if any(clip.split == split for clip in clips)
    }


def _notes(samples: Samples) -> list[str]:
    """The clips, the persons, the keypoints, the affect and what was left out, in words."""
    notes = []
    persons = "" if samples.subjects is None else f" of {len(set(samples.subjects[samples.subjects != ''])):,} persons"
    if clips := clips_of(samples):
        lengths = sorted(map(len, clips))
        shortest, middle, longest = lengths[0], lengths[len(lengths) // 2], lengths[-1]
        span = f"{shortest}" if shortest == longest else f"{shortest} to {longest}, median {middle},"
        notes.append(f"Clips: {len(clips):,} clips{persons}, each of {span} frames.")
    elif persons:
        notes.append(f"Persons: {len(samples):,} images{persons}.")
    if samples.keypoints is not None:
        known = int(np.isfinite(samples.keypoints).all(axis=(1, 2)).sum())
        notes.append(f"Keypoints: {known:,} of {len(samples):,} faces have keypoints ({samples.keypoint_scheme}).")
    if samples.affect is not None:
        rated = np.isfinite(samples.affect).all(axis=1)
        means = " and ".join(f"{value:+.2f}" for value in samples.affect[rated].mean(axis=0)) if rated.any() else "none"
        notes.append(
            f"Affect: {int(rated.sum()):,} of {len(samples):,} faces have valence and arousal, on average {means}."
        )
    lost = {
        name.removeprefix("dropped_").replace("_", " "): value
        for name, value in samples.about.items()
        if name.startswith("dropped_") and name != "dropped_training_duplicates" and value
    }
    if lost:
        counts = ", ".join(f"{value:,} {name}" for name, value in lost.items())
        notes.append(f"Left out when the store was built: {counts}.")
    return notes


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
    renamed = any(name != label for name, label, *_ in summary.sources[1:-1])
    tables = [_table(summary.sources)] if renamed else []
    tables += [counts_table(summary.counts), _columns([(name, [f"{n[key]:,}" for key in splits]) for name, n in parts])]
    if summary.clips:
        tables.insert(len(tables) - 1, counts_table(summary.clips, "clips"))
    notes = [
        *summary.notes,
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


def source_rows(about: Mapping[str, object]) -> list[list[str]]:
    """What the classes were called in the source, the class that each name means, and its faces by split when built.

    The first row is the header, the last one has the sums; empty for a store that does not know its sources.
    """
    sources = about.get("sources")
    if not isinstance(sources, dict) or not sources:
        return []
    splits = [name for name in SPLITS if any(name in entry for entry in sources.values())]
    rows = [[str(about.get("source_kind", "source")), "class", *splits]]
    rows += [[name, entry["class"], *(f"{entry[split]:,}" for split in splits)] for name, entry in sources.items()]
    return [*rows, ["all", "", *(f"{sum(entry[split] for entry in sources.values()):,}" for split in splits)]]


def one_to_one(about: Mapping[str, object]) -> bool:
    """Whether every class has one name in the source, so that the table of sources counts the classes as well."""
    rows = source_rows(about)[1:-1]
    return bool(rows) and len({row[1] for row in rows}) == len(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        words = [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
        lines.append("  ".join(words) + "".join(f"{cell:>10}" for cell in row[2:]))
    return "\n".join(lines)


def counts_table(counts: dict[str, dict[str, int]], head: str = "class") -> str:
    """Number of faces, or of what `head` says, by class (rows) and split (columns), with sums."""
    classes = next(iter(counts.values()), {})
    rows = [(head, list(counts))]
    rows += [(name, [f"{table[name]:,}" for table in counts.values()]) for name in classes]
    rows.append(("all", [f"{sum(table.values()):,}" for table in counts.values()]))
    return _columns(rows)


def _columns(rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    return "\n".join(f"{name:<22}" + "".join(f"{cell:>10}" for cell in cells) for name, cells in rows)


_ROWS: Final = 6
_COLUMNS: Final = 10
_MUTED: Final = "#8a919e"


def plot(samples: Samples, folder: Path, *, seed: int = 0) -> list[Path]:
    """Writes PNG images into `folder`, which is created if it does not exist.

    These are `counts.png`, `contact-<class>.png` with up to sixty random faces and, if there are votes, `agreement.png`
    with the entropies of the votes.

    Returns:
        The files written.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: The folder cannot be written.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("plotting", "report") from error
    figures = {"counts": _counts_figure(samples)}
    random = np.random.default_rng(seed)
    for index, name in enumerate(samples.classes):
        rows = np.flatnonzero(samples.labels == index)
        if len(rows):
            chosen = np.sort(random.choice(rows, min(len(rows), _ROWS * _COLUMNS), replace=False))
            figures[f"contact-{name}"] = _contact_sheet(
                samples.subset(chosen), f"{name}: {len(chosen)} of {len(rows):,}"
            )
    if samples.votes is not None:
        figures["agreement"] = _agreement_figure(samples)
    written = []
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            written.append(folder / f"{name}.png")
            with replacing(written[-1]) as partial:
                figure.savefig(partial, format="png")
    return written


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def _counts_figure(samples: Samples) -> "Figure":
    counts = samples.counts()
    figure = _figure(9, 4.5)
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axes, (split, table) in zip(panels, counts.items(), strict=True):
        colours = [tuple(part / 255 for part in colour_of(name)) for name in table]
        bars = axes.barh(list(table), list(table.values()), color=colours)
        axes.bar_label(bars, [f"{count:,}" for count in table.values()], padding=4, fontsize=9, color="#444")
        axes.set_title(f"{split}: {sum(table.values()):,} faces", loc="left", fontsize=11)
        axes.margins(x=0.2)
        axes.xaxis.set_visible(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    panels[0].invert_yaxis()  # the panels share it
    return figure


def _contact_sheet(samples: Samples, title: str) -> "Figure":
    count = len(samples)
    rows = math.ceil(count / _COLUMNS)
    height, width = samples.images.shape[1:3]
    gap = max(1, width // 24)
    sheet = np.full((rows * (height + gap) - gap, _COLUMNS * (width + gap) - gap, *samples.images.shape[3:]), 255)
    for place, image in enumerate(samples.images):
        top, left = place // _COLUMNS * (height + gap), place % _COLUMNS * (width + gap)
        sheet[top : top + height, left : left + width] = image
    figure = _figure(10, 10 * sheet.shape[0] / sheet.shape[1] + 0.4)
    axes = figure.subplots()
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    axes.set_title(title, loc="left", fontsize=12)
    axes.axis("off")
    return figure


def _agreement_figure(samples: Samples) -> "Figure":
    votes = samples.votes if samples.votes is not None else np.zeros((0, 10), np.uint8)
    _, kept = ferplus.argmax(votes)
    entropies = ferplus.entropy(votes[kept][:, : ferplus.EMOTIONS])
    figure = _figure(8, 4)
    axes = figure.subplots()
    axes.hist(entropies, bins=np.linspace(0, math.log(ferplus.EMOTIONS), 43).tolist(), color="#3880f0")
    axes.set(xlabel="entropy of the votes of a face (nats); 0: all agree", ylabel="faces")
    if len(entropies):
        axes.axvline(float(entropies.mean()), color=_MUTED, linestyle="--", linewidth=1.2)
        axes.set_title(
            f"{len(entropies):,} faces, mean {entropies.mean():.3f} nats, {(entropies == 0).mean():.0%} unanimous",
            loc="left",
            fontsize=11,
        )
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
