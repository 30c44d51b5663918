"""Writes the generated tables into the documents: `python -m scripts.tables`; `--check` only checks them.

A document marks a place with `<!-- table: NAME -->` ... `<!-- /table -->`; the text between is generated from the
committed results in `benchmarks/`, the manifest of models, or definitions in the code.
"""

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.detectors import AT_PRECISION, POINTS, SIZES
from benchmarks.expressions import SETS
from benchmarks.face_copies import COPIES
from benchmarks.photographs import OTHERS, goals
from benchmarks.results import FOLDER, Measurement, Results, load, markdown, origin
from scripts.score import TEACHERS, evaluated, leading

from mien.action_units import NAMES, RULES
from mien.assets.manifest import DEFAULT
from mien.emotions import vocabulary
from mien.evaluation import metrics
from mien.evaluation.intervals import Estimate, resampled_confusions, wilson
from mien.evaluation.report.text import points
from mien.expression import affect
from mien.expression.prior import PRIORS
from mien.output import schema
from mien.output.styles import STYLES

if TYPE_CHECKING:
    from scripts.classics import Claim

    from mien.training.recipe import ScoreRecipe

ROOT = Path(__file__).parent.parent
SCORES = ROOT / "benchmarks" / "scores"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
PROTOCOLS = {"labels": "FER2013", "majority": "FER+ majority"}
DIVERGENCE = "jensen_shannon_to_votes_nats"
AMONG_PEOPLE = "jensen_shannon_of_half_the_votes_to_the_others_nats"
EMOTION = "emotion..."  # stands for the columns of probabilities, of which each vocabulary has its own
COLUMNS = schema.Layout((EMOTION,))
ON_REQUEST = schema.Layout((EMOTION,), keypoints=1, smoothed=True)
VERSION = schema.Column("schema", "integer", "", "The version of this definition.")
PLACE = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def _evaluation(name: str) -> dict[str, Any]:
    """A committed evaluation, by the name of its file."""
    found: dict[str, Any] = json.loads((SCORES / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _scores(name: str) -> dict[str, Any]:
    """The scores of a committed evaluation, by protocol."""
    found: dict[str, Any] = _evaluation(name)["protocols"]
    return found


def _percent(estimate: dict[str, float | None]) -> str:
    if estimate["value"] is None:
        return "-"
    value, low, high = (100 * (estimate[key] or 0) for key in ("value", "low", "high"))
    return f"{value:.1f} ({low:.1f}-{high:.1f})"


def _nats(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}-{estimate['high']:.3f})"


def summary() -> str:
    """Every shipped model and vote in one row: its accuracy under two protocols."""
    lines = [
        f"| model | {', accuracy % | '.join(PROTOCOLS.values())}, accuracy % |",
        "|---|" + "---:|" * len(PROTOCOLS),
    ]
    for model in evaluated():
        cells = [_percent(_scores(model)[name]["accuracy"]) for name in PROTOCOLS]
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _mean_recall(found: dict[str, Any], size: int = 0) -> str:
    """Mean recall over the classes of a committed evaluation, or over the vocabulary of that size, from its confusion.

    With the resamples of `compute_scores`, so it is what `mien evaluate` prints; older evaluations lack it.
    """
    confusion = np.array(found["confusion"])
    names = [row["emotion"] for row in found["classes"]]
    chosen = [names.index(name) for name in vocabulary(size)] if size else None
    draws = metrics.mean_recall(resampled_confusions(confusion), chosen)
    return _percent(Estimate.from_draws(float(metrics.mean_recall(confusion, chosen)), draws).as_dict())


def accuracy() -> str:
    """Every shipped model and vote under every protocol."""
    heads = ["model", "protocol", "faces", "accuracy, %", "mean recall, %", "macro F1, %", "calibration error, %"]
    lines = [f"| {' | '.join([*heads, 'above chance, %'])} |", "|---|---|---:|---:|---:|---:|---:|---:|"]
    for model in evaluated():
        for found in _scores(model).values():
            title = ", ".join(found["protocol"].split(", ")[:-2])
            cells = [
                _percent(found[key])
                for key in ("accuracy", "macro_f1", "calibration_error", "calibration_error_above_chance")
            ]
            cells.insert(1, _mean_recall(found))
            lines.append(f"| {model} | {title} | {found['n']:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _under(prior: str) -> dict[str, Any]:
    """The scores of the default under a prior, by protocol."""
    return _scores(DEFAULT if prior == "training" else f"{DEFAULT}.{prior}")


def priors() -> str:
    """The default, read under each prior."""
    heads = ["prior", "protocol", "accuracy, %", "mean recall, %", "of seven, %", "disgust found", "contempt found"]
    heads += ["calibration error above chance, %", "at assumed shares, %"]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for prior in PRIORS:
        evaluated = _under(prior)
        for name, title in PROTOCOLS.items():
            found = evaluated[name]
            counts = {row["emotion"]: row["support"] for row in found["classes"]}
            cells = [_percent(found["accuracy"]), _mean_recall(found), _mean_recall(found, 7)]
            for number, rare in enumerate(row["emotion"] for row in found["classes"]):
                if rare in ("disgust", "contempt"):
                    right = found["confusion"][number][number]
                    share = _percent(wilson(right, counts[rare]).as_dict())
                    cells.append(f"{right} of {counts[rare]}: {share}%")
            cells += ["-"] * (5 - len(cells))
            assumed = found.get("calibration_error_above_chance_at_assumed_shares")
            cells += [_percent(found["calibration_error_above_chance"]), _percent(assumed) if assumed else "-"]
            lines.append(f"| `{prior}` | {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def aligned() -> str:
    """Faces as they are stored, and aligned by the landmark network where it is sure."""
    lines = ["| `--model` | faces | protocol | accuracy, % | mean recall, % |", "|---|---|---|---:|---:|"]
    ways = {"": "as stored (`--no-align`)", ".aligned": "aligned where sure", ".aligned.flip": "the same, `--tta flip`"}
    for model in leading():
        for ending, title in ways.items():
            for name, protocol in PROTOCOLS.items():
                found = _scores(f"{model}{ending}")[name]
                cells = [f"`{model}`", title, protocol, _percent(found["accuracy"]), _mean_recall(found)]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def abstaining() -> str:
    """Selective accuracy, and the distance of the models to the votes beside that between halves of the votes."""
    heads = ["model", "protocol", "accuracy, %", "selective accuracy at 80% coverage, %"]
    heads += ["JS to the votes, nats", "five votes to five, nats"]
    lines = [f"| {' | '.join(heads)} |", "|---|---|---:|---:|---:|---:|"]
    for model in leading():
        for name in ("labels", "majority"):
            found = _scores(model)[name]
            cells = [_percent(found["accuracy"]), _percent(found["selective_accuracy_80"])]
            cells += [_nats(found[key]) for key in (DIVERGENCE, AMONG_PEOPLE)]
            lines.append(f"| {model} | {PROTOCOLS[name]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def robustness() -> str:
    """The accuracy drop of every model under every corruption, and with a detector, in points."""
    parts = []
    for name, title in PROTOCOLS.items():
        lines = [f"| {title}: accuracy drop, points | {' | '.join(leading())} |", "|---|" + "---:|" * len(leading())]
        scores = {model: _scores(model)[name] for model in leading()}
        for number, each in enumerate(next(iter(scores.values()))["corruptions"]):
            falls = [points(Estimate(**found["corruptions"][number]["fall"])) for found in scores.values()]
            lines.append(f"| `{each['corruption']}`: {each['meaning']} | {' | '.join(falls)} |")
        behind = []
        for model, found in scores.items():
            seen = _scores(f"{model}.detector")[name]
            lost = 100 * (found["accuracy"]["value"] - seen["accuracy"]["value"])
            behind.append(f"{lost:.1f}, {100 * seen['found']['value']:.1f}% found")
        lines.append(f"| found by the detector `mien` on a larger image, and cropped | {' | '.join(behind)} |")
        parts += [*lines, ""]
    return "\n".join(parts)


def overconfidence() -> str:
    """Whether the default knows that it reads corrupted faces worse: calibration under each corruption."""
    found = {(prior, name): _under(prior)[name]["corruptions"] for prior in ("training", "soft") for name in PROTOCOLS}
    heads = [f"{PROTOCOLS[name]}, `{prior}`" for prior, name in found]
    lines = [f"| overconfident by, points [calibration error above chance, %] | {' | '.join(heads)} |"]
    lines.append("|---|" + "---:|" * len(heads))
    for number, each in enumerate(next(iter(found.values()))):
        cells = []
        for drops in found.values():
            excess = 100 * drops[number]["calibration_error_above_chance"]["value"]
            cells.append(f"{points(Estimate(**drops[number]['overconfidence']))} [{excess:.1f}]")
        lines.append(f"| `{each['corruption']}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def expressions() -> str:
    """How often a viewer agrees with the default on photographs, and which classes it gives, under each prior."""
    results = load(FOLDER / "expressions.json")
    lines = [f"| faces of 40 px and more | {' | '.join(f'`{prior}`, %' for prior in PRIORS)} |"]
    lines.append("|---|" + "---:|" * len(PRIORS))
    titles = [name.partition(": ")[2] for name in results.measurements if name.startswith("the viewer agrees, soft")]
    for title in titles:
        cells = [_of(results.measurements[f"the viewer agrees, {prior}: {title}"]) for prior in PRIORS]
        lines.append(f"| the viewer agrees: {title} | {' | '.join(cells)} |")
    lines += ["", f"| share of the top class, % | `--prior` | {' | '.join(vocabulary(8))} |"]
    lines.append("|---|---|" + "---:|" * 8)
    for name in SETS:
        for prior in PRIORS:
            shares = [results.measurements[f"{name}, {prior}: {emotion}"] for emotion in vocabulary(8)]
            cells = [f"{each.median:.1f}" for each in shares]
            lines.append(f"| {name}, {shares[0].repeats:,} faces | `{prior}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", origin(results), ""])


def tta() -> str:
    """Test-time augmentation by mirroring, for each model and for the votes."""
    lines = ["| model | FER2013, one view, % | with mirrored, % | FER+ majority, one view, % | with mirrored, % |"]
    lines.append("|---|---:|---:|---:|---:|")
    titles = {model: model for model in leading()}
    voters = Counter(_evaluation(f"{TEACHERS}.flip")["model"].split(" + "))
    titles[TEACHERS] = "soft vote of " + ", ".join(f"{n} {each}" if n > 1 else each for each, n in voters.items())
    for model, title in titles.items():
        cells = []
        for name in PROTOCOLS:
            cells += [_percent(_scores(model)[name]["accuracy"]) if model != TEACHERS else "-"]
            cells += [_percent(_scores(f"{model}.flip")[name]["accuracy"])]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def classes() -> str:
    """Per-class figures of the default."""
    parts = []
    for name in ("labels", "majority"):
        found = _scores(DEFAULT)[name]
        parts += [f"**{found['protocol']}**", "", "| emotion | faces | precision, % | recall, % | F1, % |"]
        parts.append("|---|---:|---:|---:|---:|")
        few = {
            row["emotion"]: row["recall"] for row in found["rare_classes"]
        }  # Wilson's interval, which older files have here alone
        for row in found["classes"]:
            row["recall"] = few.get(row["emotion"], row["recall"])
            cells = " | ".join(_percent(row[key]) for key in ("precision", "recall", "f1"))
            parts.append(f"| {row['emotion']} | {row['support']} | {cells} |")
        parts.append("")
    return "\n".join(parts)


def detectors() -> str:
    """Recall and precision by size of the face: every detector on every kind of copy."""
    quality = load(FOLDER / "detectors.json")
    columns = [f"{title}, {size}" for title in ("recall", "precision") for size in SIZES]
    columns += [f"{AT_PRECISION}, {size}" for size in list(SIZES)[1:]]
    lines = [f"| images | detector | {' | '.join(f'{name}, %' for name in columns)} |"]
    lines.append("|---|---" + "|---:" * len(columns) + "|")
    for copy in COPIES:
        for detector in _titles(quality):
            found = [quality.measurements.get(f"{detector}: {copy}: {name}") for name in columns]
            lines.append(f"| {copy} | {detector} | {' | '.join(map(_interval, found))} |")
    return "\n".join([*lines, "", origin(quality), ""])


def photographs() -> str:
    """Every detector on natural photographs: what it reaches of each goal, and average precisions."""
    results = load(FOLDER / "detectors_photographs.json")
    found: dict[str, dict[str, Measurement]] = {title: {} for title in _titles(results)}
    for name, each in results.measurements.items():
        title, _, figure = name.partition(": ")
        found[title][figure] = each
    averages = [
        figure for figure in next(iter(found.values())) if figure.startswith("average precision") or figure in OTHERS
    ]
    rows = []
    for figure in averages:
        rows.append(f"| {figure} | | {' | '.join(_of(each.get(figure)) for each in found.values())} |")
    return "\n".join([goals(found) + "\n".join(rows), "", origin(results), ""])


def _of(share: Measurement | None) -> str:
    """A share with its interval and count; a figure without them alone."""
    if share is None:
        return "-"
    if share.repeats == 1:
        return f"{share.median:.1f}"
    return f"{share.median:.1f} ({share.lower:.1f}-{share.upper:.1f}) of {share.repeats:,}"


def landmarks() -> str:
    """The distance of the detectors' landmarks from the labelled ones, and the time they take."""
    quality, time = load(FOLDER / "detectors.json"), load(FOLDER / "detectors_ms.json")
    sizes = list(dict.fromkeys(name.rpartition(": ")[2] for name in time.measurements))
    heads = [*(f"{name}, % of the eye distance" for name in POINTS), *(f"{size}, ms" for size in sizes)]
    lines = [f"| detector | {' | '.join(heads)} |", "|---" + "|---:" * len(heads) + "|"]
    for detector in _titles(quality):
        cells = [_interval(quality.measurements.get(f"{detector}: landmarks: {name}")) for name in POINTS]
        cells += [f"{time.measurements[f'{detector}: {size}'].median:.1f}" for size in sizes]
        lines.append(f"| {detector} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", origin(time), ""])


def _titles(results: Results) -> list[str]:
    """The measured detectors, in their order."""
    return list(dict.fromkeys(name.partition(": ")[0] for name in results.measurements))


def _interval(each: Measurement | None) -> str:
    return f"{each.median:.1f} ({each.lower:.1f}-{each.upper:.1f})" if each else "-"


def networks() -> str:
    """Every network with its recipes, counted as `mien models list` counts."""
    from mien.training.catalogue import catalogue, inputs_text

    lines = ["| network | recipe | parameters that learn | multiply-adds a face, million | input | score |"]
    lines.append("|---|---|---:|---:|---|---|")
    for found in catalogue():
        recipe, anatomy = found.recipe, found.anatomy
        cells = [
            f"`{recipe.model.name}`",
            f"`{recipe.name}`",
            f"{anatomy.trained:,}",
            f"{anatomy.fused_operations / 1e6:,.1f}",
            inputs_text(recipe),
            found.score,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def ablations() -> str:
    """The recipes that each change one thing of the four-layer network, and their scores on FER2013."""
    from scripts.classics import ABLATED, ABLATIONS
    from scripts.two_epochs import proven

    from mien.training.catalogue import listed

    found = {name: listed(name) for name in ABLATIONS}
    files = {name: ABLATED.get(name, (name, 0))[0] for name in ABLATIONS}
    scores = {name: _scores(file)["labels"] for name, file in files.items() if (SCORES / f"{file}.json").exists()}
    epochs = {name: found[name].recipe.score[0].epochs or found[name].recipe.total_epochs for name in scores}
    epochs |= {name: count for name, (_, count) in ABLATED.items()}
    most = max(epochs.values())
    heads = ["recipe", "parameters", "multiply-adds a face, million", "after two epochs, %"]
    heads += [
        f"after {most} epochs, %",
        "macro F1, %",
        f"difference to {ABLATIONS[0]}, points",
    ]
    lines = [f"| {' | '.join(heads)} |", f"|---{'|---:' * (len(heads) - 1)}|"]
    for name, each in found.items():
        begun = proven().get(name, {}).get("scores", {}).get("val_labels")
        cells = [f"{each.anatomy.trained:,}", f"{each.anatomy.fused_operations / 1e6:,.1f}"]
        cells += [f"{100 * begun:.1f}" if begun else "not run"]
        ended = [_percent(scores[name][key]) if name in scores else "not run" for key in ("accuracy", "macro_f1")]
        if epochs.get(name, most) < most:
            ended[0] += f", stopped after {epochs[name]}"
        lines.append(f"| `{name}` | {' | '.join([*cells, *ended, _ablated(name, scores)])} |")
    return "\n".join(lines) + "\n"


def _ablated(name: str, scores: dict[str, Any]) -> str:
    """The difference of a variant to the four-layer network; "-" without one of the scores.

    Paired face by face, with McNemar's p, if it was computed from the present scores: a file of differences that was
    made before one of the two networks was trained again is not of this table. Else from the two intervals, which is
    wider, because it does not know that hard faces are hard for both.
    """
    from scripts.classics import ABLATIONS

    reference = ABLATIONS[0]
    if name == reference or not {name, reference} <= scores.keys():
        return "-"
    found = _evaluation("ablations") if (SCORES / "ablations.json").exists() else {"accuracy": {}}
    both = [scores[each]["accuracy"] for each in (name, reference)]
    measured = [found["accuracy"].get(each, math.nan) for each in (name, reference)]
    if not all(math.isclose(one["value"], other, abs_tol=1e-6) for one, other in zip(both, measured, strict=True)):
        value = both[0]["value"] - both[1]["value"]
        half = math.hypot(*((each["high"] - each["low"]) / 2 for each in both))
        return f"{points(Estimate(value, value - half, value + half))}, unpaired"
    difference = found["differences"][name]
    p = difference["mcnemar"]["p"]
    return f"{points(Estimate(**difference['accuracy']))}; p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"


def classics() -> str:
    """Every classic recipe with its score and its published accuracy, beside the flagship and the network of `fer`."""
    from scripts.classics import CLAIMS, ENSEMBLE, RIVAL

    heads = ["network", "epochs", *(f"{title}, %" for title in PROTOCOLS.values()), "published, %", "difference"]
    lines = [f"| {' | '.join(heads)} |", "|---|---:|---:|---:|---|---:|"]
    changes = []
    for name, claim in CLAIMS.items():
        score = _classic_score(name)
        lines.append(f"| `{name}` | {' | '.join(_classic_cells(name, claim, score))} |")
        if score and score.other_changes:
            changes.append(f"- `{name}`: {', '.join(f'`{change}`' for change in score.other_changes)}")
    others = {ENSEMBLE: "classic networks, soft vote", **{name: f"`{name}`" for name in leading()}}
    others[RIVAL] = "the network of the package `fer`"
    for name, title in others.items():
        found = _scores(name) if (SCORES / f"{name}.json").exists() else {}
        absent = "-" if found else "not measured yet"
        cells = [_percent(found[key]["accuracy"]) if key in found else absent for key in PROTOCOLS]
        lines.append(f"| {title} | - | {' | '.join(cells)} | - | - |")
    if changes:
        lines += [
            "",
            'Runs marked "changed" had these settings in place of those of their recipes, besides the epochs:',
            "",
            *changes,
        ]
    return "\n".join(lines) + "\n"


def _classic_score(name: str) -> "ScoreRecipe | None":
    """The score of a classic recipe, of the run whose evaluation is kept; None if there is none."""
    from mien.training.recipe import load as load_recipe

    return next(iter(load_recipe(name).score), None) if (SCORES / f"{name}.json").exists() else None


def _classic_cells(name: str, claim: "Claim | None", score: "ScoreRecipe | None") -> list[str]:
    """The cells of a classic recipe: epochs, accuracies, the published accuracy, the difference in points."""
    from mien.training.recipe import load as load_recipe

    planned = load_recipe(name).total_epochs
    found = _scores(name) if score else {}
    epochs = f"{(score.epochs or planned) if score else 0} of {planned}"
    if score and score.stopped_early:
        epochs += ", stopped early"
    if score and score.other_changes:
        epochs += ", changed"
    accuracies = [_percent(found[key]["accuracy"]) if key in found else "-" for key in PROTOCOLS]
    if not found:
        accuracies = ["not trained yet", "-"] if not claim or claim.protocol == "labels" else ["-", "not trained yet"]
    published, difference = "-", "-"
    if claim:
        published = f"{claim.percent} ({claim.on})"
        if claim.protocol in found:
            difference = f"{100 * found[claim.protocol]['accuracy']['value'] - claim.percent:+.1f}"
            difference += f" ({claim.unlike})" if claim.unlike else ""
    return [epochs, *accuracies, published, difference]


def claims() -> str:
    """What lifts or spoils published accuracies, by network."""
    found = load(FOLDER / "classic_claims.json").measurements
    kinds = list(dict.fromkeys(name.partition(", ")[2] for name in found))
    lines = [f"| network | {' | '.join(f'{kind}, %' for kind in kinds)} |", f"|---{'|---:' * len(kinds)}|"]
    for network in dict.fromkeys(name.partition(", ")[0] for name in found):
        cells = [_interval(found[f"{network}, {kind}"]) for kind in kinds]
        lines.append(f"| `{network}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def two_epochs() -> str:
    """The scores after two epochs on the real data, of the recipes that have been run."""
    from scripts.two_epochs import TITLES, proven

    heads = " | ".join(f"{title}, %" for title in TITLES.values())
    lines = [f"| recipe | minutes | val/loss after each epoch | {heads} |"]
    lines.append("|---|---:|---:|" + "---:|" * len(TITLES))
    for name, each in proven().items():
        scores = [f"{100 * each['scores'][key]:.1f}" if key in each["scores"] else "-" for key in TITLES]
        losses = ", ".join(f"{loss:.3f}" for loss in each["losses"])
        lines.append(f"| `{name}` | {each['seconds'] / 60:.1f} | {losses} | {' | '.join(scores)} |")
    return "\n".join(lines) + "\n"


def tracking() -> str:
    """Switches of identity and the share of visible faces that are found, by clip and interval of detection."""
    switches, found = (load(FOLDER / f"tracking_{name}.json").measurements for name in ("switches", "found"))
    clips, intervals = ([*dict.fromkeys(key.split(", ")[part] for key in switches)] for part in (0, 1))
    lines = [f"| clip | {' | '.join(intervals)} |", f"|---|{'---:|' * len(intervals)}"]
    for clip in clips:
        keys = [f"{clip}, {each}" for each in intervals]
        cells = [f"{switches[key].median:.0f}, {found[key].median:.1f}%" if key in switches else "-" for key in keys]
        lines.append(f"| {clip.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _benchmark(name: str) -> Callable[[], str]:
    return lambda: markdown(load(FOLDER / f"{name}.json"))


def _columns(columns: Sequence[schema.Column]) -> str:
    lines = ["| name | type | unit | meaning | empty for |", "|---|---|---|---|---|"]
    for column in columns:
        name = "*one for each emotion*" if column.name == EMOTION else f"`{column.name}`".replace(EMOTION, "EMOTION")
        lines.append(f"| {name} | {column.type} | {column.unit} | {column.meaning} | {column.empty or 'never'} |")
    return "\n".join(lines) + "\n"


def _style(name: str) -> Callable[[], str]:
    return lambda: _columns(STYLES[name].columns(COLUMNS))


def _on_request() -> str:
    """The columns that a table has only if they are requested; N is the number of a keypoint, from 0."""
    always = schema.columns(COLUMNS)
    added = [column for column in schema.columns(ON_REQUEST) if column not in always]
    return _columns(added).replace("_0`", "_N`").replace("keypoint 0 ", "keypoint N ")


def action_units() -> str:
    """Every action unit with its name."""
    lines = ["| unit | name |", "|---:|---|", *(f"| {number} | {name} |" for number, name in NAMES.items())]
    return "\n".join(lines) + "\n"


def emotion_rules() -> str:
    """The prototypes and variants of each emotion."""
    lines = ["| emotion | prototypes | variants |", "|---|---|---|"]
    lines += [f"| {name} | {' or '.join(kinds[0])} | {' or '.join(kinds[1])} |" for name, kinds in RULES.items()]
    return "\n".join(lines) + "\n"


def affect_places() -> str:
    """The default valence and arousal of each emotion."""
    lines = ["| emotion | valence | arousal |", "|---|---:|---:|"]
    lines += [f"| {name} | {valence:g} | {arousal:g} |" for name, (valence, arousal) in affect.DEFAULT.items()]
    return "\n".join(lines) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "summary": summary,
    "accuracy": accuracy,
    "priors": priors,
    "aligned": aligned,
    "abstaining": abstaining,
    "robustness": robustness,
    "overconfidence": overconfidence,
    "expressions": expressions,
    "tta": tta,
    "classes": classes,
    "detectors": detectors,
    "photographs": photographs,
    "landmarks": landmarks,
    "tracking": tracking,
    "networks": networks,
    "ablations": ablations,
    "classics": classics,
    "claims": claims,
    "two-epochs": two_epochs,
    "schema": lambda: f"This is version {schema.SCHEMA} of the schema.\n",
    "columns": lambda: _columns(schema.columns(COLUMNS)),
    "columns-on-request": _on_request,
    "json": lambda: _columns((VERSION, *schema.keys(schema.FRAME))),
    "json-face": lambda: _columns(schema.keys(schema.FACE, schema.EXPRESSION)),
    "action-units": action_units,
    "affect": affect_places,
    "emotion-rules": emotion_rules,
    **{f"style-{name}": _style(name) for name in STYLES if name != "mien"},
    **{f"benchmark-{path.stem}": _benchmark(path.stem) for path in sorted(FOLDER.glob("*.json"))},
}


def filled(text: str) -> str:
    """The text of a document with current tables."""
    return PLACE.sub(lambda place: place[1] + TABLES[place[2]]() + place[3], text)


def main() -> None:
    stale = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    print(f"{'out of date' if '--check' in sys.argv else 'written'}: {', '.join(stale) or 'nothing'}")
    if stale and "--check" in sys.argv:
        sys.exit(1)


if __name__ == "__main__":
    main()
