"""`mien data`: builds stores (HDF5) from data sets, changes, shows and exports them.

`build` and `export` have one sub-command per data set or format, made from its `build` or `export` function.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from mien.cli import bar, console, print_line, print_table, say
from mien.cli.options import Only, command
from mien.cli.outputs import Target
from mien.datasets import Samples, builders, export
from mien.datasets.summary import clip_counts, counts_table, one_to_one, source_rows
from mien.errors import EXIT_CODES, ConfigError, InputError
from mien.expression.base import ClassifierOptions
from mien.expression.tta import Tta
from mien.faces import detectors
from mien.faces.landmarks import LandmarkOptions
from mien.files import check_folder, check_inputs_stay

Store = Annotated[Path, typer.Argument(help="A store, from `mien data build`.", show_default=False)]
NewStore = Annotated[Path, typer.Option("--out", help="The store to write (.h5); an existing one is replaced.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    data = typer.Typer(help="Builds, shows and exports the stores for training and evaluation.", no_args_is_help=True)
    build = typer.Typer(help="Builds a store from the files of a data set.", no_args_is_help=True)
    for name in builders.names():
        build.command(name)(_build_command(builders.builder(name)))
    write = typer.Typer(help="Writes a store in another format.", no_args_is_help=True)
    for name in export.names():
        write.command(name)(_export_command(export.exporter(name)))
    data.add_typer(build, name="build")
    data.add_typer(write, name="export")
    data.command()(show)
    data.command("distil")(command(distil))
    data.command("add-detector-crops")(command(add_detector_crops))
    data.command("add-aligned-crops")(command(add_aligned_crops))
    data.command("add-keypoints")(command(add_keypoints))
    data.command("textures")(command(textures))
    data.command("unlabelled")(command(unlabelled))
    data.command("landmarks")(command(landmarks))
    app.add_typer(data, name="data")


def show(
    store: Store,
    plots: Annotated[
        Path | None, typer.Option(help="Write counts, contact sheets and agreement as PNG into this folder.")
    ] = None,
) -> None:
    """Shows the content of a store: faces by class and split, duplicates, constant images, agreement of the votes."""
    from mien.datasets.store import load
    from mien.datasets.summary import plot, summarise, text

    if plots:
        check_folder(plots)
    samples = load(store)
    print(text(summarise(samples)))
    if plots:
        with console().status("drawing"):
            written = plot(samples, plots)
        print_line(f"written: {', '.join(path.name for path in written)} in {plots}")


@dataclass(frozen=True, slots=True)
class TeacherOptions:
    """How teachers read the training images."""

    tta: Annotated[Tta, "Test-time augmentation of the teachers: none, flip or ten-crop."] = "flip"
    align: Annotated[bool, "Also read each face aligned by its landmarks where it is sure, and take the mean."] = False
    fit: Annotated[bool, "Fit a temperature of the teachers' mean on the val split."] = False
    threads: Annotated[int, "Threads of each network, at most one for each processor core.", {"min": 1}] = 1


def distil(
    store: Store,
    *,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="A shipped model, a classic network or an exported .onnx file; may be repeated."),
    ] = None,
    out: NewStore,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="A store whose rows are added first, as from `mien data unlabelled`; may be repeated."),
    ] = None,
    targets: Annotated[
        list[Path] | None,
        typer.Option(help="A file of targets (.npz): written with --teacher, else read; then it may be repeated."),
    ] = None,
    options: TeacherOptions,
) -> None:
    """Adds soft targets: the mean probabilities of trained models (teachers) on the training images.

    A recipe whose heads have `soft` above 0 trains on them: this distils large models into a small one. With --targets,
    what each teacher says is kept in a small file, from which the targets can be made again without the teachers.
    """
    from mien.datasets.derive import distil as teaching
    from mien.datasets.derive.targets import load_targets, with_targets
    from mien.datasets.derive.unlabelled import joined
    from mien.datasets.store import load, save
    from mien.evaluation.calibration import fit_temperature

    if teacher and targets and len(targets) > 1:
        raise ConfigError("--targets: with --teacher, one file is written", hint="give one file, or no --teacher")
    if not teacher and not targets:
        raise ConfigError("no teachers", hint="give --teacher MODEL, or --targets FILE")
    if options.fit and not teacher:
        raise ConfigError("--fit needs the teachers", hint="add --teacher, or leave it out")
    target = _new_store(out)
    kept = Target("--targets", targets[0], ".npz") if teacher and targets else None
    if kept:
        check_inputs_stay({"--targets": kept.path, "--out": out}, [store, *(also or ()), *map(Path, teacher or ())])
    samples = load(store)
    if also:
        samples = joined(samples, [load(path) for path in also])
    temperatures: dict[str, float] = {}
    if teacher:
        made = teaching.Teachers(
            teacher, samples.classes, tta=options.tta, align=options.align, threads=options.threads
        )
        if options.fit:
            temperatures = teaching.vote_temperatures(samples, made, fit_temperature)
        with bar("running the teachers") as report:
            recorded = [teaching.record_targets(samples, made, report)]
        if kept:
            recorded[0].save(kept.path)
            print_line(f"{kept}, {kept.path.stat().st_size / 1e6:.1f} MB")
    else:
        recorded = [load_targets(path) for path in targets or ()]
    samples = with_targets(samples, recorded, temperatures)
    if teacher:
        samples = replace(samples, about={**samples.about, "teachers_tta": options.tta})
    save(samples, out)
    for kind, value in temperatures.items():
        print_line(f"temperature of the mean, {kind.replace('_', ' ')}: {value}")
    for name, rows in (("labels", samples.soft_labels), ("votes", samples.soft_votes)):
        found = "none: a teacher lacks some of their classes"
        print_line(f"soft {name}: {found if rows is None else f'{int(rows.any(axis=1).sum()):,} rows'}")
    print_line(str(target))


def unlabelled(
    images: Annotated[Path, typer.Argument(help="A folder of labelled images, or of several.", show_default=False)],
    *,
    size: Annotated[int, "Side of the crops in pixels.", {"min": 16}] = 48,
    least: Annotated[float, "Smallest side of a face in pixels.", {"min": 1}] = 24,
    limit: Annotated[int | None, "Approximate number of images.", {"min": 1}] = None,
    out: NewStore,
    classifier: Annotated[ClassifierOptions, Only({"model"})],
    detector: Annotated[detectors.DetectorOptions, Only({"name", "weights"})],
) -> None:
    """Crops the faces of photographs as the detector finds them, without labels, for `mien data distil --also`.

    The photographs are those of a detector's training; only faces that their labels confirm are used.
    """
    from mien.datasets.derive.unlabelled import crop_unlabelled
    from mien.datasets.store import save
    from mien.expression import OnnxClassifier

    target = _new_store(out)
    info = OnnxClassifier(classifier).info
    with bar("detecting and cropping") as report:
        samples = crop_unlabelled(
            images,
            detectors.load(detector),
            info,
            size=size,
            least=least,
            limit=limit,
            progress=report,
        )
        save(samples, out)
    print_line(f"{target.word}: {len(samples):,} faces to {out}")


def add_keypoints(
    store: Store,
    out: NewStore,
    landmarker: LandmarkOptions,
    least: Annotated[
        float | None, typer.Option(min=0, max=1, help="Lowest face score of a face that gets keypoints, 0-1.")
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(help="Read the keypoints of FER2013 from this file (fer2013_landmarks.npz) instead."),
    ] = None,
) -> None:
    """Adds the dense keypoints of all faces of a store, for networks that read them and for covers in training."""
    from mien.datasets.derive.keypoints import add_keypoints as with_points
    from mien.datasets.derive.keypoints import read_keypoints
    from mien.datasets.store import load, save
    from mien.faces import landmarks as methods
    from mien.faces.align import SURE

    if points and (least is not None or landmarker != LandmarkOptions()):
        raise ConfigError("--points: reads the keypoints from a file", hint="leave out --least and --landmarks")
    target = _new_store(out)
    before = load(store)
    if points:
        samples = read_keypoints(before, points)
    else:
        with bar("finding keypoints") as report:
            least = SURE if least is None else least
            samples = with_points(before, methods.load(landmarker), least=least, progress=report)
    save(samples, out)
    known = 0 if samples.keypoints is None else int(np.isfinite(samples.keypoints).all(axis=(1, 2)).sum())
    print_line(f"found: keypoints of {known:,} of {len(samples):,} faces")
    print_line(str(target))


def textures(
    images: Annotated[Path, typer.Argument(help="A folder of labelled images, or of several.", show_default=False)],
    *,
    most: Annotated[int, "Largest number of textures of each kind.", {"min": 1}] = 1000,
    out: Annotated[Path, typer.Option("--out", help="The file to write (.npz).")],
) -> None:
    """Cuts textures of cloth and skin out of photographs, for the masks and hands of training."""
    from mien.datasets.derive.textures import collect_textures, save_textures

    target = Target("--out", out, ".npz")
    with bar("cutting textures") as report:
        found = collect_textures(images, most=most, progress=report)
        save_textures(found, out)
    print_line(f"{target.word}: {', '.join(f'{len(each):,} of {kind}' for kind, each in found.items())} to {out}")


def add_detector_crops(
    store: Store,
    out: NewStore,
    classifier: Annotated[ClassifierOptions, Only({"model"})],
    detector: Annotated[detectors.DetectorOptions, Only({"name", "weights"})],
) -> None:
    """Adds a second copy of the training faces, cropped as a detector finds them, for the input of --model.

    A model that is trained on both copies works on both: on the crops of the data set and on those of the detector.
    """
    from mien.datasets.derive.detector_crops import add_detector_crops as with_crops
    from mien.datasets.store import load, save
    from mien.expression import OnnxClassifier

    target = _new_store(out)
    info = OnnxClassifier(classifier).info
    before = load(store)
    with bar("detecting and cropping") as report:
        samples = with_crops(before, detectors.load(detector), info, progress=report)
        save(samples, out)
    print_line(f"added: crops of {len(samples) - len(before):,} of {len(before.only('train')):,} training faces")
    print_line(str(target))


def add_aligned_crops(
    store: Store,
    out: NewStore,
    classifier: Annotated[ClassifierOptions, Only({"model"})],
    landmarker: LandmarkOptions,
    least: Annotated[
        float | None, typer.Option(min=0, max=1, help="Lowest face score of a face that is aligned, 0-1.")
    ] = None,
) -> None:
    """Adds a second copy of the training faces, aligned by their landmarks, for the input of --model.

    Only faces that the landmark network is sure of are aligned, as `mien analyze --faces-are-crops` does.
    """
    from mien.datasets.derive.aligned_crops import add_aligned_crops as with_crops
    from mien.datasets.store import load, save
    from mien.expression import OnnxClassifier
    from mien.faces import landmarks as methods

    target = _new_store(out)
    info = OnnxClassifier(classifier).info
    before = load(store)
    with bar("finding landmarks and aligning") as report:
        samples = with_crops(before, info, methods.load(landmarker), least=least, progress=report)
        save(samples, out)
    print_line(
        f"added: aligned crops of {len(samples) - len(before):,} of {len(before.only('train')):,} training faces"
    )
    print_line(str(target))


def landmarks(
    images: Annotated[Path, typer.Argument(help="A folder of labelled images, or of several.", show_default=False)],
    *,
    points: Annotated[Path, "The folder of faces_landmarks.npz and, for --fer, fer2013_landmarks.npz."],
    fer: Annotated[Path | None, "A store of FER2013, built without --votes."] = None,
    limit: Annotated[
        int | None, "Approximate number of images and of FER2013's faces, for each split.", {"min": 1}
    ] = None,
    out: Annotated[Path, "The file to write (.h5)."],
    detector: Annotated[detectors.DetectorOptions, Only({"name", "weights"})],
) -> None:
    """Crops faces with dense landmarks, and what is no face, for the training of a landmark network.

    What is no face: false alarms of the detector and random places in the images.
    """
    from mien.datasets import landmark_faces

    target = _new_store(out)
    with bar("detecting and cropping") as report:
        faces = landmark_faces.build(
            images,
            points,
            fer=fer,
            detector=detectors.load(detector),
            limit=limit,
            progress=report,
        )
        landmark_faces.save(faces, out)
    for split, counts in faces.counts().items():
        print(f"{split}: {', '.join(f'{count:,} {name}' for name, count in counts.items())}")
    print_line(str(target))


def _new_store(out: Path) -> Target:
    """The store of a command, which is checked before its work."""
    return Target("--out", out, ".h5", ".hdf5")


def _without_faces(samples: Samples) -> Iterator[str]:
    """A line for each split that lacks a class."""
    for split, counts in samples.counts().items():
        lacking = [name for name, count in counts.items() if not count]
        if lacking and any(counts.values()):
            then = "it is not learnt" if split == "train" else "its recall there is unknown"
            yield f"no face of {', '.join(lacking)} in {split}: {then}"


def _build_command(build: Callable[..., Samples]) -> Callable[..., None]:
    """The command for a `build` function: its arguments, and `--out`."""

    def run(*, out: Path, **options: Any) -> None:
        from mien.assets.recognise import recognise
        from mien.datasets import store

        target = _new_store(out)
        for given in options.values():
            if isinstance(given, Path) and recognise(given).kind == "store":
                raise ConfigError(
                    f"{given}: is a store already, expected the files of a data set",
                    hint=f"train on it: mien train RECIPE --data {given}; look into it: mien data show {given}",
                )
        with bar("building") as report:
            if "progress" in inspect.signature(build).parameters:
                options["progress"] = report
            samples = build(**options)
            store.save(samples, out)
        notes = samples.about.get("notes")
        for line in notes if isinstance(notes, list) else []:
            say("note", "cyan", line)
        heads, *rows = source_rows(samples.about)
        print_table(heads, rows, right=range(2, len(heads)))
        if not one_to_one(samples.about):
            print(counts_table(samples.counts()))
        if clips := clip_counts(samples):
            print(counts_table(clips, "clips"))
        for key, value in samples.about.items():
            if key.startswith("dropped") and value:
                print_line(f"{key.replace('_', ' ')}: {value:,}")
        for line in _without_faces(samples):
            say("note", "cyan", line)
        left_out = samples.about.get("left_out")
        for line in left_out if isinstance(left_out, list) else []:
            say("left out", "yellow", line)
        print_line(str(target))
        if samples.about.get("dropped_unreadable"):
            raise typer.Exit(EXIT_CODES[InputError])

    return command(build, run, inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, annotation=NewStore))


def _export_command(write: export.Exporter) -> Callable[..., None]:
    """The command for an `export` function."""

    def run(
        store: Store, out: Annotated[Path, typer.Argument(help="The new folder to write.", show_default=False)]
    ) -> None:
        from mien.datasets.store import load

        samples = load(store)
        with bar("writing") as report:
            left_out = write(samples, out, report)
        for reason, count in left_out.items():
            if count:
                print_line(f"left out, {reason}: {count:,}")
        print_line(f"written: {len(samples) - sum(left_out.values()):,} faces to {out}")

    run.__doc__ = write.__doc__
    return command(run)
