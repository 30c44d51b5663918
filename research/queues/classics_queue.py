"""The queue of the classic networks on one slow core: `classics_queue.py FOLDER STORE STORE6 [NAME ...]`.

Trains one network after another, each by a schedule cut to what a core without bf16 can do, and scores the exported file.
Every run is resumed where it stopped, so the queue can be started again at any time: finished runs are skipped. What
differs from the shipped recipe is in `RUNS`, and in the resolved recipe of each run.

FOLDER holds a folder NAME per run, NAME.onnx, NAME.json (`mien evaluate` on PublicTest, the exported file) and the log of
the queue, `queue.log`. STORE has FER2013's labels, the votes of FER+ and keypoints, STORE6 the labels of six emotions. Do not start it
in a folder with a file that Python could import in the place of one of its own, such as queue.py.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Job:
    """A run: the recipe it starts from and what is set in it."""

    name: str
    recipe: str
    changes: tuple[str, ...] = ()
    six: bool = False  # on the store of six emotions


# One cosine to a rate of 0 in place of a constant rate, stages or early stopping: what suits few epochs.
_SHORT: Final = ("schedule.warmup=0.5", "schedule.final=0.0", "stages=[]")
_EMONET: Final = (*_SHORT, "augmentation.rotation=15.0", "augmentation.scale=1.2")
# FER2013's own size: half the time, and as much to see.
_VGG13: Final = ("epochs=16", "input.size=48")

RUNS: Final = (
    Job("mini-xception", "mini-xception", (*_SHORT, "epochs=60", "optimizer.lr=0.003")),
    Job("capsnet", "capsnet"),
    Job("emonet", "emonet", (*_EMONET, "epochs=44")),
    Job("emonet6", "emonet", (*_EMONET, "epochs=20", "name=emonet6"), six=True),
    Job("tflearn", "tflearn", (*_SHORT, "epochs=8", "optimizer.lr=0.0003")),
    Job("inception-v1", "inception-v1", (*_SHORT, "epochs=20")),
    Job("image-twin", "image-twin"),
    Job("image-landmark", "image-landmark"),
    Job("landmark", "landmark"),
    Job("fourlayer", "fourlayer"),
    Job("fourlayer-strided", "fourlayer-strided", ("epochs=20",)),
    Job("fourlayer-dropout", "fourlayer-dropout", ("epochs=20",)),
    Job("fourlayer-large-rate", "fourlayer-large-rate", ("epochs=20",)),
    Job("vgg13-pld", "vgg13-pld", _VGG13),
    Job("vgg13-cel", "vgg13-cel", _VGG13),
    Job("vgg13-majority", "vgg13-majority", _VGG13),
    Job("vgg13-multi", "vgg13-multi", _VGG13),
    Job("vgg16", "vgg16", (*_SHORT, "epochs=16")),
    Job("resnet18", "resnet18", ("epochs=16", "ema_decay=0.998")),
    Job("emonet-deep", "emonet-deep", (*_SHORT, "epochs=9")),
    Job("efficientnet-lite0", "efficientnet-lite0", ("epochs=12", "input.size=96", "augmentation.sizes=[]")),
)


def main() -> None:
    """Does what is left of `RUNS`."""
    folder, store, six = (Path(argument).resolve() for argument in sys.argv[1:4])
    runs = {job.name: job for job in RUNS}
    for job in (runs[name] for name in sys.argv[4:] or runs):
        data, scored = six if job.six else store, folder / f"{job.name}.json"
        if scored.exists():
            continue
        run, file = folder / job.name, folder / f"{job.name}.onnx"
        if not (run / "finished").exists():
            if (run / "recipe.toml").exists():
                what: list[object] = ["--resume", run]
            else:
                own = folder / f"{job.recipe}.toml"  # a recipe that does not ship lies in the folder
                what = [own if own.exists() else job.recipe, "--out", run]
                what += [part for change in job.changes for part in ("--set", change)]
            if not mien(folder, "train", *what, "--data", data):
                continue
            (run / "finished").touch()
        if mien(folder, "export", run, "--data", data, "--out", file):
            mien(folder, "evaluate", data, "--split", "val", "--model", file, "--out", scored)


def mien(folder: Path, *arguments: object) -> bool:
    """Runs a command, with its messages in the log of the queue; whether it succeeded."""
    words = [str(argument) for argument in arguments]
    with (folder / "queue.log").open("a") as log:
        print(f"{time.strftime('%F %T')} mien {' '.join(words)}", file=log, flush=True)
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        done = subprocess.run(
            [sys.executable, "-m", "mien", *words], stdout=log, stderr=log, check=False, env=environment
        )
        print(f"{time.strftime('%F %T')} exit code {done.returncode}", file=log, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
