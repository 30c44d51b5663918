"""The application: its routes, what they share, and how errors become responses."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mien import __version__
from mien.analyzer import AnalyzerOptions
from mien.analyzer.record import models_in_use
from mien.assets.manifest import shipped_models
from mien.errors import InputError, MienError, MissingExtraError, UnavailableError, http_status, meant

try:
    from fastapi import Depends, FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from pydantic import BaseModel
    from starlette.exceptions import HTTPException
    from starlette.middleware.cors import CORSMiddleware
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Match
except ModuleNotFoundError as error:
    raise MissingExtraError("the server", "serve") from error

from mien.media.decode import shown
from mien.server import images, video
from mien.server.bodies import Reader
from mien.server.gate import Gate
from mien.server.guard import Guard, error_of_status, error_response
from mien.server.metrics import CONTENT_TYPE, Metrics
from mien.server.openapi import document_of, errors_of
from mien.server.options import ServerOptions
from mien.server.pool import AnalyzerPool

_log = logging.getLogger("mien.server")
_access = logging.getLogger("mien.access")

# Options of `mien serve` that a request cannot choose, and that its sender may expect to.
SERVE_OPTIONS: Final = (
    *("model", "vote", "emotions", "abstain", "tta", "prior", "detector", "detect_size", "min_face", "min_score"),
    *("any_rotation", "landmarks", "keypoints", "largest_only", "detect_every", "smooth"),
)


class Health(BaseModel):
    """That the server works."""

    status: str
    version: str


class Model(BaseModel):
    """A model in the package."""

    name: str
    task: str
    description: str
    emotions: list[str]
    licence: str
    in_use: bool


class Models(BaseModel):
    """The models in the package, and what this server uses."""

    classifier: list[str]
    detector: str
    emotions: list[str]
    models: list[Model]


def create_app(
    options: ServerOptions | None = None,
    analyzer: AnalyzerOptions | None = None,
    *,
    live: bool = False,
    collect: Path | None = None,
) -> FastAPI:
    """The application; `mien.server.run.serve` runs it.

    `app.state` has what the routes share: `options`, `pool` (an `AnalyzerPool`), `guard` and `metrics`.

    Args:
        options: The options.
        analyzer: The options of its analyzers.
        live: Whether it also serves the live page.
        collect: Folder for the images of the live page's guided half-minute; None for a page without it.

    Raises:
        MissingExtraError: The packages of the extra `serve` are not installed.
        MienError: An analyzer with these options cannot be made, as for `Analyzer`.
    """
    options = options or ServerOptions()
    metrics, guard, reader = Metrics(), Guard(options), Reader(options)
    pool = AnalyzerPool(analyzer, workers=options.workers, batch=options.batch, on_batch=metrics.count_batch)
    jobs = video.Jobs(options, pool, reader, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        pool.refuse()  # first: the steps of jobs wait behind the images of requests
        await jobs.close()
        await asyncio.to_thread(pool.close)

    # FastAPI's pages of documentation would load their scripts from elsewhere.
    app = FastAPI(title="mien", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.options, app.state.pool, app.state.guard, app.state.metrics = options, pool, guard, metrics
    app.openapi = lambda: document_of(app)  # type: ignore[method-assign]
    add_errors(app)
    app.add_middleware(Gate, guard=guard, metrics=metrics, log=_access if options.access_log else None)
    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=options.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type"],
            expose_headers=["Location", "Retry-After"],
        )
    checks = [Depends(_check_query)]
    app.include_router(images.router(options, pool, reader, metrics), dependencies=checks)
    app.include_router(video.router(jobs, reader), dependencies=checks)
    _add_information(app)
    if live:
        from mien.server.live.pages import add_live

        add_live(app)
    if live and collect is not None:
        from mien.server.live.collecting import Collection, add_collecting

        add_collecting(app, Collection(collect, tuple(pool.emotions)))
    return app


async def _check_query(request: Request) -> None:
    """Refuses query keys that the route does not declare: a wrong one would be ignored without a word.

    Raises:
        InputError: There is one.
    """
    known = [each.alias for each in request.scope["route"].dependant.query_params]
    for key in request.query_params:
        if key in known:
            if len(request.query_params.getlist(key)) > 1:
                raise InputError(f"the parameter '{key}' is given twice in the query", hint="give it once")
            continue
        given = shown(key)
        if (option := key.lower().replace("-", "_")) in SERVE_OPTIONS:
            hint = f"an option of the server, for all requests: mien serve --{option.replace('_', '-')}"
        else:
            expected = f"expected {', '.join(known)}" if known else "this address has no parameters"
            hint = f"{meant(given, known)}{expected}"
        raise InputError(f"there is no parameter '{given}' in the query", hint=hint)


def _add_information(app: FastAPI) -> None:
    """The routes about the server itself."""
    options: AnalyzerOptions = app.state.pool.options
    with app.state.pool.lease() as analyzer:
        in_use = models_in_use(analyzer)

    @app.get("/v1/models", tags=["server"], summary="The models")
    async def models() -> Models:
        """The models in the package, and which of them this server uses."""
        found = [
            Model(
                name=info.name,
                task=info.task,
                description=info.description,
                emotions=list(info.heads[0].emotions) if info.heads else [],
                licence=info.licence,
                in_use=info.name in in_use,
            )
            for info in shipped_models().values()
        ]
        return Models(
            classifier=[str(name) for name in options.classifier.members],
            detector=options.detector.name,
            emotions=list(app.state.pool.emotions),
            models=found,
        )

    @app.get("/healthz", tags=["server"], summary="Whether the server works")
    async def healthz() -> Health:
        """Answers as long as the server runs; needs no API key."""
        return Health(status="ok", version=__version__)

    @app.get("/readyz", tags=["server"], summary="Whether the server takes requests", responses=errors_of(503))
    async def readyz() -> Health:
        """For a load balancer: 503 if requests have waited for half of their longest time.

        Needs no API key.
        """
        if app.state.pool.is_closed or app.state.pool.longest_wait > app.state.options.max_seconds / 2:
            raise UnavailableError("the server is busy or shutting down", hint="send requests to another one")
        return Health(status="ok", version=__version__)

    @app.get(
        "/metrics",
        tags=["server"],
        summary="Counters for Prometheus",
        response_class=Response,
        responses={200: {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Counters of requests, images and faces, times, batches, memory and processor time, in Prometheus' format."""
        return Response(app.state.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def add_errors(app: FastAPI) -> None:
    """Every error has one form, and its status from the table in `mien.errors`."""

    async def known(request: Request, error: Any) -> JSONResponse:
        if http_status(error) >= 500:
            _log.warning("%s %s: %s", request.method, request.url.path, error)
        return error_response(error)

    async def of_framework(request: Request, error: Any) -> JSONResponse:
        text = {
            404: f"there is no address '{shown(request.url.path)}'",
            405: f"the address '{shown(request.url.path)}' has no method {request.method}",
        }.get(error.status_code, str(error.detail).lower())
        response = error_response(error_of_status(error.status_code, text))
        response.headers.update(error.headers or {})
        if error.status_code == 405:  # the framework names the methods of one route only
            response.headers["Allow"] = ", ".join(_methods_at(request, app))
        return response

    async def invalid(request: Request, error: Any) -> JSONResponse:
        found = "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg'].lower()}" for each in error.errors())
        return error_response(InputError(found[:500], hint="see /openapi.json"))

    async def unexpected(request: Request, error: Any) -> JSONResponse:
        return error_response(MienError("an unexpected error; the server's log has the details"))

    app.add_exception_handler(MienError, known)
    app.add_exception_handler(HTTPException, of_framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


def _methods_at(request: Request, app: FastAPI) -> list[str]:
    """The methods of the address of a request; with GET also HEAD, which the gate answers."""
    scopes = {method: {**request.scope, "method": method} for method in ("DELETE", "GET", "PATCH", "POST", "PUT")}
    found = [name for name, scope in scopes.items() if any(each.matches(scope)[0] == Match.FULL for each in app.routes)]
    return sorted([*found, "HEAD"]) if "GET" in found else found
