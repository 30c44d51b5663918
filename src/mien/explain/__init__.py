"""Why a network decides as it does: attribution maps for a face, and what its layers and units respond to.

Needs the extra `explain` (torch and captum). Nothing in the inference flow imports this package.
"""

import importlib

from mien.errors import MissingExtraError


def need_extra() -> None:
    """Checks that what this package needs is installed, before anything is loaded.

    Raises:
        MissingExtraError: torch, captum or another package of the extra is missing.
    """
    try:
        for name in ("torch", "captum.attr", "jinja2"):
            importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("explaining a network", "explain") from error
