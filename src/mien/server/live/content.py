"""What the live page consists of, whoever serves it: its files, the emoji, and what its scripts must know."""

import functools
import io
from pathlib import Path
from typing import Any, Final

from mien import __version__
from mien.faces.keypoints import COUNTS
from mien.output.drawing.emoji import emoji
from mien.output.drawing.palette import colour_of
from mien.output.schema import Column, Layout, columns, decimals
from mien.server.options import LONGEST_NAME

STATIC: Final = Path(__file__).parent / "static"

# The only types of the page's files. Systems differ in what they call a script.
TYPES: Final = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript"}

# Columns of keypoints in the table: those of the scheme with most points.
_KEYPOINTS: Final = max(COUNTS.values())

# Side of the emoji in pixels: enough for the largest on a fine screen.
_EMOJI: Final = 320


def policy(*, networks: bool = False) -> str:
    """The Content-Security-Policy of the page: it gets nothing from elsewhere and sends nothing elsewhere.

    Args:
        networks: Whether the page itself runs networks, which needs WebAssembly and a worker.
    """
    scripts = "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'" if networks else "script-src 'self'"
    return (
        f"default-src 'none'; {scripts}; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'"
    )


def page_config(emotions: tuple[str, ...], most_bytes: int) -> dict[str, Any]:
    """What the scripts of the page must know: classes, their colours, the columns of the table, and limits.

    Args:
        emotions: The classes of the model, in order.
        most_bytes: The largest file of an image that is analyzed as it is.
    """
    plain = columns(Layout(emotions, smoothed=True))
    wide = columns(Layout(emotions, keypoints=_KEYPOINTS, smoothed=True))
    added = [column for column in wide if column not in plain]
    place = wide.index(added[0])
    return {
        "version": __version__,
        "emotions": emotions,
        "colours": {name: f"#{bytes(colour_of(name)).hex()}" for name in (*emotions, "unknown")},
        "columns": {
            "before": [_described(column) for column in plain[:place]],
            "keypoints": [_described(column) for column in added],
            "after": [_described(column) for column in plain[place:]],
        },
        "mostBytes": most_bytes,
        "longestName": LONGEST_NAME,
    }


def _described(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "decimals": decimals(column),
        "pixels": column.unit == "pixels",
    }


@functools.cache
def emoji_png(name: str) -> bytes:
    """The emoji of a class as a PNG file."""
    data = io.BytesIO()
    emoji(name, _EMOJI).save(data, "PNG")
    return data.getvalue()
