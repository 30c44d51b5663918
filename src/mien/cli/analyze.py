"""`mien analyze`: images in, every face's emotions out."""

import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from mien.cli import console, say, tell
from mien.cli.options import Quiet, command, option_name
from mien.errors import EXIT_CODES, ConfigError, InputError
from mien.expression.base import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.faces.landmarks import LandmarkOptions
from mien.output.drawing.annotated import OVERLAYS
from mien.output.styles import STYLES
from mien.output.tables import table_formats
from mien.results import FrameResult

if TYPE_CHECKING:
    from mien.output import Output, Overlay

WHOLE_IMAGE: Final = "whole-image"

# Suffixes of files that someone may expect --annotate to write.
_NOT_FOLDERS: Final = ("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif", "avif", "mp4", "avi", "mov", "pdf")


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
    annotate: Annotated[Path | None, "Write annotated images into this folder."] = None
    overlay: Annotated[str | None, f"What is drawn on annotated images: {', '.join(OVERLAYS)}."] = None
    json: Annotated[bool, "Print JSON, one image per line."] = False

    def __post_init__(self) -> None:
        """Refuses an option without effect: someone who asks for blurred faces must not believe to have them."""
        for name in ("format", "style"):
            if self.table is None and getattr(self, name):
                raise ConfigError(f"--{name} has no effect without a table", hint="add --table out.csv, or --table -")
        if self.annotate is None and self.overlay:
            raise ConfigError("--overlay has no effect without annotated images", hint="add --annotate FOLDER")
        if self.json and self.table_is_printed:
            raise ConfigError(
                "--json and --table - both write to standard output", hint="give the table a file name, or omit --json"
            )

        if self.annotate is not None and not self.annotate.is_dir():
            if self.annotate.exists():
                raise ConfigError(f"--annotate {self.annotate}: is a file, expected a folder", hint="give a new folder")
            if self.annotate.suffix.lower().removeprefix(".") in _NOT_FOLDERS:
                raise ConfigError(
                    f"--annotate {self.annotate}: expected a folder, got the name of a file",
                    hint=f"--annotate {self.annotate.with_suffix('')} writes the images into this folder",
                )

    @property
    def table_is_printed(self) -> bool:
        """Whether the table goes to standard output."""
        return str(self.table) == "-"

    @property
    def written(self) -> list[Path]:
        """The file and the folder that are written."""
        return [path for path in (None if self.table_is_printed else self.table, self.annotate) if path]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("analyze")(command(analyze))


def analyze(
    paths: Annotated[
        list[str],
        typer.Argument(help="Images, folders of images, quoted globs, or - for standard input.", show_default=False),
    ],
    output: OutputOptions,
    classifier: ClassifierOptions,
    detector: DetectorOptions,
    landmarks: LandmarkOptions,
    keypoints: Annotated[
        bool, typer.Option("--keypoints", help="Also find dense keypoints, the head pose and measures of each face.")
    ] = False,
    faces_are_crops: Annotated[
        bool, typer.Option("--faces-are-crops", help=f"The images are cropped faces; same as --detector {WHOLE_IMAGE}.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Finds the faces in images and classifies their expressions.

    An image that cannot be read is reported and the others are analysed; the exit code is then 3.
    """
    from mien.analyzer import Analyzer, AnalyzerOptions
    from mien.faces.keypoints import COUNTS
    from mien.media import open_frames

    start = time.perf_counter()
    if not keypoints and landmarks != LandmarkOptions():
        given = next(
            each for each in ("name", "weights") if getattr(landmarks, each) != getattr(LandmarkOptions(), each)
        )
        raise ConfigError(
            f"{option_name(LandmarkOptions, given)} has no effect without keypoints", hint="add --keypoints"
        )
    detector = _whole_image(detector) if faces_are_crops else detector
    frames = open_frames(paths)
    if (
        output.table
        and not output.table_is_printed
        and output.table.resolve() in {path.resolve() for path in frames.paths}
    ):
        raise ConfigError(f"the table would replace the input '{output.table}'", hint="give the table another name")
    options = AnalyzerOptions(
        detector=detector,
        classifier=classifier,
        landmarks=landmarks,
        keypoints=keypoints,
        keep_images=output.annotate is not None,
    )
    with warnings.catch_warnings(record=True) as found:
        analyzer = Analyzer(options)
    for warning in () if quiet else found:
        say("note", "yellow", str(warning.message))
    count = COUNTS[analyzer.landmarker.scheme] if analyzer.landmarker else 0
    images = faces = failed = 0
    with ExitStack() as stack:
        outputs = [stack.enter_context(each) for each in _outputs(output, analyzer.emotions, count, quiet=quiet)]
        for result in _with_progress(analyzer.stream(frames), frames.total, hidden=quiet):
            for each in outputs:
                each.write(result)
            images += 1
            faces += len(result)
            if result.error is not None:
                failed += 1
                say("error", "red", result.error)
            elif result.note is not None and not quiet:
                say("note", "yellow", f"'{result.source}': {result.note}")
    if frames.passed_over and not quiet:
        say("passed over", "yellow", "; ".join(frames.passed_over))
    if not quiet:
        text = f"{_count(images, 'image')}, {_count(faces, 'face')}{f', {failed} failed' * bool(failed)}"
        places = f"; written: {', '.join(map(str, output.written))}" if output.written else ""
        tell(f"{text} in {time.perf_counter() - start:.1f} s{places}")
    if failed:
        raise typer.Exit(EXIT_CODES[InputError])


def _whole_image(detector: DetectorOptions) -> DetectorOptions:
    """The detector that `--faces-are-crops` stands for."""
    if detector != DetectorOptions():
        given = next(name for name in detector.__slots__ if getattr(detector, name) != getattr(DetectorOptions(), name))
        raise ConfigError(
            f"{option_name(DetectorOptions, given)} has no effect with --faces-are-crops: faces are not detected",
            hint="omit one of the two",
        )
    return replace(detector, name=WHOLE_IMAGE)


def _outputs(options: OutputOptions, emotions: tuple[str, ...], keypoints: int, *, quiet: bool) -> "Iterator[Output]":
    """The outputs that were requested, not yet open."""
    from mien.output import AnnotatedImages, open_table
    from mien.output.console import ConsoleTable, JsonLines

    if options.table:
        style = options.style or "mien"
        yield open_table(options.table, emotions, format=options.format, style=style, keypoints=keypoints)
    if options.annotate:
        yield AnnotatedImages(options.annotate, cast("Overlay", options.overlay or "bars"))
    if options.json:  # --quiet leaves out what is for people, not the data
        yield JsonLines()
    elif not quiet and not options.table_is_printed:
        yield ConsoleTable(emotions)


def _with_progress(results: Iterator[FrameResult], total: int | None, *, hidden: bool) -> Iterator[FrameResult]:
    """Passes results on under a progress bar, on a terminal and if there is more than one image."""
    if hidden or total == 1 or not console().is_terminal:
        yield from results
        return
    from mien.cli import bar

    with bar("analysing") as report:
        for number, result in enumerate(results, 1):
            report(number, total)
            yield result


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
