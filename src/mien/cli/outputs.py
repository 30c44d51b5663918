"""The outputs of `mien analyze`: their options, what is refused, and all as one; also files of other commands."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Final, Self, cast

from mien.cli.ending import Printed
from mien.errors import ConfigError
from mien.files import DiscardError, check_inputs_stay, with_suffix, writable
from mien.media import kinds
from mien.media.find import IMAGE_SUFFIXES
from mien.output.drawing.annotated import OVERLAYS
from mien.output.styles import STYLES
from mien.output.tables import table_formats
from mien.results import FrameResult

if TYPE_CHECKING:
    from mien.analyzer import Analyzer
    from mien.media import FrameSource
    from mien.output import Output, Overlay
    from mien.output.resuming import Begun

# Suffixes of --annotate that mean a video, and those of --timeline; tests compare them with the code behind.
VIDEOS: Final = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
TIMELINES: Final = (".html", ".png")

# Suffixes of files that someone may expect --annotate to write.
_NOT_FOLDERS: Final = IMAGE_SUFFIXES | kinds.VIDEO.suffixes | kinds.PDF.suffixes

# The name and the password of a user in an address.
_PASSWORD: Final = re.compile(r"(://)[^/@\s]+@")


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
    record: Annotated[
        Path | None,
        "Write how the results were produced into this file (.json): networks with their hashes, prior, options, "
        "versions.",
    ] = None
    resume: Annotated[
        bool,
        "Go on with the table of the same analysis, which was killed or stopped: what is in it is not analyzed again.",
    ] = False
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

        if self.resume:
            self._check_resume()
        place = self.annotate
        if place is not None and place.exists() and not place.is_dir() and not self.annotates_video:
            raise ConfigError(f"--annotate {place}: is a file, expected a folder", hint="give a new folder")
        if self.record is not None and self.record.suffix.lower() != ".json":
            near = "faces.json" if str(self.record) == "-" else with_suffix(self.record, ".json")
            raise ConfigError(f"--record {self.record}: expected a file ending in .json", hint=f"for example {near}")
        if self.timeline is not None and self.timeline.suffix.lower() not in TIMELINES:
            raise ConfigError(
                f"--timeline {self.timeline}: expected the suffix {' or '.join(TIMELINES)}",
                hint=f"for example {with_suffix(self.timeline, '.html')}",
            )

    def _check_resume(self) -> None:
        """Refuses to go on where the beginning would be missing from another output."""
        if self.table is None or self.table_is_printed:
            raise ConfigError("--resume has no effect without a table in a file", hint="add --table faces.csv")
        if self.style is not None:
            raise ConfigError("--resume and --style cannot be combined", hint="leave out --style")
        hints = {
            "--timeline": "draw the timeline from the table afterwards: mien report",
            "--annotate": "annotate the video in an analysis of its own",
        }
        for option, place in self.files.items():
            if option in hints:
                raise ConfigError(
                    f"--resume and {option} {place} cannot be combined: the frames of the beginning would be missing",
                    hint=hints[option],
                )

    @property
    def table_format(self) -> str:
        """The format of the table: that given, or its suffix."""
        return self.format or ("" if self.table is None else self.table.suffix.lower().removeprefix("."))

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
    def files(self) -> dict[str, Path]:
        """The files that are written, and replaced if they exist, by option."""
        return {
            option: place for option, place in self._places.items() if option != "--annotate" or self.annotates_video
        }

    @property
    def written(self) -> list[Path]:
        """The files and the folder that are written."""
        return list(self._places.values())

    @property
    def _places(self) -> dict[str, Path]:
        """The files and the folder that are written, by option."""
        table = None if self.table_is_printed else self.table
        places = {"--table": table, "--annotate": self.annotate, "--timeline": self.timeline, "--record": self.record}
        return {option: place for option, place in places.items() if place is not None}


class Target:
    """A file that a command writes: checked before the work, so that no results are lost at its end.

    Args:
        option: The option that names it.
        path: The file.
        suffixes: Those that it may have; any without them.

    Attributes:
        path: The file.
        word: "written", or "replaced" if there is such a file already.

    Raises:
        ConfigError: It has another suffix.
        OutputError: It cannot be written.
    """

    def __init__(self, option: str, path: Path, *suffixes: str) -> None:
        if suffixes and path.suffix.lower() not in suffixes:
            raise ConfigError(
                f"{option} {path}: expected the suffix {' or '.join(suffixes)}",
                hint=f"for example {option} {with_suffix(path, suffixes[0])}",
            )
        writable(path)
        self.path = path
        self.word = "replaced" if path.is_file() else "written"

    def __str__(self) -> str:
        return f"{self.word}: {self.path}"


def older(out: Path) -> set[Path]:
    """The files of an earlier export under this name, which are replaced."""
    named = (out.with_suffix(suffix) for suffix in (".onnx", ".safetensors", ".entry.toml"))
    return {path.resolve() for path in named if path.is_file()}


def exported(path: Path, older: set[Path]) -> str:
    """The line about a file of an export."""
    return f"{path}  {path.stat().st_size:,} bytes{', replaced' if path.resolve() in older else ''}"


def measured(out: Path) -> Iterator[str]:
    """A line for each accuracy that an export has measured and written into the entry for the manifest."""
    from mien.assets.manifest import read_manifest

    entry = out.with_suffix(".entry.toml")
    (info,) = read_manifest(entry.read_text(encoding="utf-8"), entry.name).values()
    for scores in info.scores.values():
        if isinstance(scores, Mapping) and {"protocol", "accuracy", "faces"} <= set(scores):
            yield f"{scores['protocol']}: {scores['accuracy']:.1%} of {scores['faces']:,} faces"


def check_analyzed_stay(output: OutputOptions, inputs: Iterable[Path]) -> None:
    """Refuses an output that would replace an input."""
    names = {
        "--table": "the table",
        "--annotate": "the annotated video",
        "--timeline": "the timeline",
        "--record": "the record",
    }
    check_inputs_stay({names[option]: place for option, place in output.files.items()}, inputs)


def check_folder(output: OutputOptions, frames: "FrameSource") -> None:
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


def check_one_video(output: OutputOptions, frames: "FrameSource") -> None:
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


class Outputs:
    """The outputs that were requested, as one: used in a `with` statement and given one result at a time.

    If no input could be read, files that are there already stay: a name with a mistake must not replace a good table.

    Args:
        options: The request.
        analyzer: What analyzes.
        frames: What is analyzed.
        begun: The part of the table that is there already.

    Attributes:
        written: The files and the folder that were written; known at the end.
        notes: What was not written, and why; known at the end.
    """

    def __init__(
        self,
        options: OutputOptions,
        analyzer: "Analyzer",
        frames: "FrameSource",
        begun: "Begun | None" = None,
    ) -> None:
        from mien.output.record import Record

        self._options = options
        self._all = list(_requested(options, analyzer, frames, begun))
        self._record = next((each for each in self._all if isinstance(each, Record)), None)
        self._stack = ExitStack()
        self._older = [place for place in options.files.values() if place.is_file()]
        self._has_results = begun is not None
        self.written: list[Path] = []
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for each in self._all:
                stack.enter_context(each)
            self._stack = stack.pop_all()
        return self

    def losses(self, frames: "FrameSource") -> str:
        """What is lost of videos in the style of the table, in words; empty if nothing is."""
        style = STYLES[self._options.style] if self._options.style and self._options.table else None
        if style is None or not style.lacks or not frames.has_video:
            return ""
        return f"the style {style.name} has no columns for {style.lacks}: --style mien has"

    def stopped(self) -> None:
        """Marks the record as incomplete."""
        if self._record is not None:
            self._record.complete = False

    def write(self, result: FrameResult) -> None:
        """Gives one result to each output."""
        self._has_results = self._has_results or result.error is None
        for each in self._all:
            each.write(result)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
        elif self._older and not self._has_results:
            self._stack.__exit__(DiscardError, DiscardError(), None)
            self.notes = [f"there is no result, so '{place}' stays as it was" for place in self._older]
        else:
            self._stack.__exit__(None, None, None)
            self._note_empty()

    def _note_empty(self) -> None:
        from mien.output.timeline.render import Timeline
        from mien.output.video import AnnotatedVideo

        self.written = self._options.written
        for each in self._all:
            if isinstance(each, (AnnotatedVideo, Timeline)) and not each.has_frames:
                name = "timeline" if isinstance(each, Timeline) else "video"
                self.notes.append(f"no {name} was written to '{each.target}': there was no frame")
                self.written.remove(each.target)


def _requested(
    options: OutputOptions, analyzer: "Analyzer", frames: "FrameSource", begun: "Begun | None"
) -> "Iterator[Output]":
    """The outputs that were requested, not yet open."""
    from mien.faces.keypoints import COUNTS
    from mien.output import AnnotatedImages, open_table
    from mien.output.base import TextTable
    from mien.output.console import ConsoleTable, JsonLines
    from mien.output.record import Record
    from mien.output.timeline.render import Timeline
    from mien.output.video import AnnotatedVideo

    if options.record:  # first, so that it closes last and knows whether the others failed
        known = {} if begun is None else {"continued": {"from": begun.path.name, "sources": len(begun.sources)}}
        yield Record(options.record, _provenance(analyzer, frames) | known)
    if options.table:
        table = open_table(
            options.table,
            analyzer.emotions,
            format=options.format,
            style=options.style or "mien",
            keypoints=COUNTS[analyzer.landmarker.scheme] if analyzer.landmarker else 0,
            smoothed=bool(analyzer.options.tracking.smooth),
        )
        if isinstance(table, TextTable):
            table.begun = begun
        yield Printed(table) if options.table_is_printed and options.written else table
    if options.timeline:
        yield Timeline(options.timeline)
    if options.annotate and options.annotates_video:
        yield AnnotatedVideo(options.annotate, cast("Overlay", options.overlay or "bars"))
    elif options.annotate:
        yield AnnotatedImages(options.annotate, cast("Overlay", options.overlay or "bars"), frames.folders)
    if options.json:  # --quiet leaves out what is for people, not the data
        yield Printed(JsonLines()) if options.written else JsonLines()
    elif not options.quiet and not options.table_is_printed:
        shown = ConsoleTable(analyzer.emotions, map(str, frames.items), videos=frames.has_video)
        yield Printed(shown) if options.written else shown


def _provenance(analyzer: "Analyzer", frames: "FrameSource") -> dict[str, object]:
    """How the results of a command are produced: by which words, without passwords, and by what."""
    from mien.analyzer import record_of

    words = [_PASSWORD.sub(r"\1***@", os.fsencode(word).decode("utf-8", "backslashreplace")) for word in sys.argv[1:]]
    video = {"video": {name: getattr(frames.options, name) for name in frames.options.__slots__}}
    found = record_of(analyzer, images=frames.has_image, videos=frames.has_video)
    return {"command": ["mien", *words], **found, **(video if frames.has_video else {})}
