"""`mien search`: a recipe, a store and a search space in; the best values out."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import print_line, print_table, quoted, say, tell
from mien.cli.options import command
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.training.search import Outcome

_SHOWN = 10  # trials in the table


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What is searched, and for how long."""

    data: Annotated[Path | None, "The store to train on, from `mien data build`."] = None
    out: Annotated[Path | None, "The folder of the search, with its study; by default runs/search-NAME."] = None
    space: Annotated[
        tuple[str, ...] | None,
        "KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C; may be repeated.",
        {"show_default": "rate, decay, dropout, mixup, erasing"},
    ] = None
    settings: Annotated[tuple[str, ...] | None, "Change a key of the recipe for all trials: epochs=5.", "--set"] = None
    trials: Annotated[int, "Number of trials, including those of earlier runs of this command.", {"min": 1}] = 20
    minutes: Annotated[float, "Start no new trial after this many minutes.", {"min": 0, "show_default": "no limit"}] = (
        math.inf
    )
    show: Annotated[bool, "Only show the study in --out."] = False
    quiet: Annotated[bool, "Show no progress.", "--quiet", "-q"] = False


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("search")(command(search))


def search(
    recipe: Annotated[str | None, "A .toml file, or the name of a shipped recipe."] = None, *, options: SearchOptions
) -> None:
    """Searches for hyper-parameters: trains a recipe many times with different values of its keys.

    The first trial is the unchanged recipe; unpromising trials are stopped early. To continue a search that was
    stopped, repeat the command. The folder contains the study (study.db), the run of the best trial (best) and its
    recipe (best.toml).
    """
    out, data, quiet = options.out, options.data, options.quiet
    if options.show:
        from mien.training.search import outcomes

        if out is None:
            raise ConfigError("--show needs the folder of a search", hint="add --out runs/search-NAME")
        _table(outcomes(out), "value")
        return
    if recipe is None or data is None:
        raise ConfigError("a recipe and --data are needed", hint="mien search mien-s --data fer.h5")
    from mien.training import load_recipe, task_spec  # says what to install without torch
    from mien.training.search import Search, space_of

    plan = load_recipe(recipe, options.settings or ())
    dimensions = space_of(plan, options.space or ())
    folder = out or Path("runs") / f"search-{plan.name}"
    study = Search(plan, task_spec(plan.task).read(data), dimensions, folder)
    if not quiet:
        done = len(study.outcomes)
        say(
            "search",
            "cyan",
            f"{', '.join(map(str, dimensions))}; {options.trials} trials{f', {done} done' * bool(done)}",
        )

    def tell(outcome: "Outcome") -> None:
        if not quiet:
            say(f"trial {outcome.number}", "green" if outcome.best else "default", _line(outcome, plan.monitor))

    study.run(options.trials, minutes=options.minutes, progress=not quiet, tell=tell)
    found = study.outcomes
    _table(found, plan.monitor)
    if shares := study.importances():
        print("most important: " + ", ".join(f"{key} {share:.0%}" for key, share in shares.items()))
    if any(outcome.best for outcome in found):
        print_line(f"best recipe: {folder / 'best.toml'}")
        print_line(f"next: mien train {quoted(folder / 'best.toml')} --data {quoted(data)} --out runs/{plan.name}-best")


def _line(outcome: "Outcome", figure: str) -> str:
    value = "" if outcome.value is None else f"{figure} {outcome.value:.4f}  "
    values = "  ".join(f"{key} {_short(value)}" for key, value in outcome.values.items())
    state = "best so far" if outcome.best else outcome.state
    return f"{value}{state}{': ' + outcome.error if outcome.error else ''}  {values}"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(found: "list[Outcome]", figure: str) -> None:
    """The best trials, best first, then the number of trials in each state."""
    best = next((outcome.value for outcome in found if outcome.best), None)
    complete = [outcome for outcome in found if outcome.state == "complete" and outcome.value is not None]
    complete.sort(key=lambda outcome: abs((outcome.value or 0) - (best or 0)))
    keys = list(dict.fromkeys(key for outcome in complete for key in outcome.values))
    last = [key.rpartition(".")[2] for key in keys]
    names = [word if last.count(word) == 1 else key for word, key in zip(last, keys, strict=True)]  # never two alike
    rows = [
        [str(outcome.number), f"{outcome.value:.4f}", *(_short(outcome.values.get(key, "")) for key in keys)]
        for outcome in complete[:_SHOWN]
    ]
    if rows:
        print_table(("trial", figure, *names), rows, right=range(len(names) + 2))
    states = {
        state: sum(outcome.state == state for outcome in found) for state in ("complete", "ended early", "failed")
    }
    print(f"{len(found)} trials: " + ", ".join(f"{count} {state}" for state, count in states.items() if count))
    for outcome in found:
        if outcome.error:
            tell(f"trial {outcome.number} failed: {outcome.error}")
