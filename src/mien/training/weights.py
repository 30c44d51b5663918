"""Weights of a shipped model or of a run: to start another run from, and to average."""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mien import models
from mien.assets.manifest import REPLACED, ModelInfo, classic_models, info_in, model_info, shipped_models
from mien.assets.recognise import wrong_source
from mien.assets.store import read_weights, training_form
from mien.errors import ConfigError, OutputError, WeightsError, meant
from mien.files import new_file
from mien.models.pretrained import is_pretrained
from mien.results import AFFECT
from mien.training import checkpoints
from mien.training.recipe import RunRecipe, changed, load, recipe_names, to_toml
from mien.training.tasks import TrainingModule

ORIGIN: Final = "pretrained.json"  # in a run's folder: where the published weights come from that it started from
R = TypeVar("R", bound=RunRecipe)
# Least cosine similarity of weights that are averaged: runs fine-tuned from one start had 0.99 and more, and runs with
# different starts less than 0.01.
_ALIKE: Final = 0.5
SHARE: Final = 10  # fine-tuning has the learning rate of the run before, divided by this


@dataclass(frozen=True)
class Source:
    """Weights that a run can start from.

    Attributes:
        name: For messages.
        weights: The state dict of the network.
        classes: By head; empty if they are not known.
        pretrained: Where the published weights come from that their own training started from; see `models.Origin`.
        info: The description of an exported model; None for a run.
    """

    name: str
    weights: Mapping[str, Tensor]
    classes: Mapping[str, tuple[str, ...]]
    pretrained: Mapping[str, str] = field(default_factory=dict)
    info: ModelInfo | None = None


def load_source(source: str) -> Source:
    """Reads a shipped model by its name, a training form of an exported one (.safetensors), or a run's best weights.

    Raises:
        ConfigError: There is nothing of that name.
        WeightsError: The weights are missing, damaged, or hold more than weights.
    """
    if _is_run(source):
        content = checkpoints.read(Path(source) / "best.ckpt")
        weights = {
            name.removeprefix("network."): value
            for name, value in content.get("state_dict", {}).items()
            if name.startswith("network.")
        }
        if not weights:
            raise WeightsError(
                f"{source}: its best.ckpt does not contain a network", hint="give the folder of a finished run"
            )
        classes = content.get("hyper_parameters", {}).get("classes", {})
        classes = {head: tuple(names) for head, names in classes.items()}
        return Source(source, weights, classes, read_origin(Path(source)))
    data = _training_form(source)
    try:
        weights = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{source}: is not a .safetensors file: {error}", hint="export the run again") from error
    info = _info(data, source)
    classes = {head.name: head.emotions for head in info.heads} if info else {}
    if info and info.affect:
        classes[info.affect.name] = AFFECT[:2]
    pretrained = info.pretrained if info else {}
    return Source(source, {name: value.float() for name, value in weights.items()}, classes, pretrained, info)


def read_origin(run: Path) -> dict[str, str]:
    """Where the published weights come from that a run started from; empty if it started from none.

    Raises:
        WeightsError: The run's record is damaged.
    """
    path = run / ORIGIN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: is damaged: {error}", hint="train the run again, or remove the file") from error


def write_origin(run: Path, pretrained: Mapping[str, str]) -> None:
    """Records where the published weights come from that a run starts from, if it starts from any."""
    if pretrained:
        with new_file(run / ORIGIN, "w", encoding="utf-8") as file:
            file.write(json.dumps(dict(pretrained), indent=1) + "\n")


def with_pretrained(recipe: R) -> R:
    """The recipe with published weights as `model.weights`, where `init_from` names them."""
    source = recipe.init_from
    if not (source and models.takes_pretrained(recipe.model.name) and is_pretrained(source)):
        return recipe
    model = recipe.model.model_copy(update={"weights": source, "weights_sha256": ""})
    return recipe.model_copy(update={"model": model, "init_from": ""})


