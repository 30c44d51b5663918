"""Timelines as files: an HTML page without scripts or requests, or a PNG image; and as an output of an analysis."""

import html
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import ConfigError
from mien.files import new_file, replacing, writable, write_errors
from mien.names import printable
from mien.output.console import exact_clock
from mien.output.drawing.shapes import Item, moved, pixels, svg
from mien.output.faces_chart import chart
from mien.output.photographs import PhotographSummary
from mien.output.timeline.layout import clock, timeline
from mien.output.timeline.measures import Summary, summaries
from mien.output.timeline.series import Collector, Recording
from mien.results import FrameResult

SUFFIXES: Final = (".html", ".png")

_STYLE: Final = """
:root { color-scheme: dark; }
body { margin: 0; background: #14161c; color: #eceef4; font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 0 12px 48px; }
svg { width: 100%; min-width: 720px; height: auto; display: block; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 8px 0 24px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 14px 4px 0; text-align: right; }
th { color: #9ea4b2; font-weight: 500; }
th:first-child, td:first-child, .two th:nth-child(2), .two td:nth-child(2) { text-align: left; }
tbody tr { border-top: 1px solid #363a46; }
h2 { margin: 28px 0 0; font-size: 17px; font-weight: 600; }
p { margin: 4px 0; color: #9ea4b2; }
details { margin: 4px 0; } summary { cursor: pointer; color: #9ea4b2; }
main > :not(.chart) { margin-left: 2.26%; margin-right: 2.26%; } /* where the drawing begins */
@media print { body { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""


def check_suffix(target: Path) -> None:
    """Refuses a file whose suffix is none of `SUFFIXES`.

    Raises:
        ConfigError: The message names the suffixes.
    """
    if target.suffix.lower() not in SUFFIXES:
        expected = " or ".join(SUFFIXES)
        found = f"'{target.suffix}'" if target.suffix else "none"
        raise ConfigError(
            f"no format of timelines for '{target}': expected the suffix {expected}, found {found}",
            hint=f"for example {target.with_suffix('.html')}",
        )


def write_timeline(target: Path, recordings: Sequence[Recording], images: PhotographSummary | None = None) -> None:
    """Writes the timeline of some videos, and what faces in images show, in the format that the suffix names.

    Raises:
        ConfigError: There is no such format.
        OutputError: The file cannot be written.
    """
    check_suffix(target)
    if target.suffix.lower() == ".html":
        with new_file(target, "w", encoding="utf-8") as file, write_errors(target):
            file.write(page(recordings, images))
    else:
        with replacing(target) as partial, write_errors(target):
            Image.fromarray(image(recordings, images)).save(partial, "PNG", optimize=True)


class Timeline:
    """An output that draws the emotions over time of all people of the videos that are analyzed.

    Args:
        target: An .html or .png file; it is written at the end, also after an error, with what there is until then.

    Attributes:
        has_frames: Whether there was a frame of a video; if not, no file is written, and an older one stays.

    Raises:
        ConfigError: There is no such format.
        OutputError: On entering, nothing can be written there; at the end, the file cannot be written.
    """

    def __init__(self, target: str | Path) -> None:
        self.target = Path(target)
        check_suffix(self.target)
        self._collector: Collector | None = None
        self.has_frames = False

    def __enter__(self) -> Self:
        writable(self.target)
        self._collector, self.has_frames = Collector(), False
        return self

    def write(self, result: FrameResult) -> None:
        """Adds one result; only those of videos are drawn.

        Raises:
            ValueError: This output is not open.
        """
        if self._collector is None:
            raise ValueError("the output is not open: use it in a with statement")
        self._collector.add(result)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        collector, self._collector = self._collector, None
        found = collector.recordings() if collector else []
        self.has_frames = any(each.frames for each in found)
        if self.has_frames:
            write_timeline(self.target, found)


def page(recordings: Sequence[Recording], images: PhotographSummary | None = None) -> str:
    """The HTML page: the picture, and the numbers of each person and of the faces in images."""
    names = [printable(Path(each.source).name) for each in recordings]
    names += ["faces in images"] if images is not None else []
    shows = ["emotions over time"] * bool(recordings) + ["emotions of faces in images"] * (images is not None)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(", ".join(names)[:200])}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<div class="wide chart">{svg(" and ".join(shows).capitalize(), *drawn(recordings, images))}</div>
{_of_videos(recordings) if recordings else ""}
{_of_images(images) if images is not None else ""}
<p>Expressions are not feelings: people do not always show what they feel, nor feel what they show.</p>
</main>
</body>
</html>
"""


