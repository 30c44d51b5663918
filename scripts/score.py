"""Evaluates the shipped models for the documents: `python -m scripts.score STORE [MODEL ...]`, by `mien evaluate`.

Each model is evaluated in three ways: as stored and under all corruptions, with the default detector, and with mirrored
images; int8 forms only as stored, because they differ from the full models by chance. The default model is also read
under other priors, as stored and under all corruptions, and with the faces aligned where they are sure. Then the soft
vote of `PAIR`, as stored, aligned, and with mirrored images, and, with `--teachers`, that of the default model with
these files. The results are written to `benchmarks/scores/`, from which `python -m scripts.tables` makes the tables.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from mien.assets.manifest import shipped_models
from mien.expression import prior

FOLDER: Final = Path(__file__).parent.parent / "benchmarks" / "scores"
DETECTOR: Final = "mien"
ENSEMBLE: Final = "ensemble"
PAIR: Final = "mien-x"  # whose members are of different origin: one from scratch, one from face recognition
PAIR_WAYS: Final = {
    "": [],
    ".aligned": ["--align"],
    ".flip": ["--tta", "flip"],
    ".aligned.flip": ["--align", "--tta", "flip"],
}
TEACHERS: Final = "ensemble-teachers"  # the default model and large ones that do not ship
# By the suffix of the file.
WAYS: Final = {
    "": ["--corruption", "all"],
    ".detector": ["--detector", DETECTOR],
    ".flip": ["--tta", "flip"],
}

PRIORS: Final = tuple(name for name in prior.PRIORS if name != "training")


def members() -> list[str]:
    """The models that are evaluated in every way: int8 forms of others would only repeat them."""
    return [name for name in shipped_models("expression") if not name.endswith("-int8")]


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
    parser.add_argument("--teachers", nargs="+", help="exported teachers that vote with the default model")
    arguments = parser.parse_args()
    for model in arguments.models or shipped_models("expression"):
        for ending, options in WAYS.items() if model in members() else [("", [])]:
            evaluate(arguments.store, f"{model}{ending}", "--model", model, *options)
        if model == members()[0]:
            evaluate(arguments.store, f"{model}.aligned", "--model", model, "--align")
        for name in PRIORS if model == members()[0] else ():
            evaluate(arguments.store, f"{model}.{name}", "--model", model, "--prior", name, "--corruption", "all")
    for ending, options in PAIR_WAYS.items():
        evaluate(arguments.store, f"{ENSEMBLE}{ending}", "--model", PAIR, *options)
    if arguments.teachers:
        evaluate(
            arguments.store,
            f"{TEACHERS}.flip",
            "--model",
            ",".join([members()[0], *arguments.teachers]),
            "--tta",
            "flip",
        )


if __name__ == "__main__":
    main()
