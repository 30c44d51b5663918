"""Puts a trained expression model into the package: `python -m scripts.ship STORE --name mien-m --run RUN`.

Exports the run, makes the int8 form if one ships under the name, compares both with what ships now on the val split of
the store, face by face, and replaces the files, their entries in the manifest and their general sets. It stops before
that if a protocol loses more than `ALLOWED` points, unless `--force` is given. STORE has FER2013's labels and the votes
of FER+. What has to be measured again afterwards is printed.

A new name, or one whose only form is int8, ships in int8 alone: for networks whose full form is too large. It is
compared with `default_model`, which stays. A name that ends in -int8 needs no run: the form is made, or made again, of
the full model that ships.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from mien import training
from mien.assets.manifest import FOLDER, ModelInfo, default_model, read_manifest, shipped_models
from mien.datasets import Samples, store
from mien.evaluation import evaluate_model
from mien.evaluation.intervals import mean_estimate
from mien.evaluation.report.text import points
from mien.personalise.general import shipped_general
from mien.training.artifacts import dump_toml
from mien.training.expression.export import export_run
from mien.training.quantize import SUFFIX

LICENCE: Final = "Apache-2.0"
ALLOWED: Final = 0.3  # points of accuracy
TRAINING_FACES: Final = 7000  # from which the means of a general set are learnt
NEXT: Final = """\
now measure again and commit:
  python -m scripts.score STORE
  python -m benchmarks.speed
  python -m benchmarks.server --parts
  python -m benchmarks.expressions score
  python -m benchmarks.personalise --data STORE
  python -m benchmarks.explanations STORE
  python -m scripts.tables
and look at the pictures in docs/, the head of the recipe with its scores, and the model card\
"""


def exported(run: Path, samples: Samples, name: str, place: Path) -> dict[str, ModelInfo]:
    """Exports a run into a folder, with its int8 form if one ships, or as that alone; the entries by name.

    Raises:
        ConfigError: The data has other classes than the run.
        WeightsError: int8 loses accuracy, or the exported network differs from its checkpoint.
    """
    full, small = place / f"{name}.onnx", place / f"{name}-int8.onnx"
    if small_alone(name):
        with tempfile.TemporaryDirectory() as folder:
            large = Path(folder, full.name)
            export_run(run, samples.only("val"), large, trained=samples.only("train"), licence=LICENCE)
            training.quantize(large, samples, full, name=name)
        return {name: _entry(full)}
    export_run(run, samples.only("val"), full, trained=samples.only("train"), licence=LICENCE)
    found = {name: _entry(full)}
    if small.stem in shipped_models():
        training.quantize(full, samples, small)
        found[small.stem] = _with_training_form(_entry(small), found[name])
    return found


def small_form(name: str, samples: Samples, place: Path) -> dict[str, ModelInfo]:
    """Makes the int8 form of the shipped full model in a folder; its entry by name."""
    model, small = name.removesuffix(SUFFIX), place / f"{name}.onnx"
    training.quantize(model, samples, small)
    return {name: _with_training_form(_entry(small), shipped_models()[model])}


def small_alone(name: str) -> bool:
    """Whether a model ships in int8 alone: one that does, and any new one."""
    known = shipped_models().get(name)
    return known is None or known.form == "int8"


def _entry(file: Path) -> ModelInfo:
    """The entry that was written beside an exported file, under the file's name."""
    path = file.with_suffix(".entry.toml")
    (info,) = read_manifest(path.read_text(encoding="utf-8"), path.name).values()
    return replace(info, name=file.stem)


def _with_training_form(small: ModelInfo, full: ModelInfo) -> ModelInfo:
    """The entry of an int8 form, which shares the training form of the full one."""
    return replace(small, training_file=full.training_file, training_sha256=full.training_sha256)


def changes(before: str, after: Path, samples: Samples) -> Iterator[tuple[str, float]]:
    """Each protocol in words with its scores and their paired difference, and the difference in points."""
    old, new = (evaluate_model(model, samples, split="val") for model in (before, after))
    for name, scores in new.scores.items():
        gain = mean_estimate(new.predictions[name].correct * 1.0 - old.predictions[name].correct * 1.0)
        told = f"{before}, {name}: {old.scores[name].accuracy} -> {scores.accuracy}, {points(gain)} points"
        yield told, 100 * gain.value


def placed(entries: dict[str, ModelInfo], place: Path) -> None:
    """Copies the files and replaces their entries in the manifest, without general sets, which are made again."""
    for info in entries.values():
        own = info.training_file if info.form == "full" else ""  # an int8 form shares that of its full form
        for file in filter(None, (info.file, own)):
            shutil.copyfile(place / file, FOLDER / file)
    models = dict(shipped_models()) | entries
    (FOLDER / "manifest.toml").write_text(dump_toml(*models.values()), encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--run", type=Path, help="the folder of the run")
    parser.add_argument("--name", required=True, help="the model to replace, or a new name")
    parser.add_argument("--force", action="store_true", help="replace it even if it loses accuracy")
    asked = parser.parse_args()
    alone = asked.name.endswith(SUFFIX)
    if alone == bool(asked.run):
        parser.error("an int8 form is made of the full model that ships: no --run" if alone else "--run is missing")
    samples = store.load(asked.store)
    faces = {  # of the general sets that ship
        name: len(general.labels)
        for name, info in shipped_models("expression").items()
        if (general := shipped_general(info)) is not None
    }
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        entries = small_form(asked.name, samples, place) if alone else exported(asked.run, samples, asked.name, place)
        lost = False
        for name, info in entries.items():
            candidates = name, name.removesuffix(SUFFIX), default_model()
            before = next(each for each in candidates if each in shipped_models())
            for told, gain in changes(before, place / info.file, samples.only("val")):
                print(told)
                lost = lost or (gain < -ALLOWED and name in shipped_models())
        if lost and not asked.force:
            sys.exit(f"not replaced: a protocol loses more than {ALLOWED} points (--force replaces it)")
        placed(entries, place)
    for name in entries:
        if name in faces:
            line = [sys.executable, "-m", "scripts.general_set", name, "--data", str(asked.store), "--write"]
            line += ["--faces", str(faces[name]), "--training-faces", str(TRAINING_FACES)]
            subprocess.run(line, check=True)
    print(NEXT)


if __name__ == "__main__":
    main()
