"""`mien explore`: what the layers and units of a network respond to, as a page and as images."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import bar, console, print_line, say, tell
from mien.cli.options import command
from mien.errors import ConfigError
from mien.explain import ExploreOptions, need_extra


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What is shown to the network, and where the result goes."""

    out: Annotated[Path | None, "A folder for the page and the images."] = None
    image: Annotated[Path | None, "A photograph; its largest face is shown to the network."] = None
    faces_are_crops: Annotated[bool, "The image is a cropped face."] = False
    data: Annotated[Path | None, "A store, from `mien data build`: find its faces that excite a unit most."] = None
    live: Annotated[bool, "Open a page that shows the activations for the browser's camera instead."] = False
    port: Annotated[int, "Port of the page of --live; 0 for any free one."] = 8000
    no_open: Annotated[bool, "Only print the address of --live, and do not open the page in a browser."] = False
    split: Annotated[str, "Faces of the store: train, val (PublicTest) or test (PrivateTest)."] = "val"
    quiet: Annotated[bool, "Print errors only.", "--quiet", "-q"] = False


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("explore")(command(explore))


def explore(
    model: Annotated[
        str,
        "A shipped model of any task, a training run or one of its checkpoints, a .safetensors file, or an .onnx file "
        "with one beside it.",
    ],
    source: SourceOptions,
    options: ExploreOptions,
) -> None:
    """Shows the inside of a network: every layer, and what its units respond to.

    With --image: the activations of every layer, and the gradient, the guided backpropagation and the deconvolution
    image of its strongest units. With --data: the faces that excite a unit most. Always: the filters, and images that
    are optimised to excite a unit (activation maximisation). Open index.html in the folder. With --live: the
    activations of one layer at a time, for the camera of the browser.
    """
    need_extra()
    if source.live:
        _live(model, source, options)
        return
    if source.out is None:
        raise ConfigError("--out is missing", hint="--out FOLDER; or --live for the camera")
    with console().status("loading"):
        from mien.explain.explore import explore as explore_network
        from mien.explain.explore_page import check_out, images_of, write_page
        from mien.explain.explored import explore_source
        from mien.expression import ClassifierOptions

        check_out(source.out)
        network, _ = explore_source(ClassifierOptions(model=model), source.image, is_crop=source.faces_are_crops)
        samples = None
        if source.data is not None:
            from mien.datasets import store

            samples = store.load(source.data, source.split).only(source.split)
    with bar("exploring") as progress:
        layers = explore_network(network, options, samples, progress)
    if not source.quiet:
        if source.image is None:
            say("note", "yellow", "no activations of a face: add --image photo.jpg")
        if samples is None and network.model is not None:
            say("note", "yellow", "no faces that excite a unit: add --data STORE")
    written = write_page(source.out, network, layers)
    if source.quiet:
        return
    shown, units = sum(len(each.units) for each in layers), sum(each.layer.units for each in layers)
    print_line(f"{network.name}: {len(layers)} layers, {shown} of {units:,} units shown")
    tell(f"written: {written} and {len(images_of(source.out))} images")


def _live(model: str, source: SourceOptions, options: ExploreOptions) -> None:
    """Serves the page of the camera until Ctrl-C.

    Raises:
        ConfigError: An option has no effect with --live, the model is not known, or the port is in use.
    """
    for name, value in (("out", source.out), ("image", source.image), ("data", source.data)):
        if value is not None:
            raise ConfigError(f"--{name} has no effect with --live", hint="leave out one of the two")
    from mien.server.options import ServerOptions

    server = ServerOptions(port=source.port)
    with console().status("loading"):
        from mien.explain.live import LiveExplorer
        from mien.server.exploring import explore_app
        from mien.server.run import serve

        explorer = LiveExplorer(model, options.layers)

    def ready(url: str) -> None:
        if not source.quiet:
            tell(f"live at {url}/ (Ctrl-C to stop)")
        if not source.no_open:
            webbrowser.open(f"{url}/")

    serve(explore_app(explorer, server), server, ready)