def _of_videos(recordings: Sequence[Recording]) -> str:
    """The tables of the people in videos."""
    found = summaries(list(recordings))
    said = html.escape("; ".join(dict.fromkeys(each.probabilities for each in recordings)))
    return f"""<h2>Shares of time</h2>
<p>The share of the time in which an emotion is the most probable. Probabilities: {said}.</p>
{_table(*_shares(found))}
<h2>Changes and movement</h2>
{_table(*_movement(found))}
{_episodes(found)}"""


def _of_images(found: PhotographSummary) -> str:
    """The table of the faces in images."""
    heads = ["emotion", "faces", "share", "mean probability", "images"]
    rows = [
        [name.replace("_", " "), f"{each.faces:,}", f"{each.share:.1%}", f"{each.mean:.1%}", f"{each.images:,}"]
        for name, each in found.emotions.items()
    ]
    return f"""<h2>Faces in images</h2>
<p>Faces of which an emotion is the most probable, its mean probability over all faces, and images with such a face.</p>
{_table(heads, rows, names=1)}"""


def _shares(found: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    emotions = list(dict.fromkeys(name for each in found for name in each.shares))
    heads = ["video", "person", "seen", *(name.replace("_", " ") for name in emotions)]
    rows = [
        [
            *_name(each),
            clock(each.seconds),
            *(f"{each.shares[name]:.0%}" if name in each.shares else "" for name in emotions),
        ]
        for each in found
    ]
    return heads, rows


def _movement(found: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    heads = ["video", "person", "changes/min", "blinks/min", "head °/s", "yaw range °", "pitch range °"]
    rows = [
        [
            *_name(each),
            f"{each.changes_per_minute:.1f}",
            _or_dash(each.blinks_per_minute),
            _or_dash(each.head_movement),
            *(map(_or_dash, each.head_range or (None, None))),
        ]
        for each in found
    ]
    return heads, rows


def _name(found: Summary) -> list[str]:
    return [printable(Path(found.source).name), "–" if found.track is None else str(found.track)]


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _episodes(found: Sequence[Summary]) -> str:
    """The episodes of each person, closed until they are wanted."""
    parts = []
    for each in found:
        rows = [
            [exact_clock(one.begin), exact_clock(one.end), one.emotion, f"{one.confidence:.0%}"]
            for one in each.episodes
        ]
        video, person = _name(each)
        name = html.escape(f"{video}, person {person}: {len(rows)} episode{'' if len(rows) == 1 else 's'}")
        parts.append(f"<details><summary>{name}</summary>{_table(['from', 'to', 'emotion', 'mean'], rows)}</details>")
    return "\n".join(parts)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], names: int = 2) -> str:
    """A table whose first columns, one or two, are names; the others are numbers."""
    head = "".join(f"<th>{html.escape(each)}</th>" for each in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{html.escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    kind = ' class="two"' if names == 2 else ""
    return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def drawn(recordings: Sequence[Recording], images: PhotographSummary | None = None) -> tuple[int, list[Item]]:
    """The height of the picture and what is in it: the videos, and below them the faces of images."""
    height, items = timeline(recordings) if recordings else (0, [])
    if images is None:
        return height, items
    lower, more = chart(images)
    return height + lower, [*items, *(moved(item, height) for item in more)]


def image(recordings: Sequence[Recording], images: PhotographSummary | None = None) -> NDArray[np.uint8]:
    """The picture, (H, W, 3) uint8 RGB, at twice the size of the layout or, if it is very long, smaller."""
    return pixels(*drawn(recordings, images))
