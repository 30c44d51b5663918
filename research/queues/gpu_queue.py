"""The queue of runs for a short time on a large GPU: `python -m scripts.gpu_queue STEP`.

`work --seconds 700`, on the machine with the GPU, does the waves one after another in the time that is given: the runs of a
wave share the GPU, whose work one process cannot fill, and each has as many epochs as fit, so that every schedule comes
to its end. Teachers come first; what they say of the training faces teaches the next wave. What is worth keeping lies
in `--out`, in bundles of at most 8 files of 16 MiB, written anew whenever a wave ends.
`list` says what is pending. Afterwards: `join STORE TARGETS... --out soft.h5` puts those targets
into a store, from which students are trained on any machine; `pack` keeps the mean of several as a small file, as those
in `targets/` are, from which mien-m and mien-s were taught.

Nothing but numpy, the project and what `mien train` needs is used there. The store is built there from the mosaics
in the folder `--faces`.
"""

import argparse
import hashlib
import itertools
import math
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.datasets import Samples, store
from mien.datasets.samples import SPLITS
from mien.evaluation import calibration
from mien.expression.probabilities import softmax
from mien.output.contract import replacing

PARTING: Final = 12.0  # seconds a run is given to end in good order
SEEN: Final = 3  # epochs, and as many seconds, after which the pace of a run is believed
SPARE: Final = 0.96  # of the time is planned: the pace varies
FEW: Final = 0.75  # of the epochs that would fit: a run of fewer begins again with more
BUNDLE: Final = int(15.5 * 2**20)
BUNDLES: Final = 8
IN_ALL: Final = 62 * 2**20
# Views that the teachers are asked for, and their mirror images: places and a scale as a detector's crops vary.
VIEWS: Final = ((0.0, 0.0, 1.0), (0.04, 0.04, 1.0), (-0.04, -0.04, 1.0), (0.0, 0.0, 0.92))


@dataclass(frozen=True)
class Job:
    """A run, and what is kept of it.

    Attributes:
        name: Of its folder and of its targets.
        recipe: What `mien train` is given.
        changes: Its `--set`.
        epochs: A first guess; the pace that is seen decides.
        half: Its weights are kept in half precision: a teacher's need not be exact.
    """

    name: str
    recipe: str
    changes: tuple[str, ...] = ()
    epochs: int = 60
    half: bool = False


@dataclass(frozen=True)
class Wave:
    """Runs that share the GPU, all taught by the waves before.

    Attributes:
        jobs: The runs.
        share: Of the time, relative to the shares of other waves.
    """

    jobs: tuple[Job, ...]
    share: float


# Held back as little as can be: all that was tried so far learnt too little (research/labbook.md).
_LIGHT: Final = (
    "augmentation.rotation=8.0",
    "augmentation.scale=1.1",
    "augmentation.shift=0.06",
    "augmentation.coarse=0.05",
    "augmentation.dark=0.0",
    "augmentation.noise=0.0",
    "augmentation.erase=0.0",
    "heads.fer2013.label_smoothing=0.0",
    "optimizer.weight_decay=2e-4",
)
_RESIDUAL: Final = 'model={name="resnet18", options={width=0.5, dropout=0.2}}'
_DEEP: Final = "model.options={stem=32, widths=[80, 160, 320], depths=[4, 5, 3], dropout=0.2, joined='kernels'}"

# Pending. What has been run: t1 to t6 were `mien-teacher` with seeds 1 to 6; t2 and t5 with augmentation.mixup=0.1 and
# augmentation.erase=0.3, t3 with input.size=56, t4 and t5 with _RESIDUAL, t6 with _DEEP. b1 and b2 had seeds 15 and 16
# and `soft` of both heads .6, b2 _RESIDUAL as well. m1, s1, m3 and s3 are recipes now (mien-m-fourth, mien-s-first,
# mien-m-fifth, mien-s-second).
WAVES: Final = (
    Wave(
        (
            Job("l1", "mien-teacher", ("seed=21", *_LIGHT), 100, half=True),
            Job("l2", "mien-teacher", ("seed=22", *_LIGHT, _RESIDUAL), 100, half=True),
            Job("l3", "mien-teacher", ("seed=23", *_LIGHT, _DEEP), 100, half=True),
            Job("l4", "mien-teacher", ("seed=24", *_LIGHT, "input.size=56"), 80, half=True),
        ),
        0.65,
    ),
    Wave(
        (
            Job("m7", "mien-m-fourth", ("seed=31", "heads.fer2013.soft=0.5"), 200),
            Job("s7", "mien-s-first", ("seed=32", "heads.fer2013.soft=0.5"), 250),
        ),
        0.35,
    ),
)


