"""`mien analyze`: images in, every face's emotions out."""

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mien.cli import console, say
from mien.emotions import VOCABULARIES
from mien.errors import EXIT_CODES, ConfigError, InputError
from mien.faces import detectors
from mien.output import OVERLAYS, STYLES, AnnotatedImages, open_table, table_formats
from mien.results import FrameResult

if TYPE_CHECKING:
    from mien.expression.base import Vote
    from mien.output import Overlay

__all__ = ["register"]

# Help and messages name what the folders hold.
_SUFFIXES = tuple(f".{name}" for name in table_formats())
_KINDS = table_formats()


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(analyze)


def analyze(
    paths: Annotated[
        list[str],
        typer.Argument(help="Images, folders of images, quoted globs, or - for standard input.", show_default=False),
    ],
    table: Annotated[
        Path | None,
        typer.Option(
            help=f"Write all columns to this file: {', '.join(_SUFFIXES)}; - for standard output.", show_default=False
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--format", help=f"The table's format: {', '.join(_KINDS)}.", show_default="by the file's name"),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(help=f"The table's column names: {', '.join(STYLES)}.", show_default="mien"),
    ] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="Write annotated images into this folder.", show_default=False)
    ] = None,
    overlay: Annotated[
        str | None, typer.Option(help=f"What is drawn on them: {', '.join(OVERLAYS)}.", show_default="bars")
    ] = None,
    emotions: Annotated[
        int | None,
        typer.Option(
            help=f"Number of classes: {', '.join(map(str, VOCABULARIES))}.", show_default="8, or the model's own"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A shipped model's name or an exported .onnx file.", show_default="the shipped one"),
    ] = None,
    ensemble: Annotated[
        list[str] | None,
        typer.Option(help="Several models that vote: A,B,C, or this option repeated.", show_default="one model"),
    ] = None,
    vote: Annotated[str | None, typer.Option(help="How an ensemble votes: soft or hard.", show_default="soft")] = None,
    detector: Annotated[
        str | None, typer.Option(help=f"Face detector: {', '.join(detectors.names())}.", show_default=detectors.DEFAULT)
    ] = None,
    detector_weights: Annotated[
        Path | None,
        typer.Option(help="The detector's network, where it needs one.", show_default="from `mien models fetch`"),
    ] = None,
    detect_size: Annotated[
        int | None,
        typer.Option(min=1, help="Search larger images at this long side, in pixels.", show_default="the detector's"),
    ] = None,
    min_face: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the smallest face, in pixels.", show_default="the detector's"),
    ] = None,
    any_turn: Annotated[
        bool, typer.Option("--any-turn", help="Find faces on their side or upside down too; takes longer.")
    ] = False,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out faces with a lower score.")] = 0.5,
    faces_are_crops: Annotated[
        bool, typer.Option("--faces-are-crops", help="The images are cropped faces already; no detector.")
    ] = False,
    abstain: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Mark emotions of a lower confidence as uncertain.", show_default="the model's"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one image a line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Finds the faces in images and reads their emotions.

    A image that cannot be read is reported and the rest goes on; the exit code is then 3.
    """
    from mien.analyzer import Analyzer, AnalyzerOptions
    from mien.expression import ClassifierOptions
    from mien.media import find_images, read_frames

    _refuse_options_without_effect(table, kind, style, annotate, overlay, as_json)
    start = time.perf_counter()
    images = find_images(paths)
    if table and str(table) != "-" and table.resolve() in {image.resolve() for image in images}:
        raise ConfigError(f"the table would replace the input '{table}'", hint="give the table another name")
    name = _detector_name(detector, faces_are_crops)
    options = AnalyzerOptions(
        detectors.DetectorOptions(name, detector_weights, detect_size, min_face, min_score, any_turn),
        ClassifierOptions(tuple(ensemble or ()) or model, cast("Vote | None", vote), emotions, abstain),
        keep_images=annotate is not None,
    )
    analyzer = Analyzer(options)
    faces = failed = 0
    with ExitStack() as stack:
        outputs: list[Any] = []
        if table:
            outputs.append(
                stack.enter_context(open_table(table, analyzer.emotions, format=kind, style=style or "mien"))
            )
        if annotate:
            outputs.append(stack.enter_context(AnnotatedImages(annotate, cast("Overlay", overlay or "bars"))))
        if quiet or str(table) == "-":
            pass
        elif as_json:
            outputs.append(_Json())
        else:
            outputs.append(_Lines([str(path) for path in images], analyzer.emotions))
        results = analyzer.stream(read_frames(images))
        for result in _with_progress(results, len(images), hidden=quiet):
            for output in outputs:
                output.write(result)
            faces += len(result)
            failed += result.error is not None
            if result.error is not None:
                say("error", "red", result.error)
            elif result.note is not None and not quiet:
                say("note", "yellow", f"'{result.source}': {result.note}")
    if not quiet:
        written = [None if str(table) == "-" else table, annotate]
        _summarise(len(images), faces, failed, time.perf_counter() - start, written)
    if failed:
        raise typer.Exit(EXIT_CODES[InputError])


def _detector_name(detector: str | None, faces_are_crops: bool) -> str:
    if faces_are_crops and detector is not None:
        raise ConfigError("--faces-are-crops needs no detector", hint="leave out --detector")
    return "whole-image" if faces_are_crops else detector or detectors.DEFAULT


def _refuse_options_without_effect(
    table: Path | None, kind: str | None, style: str | None, annotate: Path | None, overlay: str | None, as_json: bool
) -> None:
    """What would be ignored is refused: whoever asks for blurred faces shall not believe to have them."""
    if table is None and (kind or style):
        raise ConfigError(
            f"--{'format' if kind else 'style'} is of the table", hint="add --table out.csv, or --table -"
        )
    if annotate is None and overlay:
        raise ConfigError("--overlay is of the annotated images", hint="add --annotate FOLDER")
    if as_json and str(table) == "-":
        raise ConfigError("--json and --table - both write to standard output", hint="give the table a file name")


class _Json:
    """One JSON object a image, as `mien.output.schema` defines it."""

    def write(self, result: FrameResult) -> None:
        """Prints one image."""
        from mien.output import document

        print(json.dumps(document(result), ensure_ascii=False))


class _Lines:
    """A table that appears row by row: columns as wide as they can get, all classes where the terminal has room.

    Piped, nothing is left out or cut.
    """

    def __init__(self, sources: Sequence[str], emotions: Sequence[str]) -> None:
        piped = not sys.stdout.isatty()
        room = shutil.get_terminal_size().columns
        names = [*emotions, "emotion"]
        self.emotions = emotions
        self.source = max(map(len, (*sources, "image")))
        self.emotion = max(map(len, names)) + 1
        fixed = self.emotion + len("face  ") + len("confidence  ") + 2
        classes = sum(len(name) + 2 for name in emotions)
        box = len("x0     y0     x1     y1    ")
        self.classes = piped or self.source + fixed + classes <= room
        self.box = piped or self.source + fixed + classes * self.classes + box <= room
        if not piped:
            self.source = min(self.source, max(16, room - fixed - 2))
        self._started = False

    def write(self, result: FrameResult) -> None:
        """Prints the rows of one image."""
        if not self._started:
            self._started = True
            print(self._row("image", "face", "emotion", "confidence", self.emotions, ("x0", "y0", "x1", "y1")))
        if result.error is not None:
            print(self._row(result.source, "", "error", "", (), ()))
        elif not result.faces:
            print(self._row(result.source, "", "no face", "", (), ()))
        for number, face in enumerate(result.faces):
            expression = face.expression
            if expression is None:
                continue
            print(
                self._row(
                    result.source,
                    str(number),
                    expression.emotion,
                    f"{expression.confidence:.0%}" + ("?" if expression.uncertain else " "),
                    [f"{value:.0%}" for value in expression.probabilities],
                    [f"{value:.0f}" for value in face.box],
                )
            )

    def _row(
        self,
        source: str,
        face: str,
        emotion: str,
        confidence: str,
        classes: Sequence[str],
        box: Sequence[str],
    ) -> str:
        if len(source) > self.source:
            source = "…" + source[-(self.source - 1) :]
        cells = [f"{source:<{self.source}}", f"{face:>4}", f"{emotion:<{self.emotion}}", f"{confidence:>10}"]
        if self.classes:
            cells += [f"{text:>{len(name)}}" for name, text in zip(self.emotions, classes, strict=False)]
        if self.box:
            cells += [f"{text:>5}" for text in box]
        return "  ".join(cells).rstrip()


def _with_progress(results: Iterator[FrameResult], total: int, *, hidden: bool) -> Iterator[FrameResult]:
    """Passes results on under a progress bar, where there is a person to see it and something to wait for."""
    if hidden or total < 2 or not sys.stderr.isatty():
        yield from results
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        yield from progress.track(results, total=total)


def _summarise(images: int, faces: int, failed: int, seconds: float, written: Sequence[Path | None]) -> None:
    text = f"{_count(images, 'image')}, {_count(faces, 'face')}"
    if failed:
        text += f", [bold red]{failed} failed[/]"
    text += f" in {seconds:.1f} s"
    places = [str(path) for path in written if path]
    if places:
        text += f"; written: {', '.join(places)}"
    console().print(text, style="dim")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
