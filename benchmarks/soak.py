"""Runs the long measurements: `make soak`. Needs ../shared/data; run `make demo` first."""

import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

from mien.assets.manifest import shipped_models

ROOT = Path(__file__).parent.parent
FER = ROOT.parent / "shared" / "data" / "fer2013"


def main() -> None:
    if not FER.is_dir():
        sys.exit(f"{FER} does not exist: the measurements need the real data")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        store = place / "fer.h5"
        mien: list[str | Path] = [sys.executable, "-m", "mien"]
        subprocess.run([sys.executable, FER / "unpack.py", place], check=True)
        csv: list[str | Path] = ["--csv", place / "fer2013.csv", "--votes", place / "fer2013new.csv"]
        subprocess.run([*mien, "data", "build", "fer2013", *csv, "--out", store], check=True)
        for model in shipped_models("expression"):
            scores = ROOT / "benchmarks" / "scores" / f"{model}.json"
            subprocess.run([*mien, "evaluate", store, "--model", model, "--out", scores], check=True)
        for name, arguments in {
            "crop_geometry": [str(store), "mien", "hog", "yunet"],
            "detectors": [],
            "speed": [],
        }.items():
            sys.argv = [name, *arguments]
            runpy.run_module(f"benchmarks.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
