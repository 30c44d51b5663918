"""`mien report`: what a table says about people in videos and faces in images, in numbers and as a picture."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import print_line, print_table, tell
from mien.cli.options import AsJson, Quiet
from mien.errors import ConfigError
from mien.names import counted, to_json

if TYPE_CHECKING:
    from mien.output.photographs import PhotographSummary
    from mien.output.timeline.measures import RecordingSummary, Summary
    from mien.output.timeline.series import Recording

_MOST_EPISODES = 12  # that are printed of each person
_LEAST_BIN = 0.01  # seconds


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("report")(report)


def report(
    table: Annotated[
        Path,
        typer.Argument(
            help="A table that mien analyze --table wrote (mien formats lists the formats).", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Also draw it: .html or .png; or write a row for each person of each video: .csv.",
            show_default=False,
        ),
    ] = None,
    bins: Annotated[
        float | None,
        typer.Option(
            "--bins",
            help="With --out rows.csv: a row for each person and each so many seconds of the video.",
            show_default=False,
        ),
    ] = None,
    smooth: Annotated[
        float | None,
        typer.Option(
            "--smooth",
            help="Seconds over which the probabilities of single frames are smoothed; 0 for none. By default the "
            "smoothed ones of the table count, or else 0.6 as in an analysis.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Summarises a table: emotions of people over time in videos, of faces in images.

    Of videos it gives the shares of time, changes and episodes of each person, and their curves; of images how many
    faces show which emotion, and with --out their valence and arousal, too.

    It needs the table alone. A table with keypoints also gives blinks per minute and the movement of the head. The
    numbers of videos are those of smoothed probabilities, as in a timeline: the table's, or else the report smooths
    them.
    """
    from mien.expression.smoothing import SECONDS
    from mien.media.picking import TrackingOptions
    from mien.output.photographs import Photographs
    from mien.output.timeline import bins as binned
    from mien.output.timeline.measures import recording_summary
    from mien.output.timeline.render import write_timeline
    from mien.output.timeline.series import read_table

    _check_outputs(table, out, bins)
    try:
        TrackingOptions(smooth=smooth)  # refuses numbers without a meaning
    except ConfigError as error:
        raise ConfigError(f"--{error.message}", hint=error.hint) from None
    photographs = Photographs()
    recordings = read_table(table, SECONDS if smooth is None else smooth, photographs, raw=smooth is not None)
    images = photographs.summary() if photographs.sources else None
    if out is not None and not recordings and (_is_rows(out) or images is None or not images.faces):
        wanted = "write to" if _is_rows(out) else "draw in"
        found = "no video" if _is_rows(out) else "no video, and no face in an image"
        raise ConfigError(f"'{table}' has nothing to {wanted} '{out}': {found}")
    videos = [recording_summary(each) for each in recordings]
    if as_json:
        shown = {"videos": [each.as_dict() for each in videos], "images": images and images.as_dict()}
        print(to_json(shown, indent=1))
    else:
        for recording, video in zip(recordings, videos, strict=True):
            _print_recording(recording, video)
        if images is not None:
            _print_photographs(table, images)
    if out is None:
        return
    if _is_rows(out):
        count = binned.write_bins(out, recordings, bins)
        text = f"written: {out} ({counted(count, 'row')})"
    else:
        write_timeline(out, recordings, images)
        text = f"written: {out}"
    if not quiet:
        tell(text)


def _is_rows(out: Path) -> bool:
    return out.suffix.lower() == ".csv"


def _check_outputs(table: Path, out: Path | None, bins: float | None) -> None:
    """Refuses an output before the table is read.

    Raises:
        ConfigError: It would replace the table, has another suffix, or the bins are no time or without rows.
    """
    from mien.output.timeline.render import check_suffix

    if bins is not None and not (math.isfinite(bins) and bins >= _LEAST_BIN):
        raise ConfigError(f"--bins: expected seconds from {_LEAST_BIN}, got {bins:g}", hint="for example --bins 10")
    if bins is not None and (out is None or not _is_rows(out)):
        raise ConfigError("--bins has no effect without rows", hint="add --out rows.csv")
    if out is None:
        return
    if not _is_rows(out):
        check_suffix(out)
    if out.resolve() == table.resolve():
        raise ConfigError(f"the report would replace the table '{table}'", hint="give the report another name")


