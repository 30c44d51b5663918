"""`mien crossval`: a recipe and a store in, the scores on people that it has never seen out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli import print_line, print_table, say, tell
from mien.cli.options import command
from mien.errors import StoppedError

if TYPE_CHECKING:
    from mien.training.crossval import CrossValidation, Pool


@dataclass(frozen=True, slots=True)
class CrossValidationOptions:
    """What is trained, how often, and where."""

    data: Annotated[Path, "The store, from `mien data build`; its splits do not matter."]
    folds: Annotated[int, "Number of folds; each is the test set once.", {"min": 3}] = 10
    out: Annotated[Path | None, "The folder of the runs and the scores; by default runs/crossval-NAME."] = None
    settings: Annotated[tuple[str, ...] | None, "Change a key of the recipe: epochs=20.", "--set"] = None
    init_from: Annotated[
        str | None,
        "Start every fold from the weights of a shipped model, a .safetensors file or a run.",
        "--from",
    ] = None
    quiet: Annotated[bool, "Show no progress.", "--quiet", "-q"] = False


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("crossval")(command(crossval))


def crossval(
    recipe: Annotated[str | None, "A .toml file, or the name of a shipped recipe; not needed with --from."] = None,
    *,
    options: CrossValidationOptions,
) -> None:
    """Cross-validates a recipe: trains it once for each fold, and tests it on people that it has never seen.

    All images of a person are in one fold, if the data says who is who. Each fold is the test set of one run, the next
    fold chooses its best epoch, and the others train it. To continue a cross-validation that was stopped, repeat the
    command. The folder contains a run, a model and its predictions for each fold, and the scores (crossval.json).
    """
    from mien import training  # without torch, this raises an error that names what to install
    from mien.training.crossval import RESULT, CrossValidator

    plan, notes = training.resolve_recipe(recipe, options.settings or (), init_from=options.init_from)
    folder = options.out or Path("runs") / f"crossval-{plan.name}"
    for note in notes:
        say("note", "cyan", note)
    samples = training.task_spec(plan.task).read(options.data)
    if options.init_from:
        unseen = f"{options.init_from} must not have learned from this data: else no face of a fold is new to it"
        say("note", "yellow", unseen)
    # Every fold gives the same notes: they are shown once.
    shown: set[str] = set()

    def once(line: str) -> None:
        if line not in shown:
            shown.add(line)
            say("note", "cyan", line)

    validator = CrossValidator(
        plan, samples, options.folds, folder, training.FitOptions(progress=not options.quiet, tell=once)
    )

    def done(number: int, pools: "Mapping[str, Pool]", known: bool) -> None:
        if not options.quiet:
            scores = next(iter(pools.values())).scores()
            already = " (done before)" if known else ""
            tell(f"fold {number} of {options.folds}: accuracy {scores['accuracy'].value:.1%}{already}")

    try:
        found = validator.run(done)
    except StoppedError as error:
        raise StoppedError(error.message, hint="to continue: repeat the command") from None
    _report(found)
    print_line(f"written: {folder / RESULT}")


def _report(found: "CrossValidation") -> None:
    """The scores of each fold and of all together, for each protocol."""
    for name, pool in found.pooled.items():
        if len(found.pooled) > 1:
            print_line(f"protocol {name}:")
        rows = []
        for number, fold in enumerate(found.folds, 1):
            scores = fold[name].scores()
            rows.append([str(number), *_counts(found, fold[name]), *(f"{scores[each].value:.1%}" for each in scores)])
        scores = pool.scores()
        rows.append(["pooled", *_counts(found, pool), *(f"{scores[each].value:.1%}" for each in scores)])
        header = ("fold", *dict.fromkeys((found.division, found.unit)), "accuracy", "mean recall")
        print_table(header, rows, right=range(1, len(header)))
        over = f"95% intervals over {found.division}"
        print_line(f"accuracy {scores['accuracy']}, mean recall {scores['mean_recall']} ({over})")


def _counts(found: "CrossValidation", pool: "Pool") -> list[str]:
    counts = {found.division: len(set(pool.persons.tolist())), found.unit: len(pool.labels)}
    return [f"{count:,}" for count in counts.values()]
