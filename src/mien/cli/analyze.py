"""`mien analyze`: images, videos and cameras in, every face's emotions out."""

import codecs
import math
import os
import re
import sys
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.cli import console, say, say_error, tell
from mien.cli.ending import Stop
from mien.cli.options import command, option_name
from mien.cli.outputs import OutputOptions, Outputs, check_analyzed_stay, check_folder, check_one_video
from mien.errors import EXIT_CODES, ConfigError, InputError, StoppedError
from mien.expression.base import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.faces.landmarks import LandmarkOptions
from mien.media.picking import TrackingOptions, VideoOptions
from mien.names import counted, printable
from mien.output.resuming import RESUMABLE, begun
from mien.results import FrameResult

if TYPE_CHECKING:
    from mien.analyzer.known import KnownFaces
    from mien.media import FrameSource

WHOLE_IMAGE: Final = "whole-image"


@dataclass(frozen=True, slots=True)
class InputOptions:
    """Which inputs are read, which of their faces are analyzed, and what else is found of them."""

    files_from: Annotated[
        Path | None, "Also read the inputs that this file names, one on each line; - for standard input."
    ] = None
    shard: Annotated[
        str | None, "Read one part of the inputs, 2/8 the second of eight: for several processes or machines."
    ] = None
    keypoints: Annotated[bool, "Also find dense keypoints, the head pose and measures of each face."] = False
    faces_are_crops: Annotated[bool, f"The images are cropped faces; same as --detector {WHOLE_IMAGE}."] = False
    no_align: Annotated[
        bool, "Align faces by the detector's own landmarks only, and classify cropped faces as they are."
    ] = False
    largest_only: Annotated[bool, "Keep only the largest face of each image or frame."] = False
    boxes: Annotated[
        Path | None,
        "A table of known faces, which are classified and not detected: source, x0, y0, x1, y1; or file, x, y, width, "
        "height. Without PATHS, all its images.",
    ] = None


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("analyze")(command(analyze))


def analyze(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, videos, folders, quoted globs, cameras (camera:0), URLs of streams, or - for standard input.",
            show_default=False,
        ),
    ] = None,
    *,
    output: OutputOptions,
    inputs: InputOptions,
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
    from mien.media import LIVE_DELAY, open_frames

    start = time.perf_counter()
    _check_faces(inputs, output, landmarks)
    known = _boxes(inputs, detector, tracking)
    paths = known.files() if known and not paths and not inputs.files_from else named(paths or [], inputs.files_from)
    frames = _chosen(open_frames(paths, options=video), inputs.shard)
    _check_any_exists(frames)
    if known:
        known.match(map(str, frames.items))
    _check_video_options(frames, tracking)
    check_analyzed_stay(output, frames.paths)
    before = begun(output.table, output.table_format) if output.resume and output.table else None
    if before is not None:
        frames = replace(frames, items=tuple(each for each in frames.items if str(each) not in before.sources))
    check_folder(output, frames)
    check_one_video(output, frames)
    options = AnalyzerOptions(
        detector=_whole_image(detector) if inputs.faces_are_crops else detector,
        classifier=classifier,
        landmarks=landmarks,
        keypoints=inputs.keypoints,
        align=not inputs.no_align,
        largest_only=inputs.largest_only,
        tracking=tracking,
        keep_images=output.annotate is not None or output.timeline is not None,
    )
    with warnings.catch_warnings(record=True) as found:
        analyzer = Analyzer(options)
    for warning in () if output.quiet else found:
        say("note", "yellow", str(warning.message))
    done = _Done(quiet=output.quiet)
    outputs = Outputs(output, analyzer, frames, before)
    if not output.quiet and (lost := outputs.losses(frames)):
        say("note", "yellow", lost)
    stop = Stop()
    with stop, outputs:
        results = analyzer.stream(known.of(frames) if known else frames, LIVE_DELAY if frames.is_live else None)
        for result in stop.until(_with_progress(results, frames, hidden=output.quiet)):
            outputs.write(result)
            done.add(result)
        if stop.asked and not frames.is_live:  # a camera has no other end
            outputs.stopped()
    if before is not None and not output.quiet:
        say("note", "cyan", f"{counted(len(before.sources), 'image')} or videos were in the table already")
    if not output.quiet:
        if known:
            _tell_unmatched(known, inputs.shard)
        _tell_end(done, frames, outputs, time.perf_counter() - start)
    if stop.asked and not frames.is_live:
        raise _stopped(done, frames, output)
    if done.failed:
        raise typer.Exit(EXIT_CODES[InputError])


