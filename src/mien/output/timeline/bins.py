"""What each person of a video shows, as rows for statistics: one for each person, or for each part of the time."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from mien.files import new_file, write_errors
from mien.names import to_cell
from mien.output.timeline.measures import frame_lengths, mean_affect
from mien.output.timeline.series import Recording, Series

Cell = str | int | float | None

_FIXED: Final = ("source", "track", "begin", "end", "seen", "emotion", "valence", "arousal")
_DECIMALS: Final = 4


def rows(recording: Recording, seconds: float | None = None) -> Iterator[dict[str, Cell]]:
    """What the people of a video show, person by person.

    Args:
        recording: The video.
        seconds: The length of the bins of time, which begin at its multiples; None for one bin, the whole video. Every
            person has a row for every bin of the video, so that those of several videos can be laid side by side.

    Yields:
        `source`; `track`; `begin` and `end` of the bin; `seen`, the seconds for which the person is seen in it;
        `emotion`, the one that is the most probable for most of this time; `valence` and `arousal`, their means; for
        each emotion its `share_` of the time and its `mean_` probability. Without the person, all from `emotion` on are
        None.
    """
    if not recording.frames:
        return
    stop = recording.begin + recording.seconds
    if seconds is None:
        edges = np.array([recording.begin, stop])
    else:
        first = math.floor(recording.begin / seconds + 1e-9)
        edges = seconds * np.arange(first, max(math.ceil(stop / seconds - 1e-9), first + 1) + 1)
    for series in recording.series:
        yield from _of_person(series, edges)


def _of_person(series: Series, edges: np.ndarray) -> Iterator[dict[str, Cell]]:
    """The rows of one person. A frame counts for the bin in which it begins."""
    lengths = frame_lengths(series)
    labels = series.probabilities.argmax(axis=1)
    places = np.searchsorted(series.times, edges - 1e-9)
    for number, (begin, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        part = slice(places[number], places[number + 1] if number + 2 < len(edges) else None)
        weights = lengths[part]
        total = float(weights.sum())
        row: dict[str, Cell] = {"source": series.source, "track": series.track, "begin": begin, "end": end}
        row |= {"seen": total, "emotion": None, "valence": None, "arousal": None}
        shares = np.bincount(labels[part], weights, minlength=len(series.emotions))
        means = weights @ series.probabilities[part]
        if total > 0:
            row["emotion"] = series.emotions[int(shares.argmax())]
            row["valence"], row["arousal"] = mean_affect(series.affect[part], weights)
        for name, values in (("share", shares), ("mean", means)):
            for emotion, value in zip(series.emotions, values.tolist(), strict=True):
                row[f"{name}_{emotion}"] = value / total if total > 0 else None
        yield row


def write_bins(target: Path, recordings: Sequence[Recording], seconds: float | None = None) -> int:
    """Writes the rows of all videos as CSV; gives their number. Without a person there is the header alone.

    Raises:
        OutputError: The file cannot be written.
    """
    found = [row for recording in recordings for row in rows(recording, seconds)]
    emotions = dict.fromkeys(name for recording in recordings for name in recording.emotions)
    shares = [f"{kind}_{name}" for kind in ("share", "mean") for name in emotions]
    columns = list(dict.fromkeys([*_FIXED, *shares, *(name for row in found for name in row)]))
    with new_file(target, "w", encoding="utf-8", newline="") as file, write_errors(target):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row.get(name)) for name in columns] for row in found)
    return len(found)


def _cell(value: Cell) -> str | int | float:
    if value is None:
        return ""
    return to_cell(value) if isinstance(value, str) else round(value, _DECIMALS)
