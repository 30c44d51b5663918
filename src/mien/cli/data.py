"""`mien data`: builds stores (HDF5) from data sets, changes, shows and exports them.

`build` and `export` have one sub-command per data set or format, made from its `build` or `export` function.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli import bar, console, print_line, print_table, say
from mien.cli.options import Only, command
from mien.datasets import Samples, builders, export
from mien.datasets.summary import counts_table, one_to_one, source_rows
from mien.errors import EXIT_CODES, ConfigError, InputError
from mien.expression.base import ClassifierOptions
from mien.expression.tta import Tta
from mien.faces import detectors

Store = Annotated[Path, typer.Argument(help="A store, from `mien data build`.", show_default=False)]
NewStore = Annotated[Path, typer.Option("--out", help="The store to write (.h5).")]


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

    samples = load(store)
    print(text(summarise(samples)))
    if plots:
        with console().status("drawing"):
            written = plot(samples, plots)
        print_line(f"written: {', '.join(path.name for path in written)} in {plots}")


def distil(
    store: Store,
    *,
    teacher: Annotated[list[str], typer.Option(help="A shipped model or an exported .onnx file; may be repeated.")],
    out: NewStore,
    tta: Annotated[Tta, "Test-time augmentation of the teachers: none, flip or ten-crop."] = "flip",
    threads: Annotated[int, typer.Option(min=1, help="Threads of each network.")] = 1,
) -> None:
    """Adds soft targets: the mean probabilities of trained models (teachers) on the training images.

    A recipe whose heads have `soft` above 0 trains on them: this distils large models into a small one.
    """
    from mien.datasets.derive.distil import distil_targets
    from mien.datasets.store import load, save

    with bar("running the teachers") as report:
        samples = distil_targets(load(store), teacher, tta=tta, threads=threads, progress=report)
        save(samples, out)
    for name, rows in (("labels", samples.soft_labels), ("votes", samples.soft_votes)):
        found = "none: a teacher lacks some of their classes"
        print_line(f"soft {name}: {found if rows is None else f'{int(rows.any(axis=1).sum()):,} rows'}")
    print_line(f"written: {out}")


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

    info = OnnxClassifier(classifier).info
    before = load(store)
    with bar("detecting and cropping") as report:
        samples = with_crops(before, detectors.load(detector), info, progress=report)
        save(samples, out)
    print_line(f"added: crops of {len(samples) - len(before):,} of {len(before.only('train')):,} training faces")
    print_line(f"written: {out}")


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

    with console().status("detecting and cropping") as status:
        faces = landmark_faces.build(
            images,
            points,
            fer=fer,
            detector=detectors.load(detector),
            limit=limit,
            progress=lambda done: status.update(f"detecting and cropping; done: {done}"),
        )
        landmark_faces.save(faces, out)
    for split, counts in faces.counts().items():
        print(f"{split}: {', '.join(f'{count:,} {name}' for name, count in counts.items())}")
    print(f"written: {out}")


def _build_command(build: Callable[..., Samples]) -> Callable[..., None]:
    """The command for a `build` function: its arguments, and `--out`."""

    def run(*, out: Path, **options: Any) -> None:
        from mien.assets.recognise import recognise
        from mien.datasets import store

        for given in options.values():
            if isinstance(given, Path) and recognise(given).kind == "store":
                raise ConfigError(
                    f"{given}: is a store already, expected the files of a data set",
                    hint=f"train on it: mien train RECIPE --data {given}; look into it: mien data show {given}",
                )
        with console().status("building"):
            samples = build(**options)
            store.save(samples, out)
        notes = samples.about.get("notes")
        for line in notes if isinstance(notes, list) else []:
            say("note", "cyan", line)
        heads, *rows = source_rows(samples.about)
        print_table(heads, rows, right=range(2, len(heads)))
        if not one_to_one(samples.about):
            print(counts_table(samples.counts()))
        for key, value in samples.about.items():
            if key.startswith("dropped") and value:
                print_line(f"{key.replace('_', ' ')}: {value:,}")
        left_out = samples.about.get("left_out")
        for line in left_out if isinstance(left_out, list) else []:
            say("left out", "yellow", line)
        print_line(f"written: {out}")
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
        with console().status(f"writing {len(samples):,} faces"):
            left_out = write(samples, out)
        for reason, count in left_out.items():
            if count:
                print_line(f"left out, {reason}: {count:,}")
        print_line(f"written: {len(samples) - sum(left_out.values()):,} faces to {out}")

    run.__doc__ = write.__doc__
    return command(run)