def named(paths: Sequence[str], files_from: Path | None) -> list[str]:
    """The inputs that were named, on the command line and in a file.

    Raises:
        ConfigError: There are none.
        InputError: The file cannot be read, or names none.
    """
    found = list(paths)
    if files_from is not None:
        is_input = str(files_from) == "-"
        try:
            content = sys.stdin.buffer.read() if is_input else files_from.read_bytes()
        except OSError as error:
            raise InputError(
                f"--files-from {files_from}: {str(error.strerror).lower()}",
                hint="give a file with one path on each line",
            ) from error
        content = content.removeprefix(codecs.BOM_UTF8)
        found += [os.fsdecode(line.removesuffix(b"\r")) for line in content.split(b"\n") if line.strip()]
    if not found and files_from is not None:
        raise InputError(f"--files-from {files_from}: names no input", hint="write one path on each line")
    if not found:
        raise ConfigError("the argument PATHS is missing", hint="see mien analyze --help")
    return found


def _check_faces(inputs: InputOptions, output: OutputOptions, landmarks: LandmarkOptions) -> None:
    """Refuses options of faces that do not go together.

    Raises:
        ConfigError: There are some.
    """
    if not inputs.keypoints and landmarks != LandmarkOptions():
        given = _changed(landmarks, ("name", "weights"))
        raise ConfigError(
            f"{option_name(LandmarkOptions, given)} has no effect without keypoints", hint="add --keypoints"
        )
    if inputs.largest_only and output.overlay == "blur":
        raise ConfigError(
            "--largest-only with --overlay blur would leave the other faces visible",
            hint="omit --largest-only: blur hides all faces",
        )


def _check_video_options(frames: "FrameSource", tracking: TrackingOptions) -> None:
    """Refuses options that have no effect on images.

    Raises:
        ConfigError: There is one, and no video.
    """
    if frames.has_video:
        return
    if frames.options != VideoOptions():
        given = _changed(frames.options, ("every", "fps", "start", "end"))
        raise ConfigError(f"--{given} has no effect on images", hint="leave it out")
    if tracking != TrackingOptions():
        given = _changed(tracking, ("detect_every", "smooth"))
        raise ConfigError(
            f"{option_name(TrackingOptions, given)} has no effect on images", hint="only videos have tracks; omit it"
        )


def _boxes(inputs: InputOptions, detector: DetectorOptions, tracking: TrackingOptions) -> "KnownFaces | None":
    """The faces whose places are known, if there is a table of them.

    Raises:
        ConfigError: Options that find or choose faces are given as well.
    """
    if inputs.boxes is None:
        return None
    from mien.analyzer.known import read_boxes

    others = {
        "--faces-are-crops": inputs.faces_are_crops,
        "--largest-only": inputs.largest_only,
        "--detect-every": tracking.detect_every is not None,
    }
    if detector != DetectorOptions():
        others[option_name(DetectorOptions, _changed(detector, detector.__slots__))] = True
    for option, is_given in others.items():
        if is_given:
            raise ConfigError(
                f"{option} has no effect with --boxes: faces are not detected", hint="omit one of the two"
            )
    return read_boxes(inputs.boxes)


def _tell_unmatched(known: "KnownFaces", shard: str | None) -> None:
    """Says which inputs have no boxes, and how many boxes no input; those of other shards are expected."""
    if known.unlisted:
        first = printable(known.unlisted[0])
        many = f"{counted(len(known.unlisted), 'input')} not in {known.path}: no faces; the first is '{first}'"
        say("note", "yellow", many)
    if known.left and shard is None:
        say("note", "yellow", f"{counted(known.left, 'file')} of {known.path} not among the inputs")


