"""The queue of pending runs for a large GPU that is lent in pieces of ten minutes: `python -m scripts.gpu_queue STEP`.

Steps, on the lent machine: `work --minutes 9` does what comes next until the time is over, and goes on where the last
call stopped as long as the machine is the same; what is worth keeping lies in `--out`, small enough to come back.
`list` says what is pending. Here, afterwards: `join STORE TARGETS... --out soft.h5` puts the targets that came back
into a store, from which students are trained on any machine.

Nothing but numpy, the project and what `mien train` needs is used there. The store is built there from the mosaics,
which travel in an ignored folder (`--faces`): two of them and a store would be too much.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.datasets import store

# What a run is given to end in good order: its epoch is left, its checkpoint written.
PARTING: Final = 30


@dataclass(frozen=True)
class Job:
    """A run, and what is kept of it.

    Attributes:
        name: Of its folder and of its targets.
        recipe: What `mien train` is given.
        changes: Its `--set`.
        taught_by: Jobs whose targets it learns from.
    """

    name: str
    recipe: str
    changes: tuple[str, ...] = ()
    taught_by: tuple[str, ...] = ()


# Weak augmentation: every run so far learnt too little rather than too much (docs/design/labbook.md).
_WEAK: Final = (
    "augmentation.mixup=0.0",
    "augmentation.erase=0.15",
    "augmentation.rotation=12.0",
    "augmentation.scale=1.15",
    "augmentation.shift=0.08",
    "augmentation.dark=0.1",
    "augmentation.noise=0.15",
    "averaging=0.999",
)
# Teachers: twice as wide as mien-m, with more decay.
_WIDE: Final = (
    "model.options.stem=64",
    "model.options.widths=[128, 256, 512]",
    "model.options.depths=[3, 4, 2]",
    "optimizer.weight_decay=5e-4",
)
# Seen at 64 pixels; mien-m-first's own sizes end at 48.
_LARGE: Final = ("input.size=64", "augmentation.sizes=[40, 48, 64]")

JOBS: Final = (
    *(Job(f"wide-{seed}", "mien-m-first", (*_WEAK, *_WIDE, "epochs=100", f"seed={seed}")) for seed in (1, 2, 3)),
    *(
        Job(f"wide-64-{seed}", "mien-m-first", (*_WEAK, *_WIDE, *_LARGE, "epochs=80", f"seed={seed}"))
        for seed in (1, 2)
    ),
    *(
        Job(
            f"born-again-{seed}",
            "mien-m-first",
            (*_WEAK, *_WIDE, "epochs=100", f"seed={10 + seed}", "heads.votes.soft=0.5", "heads.fer2013.soft=0.5"),
            ("wide-1", "wide-2", "wide-3"),
        )
        for seed in (1, 2)
    ),
    Job(
        "mien-m",
        "mien-m",
        ("epochs=300", "optimizer.lr=0.1", "heads.votes.soft=0.7", "heads.fer2013.soft=0.7"),
        ("wide-1", "wide-2", "wide-3", "wide-64-1", "wide-64-2", "born-again-1", "born-again-2"),
    ),
    Job(
        "mien-s",
        "mien-s",
        ("epochs=400", "heads.votes.soft=0.7", "heads.fer2013.soft=0.7"),
        ("wide-1", "wide-2", "wide-3", "wide-64-1", "wide-64-2", "born-again-1", "born-again-2"),
    ),
)


def join(stored: Path, targets: Sequence[Path], out: Path) -> None:
    """Writes the store `out`: `stored` with the mean of these targets.

    Raises:
        ValueError: Targets are of other rows than the store's.
    """
    samples = store.read(stored)

    def mean(name: str, classes: int) -> NDArray[np.float32]:
        total = np.zeros((len(samples), classes), np.float32)
        for path in targets:
            with np.load(path, allow_pickle=False) as file:
                found = file[name]
            if found.shape != total.shape:
                raise ValueError(f"{path}: {name} has shape {found.shape}, the store wants {total.shape}")
            total += found / np.float32(len(targets))
        return total

    softened = replace(
        samples,
        soft_labels=mean("soft_labels", len(samples.classes)),
        soft_votes=mean("soft_votes", len(emotions.ALL)),
        about={**samples.about, "teachers": [path.stem for path in targets]},
    )
    store.write(softened, out)


def keep_targets(softened: Path, out: Path) -> None:
    """The soft targets of a store in half precision: 1 MB for FER2013."""
    samples = store.read(softened)
    assert samples.soft_labels is not None
    assert samples.soft_votes is not None
    with out.open("wb") as file:
        np.savez_compressed(
            file,
            soft_labels=samples.soft_labels.astype(np.float16),
            soft_votes=samples.soft_votes.astype(np.float16),
        )


class Queue:
    """Works off jobs, in `folder`, and leaves what is worth keeping in `out`."""

    def __init__(self, jobs: Sequence[Job], data: Path, folder: Path, out: Path, kept: Path | None = None) -> None:
        self.jobs, self.data, self.folder, self.out = jobs, data, folder, out
        # Targets that earlier machines left; they travel with the repository's ignored folder.
        self.kept = kept or out

    def targets(self, name: str) -> Path | None:
        """Those of a job that is done, on this machine or on an earlier one."""
        places = [place / f"{name}.targets.npz" for place in (self.folder, self.kept)]
        return next((path for path in places if path.exists()), None)

    def pending(self) -> list[Job]:
        """Jobs without targets."""
        return [job for job in self.jobs if self.targets(job.name) is None]

    def work(self, seconds: float) -> list[str]:
        """Does what fits; gives the names of the jobs that came to their end."""
        end, done = time.monotonic() + seconds, []
        self.folder.mkdir(parents=True, exist_ok=True)
        self.out.mkdir(parents=True, exist_ok=True)
        for job in self.pending():
            if not self._trained(job, end):
                break
            self._keep(job)
            done.append(job.name)
        return done

    def _trained(self, job: Job, end: float) -> bool:
        """Whether the run came to its end before the time did."""
        run = self.folder / job.name
        if (run / "done").exists():
            return True
        if run.exists():
            line = ["train", "--resume", run, "--data", self._data(job)]
        else:
            line = ["train", job.recipe, "--data", self._data(job), "--out", run]
            line += [part for change in job.changes for part in ("--set", change)]
        process = subprocess.Popen(_mien(*line, "--quiet"))
        try:
            code = process.wait(max(1.0, end - PARTING - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
            print(f"{job.name}: stopped, the time is over; the next call goes on with it")
            return False
        if code:
            raise subprocess.CalledProcessError(code, process.args)
        (run / "done").touch()
        return True

    def _data(self, job: Job) -> Path:
        if not job.taught_by:
            return self.data
        soft = self.folder / f"{job.name}.h5"
        if not soft.exists():
            found = [self.targets(teacher) for teacher in job.taught_by]
            join(self.data, [path for path in found if path is not None], soft)
        return soft

    def _keep(self, job: Job) -> None:
        """The exported network, its scores and its curve; and its targets, by which the job counts as done."""
        run, network = self.folder / job.name, self.folder / f"{job.name}.onnx"
        subprocess.run(_mien("export", run, "--data", self.data, "--out", network), check=True)
        soft = self.folder / "soft.h5"
        subprocess.run(_mien("data", "soften", self.data, "--teacher", network, "--out", soft), check=True)
        keep_targets(soft, self.folder / f"{job.name}.targets.npz")
        shutil.copy(run / "metrics.csv", self.out / f"{job.name}.csv")
        for ending in (".entry.toml", ".targets.npz"):
            shutil.copy(self.folder / f"{job.name}{ending}", self.out)
        if network.stat().st_size < 16 * 2**20:
            shutil.copy(network, self.out)


def _mien(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mien", *map(str, arguments)]


def built(faces: Path, folder: Path) -> Path:
    """The store of FER2013 and FER+, from the mosaics in `faces`."""
    data = folder / "fer.h5"
    if not data.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, str(faces / "unpack.py"), str(folder)], check=True)
        votes = ["--votes", folder / "fer2013new.csv"]
        subprocess.run(
            _mien("data", "build", "fer2013", "--csv", folder / "fer2013.csv", *votes, "--out", data), check=True
        )
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    listing, work = steps.add_parser("list"), steps.add_parser("work")
    for step in (listing, work):
        step.add_argument("--faces", type=Path, default=Path("carried/fer2013"), help="the mosaics")
        step.add_argument("--folder", type=Path, default=Path("runs-gpu"))
        step.add_argument("--kept", type=Path, default=Path("carried/targets"), help="targets of earlier machines")
        step.add_argument("--out", type=Path, default=Path("runs-gpu/out"))
    work.add_argument("--minutes", type=float, default=9.0)
    joining = steps.add_parser("join")
    joining.add_argument("store", type=Path)
    joining.add_argument("targets", type=Path, nargs="+")
    joining.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    if asked.step == "join":
        join(asked.store, asked.targets, asked.out)
        return
    began = time.monotonic()
    data = asked.folder / "fer.h5" if asked.step == "list" else built(asked.faces, asked.folder)
    queue = Queue(JOBS, data, asked.folder, asked.out, asked.kept)
    if asked.step == "work":
        print("done:", ", ".join(queue.work(60 * asked.minutes - (time.monotonic() - began))) or "none to its end")
    print("pending:", ", ".join(job.name for job in queue.pending()) or "none")


if __name__ == "__main__":
    main()
