"""The application: its routes, what they share, and how errors become responses."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mien import __version__
from mien.errors import InputError, MienError, MissingExtraError, http_status

try:
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse, Response
except ModuleNotFoundError as error:
    raise MissingExtraError("the server", "serve") from error

from mien.server.guard import Guard, error_of_status, error_response
from mien.server.options import ServerOptions
from mien.server.pool import AnalyzerPool

if TYPE_CHECKING:
    from starlette.middleware.base import RequestResponseEndpoint

log = logging.getLogger("mien.server")


def create_app(options: ServerOptions | None = None, *, live: bool = False) -> FastAPI:
    """The application; `mien.server.run.serve` runs it.

    `app.state` has what the routes share: `options`, `pool` (an `AnalyzerPool`) and `guard`.

    Args:
        options: The options.
        live: Whether it also serves the live page.

    Raises:
        MissingExtraError: The packages of the extra `serve` are not installed.
        MienError: An analyzer with these options cannot be made, as for `Analyzer`.
    """
    options = options or ServerOptions()
    pool = AnalyzerPool(options.analyzer, workers=options.workers, batch=options.batch)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        pool.close()

    app = FastAPI(title="mien", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.options, app.state.pool, app.state.guard = options, pool, Guard(options)
    _add_errors(app)
    _add_guard(app)

    @app.get("/healthz", tags=["server"])
    async def healthz() -> dict[str, str]:
        """Whether the server works; needs no API key."""
        return {"status": "ok", "version": __version__}

    return app


def _add_guard(app: FastAPI) -> None:
    """Checks every request before its route, also of addresses that do not exist."""
    guard: Guard = app.state.guard

    @app.middleware("http")
    async def check(request: Request, following: "RequestResponseEndpoint") -> Response:
        try:
            guard.check(request)
        except MienError as error:
            return error_response(error)
        return await following(request)


def _add_errors(app: FastAPI) -> None:
    """Every error has one form, and its status from the table in `mien.errors`."""

    @app.exception_handler(MienError)
    async def known(request: Request, error: MienError) -> JSONResponse:
        if http_status(error) >= 500:
            log.warning("%s %s: %s", request.method, request.url.path, error)
        return error_response(error)

    @app.exception_handler(HTTPException)
    async def of_framework(request: Request, error: HTTPException) -> JSONResponse:
        response = error_response(error_of_status(error.status_code, str(error.detail).lower()))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg'].lower()}" for each in error.errors())
        return error_response(InputError(found, hint="see /openapi.json"))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return error_response(MienError("an unexpected error; the server's log has the details"))