def _is_shipped(source: str) -> bool:
    """Whether a shipped model has this name, or had it once."""
    return source in shipped_models() or source in REPLACED


def _is_run(source: str) -> bool:
    return not _is_shipped(source) and Path(source).is_dir()


def _training_form(source: str) -> bytes:
    """The .safetensors file of a shipped model, or a file."""
    if _is_shipped(source):
        return training_form(source)
    if wrong := wrong_source(Path(source)):
        raise wrong
    if Path(source).suffix == ".safetensors":
        return read_weights(Path(source))
    able = [name for name, info in shipped_models().items() if info.training_file and name in recipe_names()]
    if source in classic_models():
        raise ConfigError(
            f"cannot start from '{source}': the file of this network is for reading alone",
            hint=f"train it: mien train {source}, then start from that run's folder",
        )
    raise ConfigError(
        f"cannot start from '{source}': no such model or run",
        hint=f"{meant(source, able)}give a run's folder, a .safetensors file, or one of {', '.join(able)}",
    )


def _info(data: bytes, source: str) -> ModelInfo | None:
    """The description in the metadata of a .safetensors file."""
    header = int.from_bytes(data[:8], "little")
    return info_in(json.loads(data[8 : 8 + header]).get("__metadata__", {}), source)


def _source_recipe(source: str) -> RunRecipe | None:
    """The recipe that a source was trained by, if it is known; the weights of a run or a shipped model stay unread."""
    if _is_run(source):
        return load(Path(source) / "recipe.toml")
    info = model_info(source) if _is_shipped(source) else _info(_training_form(source), source)
    name = info.name.removesuffix("-int8") if info else ""  # both forms have one training form
    return load(name) if name in recipe_names() else None


def resolve_recipe(
    source: str | None,
    settings: Sequence[str],
    *,
    resume: Path | None = None,
    init_from: str | None = None,
    name: str = "",
) -> tuple[RunRecipe, list[str]]:
    """The recipe of a run, and messages about it.

    Args:
        source: Of the recipe, see `load`. If None, the recipe is that of `resume` or `init_from`.
        settings: See `load`.
        resume: The folder of the run to resume.
        init_from: Weights to start from. Published weights (`models.pretrained`) become the recipe's `model.weights`.
            With others, see `load_source`, the learning rate is a tenth of that of the run before, and there is one
            stage, unless `settings` name `optimizer.lr` and `stages`, or the recipe is a file of your own, or it says
            `fine_tune = true`.
        name: Of the run, if it has the recipe of `init_from`; by default that of this recipe. Its model is another.

    Raises:
        InputError: There is no such recipe.
        ConfigError: It is wrong, or none is given where one is needed.
        WeightsError: The weights to start from are missing or damaged.
    """
    recipe, notes = _resolved(source, settings, resume=resume, init_from=init_from, name=name)
    if recipe.stages and any(setting.partition("=")[0].strip() == "epochs" for setting in settings):
        notes.append(
            f"{recipe.epochs} of {recipe.total_epochs} epochs: the recipe has {len(recipe.all_stages)} stages, and "
            "`epochs` is the length of the first; for this one alone: --set stages=[]"
        )
    return recipe, notes


