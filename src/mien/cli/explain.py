"""`mien explain`: why a model gives a class to the faces of an image."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.cli import bar, console, say, tell
from mien.cli.ending import Stop
from mien.cli.options import Only, command
from mien.errors import EXIT_CODES, ConfigError, InputError, StoppedError
from mien.explain import need_extra
from mien.expression import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.names import printable
from mien.results import FrameResult

if TYPE_CHECKING:
    from mien.explain.faces import Explanation

_WHOLE_IMAGE: Final = "whole-image"


@dataclass(frozen=True, slots=True)
class QuestionOptions:
    """What is asked, of which faces, and where the answer goes."""

    out: Annotated[Path | None, "A folder for the images and the page; or one page, such as page.html."] = None
    class_: Annotated[str | None, "The class to explain; by default the most probable one of each face.", "--class"] = (
        None
    )
    against: Annotated[str | None, "The class to compare it with; by default the most probable other one."] = None
    faces_are_crops: Annotated[bool, f"The images are cropped faces; same as --detector {_WHOLE_IMAGE}."] = False
    largest_only: Annotated[bool, "Explain only the largest face of each image."] = False
    quiet: Annotated[bool, "Print errors only.", "--quiet", "-q"] = False


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("explain")(command(explain))


def explain(
    images: Annotated[list[str], typer.Argument(help="Images or folders of images.", show_default=False)],
    question: QuestionOptions,
    classifier: Annotated[ClassifierOptions, Only({"model", "emotions", "prior"})],
    detector: Annotated[DetectorOptions, Only({"name", "weights", "min_score"})],
) -> None:
    """Shows why a model gives a class to a face: Grad-CAM, integrated gradients and occlusion.

    For each face it writes an image of each method and a page with all of them: what speaks for the class, and what
    speaks for it and not for the second most probable one. It also measures whether the maps are right about the
    network: what they mark is deleted, and the probability must fall faster than in a random order.

    --model may also be a training run, one of its checkpoints, or a .safetensors file.
    """
    need_extra()
    if question.out is None:
        raise ConfigError("--out is missing", hint="--out FOLDER, or --out page.html")
    with console().status("loading"):
        from mien.analyzer import AnalyzerOptions
        from mien.explain.faces import explain as explain_images
        from mien.explain.networks import load
        from mien.explain.page import check_out, is_page, write_page, write_panels
        from mien.media import open_frames

        check_out(question.out)
        frames = open_frames(images)
        model = load(replace(classifier, prior=classifier.prior or "auto"))
    if question.faces_are_crops:
        detector = replace(detector, name=_WHOLE_IMAGE)
    options = AnalyzerOptions(detector=detector, largest_only=question.largest_only)
    for note in () if question.quiet else model.notes:
        say("note", "yellow", note)
    found: list[Explanation] = []
    written: list[Path] = []
    failed, lines = 0, sys.stdout  # the bar sends standard output to the terminal
    with Stop() as stop:
        with _progress(hidden=question.quiet) as report:
            results = explain_images(
                model, frames, options, wanted=question.class_, against=question.against, progress=report
            )
            for each in stop.until(results):
                if isinstance(each, FrameResult):
                    failed += each.error is not None
                    _say_nothing_found(each, quiet=question.quiet)
                    continue
                found.append(each)
                if not is_page(question.out):
                    written += write_panels(question.out, each)
                if not question.quiet:
                    print(printable(_summary(each)), file=sys.stdout if lines.isatty() else lines, flush=True)
        if found:
            written.append(write_page(question.out, model, found))
    if found and not question.quiet:
        _tell_rest(found, written)
    if stop.asked:
        raise _stopped(found)
    if not found and not failed:
        raise InputError(
            "no face was found, so there is nothing to explain", hint="for cropped faces, add --faces-are-crops"
        )
    if failed:
        raise typer.Exit(EXIT_CODES[InputError])


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar of images, or none."""
    if hidden:
        yield lambda done, total: None
        return
    with bar("explaining") as report:
        yield report


def _stopped(found: "Sequence[Explanation]") -> StoppedError:
    """Says where Ctrl-C ended the command."""
    if not found:
        return StoppedError("stopped before the first face was explained")
    last = found[-1].place
    return StoppedError(
        f"stopped after '{last.source}' face {last.number}; the results so far are kept",
        hint="for the rest, give the images after this one, and another --out",
    )


def _say_nothing_found(result: FrameResult, *, quiet: bool) -> None:
    """Says why an image has no explanation."""
    if result.error is not None:
        say("error", "red", result.error)
    elif not quiet:
        say("note", "yellow", f"'{result.source}': no face was found")


def _tell_rest(found: "Sequence[Explanation]", written: "Sequence[Path]") -> None:
    """Says which methods are missing, and what was written."""
    for name, why in found[0].missing.items():
        say("note", "yellow", f"no {name}: {why}")
    for path in written:
        tell(f"written: {path}")


def _summary(each: "Explanation") -> str:
    assert each.face.expression is not None
    expression = each.face.expression
    first, second = (f"{name} {expression[name]:.0%}" for name in (each.wanted, each.against))
    return f"{each.place.source} face {each.place.number}: {first} against {second}; {each.check()}"
