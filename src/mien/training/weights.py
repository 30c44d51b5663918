"""Weights of a model or a run to begin another one with."""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lightning
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mien.assets.manifest import REPLACED, info_in, shipped_models
from mien.assets.store import read_weights, training_form
from mien.errors import ConfigError, WeightsError
from mien.training import checkpoints
from mien.training.recipe import changed, load, recipe_names
from mien.training.recipe_base import RunRecipe

__all__ = ["Origin", "origin", "planned", "take"]

SHARE: Final = 10  # a fine-tuning round has the rate of the run before, divided by this


@dataclass(frozen=True)
class Origin:
    """What a run can begin with.

    Attributes:
        name: For people.
        weights: The state of the network.
        classes: By head; empty where the origin does not say.
        recipe: It was trained by, where that is known.
    """

    name: str
    weights: Mapping[str, Tensor]
    classes: Mapping[str, tuple[str, ...]]
    recipe: RunRecipe | None


def origin(source: str) -> Origin:
    """Reads a shipped model by its name, the training form of an exported one (.safetensors), or a run's best weights.

    Raises:
        ConfigError: There is nothing of that name.
        WeightsError: The weights are missing, damaged, or hold more than weights.
    """
    path = Path(source)
    if source in shipped_models() or source in REPLACED:
        return _exported(training_form(source), source)
    if path.is_dir():
        content = checkpoints.read(path / "best.ckpt")
        classes = content.get("hyper_parameters", {}).get("classes", {})
        return Origin(
            source,
            _network(content, path / "best.ckpt"),
            {head: tuple(names) for head, names in classes.items()},
            load(path / "recipe.toml"),
        )
    if path.suffix == ".safetensors":
        return _exported(read_weights(path), source)
    raise ConfigError(
        f"'{source}' is nothing to start from",
        hint=f"give a run's folder, a .safetensors file, or one of {', '.join(shipped_models())}",
    )


def _network(content: Mapping[str, Mapping[str, Tensor]], path: Path) -> dict[str, Tensor]:
    state = content.get("state_dict", {})
    weights = {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
    if not weights:
        raise WeightsError(f"{path}: holds no network", hint="give the folder of a finished run")
    return weights


def _exported(data: bytes, source: str) -> Origin:
    try:
        weights = safetensors.torch.load(data)
        header = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + header]).get("__metadata__", {})
    except (safetensors.SafetensorError, ValueError) as error:
        raise WeightsError(f"{source}: is no .safetensors file: {error}", hint="export the run again") from error
    classes: dict[str, tuple[str, ...]] = {}
    recipe = None
    if info := info_in(metadata, source):
        classes = {head.name: head.emotions for head in info.heads}
        recipe = load(info.name) if info.name in recipe_names() else None
    return Origin(source, {name: value.float() for name, value in weights.items()}, classes, recipe)


def planned(
    source: str | None, settings: Sequence[str], *, resume: Path | None = None, start: str | None = None
) -> tuple[RunRecipe, list[str]]:
    """The recipe of a run, and what is to be said of it.

    Args:
        source: Of the recipe, see `load`; may be None with `resume` or `start`, whose own recipe it is then.
        settings: See `load`.
        resume: The folder of the run to go on with.
        start: What to begin with, see `origin`. The rate is then a tenth of the rate that the run before began with,
            and there is one round, unless `settings` name `optimizer.lr` and `rounds`, or the recipe is a
            `further` one.

    Raises:
        InputError: There is no such recipe.
        ConfigError: It is wrong, or none is given where one is needed.
        WeightsError: The weights to start from are missing or damaged.
    """
    if source is None and resume:
        if not (resume / "recipe.toml").is_file():
            raise ConfigError(f"{resume}: nothing to resume, it holds no run", hint="start it without --resume")
        return load(resume / "recipe.toml", settings), []
    if start is None:
        if source is None:
            raise ConfigError("no recipe is given", hint=f"give a .toml file or one of {', '.join(recipe_names())}")
        return load(source, settings), []
    before = origin(start).recipe
    if source is not None:
        recipe = load(source, settings)
    elif before is not None:
        recipe = changed(before, settings)
    else:
        raise ConfigError(f"'{start}' does not say how it was trained", hint="give a recipe as well")
    return _fine_tuned(recipe, before, start, {setting.partition("=")[0].strip() for setting in settings})


def _fine_tuned(recipe: RunRecipe, before: RunRecipe | None, start: str, told: set[str]) -> tuple[RunRecipe, list[str]]:
    said = [f"begins with the weights of {start}"]
    changes: dict[str, object] = {"start": str(Path(start).absolute()) if Path(start).exists() else start}
    if recipe.further:
        return recipe.model_copy(update=changes), said
    if "optimizer.lr" not in told:
        known = before or recipe
        rate = known.optimizer.lr / SHARE
        changes["optimizer"] = recipe.optimizer.model_copy(update={"lr": rate})
        whose = "that run's first" if before else "the recipe's"
        said.append(f"rate {rate:g}, a tenth of {whose} ({known.optimizer.lr:g}); --set optimizer.lr=... for another")
    if "rounds" not in told and recipe.rounds:
        changes["rounds"] = ()
        count = len(recipe.rounds)
        said.append(f"one round: the {count} after it in the recipe {'is' if count == 1 else 'are'} left out")
    return recipe.model_copy(update=changes), said


def take(task: lightning.LightningModule, source: str) -> list[str]:
    """Gives the network of `task` the weights of `source`; heads whose classes differ stay new.

    Returns:
        What is to be said of it: one line for each new head.

    Raises:
        ConfigError: It is another network, or one of other options or another input.
        WeightsError: The weights are missing or damaged.
    """
    found = origin(source)
    network: torch.nn.Module = task.network  # type: ignore[assignment]
    classes: Mapping[str, Sequence[str]] = task.hparams.get("classes", {})
    new = {name: _difference(name, tuple(names), found) for name, names in classes.items()}
    new = {name: reason for name, reason in new.items() if reason}
    own, known = network.state_dict(), {*classes, *found.classes}
    kept = {None, *classes} - set(new)
    theirs = {name: value for name, value in found.weights.items() if _head(name, known) in kept}
    wanted = {name for name in own if _head(name, known) not in new}
    wrong = [name for name in theirs if name in own and own[name].shape != theirs[name].shape]
    if wrong or wanted != set(theirs):
        odd = (wrong or sorted(wanted ^ set(theirs)))[0]
        there, here = (tuple(state[odd].shape) if odd in state else "nothing" for state in (theirs, own))
        raise ConfigError(
            f"the weights of '{source}' are those of another network: {odd} is {there} there and {here} here",
            hint="take model and input of the recipe as that model has them",
        )
    network.load_state_dict(own | theirs)
    return [f"the head '{name}' begins anew: {reason}" for name, reason in new.items()]


def _head(name: str, known: Set[str]) -> str | None:
    """The head that a weight belongs to, one of those `known`; a detector's heads have no classes, and are not."""
    first, *others = name.split(".")
    return others[0] if first == "heads" and others[0] in known else None


def _difference(head: str, here: tuple[str, ...], found: Origin) -> str:
    """Why a head cannot be taken over; empty where it can."""
    if head not in found.classes:
        return f"{found.name} has none of that name"
    there = found.classes[head]
    if here == there:
        return ""
    if len(here) != len(there):
        return f"{len(there)} classes there, {len(here)} here"
    first = next(index for index, pair in enumerate(zip(there, here, strict=True)) if pair[0] != pair[1])
    return f"class {first + 1} is '{there[first]}' there, '{here[first]}' here"
