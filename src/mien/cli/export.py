"""`mien export`: a finished run in, an ONNX file out; `mien export web`: the live page as a folder of files."""

import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mien.cli import console, print_line, say
from mien.cli.options import Only, command
from mien.cli.outputs import exported, measured, older
from mien.cli.usage import Group
from mien.errors import ConfigError
from mien.expression.base import ClassifierOptions
from mien.media.picking import TrackingOptions

Runtime = Annotated[
    Path,
    "The archive of onnxruntime-web, which runs the networks in the browser; see docs/live.md.",
]


class _Exports(Group):
    """What follows is a run, unless it is `web`; a run in a folder of that name is `./web`."""

    default = "RUN"  # the name of the command in the help; nobody needs to write it

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {"web", *ctx.help_option_names}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    exports = typer.Typer(
        cls=_Exports,
        help="Exports a trained model as an ONNX file: `mien export RUN`; or the live page as a folder of files.",
        no_args_is_help=True,
    )
    exports.command(_Exports.default)(command(export))
    exports.command("web")(command(web))
    app.add_typer(exports, name="export")


def export(
    run: Annotated[Path, "The folder of a run, from `mien train`; or its best.ckpt or last.ckpt."],
    *,
    data: Annotated[Path, "The store whose val split calibrates and evaluates the model."],
    out: Annotated[Path, "The .onnx file to write."],
    checkpoint: Annotated[Literal["best", "last"] | None, "The checkpoint to export.", {"show_default": "best"}] = None,
    licence: Annotated[str, "Licence of the weights, for the description in the file."] = "",
) -> None:
    """Exports a trained model: fused, calibrated, evaluated, and compared with its checkpoint.

    Two files are written beside the .onnx file: the unfused training form (.safetensors, fp16), and the entry
    for the manifest (.entry.toml). Existing files are replaced, and missing folders are made.
    """
    from mien.assets.recognise import run_and_checkpoint
    from mien.training import load_recipe, task_spec  # without torch, this raises an error that names what to install
    from mien.training.artifacts import check_name
    from mien.training.tasks import OtherDataWarning

    check_name(out)
    before = older(out)
    folder, named = run_and_checkpoint(run)
    if named and checkpoint and named != checkpoint:
        raise ConfigError(f"{run} and --checkpoint {checkpoint} contradict each other", hint=f"give {folder}")
    recipe = load_recipe(folder / "recipe.toml")
    with console().status("exporting and evaluating"), warnings.catch_warnings(record=True) as found:
        written = task_spec(recipe.task).export(
            recipe, folder, data, out, checkpoint=checkpoint or named or "best", licence=licence
        )
    for warning in found:
        if issubclass(warning.category, OtherDataWarning):
            say("note", "yellow", str(warning.message))
    for path in written:
        print_line(exported(path, before))
    for line in measured(out):
        print_line(line)


def web(
    out: Annotated[Path, "The folder to write."],
    classifier: Annotated[ClassifierOptions, Only({"model", "emotions", "abstain", "prior"})],
    tracking: Annotated[TrackingOptions, Only({"smooth"})],
    *,
    runtime: Runtime,
) -> None:
    """Writes the live page as a folder of files, in which the browser itself finds and classifies faces, offline.

    Any web server can serve the folder; over HTTPS, or on the own machine, browsers give it the camera. The model is
    mien-m-int8, which reads videos elsewhere, unless --model is given.
    """
    from mien.server.live.site import write_site

    write_site(out, runtime, classifier, smooth=tracking.smooth)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print_line(f"{out}  {size:,} bytes")