def known_by(samples: Samples) -> NDArray[np.uint64]:
    """What each picture is known by (N,), wherever it stands in a store."""
    digests = b"".join(hashlib.blake2b(picture.tobytes(), digest_size=8).digest() for picture in samples.images)
    return np.frombuffer(digests, np.uint64)


def mean_targets(samples: Samples, targets: Sequence[Path]) -> dict[str, NDArray[np.float32]]:
    """The mean of targets, `soft_labels` (N, 7) and `soft_votes` (N, 10); zeros for faces that none of them knows.

    Raises:
        ValueError: Targets are of other classes, or of other pictures than the store's training faces.
    """
    sizes = {"soft_labels": len(samples.classes), "soft_votes": len(emotions.ALL)}
    totals = {name: np.zeros((len(samples), classes), np.float32) for name, classes in sizes.items()}
    training = np.flatnonzero(samples.split == SPLITS.index("train"))
    names, counts = known_by(samples)[training], np.zeros(len(samples), np.float32)
    for path in targets:
        with np.load(path, allow_pickle=False) as file:
            known, first = np.unique(file["pictures"], return_index=True)
            places = np.searchsorted(known, names).clip(max=len(known) - 1)
            found = known[places] == names
            if not found.any():
                raise ValueError(f"{path}: its targets are those of other pictures")
            counts[training[found]] += 1
            for name, total in totals.items():
                said = file[name]
                if said.shape != (len(file["pictures"]), total.shape[1]):
                    raise ValueError(f"{path}: {name} has shape {said.shape}, the store has {total.shape[1]} classes")
                scale = np.float32(255 if said.dtype == np.uint8 else 1)
                total[training[found]] += said[first[places[found]]] / scale
    print(f"{int((counts > 0).sum()):,} of {len(training):,} training faces have targets")
    return {name: total / counts.clip(min=1)[:, None] for name, total in totals.items()}


def join(stored: Path, targets: Sequence[Path], out: Path) -> None:
    """Writes the store `out`: `stored` with the mean of these targets.

    Raises:
        ValueError: Targets are of other classes or pictures than the store's.
    """
    samples = store.read(stored)
    about = {**samples.about, "teachers": [path.stem for path in targets]}
    mean = mean_targets(samples, targets)
    softened = replace(samples, soft_labels=mean["soft_labels"], soft_votes=mean["soft_votes"], about=about)
    store.write(softened, out)


def pack(stored: Path, targets: Sequence[Path], out: Path) -> None:
    """Writes the mean of targets in steps of a 255th: half a megabyte for FER2013, which can be kept.

    Raises:
        ValueError: Targets are of other classes or pictures than the store's.
    """
    samples = store.read(stored)
    mean = mean_targets(samples, targets)
    rows = mean["soft_labels"].any(axis=1)
    steps = {name: np.rint(255 * value[rows]).astype(np.uint8) for name, value in mean.items()}
    with replacing(out) as partial, partial.open("wb") as file:
        np.savez_compressed(file, pictures=known_by(samples)[rows], **steps)  # type: ignore[arg-type]


