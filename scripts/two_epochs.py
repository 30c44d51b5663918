"""Trains recipes on the real data for two epochs each: `python -m scripts.two_epochs STORE FOLDER [RECIPE ...]`.

Each recipe is trained, exported and evaluated by the commands that users run. The results are saved in
`benchmarks/two_epochs.json` after each recipe. A recipe with a result is not run again unless it is named, so that the
whole list, which takes hours on a CPU and minutes on a GPU, can be run in parts. Without STORE and FOLDER, the results
are only written into the recipes that were never trained further.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, Final

from benchmarks.results import Machine

from mien.assets.manifest import read_manifest
from mien.training import ExpressionRecipe, recipe_names
from mien.training.recipe import load

RESULTS: Final = Path(__file__).parent.parent / "benchmarks" / "two_epochs.json"
EPOCHS: Final = 2
RECIPES: Final = Path(__file__).parent.parent / "src" / "mien" / "recipes"
TITLES: Final = {"val_labels": "FER2013", "val_majority": "FER+ majority"}  # by key of an info's scores


def expression_recipes() -> list[str]:
    """The recipes for expressions."""
    return [name for name in recipe_names() if isinstance(load(name), ExpressionRecipe)]


def pending() -> list[str]:
    """Those of which nothing is known yet: neither two epochs nor a score."""
    return [name for name in expression_recipes() if name not in proven() and not load(name).score]


def device() -> str:
    """The device that a run uses here."""
    import torch

    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    here = Machine.here()
    return f"{here.cores} cores of an {here.cpu}"


def proven() -> dict[str, Any]:
    """The results so far, by recipe."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return found


def prove(name: str, store: Path, folder: Path) -> dict[str, Any]:
    """Trains, exports and evaluates one recipe."""
    run, file = folder / name, folder / f"{name}.onnx"
    began = time.monotonic()
    # The learning rate falls to zero within the two epochs; further stages are skipped.
    _mien("train", name, "--data", store, "--out", run, "--set", "epochs=2", "--set", "stages=[]", "--quiet")
    seconds = time.monotonic() - began
    _mien("export", run, "--data", store, "--out", file)
    entry = file.with_suffix(".entry.toml")
    (info,) = read_manifest(entry.read_text(encoding="utf-8"), entry.name).values()
    with (run / "metrics.csv").open(encoding="utf-8") as lines:
        epochs = list(csv.DictReader(lines))
    return {
        "seconds": round(seconds),
        "losses": [float(row["val/loss"]) for row in epochs],
        "scores": {key: info.scores[key]["accuracy"] for key in TITLES if key in info.scores},
        "device": device(),
    }


def headed(text: str, found: dict[str, Any]) -> str:
    """The text of a recipe with its result, unless it has a score of a longer training."""
    known = tomllib.loads(text).get("score", [])
    if any(score.get("epochs") != EPOCHS for score in known):
        return text
    lines = {
        "Hardware": f"{found['device']}, two epochs only (docs/networks.md).",
        "Minutes": f"{found['seconds'] / 60:.1f} for the two epochs.",
    }
    for word, value in lines.items():
        text = re.compile(rf"^# {word}: (not trained yet|.*two epochs).*$", re.MULTILINE).sub(
            f"# {word}: {value}", text
        )
    scores = [
        f'\n[[score]]\nprotocol = "{TITLES[key]}"\nsplit = "val"\naccuracy = {round(value, 6)}\nepochs = 2\n'
        for key, value in found["scores"].items()
    ]
    return text.partition("\n[[score]]")[0] + "".join(scores)


def write_headers() -> None:
    """Writes the results into the recipes."""
    for name, found in proven().items():
        path = RECIPES / f"{name}.toml"
        path.write_text(headed(path.read_text(encoding="utf-8"), found), encoding="utf-8")


def _mien(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "mien", *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", type=Path, nargs="?")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("recipes", nargs="*")
    asked = parser.parse_args()
    if asked.store is None or asked.folder is None:
        write_headers()
        return
    asked.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in asked.recipes or pending():
        try:
            found = prove(name, asked.store, asked.folder)
        except subprocess.CalledProcessError as error:
            failed.append(name)
            print(f"{name}: failed: {error}", file=sys.stderr)
            continue
        print(f"{name}: {found['seconds']} s, {found['scores']}")
        RESULTS.write_text(json.dumps(proven() | {name: found}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    write_headers()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
