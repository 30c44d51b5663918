"""The page of `mien explore --live`: the browser's camera, and what a layer of the network gives for each frame.

The page sends a frame as JPEG with POST to `/explore/frame?layer=NAME&unit=NUMBER` when the one before is answered, and
gets images as data URLs. Frames are not stored.
"""

import asyncio
import base64
import io
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import __version__
from mien.errors import InputError, MissingExtraError

try:
    from fastapi import FastAPI, Request
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, Response
except ModuleNotFoundError as error:
    raise MissingExtraError("the live page", "serve") from error

from mien.explain.explore import BARS, SHEET
from mien.explain.explore_page import classes_of_units
from mien.explain.live import COLUMNS, LiveExplorer, LiveView
from mien.media.images import read_frame
from mien.server.app import add_errors
from mien.server.gate import Gate
from mien.server.guard import Guard
from mien.server.live.content import STATIC
from mien.server.live.pages import add_headers, frame_in, page_file
from mien.server.metrics import Metrics
from mien.server.options import ServerOptions

_OWN: Final = Path(__file__).parent / "live" / "exploring"
_SHARED: Final = ("source.js",)  # of the live page


def explore_app(explorer: LiveExplorer, options: ServerOptions) -> FastAPI:
    """The application with the page; `mien.server.run.serve` runs it.

    Args:
        explorer: The network. One frame at a time goes through it.
        options: Where it listens, and the largest image.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add_errors(app)
    app.add_middleware(Gate, guard=Guard(options), metrics=Metrics())
    add_headers(app)
    meanings = classes_of_units(explorer.network)
    lock = asyncio.Lock()

    @app.get("/")
    async def page() -> Response:
        return page_file("index.html", _OWN)

    @app.get("/live/config.json")
    async def config() -> JSONResponse:
        layers = [
            {
                "name": layer.name,
                "kind": layer.kind,
                "units": layer.units,
                "shown": min(layer.units, SHEET if layer.has_maps else BARS),
                "size": "x".join(map(str, layer.shape)) or "1 value",
                "columns": min(COLUMNS, layer.units) if layer.has_maps else 0,
                "meanings": meanings.get(layer.name, ()),
            }
            for layer in explorer.layers
        ]
        return JSONResponse({"model": explorer.network.name, "version": __version__, "layers": layers})

    @app.get("/live/{name}")
    async def file(name: str) -> Response:
        return page_file(name, STATIC if name in _SHARED else _OWN)

    @app.post("/explore/frame")
    async def frame(request: Request) -> JSONResponse:
        content = await frame_in(request)
        layer, number = request.query_params.get("layer", ""), request.query_params.get("unit", "")
        if number and not number.isdecimal():
            raise InputError(f"unit: expected a number from 0, got '{number[:20]}'")
        start = time.perf_counter()
        async with lock:
            view = await run_in_threadpool(
                _examine, explorer, content, layer, int(number[:9]) if number else None, options
            )
        found = {"face": False} if view is None else _as_json(view)
        return JSONResponse(found | {"ms": round(1000 * (time.perf_counter() - start), 1)})

    return app


def _examine(
    explorer: LiveExplorer, content: bytes, layer: str, unit: int | None, options: ServerOptions
) -> LiveView | None:
    return explorer.examine(read_frame(content, max_pixels=options.max_pixels), layer, unit)


def _as_json(view: LiveView) -> dict[str, Any]:
    return {
        "face": True,
        "seen": None if view.seen is None else _url(view.seen),
        "sheet": _url(view.sheet),
        "unit": view.unit,
        "activation": view.activation,
        "map": None if view.map is None else _url(view.map),
    }


def _url(image: NDArray[np.uint8]) -> str:
    """An image as a data URL."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
