"""`mien report`: what a table says about people in videos and faces in images, in numbers and as a picture."""

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
    from mien.output.timeline.measures import Summary
    from mien.output.timeline.series import Recording

_MOST_EPISODES = 12  # that are printed of each person


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
    out: Annotated[Path | None, typer.Option("--out", help="Also draw it: .html or .png.", show_default=False)] = None,
    smooth: Annotated[
        float | None,
        typer.Option(
            "--smooth",
            help="Seconds over which probabilities are smoothed if the table has no smoothed ones, by default 0.6 as "
            "in an analysis; 0 for none.",
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
    from mien.output.timeline.measures import summaries
    from mien.output.timeline.render import check_suffix, write_timeline
    from mien.output.timeline.series import read_table

    if out is not None:
        check_suffix(out)
        if out.resolve() == table.resolve():
            raise ConfigError(f"the report would replace the table '{table}'", hint="give the report another name")
    try:
        TrackingOptions(smooth=smooth)  # refuses numbers without a meaning
    except ConfigError as error:
        raise ConfigError(f"--{error.message}", hint=error.hint) from None
    photographs = Photographs()
    recordings = read_table(table, SECONDS if smooth is None else smooth, photographs)
    images = photographs.summary() if photographs.sources else None
    if out is not None and not recordings and (images is None or not images.faces):
        raise ConfigError(f"'{table}' has nothing to draw in '{out}': no video, and no face in an image")
    found = summaries(recordings)
    if as_json:
        said = {each.source: each.probabilities for each in recordings}
        people: list[dict[str, object]] = [{**each.as_dict(), "probabilities": said[each.source]} for each in found]
        print(to_json([*people, *([images.as_dict()] if images else [])], indent=1))
    else:
        for recording in recordings:
            _print_recording(recording, [each for each in found if each.source == recording.source])
        if images is not None:
            _print_photographs(table, images)
    if out is not None:
        write_timeline(out, recordings, images)
        if not quiet:
            tell(f"written: {out}")


def _print_recording(recording: "Recording", people: "list[Summary]") -> None:
    """One video."""
    from mien.output.timeline.layout import clock

    length, empty = clock(recording.seconds), recording.empty / max(recording.frames, 1)
    print_line(f"{recording.source}: {length}, {recording.frames:,} frames, {empty:.0%} of them without a face")
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
    """Changes, and with keypoints blinks and the movement of the head."""
    heads, rows = ["person", "changes/min"], [[_person(each), f"{each.changes_per_minute:.1f}"] for each in found]
    for head, name in (("blinks/min", "blinks_per_minute"), ("head °/s", "head_movement")):
        values = [getattr(each, name) for each in found]
        if any(value is not None for value in values):
            heads.append(head)
            for row, value in zip(rows, values, strict=True):
                row.append("" if value is None else f"{value:.1f}")
    return heads, rows


def _episodes(found: "list[Summary]") -> Iterator[list[str]]:
    from mien.output.console import exact_clock

    for each in found:
        for one in each.episodes[:_MOST_EPISODES]:
            yield [_person(each), exact_clock(one.begin), exact_clock(one.end), one.emotion, f"{one.confidence:.0%}"]
        if len(each.episodes) > _MOST_EPISODES:
            yield [_person(each), "", "", f"and {len(each.episodes) - _MOST_EPISODES} more: --json or --out", ""]
