"""Runs the application under uvicorn: the socket, signals, and connections that send nothing."""

import asyncio
import errno
import functools
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien.errors import ConfigError
from mien.server.options import WEBSOCKET_BYTES, ServerOptions

if TYPE_CHECKING:
    import h11
    from fastapi import FastAPI

# How long a connection may take for its TLS handshake and for the head of a request, and to begin the next one, in
# seconds.
_HEAD: Final = 10
_KEEP_ALIVE: Final = 15

# Connections without a request; beyond it, the oldest one is closed.
_MOST_WAITING: Final = 512

# How many messages of a WebSocket may wait.
_WEBSOCKET_MESSAGES: Final = 4


class Connection(H11Protocol):
    """An HTTP connection that is closed if the head of its request does not arrive in time.

    uvicorn limits the time between requests only: a connection that never sends anything, or one byte a minute, stays
    open and takes a file descriptor.
    """

    _waiting: Final[dict["Connection", asyncio.TimerHandle]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Stops the clock when the head of a request is complete, and starts it when another one begins."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        else:
            self._stop()

    def handle_websocket_upgrade(self, event: "h11.Request") -> None:
        """Hands the connection over."""
        self._stop()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._stop()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self in self._waiting or self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        self._waiting[self] = self.loop.call_later(_HEAD, self._give_up)
        if len(self._waiting) > _MOST_WAITING:
            next(iter(self._waiting))._give_up()

    def _give_up(self) -> None:
        self._stop()
        self.transport.abort()

    def _stop(self) -> None:
        if timer := self._waiting.pop(self, None):
            timer.cancel()


def bind(options: ServerOptions) -> socket.socket:
    """The socket that the server listens on.

    Raises:
        ConfigError: The address is not this machine's, or the port is in use or needs rights.
    """
    try:
        found = socket.getaddrinfo(options.host.strip("[]"), options.port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(found[0], socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(found[4])
        except OSError:
            listening.close()
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        is_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise ConfigError(
            f"cannot listen on {options.host}:{options.port}: {reason}",
            hint="choose another port, for example --port 0 for any free one"
            if is_port
            else "choose an address of this machine, for example --host 127.0.0.1",
        ) from None
    return listening


def url_of(listening: socket.socket, options: ServerOptions) -> str:
    """The address of a server, as a browser takes it."""
    host = f"[{options.host.strip('[]')}]" if ":" in options.host else options.host
    scheme = "https" if options.certfile else "http"
    return f"{scheme}://{host}:{listening.getsockname()[1]}"


def serve(app: "FastAPI", options: ServerOptions, ready: Callable[[str], None] | None = None) -> None:
    """Serves until SIGINT or SIGTERM; open requests then have `max_seconds` to end.

    Args:
        app: The application.
        options: The options that it was made with.
        ready: Called with the URL when the server accepts connections.

    Raises:
        ConfigError: It cannot listen there, or the certificate cannot be used.
    """
    _start_logs()
    with bind(options) as listening:
        _allow_connections()
        server = _Server(_config(app, options), (lambda: ready(url_of(listening, options))) if ready else None)
        before = {}
        if threading.current_thread() is threading.main_thread():
            # uvicorn stops at these signals, and sends them again when it has stopped: to nobody.
            before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with asyncio.Runner(loop_factory=lambda: _new_loop(tls=options.certfile is not None)) as runner:
                runner.run(server.serve(sockets=[listening]))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _start_logs() -> None:
    """Writes what mien logs to standard error, with times."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    log = logging.getLogger("mien")
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    for name in ("python_multipart", "multipart"):  # what a damaged form has wrong is in the answer
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _new_loop(*, tls: bool) -> asyncio.AbstractEventLoop:
    """An event loop whose servers limit the time of a TLS handshake, for which uvicorn has no option."""
    loop = asyncio.new_event_loop()
    if tls:
        limited = functools.partial(loop.create_server, ssl_handshake_timeout=_HEAD)
        loop.create_server = limited  # type: ignore[method-assign]
    return loop


class _Server(uvicorn.Server):
    """A server that says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts."""
        await super().startup(sockets)
        if self.started and self._ready:
            self._ready()


def _config(app: "FastAPI", options: ServerOptions) -> uvicorn.Config:
    certificate: dict[str, Any] = {}
    if options.certfile is not None:
        certificate = {"ssl_certfile": str(options.certfile), "ssl_keyfile": options.keyfile and str(options.keyfile)}
    try:
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="auto",
            ws_max_size=WEBSOCKET_BYTES,
            ws_max_queue=_WEBSOCKET_MESSAGES,
            ws_per_message_deflate=False,  # images are compressed already, and each connection would need its memory
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=options.max_seconds,
            **certificate,
        )
        config.load()
    except OSError as error:
        reason = "not a certificate with its key" if isinstance(error, ssl.SSLError) else str(error.strerror).lower()
        raise ConfigError(
            f"certfile: '{options.certfile}' cannot be used: {reason}", hint="give a certificate in PEM, and --keyfile"
        ) from None
    return config


def _allow_connections() -> None:
    """Raises the limit of open files, which systems often set to 1,024, as far as the user may."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
