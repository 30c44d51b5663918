"""`mien data`: data sets into the HDF5 store, out of it, and what it holds.

`build` and `export` have one sub-command a data set or form, made from its `build` or `export` function.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from mien.cli import bar, console, say
from mien.datasets import Samples, builders, export
from mien.datasets.summary import counts_table
from mien.errors import EXIT_CODES, InputError
from mien.faces import detectors

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    data = typer.Typer(help="Builds, shows and exports the stores of training and judging.", no_args_is_help=True)
    build = typer.Typer(help="Builds a store from a data set's own files.", no_args_is_help=True)
    for name in builders.names():
        build.command(name)(_command(builders.builder(name)))
    write = typer.Typer(help="Writes a store in the form of others.", no_args_is_help=True)
    for name in export.names():
        write.command(name)(_export_command(export.exporter(name)))
    data.add_typer(build, name="build")
    data.add_typer(write, name="export")
    data.command()(show)
    data.command()(distil)
    data.command()(add_detector_crops)
    app.add_typer(data, name="data")


def show(
    store: Annotated[Path, typer.Argument(help="From `mien data build`.", show_default=False)],
    plots: Annotated[
        Path | None, typer.Option(help="Write counts, contact sheets and agreement as PNG into this folder.")
    ] = None,
) -> None:
    """Tells what a store holds: faces by class and split, duplicates, constant images, agreement of the votes."""
    from mien.datasets.plots import plot
    from mien.datasets.store import load
    from mien.datasets.summary import summarise, text

    samples = load(store)
    print(text(summarise(samples)))
    if plots:
        with console().status("drawing"):
            written = plot(samples, plots)
        print(f"written: {', '.join(path.name for path in written)} in {plots}")


def distil(
    store: Annotated[Path, typer.Argument(help="From `mien data build`.", show_default=False)],
    teacher: Annotated[
        list[str],
        typer.Option("--teacher", help="A shipped model or an exported .onnx file; several times for several."),
    ],
    out: Annotated[Path, typer.Option(help="The store to write (.h5).")],
    tta: Annotated[str, typer.Option(help="Of each image: single, flip or ten-crop.")] = "flip",
    threads: Annotated[int, typer.Option(min=1, help="For each network.")] = 1,
) -> None:
    """Adds soft targets: the mean probabilities of trained models on the training images.

    A recipe whose heads have `soft` above 0 learns from them: this distils large models into a small one.
    """
    from mien.datasets.derive.distil import distil_targets
    from mien.datasets.store import load, save

    with bar("asking the teachers") as report:
        samples = distil_targets(load(store), teacher, tta=tta, threads=threads, progress=report)
        save(samples, out)
    for name, rows in (("labels", samples.soft_labels), ("votes", samples.soft_votes)):
        told = (
            "no, a teacher does not know all their classes" if rows is None else f"{int(rows.any(axis=1).sum()):,} rows"
        )
        print(f"soft {name}: {told}")
    print(f"written: {out}")


def add_detector_crops(
    store: Annotated[Path, typer.Argument(help="From `mien data build`.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The store to write (.h5).")],
    detector: Annotated[
        str, typer.Option(help=f"What finds the faces: {', '.join(detectors.names())}.")
    ] = detectors.DEFAULT,
    detector_weights: Annotated[
        Path | None,
        typer.Option(help="The detector's network, where it needs one.", show_default="from `mien models fetch`"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Whose crop_spec the crops have: a shipped model or an exported .onnx file.",
            show_default="the shipped one",
        ),
    ] = None,
) -> None:
    """Adds the training faces once more, as a detector and the crop function cut them out.

    What learns from both crop_specs reads both: a data set's own, and what it meets behind the detector.
    """
    from mien.datasets.derive.detector_crops import add_detector_crops as with_crops
    from mien.datasets.store import load, save
    from mien.expression import OnnxClassifier

    crop_spec = OnnxClassifier(model, emotions=None).info
    finder = detectors.load(detector, detectors.DetectorOptions(weights=detector_weights))
    before = load(store)
    with bar("cropping again") as report:
        samples = with_crops(before, finder, crop_spec, progress=report)
        save(samples, out)
    print(f"found and cropped again: {len(samples) - len(before):,} of {len(before.only('train')):,} training faces")
    print(f"written: {out}")


def _export_command(write: export.Exporter) -> Callable[[Path, Path], None]:
    """The command for an `export` function."""

    def command(
        store: Annotated[Path, typer.Argument(help="From `mien data build`.", show_default=False)],
        out: Annotated[Path, typer.Argument(help="What to write: a new folder.", show_default=False)],
    ) -> None:
        from mien.datasets.store import load

        samples = load(store)
        with console().status(f"writing {len(samples):,} faces"):
            left_out = write(samples, out)
        for reason, count in left_out.items():
            if count:
                print(f"left out, {reason}: {count:,}")
        print(f"written: {len(samples) - sum(left_out.values()):,} faces to {out}")

    command.__doc__ = (write.__doc__ or "").partition("Returns:")[0]
    return command


def _command(build: Callable[..., Samples]) -> Callable[..., None]:
    """The command for a `build` function: keyword arguments become options, others arguments; `--out` joins."""

    def command(*, out: Path, **options: Any) -> None:
        from mien.datasets import store

        with console().status("building"):
            samples = build(**options)
            store.save(samples, out)
        _tell(samples, out)
        if samples.about.get("dropped_unreadable"):
            raise typer.Exit(EXIT_CODES[InputError])

    hints = get_type_hints(build, include_extras=True)
    parameters = []
    for name, parameter in inspect.signature(build).parameters.items():
        kind, help_text = get_args(hints[name])
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            info: Any = typer.Option(f"--{name.replace('_', '-')}", help=help_text)
        else:  # what stands before the star is given by its place
            info = typer.Argument(help=help_text, show_default=False)
        by_name = inspect.Parameter.KEYWORD_ONLY
        parameters.append(parameter.replace(annotation=Annotated[kind, info], kind=by_name))
    out_option = Annotated[Path, typer.Option("--out", help="The store to write (.h5).")]
    parameters.append(inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, annotation=out_option))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = (build.__doc__ or "").partition("Raises:")[0]
    return command


def _tell(samples: Samples, out: Path) -> None:
    """Counts by split and class, and what was left out and why."""
    print(counts_table(samples.counts()))
    for key, value in samples.about.items():
        if key.startswith("dropped") and value:
            print(f"{key.replace('_', ' ')}: {value:,}")
    left_out = samples.about.get("left_out")
    for line in left_out if isinstance(left_out, list) else []:
        say("left out", "yellow", line)
    print(f"written: {out}")
