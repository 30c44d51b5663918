"""Weights in packages from PyPI, to start training from: which there are, and where an installed package has them.

`packages.toml` is the only list. A package is found by its metadata and never imported, so its own requirements do not
matter. Nothing is downloaded.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from mien.assets.manifest import FOLDER
from mien.assets.store import verified
from mien.errors import WeightsError


@dataclass(frozen=True)
class PackagedWeights:
    """Weights in a package.

    Attributes:
        name: As given to `mien train --from` and to `model.weights`.
        description: One sentence.
        licence: Of the weights.
        source: Who made them, and from which data.
        package: Name of the package on PyPI.
        version: Version of the package that has the file with this hash.
        file: Path of the file in the folder where packages are installed.
        sha256: Hash of the file.
    """

    name: str
    description: str
    licence: str
    source: str
    package: str
    version: str
    file: str
    sha256: str

    @property
    def install(self) -> str:
        """The command that installs the package, without what the package itself requires."""
        return f"pip install --no-deps {self.package}=={self.version}"

    @property
    def path(self) -> Path | None:
        """The file; None if the package is not installed."""
        try:
            found = Path(str(distribution(self.package).locate_file(self.file)))
        except PackageNotFoundError:
            return None
        return found if found.is_file() else None

    def state(self) -> str:
        """Whether the package is installed, and what to do if it is not; the hash is checked when training starts."""
        return f"not installed: {self.install}" if self.path is None else f"installed: {self.path}"

    def read(self) -> bytes:
        """The content of the file, checked against its hash.

        Raises:
            WeightsError: The package is not installed, or has another file.
        """
        if self.path is None:
            raise WeightsError(
                f"the weights '{self.name}' are in the package {self.package}, which is not installed",
                hint=f"{self.install}; or give their file: --set model.weights={Path(self.file).name}",
            )
        return verified(self.path, self.sha256, hint=self.install)


@cache
def list_packaged() -> Mapping[str, PackagedWeights]:
    """All weights in packages, by name."""
    tables = tomllib.loads((FOLDER / "packages.toml").read_text(encoding="utf-8"))
    return {name: PackagedWeights(name, **table) for name, table in tables.items()}
