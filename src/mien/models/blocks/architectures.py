"""A folder of architectures: what can be built, with which options, and whose published weights can be loaded.

`mien.models` and `mien.models.detection` are such folders, with one module for each architecture.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import nn

from mien.errors import ConfigError, WeightsError
from mien.models import pretrained


@dataclass(frozen=True)
class Architectures:
    """The architectures of one folder.

    Attributes:
        package: Its name.
        folders: Its `__path__`.
        kind: What its networks are, in messages: "network", "detector".
        given: Parameters of `build` that are no options.
    """

    package: str
    folders: Iterable[str]
    kind: str
    given: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """The architectures that can be built: the modules of the folder."""
        return sorted(module.name for module in pkgutil.iter_modules(self.folders) if not module.ispkg)

    def module(self, name: str) -> ModuleType:
        """The module of the architecture `name`; a ConfigError if there is none."""
        if name not in self.names():
            raise ConfigError(f"unknown {self.kind} '{name}'", hint=f"choose one of {', '.join(self.names())}")
        return importlib.import_module(f"{self.package}.{name}")

    def option_names(self, name: str) -> list[str]:
        """The options of the architecture `name`; a ConfigError if there is none."""
        return sorted(set(inspect.signature(self.module(name).build).parameters) - self.given)

    def build(self, name: str, *given: Any, **options: Any) -> Any:
        """Builds the network `name` with random weights.

        Raises:
            ConfigError: No architecture has that name, or an option or its value is invalid.
        """
        if unknown := sorted(set(options) - set(known := self.option_names(name))):
            raise ConfigError(
                f"the {self.kind} '{name}' has no option {', '.join(unknown)}", hint=f"its options: {', '.join(known)}"
            )
        try:
            return self.module(name).build(*given, **options)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"the {self.kind} '{name}' cannot be built: {reason}", hint="check the values in [model.options]"
            ) from error

    def lacks_statistics(self, name: str) -> bool:
        """Whether the pretrained weights of an architecture come without the statistics of its batch norms."""
        return getattr(self.module(name), "WITHOUT_STATISTICS", False)

    def load_pretrained(
        self, name: str, network: nn.Module, source: str, sha256: str, *, images: Any
    ) -> pretrained.Origin:
        """Loads pretrained weights into a network of `build`; `images` as its `load_pretrained` takes them.

        Raises:
            WeightsError: The weights are missing, are another file, or do not fit the network.
        """
        found = pretrained.read(source, sha256)
        try:
            self.module(name).load_pretrained(network, found.state, images)
        except ValueError as error:
            raise WeightsError(
                f"{source}: does not fit the {self.kind} '{name}': {error}",
                hint="check the file and the values in [model.options]",
            ) from error
        return found.origin
