"""What was found, as files for people to look at: a contact sheet, and a page without scripts or requests."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.curate.finds import REASONS, Curated, Find, counts_of, write_csv
from mien.errors import OutputError
from mien.evaluation.report import page as reports
from mien.files import check_folder, new_file, write_errors
from mien.names import printable
from mien.output.drawing.canvas import Canvas, shortened, text_width
from mien.output.drawing.palette import RGB, colour_of

LIST: Final = "curation.csv"
SHEET: Final = "sheet.png"
PAGE: Final = "report.html"
SUMMARY: Final = "summary.json"
ON_SHEET: Final = 40  # images of one reason on the sheet
ON_PAGE: Final = 240  # the same on the page
_CONFUSIONS: Final = 12  # pairs of classes on the page
_COLUMNS: Final = 10
_LEAST_COLUMNS: Final = 6
_FACE: Final = 112  # side of a face on the sheet in pixels
_GAP: Final = 16
_CAPTION: Final = 62
_HEAD: Final = 56
_TITLE: Final = 74
_PAPER: Final[RGB] = (240, 239, 235)  # so that white images have an edge
_INK: Final[RGB] = (28, 31, 38)
_SOFT: Final[RGB] = (92, 99, 112)


def _by_reason(finds: Sequence[Find]) -> dict[str, list[Find]]:
    """The finds of each reason that has any."""
    return {reason: [find for find in finds if find.reason == reason] for reason in counts_of(finds)}


def write_sheet(found: Curated, path: Path) -> None:
    """Writes the contact sheet: of each reason the most suspicious images, copies beside the image that stays.

    Raises:
        OutputError: It cannot be written.
    """
    with new_file(path, "wb") as file:
        Image.fromarray(sheet(found)).save(file, "PNG", optimize=True)


def sheet(found: Curated) -> NDArray[np.uint8]:
    """The contact sheet (H, W, 3) uint8 RGB."""
    groups = _by_reason(found.finds)
    step = _FACE + _GAP
    wanted = max((len(finds) * _across(finds[0]) for finds in groups.values()), default=0)
    width = min(max(wanted, _LEAST_COLUMNS), _COLUMNS) * step + _GAP
    shown = {reason: finds[: ON_SHEET // _across(finds[0])] for reason, finds in groups.items()}
    rows = {reason: -(-len(finds) * _across(finds[0]) // _COLUMNS) for reason, finds in shown.items()}
    height = _TITLE + sum(_HEAD + count * (step + _CAPTION) for count in rows.values()) + _GAP
    pixels = np.full((height, width, 3), _PAPER, np.uint8)
    top, places = _TITLE, list[tuple[int, int, Find]]()
    for reason, finds in shown.items():
        for number, find in enumerate(finds):
            row, column = divmod(number, _COLUMNS // _across(find))
            left = _GAP + column * step * _across(find)
            places.append((left, top + _HEAD + row * (step + _CAPTION), find))
        top += _HEAD + rows[reason] * (step + _CAPTION)
    for left, high, find in places:
        for place, each in enumerate([find.row] if find.other is None else [find.row, find.other]):
            face = _shown(found.samples.images[each])
            pixels[high : high + _FACE, left + place * step : left + place * step + _FACE] = face
    canvas = Canvas(pixels)
    canvas.text(_GAP, 26, shortened(f"Suspicious images in {printable(found.name)}", 21, width - 2 * _GAP), 21, _INK)
    subtitle = f"{len(found.finds):,} of {len(found.samples):,} images; most suspicious first"
    canvas.text(_GAP, 54, subtitle, 14, _SOFT)
    top = _TITLE
    for reason, finds in groups.items():
        title = f"{reason.replace('-', ' ')}: {len(shown[reason]):,} of {len(finds):,}"
        canvas.text(_GAP, top + 24, title, 17, _INK, bold=True)
        after = _GAP + text_width(title, 17) + 26
        canvas.text(after, top + 25, shortened(REASONS[reason], 13, width - after - _GAP), 13, _SOFT)
        top += _HEAD + rows[reason] * (step + _CAPTION)
    for left, high, find in places:
        _caption(canvas, found, find, left, high + _FACE)
    return canvas.array()


def _across(find: Find) -> int:
    """The number of images that a find shows."""
    return 1 if find.other is None else 2


def _shown(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image as a square tile of the sheet."""
    colour = Image.fromarray(image).convert("RGB")
    return np.array(colour.resize((_FACE, _FACE), Image.Resampling.BICUBIC))