def said(checkpoint: Path, samples: Samples) -> dict[str, NDArray[np.float16]]:
    """What the network of a checkpoint says of the faces of a store, the mean over `VIEWS` and their mirror images.

    Each head speaks at the temperature at which it is right about the val split: one that has its training faces by
    heart would else say of them what their labels say, and nothing of how faces resemble one another.

    Returns:
        `soft_labels` (N, 7) and `soft_votes` (N, 10), of the N training faces, zeros without such a head; `val_labels`
        and `val_votes`, those of the val split.
    """
    import torch
    from torch.nn import functional

    from mien.expression.pictures import fitted
    from mien.training.expression import load_task

    device = "cuda" if torch.cuda.is_available() else "cpu"
    task = load_task(checkpoint)
    task.network = task.network.fused()
    task = task.to(device, memory_format=torch.channels_last)
    heads = {name: head.source for name, head in task.recipe.heads.items()}
    images = torch.from_numpy(fitted(samples.images, task.recipe.input.spec()))
    looks = [(mirror, *view) for view in VIEWS for mirror in (1, -1)]
    maps = torch.tensor([[[mirror * scale, 0, 2 * x], [0, scale, 2 * y]] for mirror, x, y, scale in looks])

    def logits(pictures: torch.Tensor, matrix: torch.Tensor) -> dict[str, NDArray[np.float32]]:
        parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in heads}
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            for part in torch.split(pictures, 1024):
                batch = part.to(device).float() / 255
                grid = functional.affine_grid(
                    matrix.to(device).expand(len(batch), 2, 3), list(batch.shape), align_corners=False
                )
                view = functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
                for name, values in task(view).items():
                    parts[name].append(values.float().cpu().numpy())
        return {name: np.concatenate(mine) for name, mine in parts.items()}

    judges = samples.only("val")
    plain = logits(images[samples.split == SPLITS.index("val")], maps[0])
    warmth = {name: _temperature(plain[name], judges, source) for name, source in heads.items()}
    sums = {
        "labels": np.zeros((len(samples), len(samples.classes)), np.float32),
        "votes": np.zeros((len(samples), len(emotions.ALL)), np.float32),
    }
    for matrix in maps:
        for name, values in logits(images, matrix).items():
            # Heads of FER+'s modes have the first eight of the ten.
            sums[heads[name]][:, : values.shape[1]] += softmax(values, warmth[name]) / np.float32(len(maps))
    found = {f"soft_{name}": value[samples.split == SPLITS.index("train")] for name, value in sums.items()}
    found |= {f"val_{name}": value[samples.split == SPLITS.index("val")] for name, value in sums.items()}
    return {name: value.astype(np.float16) for name, value in found.items()}


def _temperature(logits: NDArray[np.float32], samples: Samples, source: str) -> float:
    """That at which these logits (N, C) are right about the samples' labels, or about their votes."""
    truth = samples.targets if source == "labels" or samples.votes is None else samples.votes
    truth = truth[:, : logits.shape[1]]
    known = truth.any(axis=1)
    return calibration.fit_temperature(logits[known], truth[known]) if known.any() else 1.0


def slim(checkpoint: Path, out: Path, *, half: bool) -> None:
    """A checkpoint without the optimiser's state, which `mien export` takes as it takes the whole one."""
    import torch

    from mien.training import checkpoints

    content = checkpoints.bare(checkpoints.read(checkpoint))
    if half:
        state = content["state_dict"].items()
        content["state_dict"] = {name: value.half() if value.is_floating_point() else value for name, value in state}
    torch.save(content, out)


def bundled(files: Iterable[Path], out: Path) -> list[Path]:
    """Packs what fits into bundles, the files that come first before the others."""
    bins: list[list[Path]] = []
    total = 0
    for path in files:
        size = path.stat().st_size + 2048
        fits = next((each for each in bins if size + sum(p.stat().st_size + 2048 for p in each) <= BUNDLE), None)
        if size > BUNDLE or total + size > IN_ALL or (fits is None and len(bins) == BUNDLES):
            print(f"{path.name}: does not fit into what comes back", flush=True)
            continue
        total += size
        if fits is None:
            bins.append([path])
        else:
            fits.append(path)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number, paths in enumerate(bins):
        written.append(out / f"bundle-{number}.tar")
        with replacing(written[-1]) as partial, tarfile.open(partial, "w") as tar:
            for path in paths:
                tar.add(path, path.name)
    return written


