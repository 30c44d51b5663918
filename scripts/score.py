"""Evaluates the shipped models for the documents: `python -m scripts.score STORE [MODEL ...]`, by `mien evaluate`.

Each model is evaluated in several ways, `WAYS`: as stored and under all corruptions, with the default detector, with
mirrored images, and aligned where the faces are sure; int8 forms only as stored: they differ from the full models by
chance. The default is also read under other priors, as stored and under all corruptions. With `--teachers`, the vote
of these files with the default network is evaluated too. The results are written to `benchmarks/scores/`, from which
`python -m scripts.tables` makes the tables.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from mien.assets.manifest import DEFAULT, ENSEMBLES, default_model, shipped_models
from mien.expression import prior

FOLDER: Final = Path(__file__).parent.parent / "benchmarks" / "scores"
DETECTOR: Final = "mien"
TEACHERS: Final = "ensemble-teachers"  # the default network and large ones that do not ship
# By the suffix of the file.
WAYS: Final = {
    "": ["--corruption", "all"],
    ".detector": ["--detector", DETECTOR],
    ".flip": ["--tta", "flip"],
    ".aligned": ["--align"],
    ".aligned.flip": ["--align", "--tta", "flip"],
}

PRIORS: Final = tuple(name for name in prior.PRIORS if name != "training")


def evaluated() -> list[str]:
    """What is evaluated: the votes that have a name, and every shipped model."""
    return [*ENSEMBLES, *shipped_models("expression")]


def leading() -> list[str]:
    """What is evaluated in every way: int8 forms of others would only repeat them."""
    return [name for name in evaluated() if not name.endswith("-int8")]


def evaluate(store: Path, file: str, *options: str) -> None:
    """One call of the command."""
    out = FOLDER / f"{file}.json"
    print(out.name)
    line = [sys.executable, "-m", "mien", "evaluate", str(store), *options, "--out", str(out)]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--teachers", nargs="+", help="exported teachers that vote with the default network")
    arguments = parser.parse_args()
    chosen = arguments.models or evaluated()
    votes = [name for name, members in ENSEMBLES.items() if {*members} & {*chosen}]
    for model in dict.fromkeys([*votes, *chosen]):
        for ending, options in WAYS.items() if model in leading() else [("", [])]:
            evaluate(arguments.store, f"{model}{ending}", "--model", model, *options)
        for name in PRIORS if model == DEFAULT else ():
            evaluate(arguments.store, f"{model}.{name}", "--model", model, "--prior", name, "--corruption", "all")
    if arguments.teachers:
        evaluate(
            arguments.store,
            f"{TEACHERS}.flip",
            "--model",
            ",".join([default_model(), *arguments.teachers]),
            "--tta",
            "flip",
        )


if __name__ == "__main__":
    main()