def _chosen(frames: "FrameSource", shard: str | None) -> "FrameSource":
    """The inputs of one shard. Which one an input is in depends on its name alone, not on the others.

    Raises:
        ConfigError: It is no shard.
    """
    if shard is None:
        return frames
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard.strip())
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part <= parts:
        raise ConfigError(
            f"--shard: expected a part and their number, got '{shard}'", hint="--shard 2/8: the second of eight"
        )
    items = [item for item in frames.items if zlib.crc32(os.fsencode(str(item))) % parts == part - 1]
    return replace(frames, items=tuple(items))


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
    results: int = 0
    last: tuple[str, float | None] = "", None  # the source and the time of the last result
    said: str = ""  # the last note: the frames of a video may all have the same

    def add(self, result: FrameResult) -> None:
        """Counts one result; what does not exist, and a folder that cannot be listed, are no images."""
        self.results += 1
        self.last = result.source, result.timestamp
        if result.timestamp is not None:
            self.frames += 1
        elif result.error is None or result.source == "stdin" or os.path.isfile(result.source):
            self.images += 1
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
        parts = [counted(self.images, "image")] * bool(self.images or not self.frames)
        parts += [counted(self.frames, "frame")] * bool(self.frames) + [counted(self.faces, "face")]
        return ", ".join(parts + [f"{self.failed:,} failed"] * bool(self.failed))


def _tell_end(done: _Done, frames: "FrameSource", outputs: Outputs, seconds: float) -> None:
    """Prints what was passed over, what was not written, and the counts."""
    if frames.passed_over:
        say("passed over", "yellow", "; ".join(frames.passed_over))
    for note in outputs.notes:
        say("note", "yellow", note)
    places = f"; written: {', '.join(map(str, outputs.written))}" if outputs.written else ""
    tell(f"{done} in {seconds:.1f} s{places}")


def _stopped(done: _Done, frames: "FrameSource", output: OutputOptions) -> StoppedError:
    """Says where an analysis was stopped, and how to do the rest of it."""
    if not done.results:
        return StoppedError("stopped before the first result")
    source, seconds = done.last
    place = f"'{source}'" if seconds is None else f"'{source}' at {_thousandths(seconds)} s"
    if not frames.has_video:
        place += f", {done.results:,} of {counted(len(frames.items), 'image')}"
    kept = "; the results so far are kept" if output.written else ""
    can_resume = output.table_format in RESUMABLE and not output.style and list(output.files) == ["--table"]
    if can_resume and not frames.has_video:
        return StoppedError(f"stopped after {place}{kept}", hint="the rest: the same command with --resume")
    rest = [] if len(frames.items) == 1 else ["give the inputs after this one"]
    if seconds is not None:
        rest.append(f"--start {_start_after(seconds, frames.options)}{' for this one' * bool(rest)}")
    if output.files:
        given, another, these = " and ".join(output.files), "another name", "this one is"
        if len(output.files) > 1:
            another, these = "other names", "these are"
        rest.append(f"give {given} {another}, or {these} replaced")
    return StoppedError(f"stopped after {place}{kept}", hint=f"the rest: {'; '.join(rest)}" if rest else "")


def _start_after(seconds: float, options: VideoOptions) -> str:
    """The `--start` that continues a video after the frame of this time.

    With `--every` and `--fps`, which count from the first frame, this frame comes once more, so that the next ones are
    the same.
    """
    exact = round(seconds * 1000, 3)  # a hair of rounding must not change the frame
    thousandths = math.ceil(exact) - 1 if options.every or options.fps else math.floor(exact) + 1
    return _thousandths(max(thousandths, 0) / 1000)


def _thousandths(seconds: float) -> str:
    return f"{seconds:.3f}"


def _check_any_exists(frames: "FrameSource") -> None:
    """Ends the command if there is nothing to read: a name with a mistake must not replace an older table.

    Raises:
        Exit: No input exists; each was said.
    """
    from mien.media import STANDARD_INPUT, read_frame

    if (
        frames.is_live
        or not frames.items
        or any(str(path) == STANDARD_INPUT or _may_be_read(path) for path in frames.paths)
    ):
        return
    for path in frames.paths:
        try:
            read_frame(path)
        except InputError as error:
            say_error(error)
    raise typer.Exit(EXIT_CODES[InputError])


def _may_be_read(path: Path) -> bool:
    return os.path.exists(path) and not os.path.isdir(path)  # pathlib raises for a name that is too long


def _changed(options: object, names: Iterable[str]) -> str:
    """The first of some options whose value is not the default."""
    return next(name for name in names if getattr(options, name) != getattr(type(options)(), name))


def _whole_image(detector: DetectorOptions) -> DetectorOptions:
    """The detector that `--faces-are-crops` stands for."""
    if detector != DetectorOptions():
        given = _changed(detector, detector.__slots__)
        raise ConfigError(
            f"{option_name(DetectorOptions, given)} has no effect with --faces-are-crops: faces are not detected",
            hint="omit one of the two",
        )
    return replace(detector, name=WHOLE_IMAGE)


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
