"""Model soups: a run whose weights are the mean of several that began from the same weights.

Such runs lie in one basin, and their mean is often better than each, at the cost of one network (Wortsman et al.,
"Model soups", ICML 2022). Of runs from different beginnings the mean is worthless.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from mien.errors import ConfigError, OutputError
from mien.training import checkpoints
from mien.training.recipe import load, to_toml
from mien.training.weights import Origin, origin

__all__ = ["average_runs"]


def average_runs(run: Path, others: Sequence[str], out: Path) -> None:
    """Writes the run `out`: recipe of `run`, and as best checkpoint the mean of its best weights and those of others.

    Args:
        run: The folder of a run.
        others: Shipped models by name, `.safetensors` files or folders of runs, as `mien train --from` takes them.
        out: A new folder.

    Raises:
        ConfigError: No other is named, or one is another network or has other classes.
        OutputError: `out` holds a run already, or cannot be written.
        WeightsError: Weights are missing or damaged.
    """
    if not others:
        raise ConfigError("the mean of one run is that run", hint="name others")
    if (out / "recipe.toml").exists():
        raise OutputError(f"{out}: holds a run already", hint="choose another --out")
    first = origin(str(run))
    recipe = load(run / "recipe.toml")
    total = dict(first.weights)
    for source in others:
        other = origin(source)
        _check(first, other)
        # Counters of batch norm are no floats: they stay those of the first.
        total = {name: value + other.weights[name] if _is_mean(value) else value for name, value in total.items()}
    shares = 1 + len(others)
    content = checkpoints.bare(checkpoints.read(run / "best.ckpt"))
    mean = {f"network.{name}": value / shares if _is_mean(value) else value for name, value in total.items()}
    content["state_dict"] = content["state_dict"] | mean
    try:
        out.mkdir(parents=True, exist_ok=True)
        checkpoints.CheckpointFiles().save_checkpoint(content, out / "best.ckpt")
        (out / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}", hint="choose another --out") from error


def _is_mean(value: Tensor) -> bool:
    return value.is_floating_point()


def _check(first: Origin, other: Origin) -> None:
    shapes = [{name: tuple(value.shape) for name, value in each.weights.items()} for each in (first, other)]
    if odd := sorted(set(shapes[0].items()) ^ set(shapes[1].items())):
        name = odd[0][0]
        there, here = (shape.get(name, "nothing") for shape in reversed(shapes))
        raise ConfigError(
            f"'{other.name}' is another network than '{first.name}': {name} is {there} there and {here} here",
            hint="take the mean of runs that began from the same weights",
        )
    if first.classes != other.classes:
        raise ConfigError(f"'{other.name}' has other classes than '{first.name}'", hint="leave it out")