def _resolved(
    source: str | None, settings: Sequence[str], *, resume: Path | None, init_from: str | None, name: str
) -> tuple[RunRecipe, list[str]]:
    """The recipe and the messages of `resolve_recipe`, without those about its stages."""
    if source is None and resume:
        if not (resume / "recipe.toml").is_file():
            raise ConfigError(
                f"{resume}: nothing to resume: the folder does not contain a run", hint="start without --resume"
            )
        return load(resume / "recipe.toml", settings), []
    if init_from is None:
        if source is None:
            raise ConfigError("no recipe is given", hint=f"give a .toml file or one of {', '.join(recipe_names())}")
        return load(source, settings), []
    if source is not None:
        recipe = load(source, settings)
        start = with_pretrained(recipe.model_copy(update={"init_from": _lasting(init_from)}))
        if not start.init_from:
            return start, [f"starts from the published weights {init_from}; rates and stages are those of the recipe"]
    elif is_pretrained(init_from):
        raise ConfigError(f"no recipe is given for the published weights '{init_from}'", hint=_recipes_of(init_from))
    before = _source_recipe(init_from)
    if source is None:
        if before is None:
            raise ConfigError(f"the recipe of '{init_from}' is not known", hint="give a recipe as well")
        own = {"name": name, "description": f"fine-tuned from {Path(init_from).name}"} if name else {}
        recipe = changed(before.for_other_data().model_copy(update=own), settings)
    recipe = recipe.model_copy(update={"init_from": _lasting(init_from)})
    notes = [f"starts from the weights of {init_from}"]
    if recipe.fine_tune or (source is not None and source not in recipe_names()):
        return recipe, notes
    recipe, more = _fine_tuned(recipe, before, {setting.partition("=")[0].strip() for setting in settings})
    return recipe, notes + more


def _lasting(source: str) -> str:
    """A source as a recipe keeps it: a path is absolute."""
    return str(Path(source).absolute()) if Path(source).exists() else source


def _recipes_of(source: str) -> str:
    """A hint that names recipes of networks with pretrained weights."""
    recipes = [name for name in recipe_names() if models.takes_pretrained(load(name).model.name)]
    fitting = [name for name in recipes if source in models.takes_pretrained(load(name).model.name)]
    return f"mien train RECIPE --from {source}, with one of {', '.join(fitting or recipes)}"


def _fine_tuned(recipe: RunRecipe, before: RunRecipe | None, given: set[str]) -> tuple[RunRecipe, list[str]]:
    """The recipe with a tenth of the rate and one stage, where they are not given, and messages about that."""
    notes: list[str] = []
    changes: dict[str, object] = {}
    if "optimizer.lr" not in given:
        if before and before.optimizer.name != recipe.optimizer.name:
            before = None  # its rate means something else
        known = before or recipe
        rate = known.optimizer.lr / SHARE
        changes["optimizer"] = recipe.optimizer.model_copy(update={"lr": rate})
        whose = "that run's" if before else "the recipe's"
        notes.append(
            f"learning rate {rate:g}, a tenth of {whose} ({known.optimizer.lr:g}); change: --set optimizer.lr=..."
        )
    if "stages" not in given and recipe.stages:
        changes["stages"] = ()
        notes.append(f"one stage: the other stages of the recipe are left out ({len(recipe.stages)})")
    return recipe.model_copy(update=changes), notes


def init_weights(module: TrainingModule, source: str | Source) -> list[str]:
    """Gives the network of `module` the weights of `source`; heads with other classes are re-initialised.

    Returns:
        A message for each head that is re-initialised.

    Raises:
        ConfigError: The source is another network, or has other options or another input.
        WeightsError: The weights are missing or damaged.
    """
    found, classes = load_source(source) if isinstance(source, str) else source, module.classes
    new = {name for name, names in classes.items() if tuple(names) != found.classes.get(name)}
    own, known = module.network.state_dict(), {*classes, *found.classes}
    kept = {None, *classes} - new
    theirs = {name: value for name, value in found.weights.items() if _head(name, known) in kept}
    wanted = {name: value for name, value in own.items() if _head(name, known) not in new}
    if odd := _odd_weight(wanted, theirs):
        raise ConfigError(
            f"the weights of '{found.name}' belong to a different network: {odd}",
            hint="use the model and the input of that model's recipe",
        )
    module.network.load_state_dict(own | theirs)
    return [
        f"the head '{name}' is re-initialised: its classes are {', '.join(classes[name])}, "
        + (
            f"those of {found.name} are {', '.join(found.classes[name])}"
            if name in found.classes
            else f"{found.name} has no such head"
        )
        for name in classes
        if name in new
    ]


def _head(name: str, known: Set[str]) -> str | None:
    """The head of `known` that a weight belongs to; a detector's heads have no classes and are not known."""
    first, *others = name.split(".")
    return others[0] if first == "heads" and others[0] in known else None


