"""The first code that sees a request: it checks who sends it, counts it, and ends connections in an orderly way."""

import asyncio
import logging
import time
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import MienError
from mien.server.guard import Guard, error_response
from mien.server.metrics import LEFT, Metrics

# How long a client may take to receive a part of a response, in seconds.
_SEND_SECONDS: Final = 30

# After a refusal, so much of a body is received and thrown away, for so many seconds: else the client, which is still
# sending, would lose the response when the connection is closed.
_LINGER_BYTES: Final = 64 * 2**20
_LINGER_SECONDS: Final = 2.0

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Gate:
    """ASGI middleware around the application.

    Args:
        app: The application.
        guard: Checks requests; a WebSocket's API key is checked by its route.
        metrics: Counts requests.
        log: Gets a line for each request: the client's address, the method, the route, the status and the seconds.
            Routes stand for addresses, which have the secret names of jobs.
    """

    def __init__(self, app: ASGIApp, guard: Guard, metrics: Metrics, log: logging.Logger | None = None) -> None:
        self.app, self.guard, self.metrics, self.log = app, guard, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request or a WebSocket."""
        if scope["type"] == "websocket":
            try:
                self.guard.check_origin(HTTPConnection(scope))
            except MienError:
                await receive()
                await send({"type": "websocket.close", "code": 1008})  # before it is accepted: status 403
                return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # uvicorn, which keeps the scope it made, sends no body
        start = time.perf_counter()
        exchange = _Exchange(scope, receive, send)
        try:
            try:
                scope.setdefault("state", {})["owner"] = self.guard.check(HTTPConnection(scope))
            except MienError as error:
                await error_response(error)(scope, exchange.receive, exchange.send)
                return
            await self.app(scope, exchange.receive, exchange.send)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            seconds = time.perf_counter() - start
            self.metrics.count_request(route, exchange.status, seconds)
            if self.log is not None:
                client = scope["client"][0] if scope.get("client") else "-"
                self.log.info("%s %s %s %d %.3f", client, scope["method"], route, exchange.status, seconds)


class _Exchange:
    """The messages of one request and its response.

    A response that is sent before the body was received closes the connection: nothing more of it is read but what is
    needed for the client to receive the response.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.status = LEFT
        headers = dict(scope["headers"])
        has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        self._received = not has_body

    async def receive(self) -> Message:
        """Passes a message of the client on."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self._received = True
        return message

    async def send(self, message: Message) -> None:
        """Passes a message of the application on.

        Raises:
            TimeoutError: The client does not receive the response.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *_HEADERS]
            if not self._received:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        last = message["type"] == "http.response.body" and not message.get("more_body")
        lingers = last and not self._received
        async with asyncio.timeout(_SEND_SECONDS):
            await self._send({**message, "more_body": True} if lingers else message)
        if lingers:
            await self._drain()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drain(self) -> None:
        left = _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self._received and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