class Run:
    """A job at work."""

    def __init__(self, job: Job, data: Path, folder: Path, epochs: int) -> None:
        self.job, self.data, self.folder, self.epochs = job, data, folder, epochs
        self.log = folder.with_suffix(".log")
        _set_aside(folder)
        line = ["train", job.recipe, "--data", data, "--out", folder, "--set", f"epochs={epochs}"]
        line += [part for change in job.changes for part in ("--set", change)]
        self.began = time.monotonic()
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(_mien(*line, "--quiet"), stdout=log, stderr=subprocess.STDOUT)
        self.seen: list[float] = []  # when each epoch was over

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self.process.poll() is not None

    def look(self) -> None:
        """Takes note of epochs that are over."""
        path = self.folder / "metrics.csv"
        if path.is_file():
            rows = path.read_text(encoding="utf-8").count("\n") - 1
            self.seen += [time.monotonic()] * (rows - len(self.seen))

    def ends(self, since: float) -> list[float]:
        """When the epochs since then were over."""
        return [each for each in self.seen if each >= since]

    def paced(self, since: float) -> bool:
        """Whether its pace since then is known."""
        ends = self.ends(since)
        return len(ends) > SEEN and ends[-1] - ends[0] > SEEN

    def fitting(self, end: float, since: float) -> tuple[int, int]:
        """Epochs that fit until `end`, at the pace since then: going on, and beginning again."""
        ends = self.ends(since)
        now, pace = time.monotonic(), (ends[-1] - ends[0]) / (len(ends) - 1)
        start = self.seen[0] - self.began - pace
        return len(self.seen) + int(SPARE * (end - now) / pace), max(1, int(SPARE * (end - now - start) / pace))

    def stop(self, end: float) -> None:
        """Waits for its end until then, and kills it."""
        try:
            self.process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Queue:
    """Works off waves, in `folder`, and leaves what is worth keeping in `out`."""

    def __init__(self, waves: Sequence[Wave], data: Path, folder: Path, out: Path, kept: Path | None = None) -> None:
        self.waves, self.data, self.folder, self.out = waves, data, folder, out
        # Targets of earlier queues.
        self.kept = kept or folder / "kept"
        self.results = folder / "results"

    def targets(self, job: Job) -> Path | None:
        """Those of a job that is done, on this machine or on an earlier one."""
        places = [place / f"{job.name}.npz" for place in (self.results, self.kept)]
        return next((path for path in places if path.exists()), None)

    def pending(self) -> list[Job]:
        """Jobs without targets."""
        return [job for wave in self.waves for job in wave.jobs if self.targets(job) is None]

    def work(self, seconds: float) -> list[str]:
        """Does what is pending within that time; gives the names of the jobs that left something."""
        end, done = time.monotonic() + seconds, []
        self.results.mkdir(parents=True, exist_ok=True)
        left = [wave for wave in self.waves if any(self.targets(job) is None for job in wave.jobs)]
        for number, wave in enumerate(left):
            now = time.monotonic()
            share = wave.share / sum(each.share for each in left[number:])
            data = self._taught(self.waves[: self.waves.index(wave)])
            jobs = [job for job in wave.jobs if self.targets(job) is None]
            # Asking the networks what they say takes some seconds too.
            runs = self._paced(jobs, data, now + share * (end - now) - 3.0 * len(jobs))
            done += [run.job.name for run in runs if self._kept(run)]
            bundled(self._in_order(), self.out)
        return done

    def _taught(self, before: Sequence[Wave]) -> Path:
        found = [path for wave in before for job in wave.jobs if (path := self.targets(job))]
        if not found:
            return self.data
        soft = self.folder / f"soft-{len(found)}.h5"
        join(self.data, found, soft)
        return soft

    def _paced(self, jobs: Sequence[Job], data: Path, end: float) -> list[Run]:
        """Runs jobs side by side; each has as many epochs as fit."""
        runs = [Run(job, data, self.folder / job.name, job.epochs) for job in jobs]
        unsure = True
        while not all(run.done for run in runs) and time.monotonic() < end + PARTING:
            time.sleep(0.3)
            for run in runs:
                run.look()
            # A pace is what it is only while all the others are at work.
            since = max((run.seen[0] if run.seen else math.inf for run in runs if not run.done), default=0.0)
            if unsure and all(run.done or run.paced(since) for run in runs):
                runs = [run if run.done else self._replanned(run, end, since) for run in runs]
                unsure = False
        for run in runs:
            if not run.done:
                run.process.send_signal(signal.SIGINT)
        last = time.monotonic() + PARTING
        for run in runs:
            run.stop(last)
            run.look()
            if run.process.returncode:
                print(f"{run.job.name}: ended with {run.process.returncode}\n{run.log.read_text()[-1500:]}", flush=True)
        return runs

    def _replanned(self, run: Run, end: float, since: float) -> Run:
        going_on, anew = run.fitting(end, since)
        print(f"{run.job.name}: {run.epochs} epochs planned, {going_on} fit, {anew} from the beginning", flush=True)
        if FEW * going_on <= run.epochs <= going_on:
            return run
        run.stop(0.0)
        return Run(run.job, run.data, run.folder, anew)

    def _kept(self, run: Run) -> bool:
        """Whether something of a run could be kept; one that fails here takes nothing from the others."""
        try:
            return self._keep(run)
        except Exception as error:  # whatever it is, the others are worth keeping
            print(f"{run.job.name}: not kept: {error!r}", flush=True)
            return False

    def _keep(self, run: Run) -> bool:
        """Weights, curve, recipe, and the targets by which the job counts as done."""
        best, place = run.folder / "best.ckpt", self.results / run.job.name
        if not best.exists():
            return False
        samples = store.read(self.data)
        for name in ("recipe.toml", "metrics.csv", "data.json"):
            if (run.folder / name).exists():
                place.with_suffix(f".{name}").write_bytes((run.folder / name).read_bytes())
        slim(best, place.with_suffix(".ckpt"), half=run.job.half)
        targets = said(best, samples)
        with replacing(place.with_suffix(".npz")) as partial, partial.open("wb") as file:
            np.savez_compressed(file, pictures=known_by(samples.only("train")), **targets)  # type: ignore[arg-type]
        truth, read = samples.only("val").targets.argmax(axis=1), targets["val_labels"]
        right = float(np.mean(read.argmax(axis=1) == truth)) if read.any() else math.nan
        print(f"{run.job.name}: {len(run.seen)} of {run.epochs} epochs; labels, all views: {right:.2%}", flush=True)
        return True

    def _in_order(self) -> list[Path]:
        """Results, what matters most first: small files, then exact weights, then the latest teachers."""
        half = {job.name for wave in self.waves for job in wave.jobs if job.half}
        files = [path for path in self.results.iterdir() if path.suffix != ".partial"]
        weights = [path for path in files if path.suffix == ".ckpt"]
        small = sorted(set(files) - set(weights))
        return [*small, *sorted(weights, key=lambda path: (path.stem in half, -path.stat().st_mtime))]


def _set_aside(folder: Path) -> None:
    """Gives a run that was cut off another name, so that its job can begin again."""
    if folder.exists():
        numbers = (number for number in itertools.count(1) if not folder.with_suffix(f".{number}").exists())
        folder.rename(folder.with_suffix(f".{next(numbers)}"))


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
    work.add_argument("--seconds", type=float, default=540.0)
    after = {"join": join, "pack": pack}
    for name in after:
        step = steps.add_parser(name)
        step.add_argument("store", type=Path)
        step.add_argument("targets", type=Path, nargs="+")
        step.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    if asked.step in after:
        after[asked.step](asked.store, asked.targets, asked.out)
        return
    began = time.monotonic()
    data = asked.folder / "fer.h5" if asked.step == "list" else built(asked.faces, asked.folder)
    queue = Queue(WAVES, data, asked.folder, asked.out, asked.kept)
    if asked.step == "work":
        print("done:", ", ".join(queue.work(asked.seconds - (time.monotonic() - began))) or "none")
    print("pending:", ", ".join(job.name for job in queue.pending()) or "none")


if __name__ == "__main__":
    main()
