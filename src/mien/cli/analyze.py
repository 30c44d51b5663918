"""`mien analyze`: images, videos and cameras in, every face's emotions out."""

import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from mien.cli import Stop, console, say, tell
from mien.cli.options import command, option_name
from mien.errors import EXIT_CODES, ConfigError, InputError, StoppedError
from mien.expression.base import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.faces.landmarks import LandmarkOptions
from mien.media import kinds
from mien.media.find import IMAGE_SUFFIXES
from mien.media.picking import TrackingOptions, VideoOptions
from mien.output.drawing.annotated import OVERLAYS
from mien.output.styles import STYLES
from mien.output.tables import table_formats
from mien.results import FrameResult

if TYPE_CHECKING:
    from mien.media import FrameSource
    from mien.output import Output, Overlay

WHOLE_IMAGE: Final = "whole-image"

# Suffixes of --annotate that mean a video, and those of --timeline; tests compare them with the code behind.
VIDEOS: Final = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
TIMELINES: Final = (".html", ".png")

# Suffixes of files that someone may expect --annotate to write.
_NOT_FOLDERS: Final = IMAGE_SUFFIXES | kinds.VIDEO.suffixes | kinds.PDF.suffixes


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Where the results go, and in which form."""

    table: Annotated[
        Path | None,
        f"Write all columns to this file ({', '.join(f'.{name}' for name in table_formats())}); - for standard output.",
    ] = None
    format: Annotated[str | None, f"Format of the table: {', '.join(table_formats())}; by default from its suffix."] = (
        None
    )
    style: Annotated[str | None, f"Column names of the table: {', '.join(STYLES)}."] = None
    annotate: Annotated[
        Path | None, "Write annotated images into this folder; or the annotated video to this file, such as out.mp4."
    ] = None
    overlay: Annotated[str | None, f"What is drawn on annotated images: {', '.join(OVERLAYS)}."] = None
    timeline: Annotated[Path | None, "Draw the emotions of each person over time: .html or .png."] = None
    json: Annotated[bool, "Print JSON, one image or frame per line."] = False
    quiet: Annotated[bool, "Print errors only.", "--quiet", "-q"] = False

    def __post_init__(self) -> None:
        """Refuses an option without effect: someone who asks for blurred faces must not believe to have them."""
        for name in ("format", "style"):
            if self.table is None and getattr(self, name):
                raise ConfigError(f"--{name} has no effect without a table", hint=self._with_table())
        if self.table is not None and self.format in table_formats():
            named = self.table.suffix.lower().removeprefix(".")
            if named in table_formats() and named != self.format:
                raise ConfigError(
                    f"--table {self.table} and --format {self.format} name two formats",
                    hint=f"write --table {self.table.with_suffix(f'.{self.format}')}, or omit --format",
                )
        if self.annotate is None and self.overlay:
            raise ConfigError("--overlay has no effect without annotated images", hint="add --annotate FOLDER")
        if self.json and self.table_is_printed:
            raise ConfigError(
                "--json and --table - both write to standard output", hint="give the table a file name, or omit --json"
            )

        place = self.annotate
        if place is not None and place.exists() and not place.is_dir() and not self.annotates_video:
            raise ConfigError(f"--annotate {place}: is a file, expected a folder", hint="give a new folder")
        if self.timeline is not None and self.timeline.suffix.lower() not in TIMELINES:
            raise ConfigError(
                f"--timeline {self.timeline}: expected the suffix {' or '.join(TIMELINES)}",
                hint=f"for example {self.timeline.with_suffix('.html')}",
            )

    def _with_table(self) -> str:
        """What to write in place of options of a table that is missing."""
        if self.format == "json":
            return "JSON, one image per line, is --json"
        if self.format == "jsonl":
            return "--table - --format jsonl prints one face per line, --json one image per line"
        return f"add --table out.{self.format if self.format in table_formats() else 'csv'}, or --table -"

    @property
    def annotates_video(self) -> bool:
        """Whether one annotated video is written, and not images."""
        return self.annotate is not None and self.annotate.suffix.lower() in VIDEOS and not self.annotate.is_dir()

    @property
    def table_is_printed(self) -> bool:
        """Whether the table goes to standard output."""
        return str(self.table) == "-"

    @property
    def written(self) -> list[Path]:
        """The file and the folder that are written."""
        return [path for path in (None if self.table_is_printed else self.table, self.annotate, self.timeline) if path]


@dataclass(frozen=True, slots=True)
class FaceOptions:
    """Which faces are analyzed, and what else is found of them."""

    keypoints: Annotated[bool, "Also find dense keypoints, the head pose and measures of each face."] = False
    faces_are_crops: Annotated[bool, f"The images are cropped faces; same as --detector {WHOLE_IMAGE}."] = False
    no_align: Annotated[
        bool, "Align faces by the detector's own landmarks only, and classify cropped faces as they are."
    ] = False
    largest_only: Annotated[bool, "Keep only the largest face of each image or frame."] = False


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("analyze")(command(analyze))


def analyze(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Images, videos, folders, quoted globs, cameras (camera:0), URLs of streams, or - for standard input.",
            show_default=False,
        ),
    ],
    output: OutputOptions,
    faces: FaceOptions,
    video: VideoOptions,
    classifier: ClassifierOptions,
    detector: DetectorOptions,
    landmarks: LandmarkOptions,
    tracking: TrackingOptions,
) -> None:
    """Finds the faces in images and videos and classifies their expressions.

    An image that cannot be read is reported and the others are analysed; the exit code is then 3. Ctrl-C stops the
    analysis and keeps the results so far.
    """
    from mien.analyzer import Analyzer, AnalyzerOptions
    from mien.faces.keypoints import COUNTS
    from mien.media import LIVE_DELAY, open_frames

    start = time.perf_counter()
    if not faces.keypoints and landmarks != LandmarkOptions():
        given = _changed(landmarks, ("name", "weights"))
        raise ConfigError(
            f"{option_name(LandmarkOptions, given)} has no effect without keypoints", hint="add --keypoints"
        )
    frames = open_frames(paths, options=video)
    if video != VideoOptions() and not frames.has_video:
        raise ConfigError(
            f"--{_changed(video, ('every', 'fps', 'start', 'end'))} has no effect on images", hint="leave it out"
        )
    if tracking != TrackingOptions() and not frames.has_video:
        given = _changed(tracking, ("detect_every", "smooth"))
        raise ConfigError(
            f"{option_name(TrackingOptions, given)} has no effect on images", hint="only videos have tracks; omit it"
        )
    _check_inputs_stay(output, frames.paths)
    _check_folder(output, frames)
    _check_one_video(output, frames)
    options = AnalyzerOptions(
        detector=_whole_image(detector) if faces.faces_are_crops else detector,
        classifier=classifier,
        landmarks=landmarks,
        keypoints=faces.keypoints,
        align=not faces.no_align,
        largest_only=faces.largest_only,
        tracking=tracking,
        keep_images=output.annotate is not None or output.timeline is not None,
    )
    with warnings.catch_warnings(record=True) as found:
        analyzer = Analyzer(options)
    for warning in () if output.quiet else found:
        say("note", "yellow", str(warning.message))
    count = COUNTS[analyzer.landmarker.scheme] if analyzer.landmarker else 0
    done = _Done(quiet=output.quiet)
    stop = Stop()
    with stop, ExitStack() as stack:
        outputs = [
            stack.enter_context(each)
            for each in _outputs(output, analyzer.emotions, count, frames, smoothed=bool(tracking.smooth))
        ]
        results = analyzer.stream(frames, LIVE_DELAY if frames.is_live else None)
        for result in stop.until(_with_progress(results, frames, hidden=output.quiet)):
            for each in outputs:
                each.write(result)
            done.add(result)
    if frames.passed_over and not output.quiet:
        say("passed over", "yellow", "; ".join(frames.passed_over))
    if not output.quiet:
        places = f"; written: {', '.join(map(str, output.written))}" if output.written else ""
        tell(f"{done} in {time.perf_counter() - start:.1f} s{places}")
    if stop.asked and not frames.is_live:  # a camera has no other end
        raise StoppedError(
            "stopped; the results so far are kept", hint="the rest: run it again, for videos with --start"
        )
    if done.failed:
        raise typer.Exit(EXIT_CODES[InputError])


@dataclass(slots=True)
class _Done:
    """Counts the results, and prints their errors and notes.

    Attributes:
        quiet: Print errors only.
    """

    quiet: bool
    images: int = 0
    frames: int = 0
    faces: int = 0
    failed: int = 0
    said: str = ""  # the last note: the frames of a video may all have the same

    def add(self, result: FrameResult) -> None:
        """Counts one result."""
        if result.timestamp is None:
            self.images += 1
        else:
            self.frames += 1
        self.faces += len(result)
        if result.error is not None:
            self.failed += 1
            say("error", "red", result.error)
        elif result.note is not None and not self.quiet:
            note = f"'{result.source}': {result.note}"
            if note != self.said:
                say("note", "yellow", note)
            self.said = note

    def __str__(self) -> str:
        parts = [_count(self.images, "image")] * bool(self.images or not self.frames)
        parts += [_count(self.frames, "frame")] * bool(self.frames) + [_count(self.faces, "face")]
        return ", ".join(parts + [f"{self.failed:,} failed"] * bool(self.failed))


def _changed(options: object, names: Iterable[str]) -> str:
    """The first of some options whose value is not the default."""
    return next(name for name in names if getattr(options, name) != getattr(type(options)(), name))


def _check_inputs_stay(output: OutputOptions, inputs: Iterable[Path]) -> None:
    """Refuses an output that would replace an input."""
    given = {path.resolve() for path in inputs}
    places = {
        "table": None if output.table_is_printed else output.table,
        "annotated video": output.annotate if output.annotates_video else None,
        "timeline": output.timeline,
    }
    for name, place in places.items():
        if place is not None and place.resolve() in given:
            raise ConfigError(f"the {name} would replace the input '{place}'", hint=f"give the {name} another name")


def _check_folder(output: OutputOptions, frames: "FrameSource") -> None:
    """Refuses the name of a file as the folder of annotated images; for a video, names the files that are possible."""
    place = output.annotate
    if place is None or output.annotates_video or place.is_dir() or place.suffix.lower() not in _NOT_FOLDERS:
        return
    message, folder = f"--annotate {place}: expected a folder", place.with_suffix("")
    if not frames.has_video:
        raise ConfigError(
            f"{message}, got the name of a file", hint=f"--annotate {folder} writes the images into this folder"
        )
    raise ConfigError(
        f"{message}, or the name of a video that ends with {', '.join(VIDEOS[:-1])} or {VIDEOS[-1]}",
        hint=f"--annotate {place.with_suffix('.mp4')} writes the video, --annotate {folder} its frames as images",
    )


def _check_one_video(output: OutputOptions, frames: "FrameSource") -> None:
    """Refuses an annotated video or a timeline without a video, and one annotated video of several inputs."""
    if output.timeline and not frames.has_video:
        raise ConfigError("--timeline has no effect on images: they have no time", hint="omit it, or analyze a video")
    if not output.annotates_video or output.annotate is None:
        return
    if not frames.has_video or len(frames.items) > 1:
        found = "there are several inputs" if frames.has_video else "the inputs are images"
        raise ConfigError(
            f"--annotate {output.annotate} is one video, but {found}",
            hint=f"analyze one video at a time, or write images into a folder: --annotate {output.annotate.stem}",
        )


def _whole_image(detector: DetectorOptions) -> DetectorOptions:
    """The detector that `--faces-are-crops` stands for."""
    if detector != DetectorOptions():
        given = _changed(detector, detector.__slots__)
        raise ConfigError(
            f"{option_name(DetectorOptions, given)} has no effect with --faces-are-crops: faces are not detected",
            hint="omit one of the two",
        )
    return replace(detector, name=WHOLE_IMAGE)


def _outputs(
    options: OutputOptions, emotions: tuple[str, ...], keypoints: int, frames: "FrameSource", *, smoothed: bool
) -> "Iterator[Output]":
    """The outputs that were requested, not yet open."""
    from mien.output import AnnotatedImages, open_table
    from mien.output.console import ConsoleTable, JsonLines
    from mien.output.timeline.render import Timeline
    from mien.output.video import AnnotatedVideo

    if options.table:
        style = options.style or "mien"
        yield open_table(
            options.table, emotions, format=options.format, style=style, keypoints=keypoints, smoothed=smoothed
        )
    if options.timeline:
        yield Timeline(options.timeline)
    if options.annotate and options.annotates_video:
        yield AnnotatedVideo(options.annotate, cast("Overlay", options.overlay or "bars"))
    elif options.annotate:
        yield AnnotatedImages(options.annotate, cast("Overlay", options.overlay or "bars"), frames.folders)
    if options.json:  # --quiet leaves out what is for people, not the data
        yield JsonLines()
    elif not options.quiet and not options.table_is_printed:
        yield ConsoleTable(emotions, videos=frames.has_video)


def _with_progress(results: Iterator[FrameResult], frames: "FrameSource", *, hidden: bool) -> Iterator[FrameResult]:
    """Passes results on under a progress bar, on a terminal and if there is more than one image."""
    if hidden or frames.is_live or not console().is_terminal or (total := frames.total) == 1:
        yield from results
        return
    from mien.cli import bar

    with bar("analysing") as report:
        report(0, total)
        for number, result in enumerate(results, 1):
            report(number, total)
            yield result


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