def _print_recording(recording: "Recording", video: "RecordingSummary") -> None:
    """One video."""
    from mien.output.timeline.layout import clock

    length, empty, people = clock(video.seconds), video.without_face / max(video.frames, 1), list(video.people)
    if video.frames:
        print_line(f"{video.source}: {length}, {counted(video.frames, 'frame')}, {empty:.0%} of them without a face")
    if video.error:
        what = "not all of it could be read" if video.frames else "could not be read"
        print_line(f"{video.source}: {what}: {video.error}")
    if together := max((series.together for series in recording.series), default=1) - 1:
        print_line(f"It is so long that {together + 1} frames in a row count as one, of which these are the means.")
    if people:
        print_line(f"Probabilities: {recording.probabilities}.")
        print_table(*_shares(people), right=range(1, 20))
        print_table(*_movement(people), right=range(1, 20))
        print_table(("person", "from", "to", "emotion", "mean"), _episodes(people), right=(1, 2, 4))


def _print_photographs(table: Path, found: "PhotographSummary") -> None:
    """All images of the table."""
    parts = [counted(found.images, "image"), counted(found.faces, "face")]
    parts += [f"{counted(found.without_face, 'image')} without a face"] if found.without_face else []
    if found.unread:
        parts.append(f"{found.unread:,} could not be read")
    print_line(f"{table}: {', '.join(parts)}")
    if not found.emotions:
        return
    rows = [
        (name, f"{each.faces:,}", f"{each.share:.0%}", f"{each.mean:.0%}", f"{each.images:,}")
        for name, each in found.emotions.items()
    ]
    print_table(("emotion", "faces", "share", "mean probability", "images"), rows, right=range(1, 5))
    known = sum(each.faces for each in found.emotions.values())
    print_line(f"{found.uncertain:,} of {counted(known, 'face')} {'is' if found.uncertain == 1 else 'are'} uncertain.")
    if found.valence is not None and found.arousal is not None:
        print_line(f"Mean valence {found.valence:+.2f}, mean arousal {found.arousal:+.2f} (-1 to 1).")


def _person(found: "Summary") -> str:
    return "faces" if found.track is None else str(found.track)


def _shares(found: "list[Summary]") -> tuple[list[str], list[list[str]]]:
    """The share of the time in which each emotion is the most probable."""
    from mien.output.timeline.layout import clock

    names = list(found[0].shares)
    rows = [[_person(each), clock(each.seconds), *(f"{each.shares[name]:.0%}" for name in names)] for each in found]
    return ["person", "seen", *names], rows


def _movement(found: "list[Summary]") -> tuple[list[str], list[list[str]]]:
    """Changes, valence and arousal, and with keypoints blinks and the movement of the head."""
    heads, rows = ["person", "changes/min"], [[_person(each), f"{each.changes_per_minute:.1f}"] for each in found]
    for head, name, form in (
        ("valence", "valence", "+.2f"),
        ("arousal", "arousal", "+.2f"),
        ("blinks/min", "blinks_per_minute", ".1f"),
        ("head °/s", "head_movement", ".1f"),
    ):
        values = [getattr(each, name) for each in found]
        if any(value is not None for value in values):
            heads.append(head)
            for row, value in zip(rows, values, strict=True):
                row.append("" if value is None else f"{value:{form}}")
    return heads, rows


def _episodes(found: "list[Summary]") -> Iterator[list[str]]:
    from mien.output.console import exact_clock

    for each in found:
        for one in each.episodes[:_MOST_EPISODES]:
            yield [_person(each), exact_clock(one.begin), exact_clock(one.end), one.emotion, f"{one.confidence:.0%}"]
        if len(each.episodes) > _MOST_EPISODES:
            yield [_person(each), "", "", f"and {len(each.episodes) - _MOST_EPISODES} more: --json or --out", ""]
