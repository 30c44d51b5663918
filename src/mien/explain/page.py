"""Explanations as one HTML page without scripts or requests, its images inside, or as a folder with image files."""

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import __version__
from mien.errors import ConfigError, MissingExtraError
from mien.evaluation.report import page as report_page
from mien.explain.attribution import METHODS, TITLES
from mien.explain.drawing import TITLE_ROWS
from mien.explain.faces import Explanation
from mien.explain.faithfulness import Deletion
from mien.explain.networks import ExplainedModel
from mien.files import check_folder, new_file, writable, write_errors

PAGE: Final = "report.html"
_PAGES: Final = (".html", ".htm")
_FORM: Final = "--out FOLDER for images and a page, or --out page.html for the page alone"

_WIDTH: Final = 420
_HEIGHT: Final = 190
_LEFT: Final = 44
_TOP: Final = 10
_RIGHT: Final = 398
_BOTTOM: Final = 152
WORDS: Final = {
    "gradcam": "Maps of the last fine layer, weighted by their gradients: coarse, and steady from face to face.",
    "integrated-gradients": "Gradients on the way from a blurred face to this one: fine, and noisy; smoothed here.",
    "occlusion": "How far the score falls if a part is blurred: slow, and needs nothing but the model's outputs.",
}


def is_page(out: Path) -> bool:
    """Whether `out` means one page, and not a folder."""
    return out.suffix.lower() in _PAGES and not out.is_dir()


def check_out(out: Path) -> None:
    """Refuses, before the work, what cannot be written.

    Raises:
        ConfigError: It has the suffix of a file, but is not a page.
        OutputError: It cannot be written.
    """
    if is_page(out):
        writable(out)
        return
    check_folder(out)
    if out.is_dir():
        writable(out / PAGE)
    # Without the tables of the system, which differ.
    elif mimetypes.MimeTypes().guess_type(out.name, strict=False) != (None, None):
        raise ConfigError(f"--out {out}: expected a folder or a page, not a {out.suffix} file", hint=_FORM)


def write_panels(out: Path, each: Explanation) -> list[Path]:
    """Writes the images of one face into a folder; gives their paths.

    Raises:
        OutputError: Something cannot be written.
    """
    written = []
    for name, panel in each.panels.items():
        path = out / f"{each.place.stem}.face{each.place.number}.{name}.png"
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path, "wb") as file:
            Image.fromarray(panel).save(file, "PNG")
        written.append(path)
    return written


def write_page(out: Path, model: ExplainedModel, explanations: Sequence[Explanation]) -> Path:
    """Writes the page, into a folder under the name `PAGE`; gives its path.

    Raises:
        OutputError: It cannot be written.
    """
    path = out if is_page(out) else out / PAGE
    with new_file(path, "w", encoding="utf-8") as file:
        file.write(explanation_page(model, explanations))
    return path


def environment(folder: Path = Path(__file__).parent / "templates") -> Any:
    """The templates of this package, with those of the reports, from which they take their style.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("writing an HTML page", "explain") from error
    reports = Path(report_page.__file__).parent / "templates"
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, reports]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters.update({"png": report_page.png_url, "hue": report_page.css_colour})
    return made


def explanation_page(model: ExplainedModel, explanations: Sequence[Explanation]) -> str:
    """The page of some explanations."""
    return str(
        environment()
        .get_template("explain.html")
        .render(
            version=__version__,
            model=model.classifier.name,
            known={
                "model": model.classifier.name,
                "architecture": model.architecture or "not known",
                "prior": model.classifier.prior,
                "faces": str(len(explanations)),
            },
            notes=model.notes,
            faces=[_face(each) for each in explanations],
            words=WORDS,
            titles=TITLES,
        )
    )


def _face(each: Explanation) -> dict[str, object]:
    """What the template shows of one face."""
    assert each.face.expression is not None
    expression = each.face.expression
    ranked = sorted(expression.as_dict().items(), key=lambda pair: -pair[1])
    return {
        "it": each,
        "ranked": ranked,
        "panels": {name: each.panels[name][TITLE_ROWS:] for name in METHODS if name in each.panels},
        "chart": _chart(each.deletion),
        "areas": each.deletion.areas,
        "random": each.deletion.random_area,
    }


def _chart(found: Deletion) -> dict[str, object]:
    """The deletion curves as coordinates."""
    top = max(1e-6, *(float(curve.max()) for curve in (found.random, *found.curves.values())))
    top = min(1.0, np.ceil(top * 10) / 10)

    def line(curve: NDArray[np.float64]) -> str:
        xs = _LEFT + found.shares * (_RIGHT - _LEFT)
        ys = _BOTTOM - curve / top * (_BOTTOM - _TOP)
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True))

    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _RIGHT,
        "bottom": _BOTTOM,
        "ticks": [
            (_BOTTOM - share * (_BOTTOM - _TOP), f"{share * top:.0%}", _LEFT + share * (_RIGHT - _LEFT), f"{share:.0%}")
            for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        ],
        "lines": [("random", line(found.random)), *((name, line(curve)) for name, curve in found.curves.items())],
    }
