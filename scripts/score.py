"""Judges the shipped models anew for the documents: `python -m scripts.score STORE [MODEL ...]`, by `mien evaluate`.

Three ways each: as they are and under all corruptions, behind the default detector, and mirrored tta; int8 forms as
they are alone, since they differ from the full ones by chance. And the soft vote of the full ones, with mirrored tta;
that of the default model with teachers only where `--teachers` names their files.
What comes out is `benchmarks/scores/`, from which `python -m scripts.tables` makes the tables.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from mien.assets.manifest import shipped_models

FOLDER: Final = Path(__file__).parent.parent / "benchmarks" / "scores"
DETECTOR: Final = "mien"
ENSEMBLE: Final = "ensemble"
TEACHERS: Final = "ensemble-teachers"  # the default model with large ones that are not in the package
# By the ending of the file's name.
WAYS: Final = {
    "": ["--corruption", "all"],
    ".detector": ["--detector", DETECTOR],
    ".flip": ["--tta", "flip"],
}


def members() -> list[str]:
    """Models that vote together: the int8 forms would only repeat the full ones."""
    return [name for name in shipped_models("expression") if not name.endswith("-int8")]


def judge(store: Path, file: str, *options: str) -> None:
    """One call of the command."""
    out = FOLDER / f"{file}.json"
    print(out.name)
    line = [sys.executable, "-m", "mien", "evaluate", str(store), *options, "--out", str(out)]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--teachers", nargs="+", help="exported teachers, for the vote of the default model with them")
    asked = parser.parse_args()
    for model in asked.models or shipped_models("expression"):
        for ending, options in WAYS.items() if model in members() else [("", [])]:
            judge(asked.store, f"{model}{ending}", "--model", model, *options)
    judge(asked.store, f"{ENSEMBLE}.flip", "--ensemble", ",".join(members()), "--tta", "flip")
    if asked.teachers:
        judge(asked.store, f"{TEACHERS}.flip", "--ensemble", ",".join([members()[0], *asked.teachers]), "--tta", "flip")


if __name__ == "__main__":
    main()
