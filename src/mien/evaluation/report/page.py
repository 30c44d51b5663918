"""An evaluation as one HTML page without scripts or requests, its images inside.

The Content-Security-Policy of the page forbids it to load anything; its tabs are radio buttons. It supports light and
dark mode, and prints every protocol on pages of its own. The templates are in `templates/`.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import __version__, emotions
from mien.datasets import Samples
from mien.errors import MissingExtraError
from mien.evaluation.calibration import BINS
from mien.evaluation.intervals import Estimate
from mien.evaluation.predict import Evaluation, Predictions
from mien.evaluation.report.charts import reliability, risk
from mien.evaluation.report.text import over, points
from mien.evaluation.robustness import AccuracyDrop, corrupted
from mien.evaluation.score import COVERAGE, Scores
from mien.evaluation.slices import Slice, all_slices
from mien.output.drawing.palette import colour_of

if TYPE_CHECKING:
    import jinja2

# Number of worst mistakes shown.
MISTAKES: Final = 24


# Name of a score, its value, its format, and a note that follows its interval.
Tile = tuple[str, Estimate, str, str]


def evaluation_page(evaluation: Evaluation, samples: Samples, *, data: str = "") -> str:
    """The page of an evaluation.

    Args:
        evaluation: The result of `evaluate_model`.
        samples: What it was evaluated on; some of their images are shown.
        data: Name of the samples, for the heading.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    data_set = f"({samples.about['data_set']})" if "data_set" in samples.about else ""
    detector = f"{evaluation.detector}, faces on a canvas" if evaluation.detector else "none: faces as stored"
    return render(
        "evaluation.html",
        model=evaluation.model,
        data=data,
        known={
            "model": evaluation.model,
            "data": f"{data} {data_set}".strip(),
            "split": f"{evaluation.split}, {len(samples):,} faces",
            "test-time augmentation": augmentation(evaluation.tta),
            "detector": detector,
            "prior": evaluation.prior,
        },
        tabs=[predicted.title for predicted in evaluation.predictions.values()],
        sections=[
            {
                **_section(scores, evaluation.predictions[name], samples, evaluation.accuracy_drops.get(name, ())),
                "groups": evaluation.groups.get(name, ()),
            }
            for name, scores in evaluation.scores.items()
        ],
    )


def augmentation(tta: str) -> str:
    """Test-time augmentation in words."""
    return "none: one view" if tta == "none" else f"{tta}, averaged"


def _section(
    scores: Scores, predicted: Predictions, samples: Samples, drops: Sequence[AccuracyDrop]
) -> dict[str, object]:
    """What the template shows of one protocol."""
    chosen = samples.subset(predicted.rows)
    wrong = np.flatnonzero(~predicted.correct)
    worst = wrong[np.argsort(-predicted.confidence[wrong], kind="stable")][:MISTAKES]
    return {
        "scores": scores,
        "tiles": _tiles(scores),
        "reliability": reliability(predicted, scores.bins),
        "risk": risk(predicted),
        "slices": all_slices(chosen, predicted.confidence, predicted.correct, predicted.how),
        "drops": [(drop, corrupted(chosen.images[:1], drop.corruption)[0]) for drop in drops],
        "wrong": len(wrong),
        "voted": chosen.votes is not None,
        "mistakes": list(_mistakes(predicted, chosen, worst)),
    }


def _tiles(scores: Scores) -> list[list[Tile]]:
    """The scores of the decisions and, in a second row, those of the probabilities."""
    decisions: list[Tile] = [
        ("accuracy", scores.accuracy, ".1%", ""),
        ("macro F1", scores.macro_f1, ".1%", ""),
        ("mean recall", scores.mean_recall, ".1%", ""),
        (f"selective accuracy at {COVERAGE:.0%} coverage", scores.selective, ".1%", ""),
        ("calibration error above chance", scores.excess_error, ".1%", ""),
    ]
    if scores.mean_recall_of_seven:
        decisions.insert(3, ("mean recall without contempt", scores.mean_recall_of_seven, ".1%", ""))
    if scores.found:
        decisions.insert(0, ("faces found", scores.found, ".1%", "other scores exclude the rest"))
    distances = {
        "negative log-likelihood": scores.nll,
        "cross-entropy to the votes": scores.cross_entropy,
        "Jensen-Shannon divergence to the votes": scores.jensen_shannon,
        "Jensen-Shannon divergence between halves of the votes": scores.human,
    }
    if scores.assumed_error:
        decisions.append(("calibration error at assumed shares", scores.assumed_error, ".1%", "above chance"))
    second: list[Tile] = [(name, estimate, ".3f", "nats") for name, estimate in distances.items() if estimate]
    return [decisions, second] if len(second) > 1 else [decisions + second]


def _mistakes(predicted: Predictions, chosen: Samples, rows: NDArray[np.int64]) -> Iterator[dict[str, object]]:
    """Faces that are classified wrongly, with the votes of their annotators in words."""
    for row in rows.tolist():
        votes = ""
        if chosen.votes is not None:
            counts = sorted(zip(chosen.votes[row].tolist(), emotions.ALL, strict=True), key=lambda pair: -pair[0])
            votes = ", ".join(f"{count} {name.replace('_', ' ')}" for count, name in counts if count)
        yield {
            "image": chosen.images[row],
            "name": str(chosen.names[row]),
            "truth": predicted.classes[int(predicted.labels[row])],
            "predicted": predicted.classes[int(predicted.probabilities[row].argmax())],
            "confidence": float(predicted.confidence[row]),
            "votes": votes,
        }


def render(template: str, **context: object) -> str:
    """Fills a template of `templates/`.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return _environment().get_template(template).render(context, version=__version__, bins=BINS)


def need_templates() -> None:
    """Checks that a page can be written, before an evaluation begins.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    _environment()


def _environment() -> "jinja2.Environment":
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("writing an HTML report", "report") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    filters = {"value": _value, "interval": _interval, "points": points, "ends": _ends, "over": over}
    environment.filters.update(filters | {"png": png_url, "hue": css_colour})
    environment.tests["known"] = _known
    return environment


def _known(estimate: Estimate) -> bool:
    return not np.isnan(estimate.value)


def _value(estimate: Estimate, spec: str = ".1%") -> str:
    """A score without its interval; a dash if it is undefined."""
    return format(estimate.value, spec) if _known(estimate) else "–"


def _interval(estimate: Estimate, spec: str = ".1%") -> str:
    """The interval of a score: `67.5–75.0%`, or `-2.4 to +10.0%`."""
    if not _known(estimate):
        return ""
    low, high = format(estimate.low, spec).removesuffix("%"), format(estimate.high, spec)
    return f"{low} to {high}" if spec.startswith("+") else f"{low}–{high}"


def _ends(one: Slice, spec: str) -> str:
    """The lowest and highest value in a slice."""
    low, high = format(one.low, spec), format(one.high, spec)
    return low if low == high else f"{low} – {high}"


def png_url(image: NDArray[np.uint8]) -> str:
    """An image as a data URL."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def css_colour(emotion: str) -> str:
    """The colour of a class, in CSS."""
    red, green, blue = colour_of(emotion)
    return f"rgb({red} {green} {blue})"