def _caption(canvas: Canvas, found: Curated, find: Find, left: float, top: float) -> None:
    """The label, the class that is proposed, the score and the name, below an image."""
    lines = [(find.label or "no label", colour_of(find.label or "unknown"))]
    if find.proposed:
        lines.append((f"rather {find.proposed}", colour_of(find.proposed)))
    for number, (text, colour) in enumerate(lines):
        middle = top + 12 + 16 * number
        canvas.dot(left + 5, middle, 4.5, colour)
        canvas.text(left + 15, middle, shortened(text.replace("_", " "), 12.5, _FACE + _GAP - 18), 12.5, _INK)
    if find.other is not None:
        other = found.samples.labels[find.other]
        label = "no label" if other < 0 else found.samples.classes[other]
        middle, right = top + 12, left + _FACE + _GAP
        canvas.dot(right + 5, middle, 4.5, colour_of(label))
        canvas.text(right + 15, middle, shortened(f"{label.replace('_', ' ')}, stays", 12.5, _FACE - 15), 12.5, _INK)
    name = printable(str(found.samples.names[find.row])) or f"row {find.row}"
    room = _FACE * _across(find) + _GAP * (_across(find) - 1)
    text = f"{find.score:.2f}  {shortened(name, 11, room - 30, keep_end=True)}"
    canvas.text(left, top + 12 + 16 * len(lines), text, 11, _SOFT)


def report_page(found: Curated) -> str:
    """The page.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    sections = [
        {
            "reason": reason,
            "title": reason.replace("-", " "),
            "meaning": REASONS[reason],
            "count": len(finds),
            "shown": [_figure(found, find) for find in finds[:ON_PAGE]],
        }
        for reason, finds in _by_reason(found.finds).items()
    ]
    known = {"data": printable(found.name), "images": f"{len(found.samples):,}", "suspicious": f"{len(found.finds):,}"}
    confusions = []
    if found.labels is not None:
        known["labels wrong, by estimate"] = f"{found.labels.noise:.1%}"
        known["judged by"] = found.judged_by.removeprefix("judged by ")
        confusions = found.labels.confusions()[:_CONFUSIONS]
    return reports.render(
        "curation.html",
        data=printable(found.name),
        known=known,
        notes=[printable(note) for note in found.notes],
        sections=sections,
        confusions=confusions,
        tabs=[],
    )


def _figure(found: Curated, find: Find) -> dict[str, object]:
    """What the template shows of one find."""
    samples = found.samples
    other = None
    name = printable(str(samples.names[find.row])) or f"row {find.row}"
    if find.other is not None:
        label = int(samples.labels[find.other])
        other = {
            "image": samples.images[find.other],
            "label": "" if label < 0 else samples.classes[label],
            "name": printable(str(samples.names[find.other])) or f"row {find.other}",
        }
    return {
        "it": find,
        "image": samples.images[find.row],
        "name": name,
        "note": printable(find.note) if find.reason == "low-quality" else "",
        "also": ", ".join(each.replace("-", " ") for each in find.also),
        "title": "; ".join(filter(None, (name, printable(find.note)))),
        "other": other,
    }


def check_out(out: Path, *, force: bool) -> None:
    """Makes sure that nothing a person has edited is overwritten.

    Raises:
        OutputError: The folder has a list already, or is a file or read-only.
    """
    check_folder(out)
    if (out / LIST).exists() and not force:
        raise OutputError(
            f"{out / LIST}: is there already, and you may have edited it",
            hint="give another --out, or overwrite it with --force",
        )


def write(found: Curated, out: str | Path, *, force: bool = False) -> list[Path]:
    """Writes the list, the contact sheet, the page and the summary into a folder, which is made.

    Returns:
        The files written.

    Raises:
        OutputError: The folder has a list already, which a person may have checked; or it cannot be written.
        MissingExtraError: jinja2 is not installed.
    """
    place = Path(out)
    check_out(place, force=force)
    page = report_page(found)
    with write_errors(place):
        place.mkdir(parents=True, exist_ok=True)
    write_csv(place / LIST, found.samples, found.finds)
    write_sheet(found, place / SHEET)
    with new_file(place / PAGE, "w", encoding="utf-8") as file:
        file.write(page)
    with new_file(place / SUMMARY, "w", encoding="utf-8") as file:
        file.write(json.dumps(found.as_dict(), indent=1) + "\n")
    return [place / name for name in (LIST, SHEET, PAGE, SUMMARY)]
