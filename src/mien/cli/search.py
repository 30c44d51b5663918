"""`mien search`: a recipe, a store and what may change in; the best values out."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import console, say
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.training.search import Outcome

__all__ = ["register"]

_SHOWN = 10  # trials in the table


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(search)


def search(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe's .toml file, or the name of a shipped one.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="What to learn from: a store, from `mien data build`.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The search's folder, with its study.", show_default="runs/search-NAME")
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            help="What is searched: KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C; may be repeated.",
            show_default="rate, decay, dropout, mixup, erasing",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key of the recipe for all trials, as in epochs=5.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="In all, those of earlier sessions included.")] = 20,
    minutes: Annotated[
        float, typer.Option(min=0, help="Begin no trial after so long.", show_default="no limit")
    ] = math.inf,
    show: Annotated[bool, typer.Option("--show", help="Only show what the study in --out holds.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Searches for hyper-parameters: many runs of a recipe, each with other values of some keys.

    The first trial is the recipe as it is; hopeless ones are ended early. The same command goes on with a search that
    was stopped or killed. The folder gets the study (study.db), the best trial's run (best) and its recipe (best.toml).
    """
    if show:
        from mien.training.search import outcomes

        if out is None:
            raise ConfigError("--show needs the search's folder", hint="add --out runs/search-NAME")
        _table(outcomes(out), "value")
        return
    if recipe is None or data is None:
        raise ConfigError("a recipe and --data are needed", hint="mien search mien-s --data fer.h5")
    from mien.training import load_recipe, task_spec  # says what to install where torch is missing
    from mien.training.search import Search, space_of

    plan = load_recipe(recipe, settings or ())
    dimensions = space_of(plan, space or ())
    folder = out or Path("runs") / f"search-{plan.name}"
    looking = Search(plan, task_spec(plan.task).read(data), dimensions, folder)
    if not quiet:
        done = len(looking.outcomes)
        say(
            "search", "cyan", f"{', '.join(map(str, dimensions))}; {trials} trials" + (f", {done} done" if done else "")
        )

    def tell(outcome: "Outcome") -> None:
        if not quiet:
            say(f"trial {outcome.number}", "green" if outcome.best else "default", _line(outcome, plan.monitor))

    looking.run(trials, minutes=minutes, progress=not quiet, tell=tell)
    found = looking.outcomes
    _table(found, plan.monitor)
    if shares := looking.importances():
        print("matters most: " + ", ".join(f"{key} {share:.0%}" for key, share in shares.items()))
    if any(outcome.best for outcome in found):
        print(f"best recipe: {folder / 'best.toml'}")
        print(f"next: mien train {folder / 'best.toml'} --data {data} --out runs/{plan.name}-best")


def _line(outcome: "Outcome", figure: str) -> str:
    value = "" if outcome.value is None else f"{figure} {outcome.value:.4f}  "
    values = "  ".join(f"{key} {_short(value)}" for key, value in outcome.values.items())
    state = "best so far" if outcome.best else outcome.state
    return f"{value}{state}{': ' + outcome.error if outcome.error else ''}  {values}"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(found: "list[Outcome]", figure: str) -> None:
    """The best trials, best first, then how many there were of each state."""
    from rich import box
    from rich.table import Table

    best = next((outcome.value for outcome in found if outcome.best), None)
    whole = [outcome for outcome in found if outcome.state == "whole" and outcome.value is not None]
    whole.sort(key=lambda outcome: abs((outcome.value or 0) - (best or 0)))
    keys = list(dict.fromkeys(key for outcome in whole for key in outcome.values))
    table = Table(box=box.SIMPLE_HEAD)
    last = [key.rpartition(".")[2] for key in keys]  # the whole key where the last word would be another's too
    names = [word if last.count(word) == 1 else key for word, key in zip(last, keys, strict=True)]
    for name in ("trial", figure, *names):
        table.add_column(name, justify="right", overflow="fold")
    for outcome in whole[:_SHOWN]:
        cells = [str(outcome.number), f"{outcome.value:.4f}", *(_short(outcome.values.get(key, "")) for key in keys)]
        table.add_row(*cells, style="bold green" if outcome.best else "")
    if whole:
        from rich.console import Console

        Console(soft_wrap=True).print(table)
    states = {state: sum(outcome.state == state for outcome in found) for state in ("whole", "ended early", "failed")}
    print(f"{len(found)} trials: " + ", ".join(f"{count} {state}" for state, count in states.items() if count))
    for outcome in found:
        if outcome.error:
            console().print(f"trial {outcome.number} failed: {outcome.error}", style="dim", markup=False)
