"""The live page over HTTP: its files, the emoji, and what its scripts must know of the model."""

import functools
import io
import os
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI, WebSocket
from starlette.responses import JSONResponse, Response

from mien import __version__
from mien.emotions import ALL
from mien.errors import NotFoundError
from mien.faces.keypoints import COUNTS
from mien.output.drawing.emoji import emoji
from mien.output.drawing.palette import colour_of
from mien.output.schema import Column, Layout, columns, decimals
from mien.server.live.socket import HEAD, Places, serve
from mien.server.options import LONGEST_NAME, WEBSOCKET_BYTES
from mien.server.pool import AnalyzerPool

STATIC: Final = Path(__file__).parent / "static"

# The only types of the page's files. Systems differ in what they call a script.
_TYPES: Final = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript"}

# The page gets nothing from elsewhere, sends nothing elsewhere, and cannot be shown inside another page.
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

# Columns of keypoints in the table: those of the scheme with most points.
_KEYPOINTS: Final = max(COUNTS.values())

# Side of the emoji in pixels: enough for the largest on a fine screen.
_EMOJI: Final = 320


def add_live(app: FastAPI) -> None:
    """Adds the page at `/`, its files below `/live/`, and its WebSocket."""
    router = APIRouter(include_in_schema=False)
    places = Places(app.state.options.max_live)

    @router.get("/")
    async def page() -> Response:
        return _file("index.html")

    @router.get("/live/config.json")
    async def config() -> Response:
        pool: AnalyzerPool = app.state.pool
        return JSONResponse(page_config(pool.emotions), headers=HEADERS)

    @router.get("/live/emoji/{name}.png")
    def emoji_file(name: str) -> Response:
        pool: AnalyzerPool = app.state.pool
        if name not in (*pool.emotions, *ALL):
            raise NotFoundError(f"there is no emoji '{name[:80]}'")
        return Response(emoji_png(name), media_type="image/png", headers=HEADERS)

    @router.get("/live/{name}")
    async def file(name: str) -> Response:
        return _file(name)

    @router.websocket("/live/socket")
    async def socket(socket: WebSocket) -> None:
        await serve(socket, places)

    app.include_router(router)


def page_config(emotions: tuple[str, ...]) -> dict[str, Any]:
    """What the scripts of the page must know: classes, their colours, the columns of the table, and limits.

    Args:
        emotions: The classes of the model, in order.
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
        "mostBytes": WEBSOCKET_BYTES - HEAD.size,
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


def _file(name: str) -> Response:
    """A file of the page.

    Raises:
        NotFoundError: There is none of that name.
    """
    path = STATIC / name
    if path.parent != STATIC or path.suffix not in _TYPES or not os.path.isfile(path):
        raise NotFoundError(f"there is no '/live/{name[:80]}'")
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix], headers=HEADERS)
