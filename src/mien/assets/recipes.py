"""What messages and lists say about the recipes of expression networks: how to train one, and how long it was trained.

Reads the files of the recipes without torch, which the core does not install. Each opens with its command, for example
`# mien train capsnet --data fer.h5`.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent.parent / "recipes"
_STORE: Final = re.compile(r"--data (\S+)")


@dataclass(frozen=True)
class Brief:
    """A recipe in short.

    Attributes:
        name: Of the recipe.
        network: The network that it trains.
        command: That trains it, with the store that it needs.
        epochs: Of all its stages.
        measured: Epochs of the run that was scored, if it was cut short; None otherwise, also after early stopping.
    """

    name: str
    network: str
    command: str
    epochs: int
    measured: int | None

    @property
    def training(self) -> str:
        """How to get a file of the network: the commands that train and export it, and the option that uses it."""
        found = _STORE.search(self.command)
        export = f"mien export runs/{self.name} --data {found[1] if found else 'STORE'} --out {self.name}.onnx"
        return f"train and export it: {self.command}, then {export}, then --model {self.name}.onnx"

    @property
    def shortened(self) -> str:
        """That the scored run had fewer epochs than the recipe; empty if it was complete, or there is no score."""
        return f"after {self.measured} of {self.epochs} epochs" if self.measured else ""


@cache
def recipes() -> Mapping[str, Brief]:
    """The recipes of expression networks in the package, by name."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.toml"))}
    tables = {name: tomllib.loads(text) for name, text in texts.items()}
    return {
        name: Brief(
            name,
            table["model"]["name"],
            texts[name].partition("\n")[0].removeprefix("# "),
            table["epochs"] + sum(stage["epochs"] for stage in table.get("stages", ())),
            next(
                (
                    score["epochs"]
                    for score in table.get("score", ())
                    if "epochs" in score and not score.get("stopped_early", False)
                ),
                None,
            ),
        )
        for name, table in tables.items()
        if table.get("task", "expression") == "expression"
    }


def recipes_of(name: str) -> list[Brief]:
    """The recipe of that name, with - or _; or else those that train the network of that name."""
    if found := recipes().get(name) or recipes().get(name.replace("_", "-")):
        return [found]
    return [brief for brief in recipes().values() if brief.network == name]
