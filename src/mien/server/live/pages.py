"""The live page over HTTP: its files, the emoji, and what its scripts must know of the model."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.responses import JSONResponse, Response

from mien.emotions import ALL
from mien.errors import LimitError, NotFoundError
from mien.server.live.content import STATIC, TYPES, emoji_png, page_config, policy
from mien.server.live.socket import HEAD, Places, serve
from mien.server.options import WEBSOCKET_BYTES
from mien.server.pool import AnalyzerPool

# The page gets nothing from elsewhere, sends nothing elsewhere, and cannot be shown inside another page.
HEADERS: Final = {
    "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def add_live(app: FastAPI) -> None:
    """Adds the page at `/`, its files below `/live/`, and its WebSocket."""
    router = APIRouter(include_in_schema=False)
    places = Places(app.state.options.max_live)

    @router.get("/")
    async def page() -> Response:
        return page_file("index.html")

    @router.get("/live/config.json")
    async def config() -> Response:
        pool: AnalyzerPool = app.state.pool
        known = page_config(pool.emotions, WEBSOCKET_BYTES - HEAD.size)
        collection = getattr(app.state, "collection", None)
        return JSONResponse(known | {"collect": collection and collection.as_dict()}, headers=HEADERS)

    @router.get("/live/emoji/{name}.png")
    def emoji_file(name: str) -> Response:
        pool: AnalyzerPool = app.state.pool
        if name not in (*pool.emotions, *ALL):
            raise NotFoundError(f"there is no emoji '{name[:80]}'")
        return Response(emoji_png(name), media_type="image/png", headers=HEADERS)

    @router.get("/live/{name}")
    async def file(name: str) -> Response:
        return page_file(name)

    @router.websocket("/live/socket")
    async def socket(socket: WebSocket) -> None:
        await serve(socket, places)

    app.include_router(router)


async def frame_in(request: Request) -> bytes:
    """The body of a request with one image.

    Raises:
        LimitError: It is larger than the largest message of the live page.
    """
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > WEBSOCKET_BYTES:
            raise LimitError(f"the frame is larger than {WEBSOCKET_BYTES:,} bytes", hint="send a smaller one")
    return bytes(content)


def add_headers(app: FastAPI, headers: Mapping[str, str] = HEADERS) -> None:
    """Adds headers to every response of an application."""

    @app.middleware("http")
    async def add(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(headers)
        return response


def page_file(name: str, folder: Path = STATIC) -> Response:
    """A file of a page.

    Raises:
        NotFoundError: There is none of that name in the folder.
    """
    # Looked up among the files there are: asking the system for what a stranger names could lead elsewhere,
    # or fail, as it does for a name longer than it allows.
    path = next((path for path in folder.iterdir() if path.name == name), None)
    if path is None or path.suffix not in TYPES:
        raise NotFoundError(f"there is no '/live/{name[:80]}'")
    return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers=HEADERS)
