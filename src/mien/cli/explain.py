"""`mien explain`: why a model gives a class to the faces of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.cli import console, print_line, say, tell
from mien.cli.options import Only, command
from mien.errors import EXIT_CODES, ConfigError, InputError, OutputError
from mien.explain import need_extra
from mien.expression import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.results import FrameResult

if TYPE_CHECKING:
    from mien.explain.faces import Explanation

_PAGES: Final = (".html", ".htm")
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
    from dataclasses import replace

    need_extra()
    if question.out is None:
        raise ConfigError("--out is missing", hint="--out FOLDER, or --out page.html")
    with console().status("loading"):
        from mien.analyzer import AnalyzerOptions
        from mien.explain.faces import explain as explain_images
        from mien.explain.networks import load

        model = load(replace(classifier, prior=classifier.prior or "auto"))
    if question.faces_are_crops:
        detector = replace(detector, name=_WHOLE_IMAGE)
    options = AnalyzerOptions(detector=detector, largest_only=question.largest_only)
    for note in () if question.quiet else model.notes:
        say("note", "yellow", note)
    found: list[Explanation] = []
    failed = 0
    with console().status("explaining"):
        for each in explain_images(model, images, options, wanted=question.class_, against=question.against):
            if isinstance(each, FrameResult):
                failed += each.error is not None
                _say_nothing_found(each, quiet=question.quiet)
                continue
            found.append(each)
            if not question.quiet:
                print_line(_summary(each))
    if not found and not failed:
        raise InputError(
            "no face was found, so there is nothing to explain", hint="for cropped faces, add --faces-are-crops"
        )
    if not found:
        raise typer.Exit(EXIT_CODES[InputError])
    from mien.explain.page import explanation_page

    written = _write(question.out, found, explanation_page(model, found))
    if not question.quiet:
        _tell_rest(found, written)
    if failed:
        raise typer.Exit(EXIT_CODES[InputError])


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
    return f"{each.source} face {each.number}: {first} against {second}; {each.check()}"


def _write(out: Path, found: "Sequence[Explanation]", page: str) -> list[Path]:
    """Writes the page, and into a folder also the images; gives the paths.

    Raises:
        OutputError: Something cannot be written.
    """
    from PIL import Image

    from mien.explain.faces import stem_of
    from mien.files import new_file, write_errors

    if out.suffix.lower() in _PAGES and not out.is_dir():
        with new_file(out, "w", encoding="utf-8") as file:
            file.write(page)
        return [out]
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, expected a folder or a page such as page.html")
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    written, taken, stems = [], set[str](), dict[str, str]()
    for each in found:
        if each.source not in stems:
            stems[each.source] = stem_of(each.source, taken)
        for name, panel in each.panels.items():
            path = out / f"{stems[each.source]}.face{each.number}.{name}.png"
            with new_file(path, "wb") as file:
                Image.fromarray(panel).save(file, "PNG")
            written.append(path)
    with new_file(out / "report.html", "w", encoding="utf-8") as file:
        file.write(page)
    return [*written, out / "report.html"]
