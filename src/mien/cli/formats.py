"""`mien formats`: which images can be read and which tables written, with the packages that are installed here."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

import typer

from mien.cli import print_table

# The package that a format of tables needs, beside the core of mien.
_TABLE_NEEDS: Final = {"parquet": "pyarrow"}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(formats)


def formats() -> None:
    """Lists the formats that can be read here, what the others need, and the table formats.

    An image or a video is recognised by its content, whatever its suffix; in folders, files with these suffixes are
    read, and those without a suffix that begin as an image.
    """
    from importlib.metadata import version

    from PIL import __version__ as pillow

    from mien.media import kinds

    print(f"images, read by Pillow {pillow}:")
    print_table(("format", "suffixes", "here"), _images())
    print(f"videos, read by FFmpeg in PyAV {version('av')}, and any other file in which FFmpeg finds a video:")
    print(f"  {' '.join(sorted(kinds.VIDEO.suffixes))}")
    print("files that are not read:")
    print_table(("kind", "suffixes", "what to do"), _others())
    print("tables that are written:")
    print_table(("format", "here"), _tables())


def _images() -> Iterator[tuple[str, str, str]]:
    """The formats of images with their suffixes, and whether they can be read."""
    from mien.media.formats import SUFFIXES, what_is_missing

    for name, suffixes in SUFFIXES.items():
        missing = what_is_missing(name)
        yield name, " ".join(suffixes), f"needs: {missing}" if missing else "read"


def _others() -> Iterator[tuple[str, str, str]]:
    """The kinds of files whose images need another program first."""
    from mien.media import kinds

    for kind in (kinds.RAW, kinds.DICOM, kinds.PHOTOSHOP, kinds.VECTOR, kinds.PDF, kinds.OTHER_IMAGE):
        yield kind.many, " ".join(sorted(kind.suffixes)), kind.advice


def _tables() -> Iterator[tuple[str, str]]:
    """The formats of tables, and whether they can be written."""
    from mien.output.tables import table_formats

    for name in table_formats():
        package = _TABLE_NEEDS.get(name)
        missing = package is not None and find_spec(package) is None
        yield f".{name}", "needs: pip install 'mien[report]'" if missing else "written"