def _odd_weight(here: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> str:
    """The first weight that two networks do not have in the same shape; empty if there is none."""
    shapes = [{name: tuple(value.shape) for name, value in each.items()} for each in (here, there)]
    for name in sorted(shapes[0].keys() | shapes[1].keys()):
        sizes = [shape.get(name, "missing") for shape in shapes]
        if sizes[0] != sizes[1]:
            return f"{name} is {sizes[1]} there and {sizes[0]} here"
    return ""


def _similarity(here: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> float:
    """The cosine similarity of two networks' kernels and matrices, each taken as one vector."""
    names = [name for name, value in here.items() if value.is_floating_point() and value.ndim > 1]
    one, two = (torch.cat([each[name].flatten().double() for name in names]) for each in (here, there))
    return float(torch.nn.functional.cosine_similarity(one, two, dim=0))


def _input_of(recipe: RunRecipe) -> object:
    """What the network of a recipe reads: the size, the colours and how its pixels are scaled."""
    return getattr(recipe, "input", None)


def average_runs(run: Path, others: Sequence[str], out: Path) -> None:
    """Writes the run `out`: the recipe of `run`, and as best checkpoint the mean of its best weights and the others.

    This is a "model soup" (Wortsman et al., ICML 2022): runs that started from the same weights lie in one basin of
    the loss, and their mean is often better than each of them, at the cost of one network. The mean of runs with
    different starts is worthless, and refused.

    Args:
        run: The folder of a run.
        others: Shipped models by name, `.safetensors` files or folders of runs, as `mien train --from` takes them.
        out: A new folder.

    Raises:
        ConfigError: No other is given, or one is another network, has other classes or started from other weights.
        OutputError: `out` already contains a run, or cannot be written.
        WeightsError: Weights are missing or damaged.
    """
    if not others:
        raise ConfigError("averaging needs at least two sets of weights, got one", hint="name at least one more")
    if (out / "recipe.toml").exists():
        raise OutputError(f"{out}: already contains a run", hint="choose another --out")
    if not _is_run(str(run)) and (wrong := wrong_source(run)):
        raise wrong
    first, recipe = load_source(str(run)), load(run / "recipe.toml")
    total = dict(first.weights)
    for source in others:
        other = load_source(source)
        if odd := _odd_weight(first.weights, other.weights):
            raise ConfigError(
                f"'{other.name}' has a different architecture than '{first.name}': {odd}",
                hint="average runs that started from the same weights",
            )
        if first.classes != other.classes:
            raise ConfigError(f"'{other.name}' has other classes than '{first.name}'", hint="leave it out")
        if _is_run(source) and _input_of(load(Path(source) / "recipe.toml")) != _input_of(recipe):
            raise ConfigError(
                f"'{other.name}' was trained on images of another size or form than '{first.name}'", hint="leave it out"
            )
        if (alike := _similarity(first.weights, other.weights)) < _ALIKE:
            raise ConfigError(
                f"'{other.name}' and '{first.name}' did not start from the same weights, or have moved far apart "
                f"(cosine similarity {alike:.2f}, needed {_ALIKE}): a network of their mean would be worthless",
                hint="average a run and runs that were fine-tuned from it (--from); or export these and use them "
                "together: --model A.onnx,B.onnx",
            )
        # Counters of batch norm are whole numbers: those of the first are kept.
        total = {name: each + other.weights[name] if each.is_floating_point() else each for name, each in total.items()}
    content = checkpoints.read(run / "best.ckpt")
    count = 1 + len(others)
    content["state_dict"] |= {
        f"network.{name}": value / count if value.is_floating_point() else value for name, value in total.items()
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        checkpoints.save({out / "best.ckpt": content})
        write_origin(out, first.pretrained)
        with new_file(out / "recipe.toml", "w", encoding="utf-8") as file:
            file.write(to_toml(recipe))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}", hint="choose another --out") from error
