"""The WebSocket of the live page: frames in as JPEG, results out as JSON; the newest frame wins.

The page first sends `{"type": "hello", "key": ...}` and gets `{"type": "welcome"}`. A text message
`{"type": "settings", ...}` changes the settings; a binary message is a frame: its number (uint32), flags (uint32; 1 for
a still image) and time in seconds (float64), all little-endian, then the image file. Each frame is answered:

- `{"type": "result", "id": NUMBER, "ms": ..., "result": ...}`, with the JSON of mien's outputs,
- `{"type": "failed", "id": NUMBER, "error": ...}` if it could not be read,
- `{"type": "skipped", "id": NUMBER}` if a newer one came before its turn.

`{"type": "busy"}` means that too many pages are live, `{"type": "key"}` that the key is missing or wrong; the server
then closes the connection.
"""

import asyncio
import contextlib
import json
import logging
import math
import struct
import time
from contextlib import AbstractContextManager
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.analyzer import Analyzer
from mien.errors import AccessError, InputError, MienError, OriginError, RateError, UnavailableError
from mien.output.schema import document
from mien.server.guard import Guard, error_body
from mien.server.live.session import LiveSession, LiveSettings
from mien.server.options import ServerOptions
from mien.server.pool import AnalyzerPool

log = logging.getLogger("mien.server")

# The head of a frame: number, flags, seconds.
HEAD: Final = struct.Struct("<IId")
_STILL: Final = 1

# How long a page may take to say hello; and after how long without a frame its place is free for others, in seconds.
_HELLO: Final = 10
_IDLE: Final = 15

# Connections that send no frames, for each place; beyond it, the one that waits longest is closed.
_WAITING: Final = 8

# Codes of closing (RFC 6455; from 4000 on they are the application's).
_POLICY, _AGAIN, _KEY = 1008, 1013, 4401


class Places:
    """The places for pages that are live at the same time: each holds an analyzer. Other pages wait without one.

    Args:
        most: Pages that are live at the same time.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._most_waiting = _WAITING * most
        self._waiting: dict[_Connection, None] = {}  # the longest waiting one first

    def wait(self, connection: "_Connection") -> None:
        """Counts a connection that sends no frames; if there are too many, the one that waits longest is closed."""
        self._waiting[connection] = None
        if len(self._waiting) > self._most_waiting:
            oldest = next(iter(self._waiting))
            self.leave(oldest)
            oldest.close_soon()

    def leave(self, connection: "_Connection") -> None:
        """Forgets a connection that waited."""
        self._waiting.pop(connection, None)

    def take(self, connection: "_Connection") -> bool:
        """Takes a place, if one is free."""
        if not self._free:
            return False
        self._free -= 1
        self.leave(connection)
        return True

    def give_back(self, connection: "_Connection") -> None:
        """Gives a place back."""
        self._free += 1
        self.wait(connection)


async def serve(socket: WebSocket, places: Places) -> None:
    """Serves one connection until it ends.

    Args:
        socket: The connection, not yet accepted.
        places: The places of the application.
    """
    guard: Guard = socket.app.state.guard
    try:
        guard.check_origin(socket)
    except OriginError:
        await socket.close(_POLICY)  # before it is accepted: HTTP status 403
        return
    await socket.accept()
    try:
        if await _greeted(socket, guard):
            connection = _Connection(socket, places)
            try:
                async with asyncio.TaskGroup() as group:
                    worker = group.create_task(connection.work())
                    try:
                        await connection.read()
                    finally:
                        worker.cancel()
            finally:
                places.leave(connection)
    except* (WebSocketDisconnect, RuntimeError, TimeoutError, UnavailableError):
        pass  # the page has gone, or never said anything; or the server stops


async def _greeted(socket: WebSocket, guard: Guard) -> bool:
    """Waits for the page's hello; whether its key is right."""
    async with asyncio.timeout(_HELLO):
        message = await socket.receive()
    hello = _json(message.get("text"))
    if hello.get("type") != "hello":
        await socket.close(_POLICY)
        return False
    try:
        guard.check_key(socket, str(hello.get("key") or "") or None)
    except AccessError:
        await socket.send_json({"type": "key"})
        await socket.close(_KEY)
        return False
    except RateError:
        await socket.send_json({"type": "busy"})
        await socket.close(_AGAIN)
        return False
    await socket.send_json({"type": "welcome"})
    return True


class _Connection:
    """One page: a reader that keeps only the newest frame, and a worker that analyzes it."""

    def __init__(self, socket: WebSocket, places: Places) -> None:
        self._socket = socket
        self._places = places
        self._pool: AnalyzerPool = socket.app.state.pool
        self._options: ServerOptions = socket.app.state.options
        self._settings = LiveSettings()
        self._newest: bytes | None = None
        self._there = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        places.wait(self)

    def close_soon(self) -> None:
        """Closes the connection, for others that wait."""
        self._closing = asyncio.create_task(self._close())

    async def _close(self) -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is closed already
            await self._socket.close(_AGAIN)

    async def read(self) -> None:
        """Takes messages until the page goes."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (frame := message.get("bytes")) is not None:
                if len(frame) < HEAD.size:
                    await self._socket.close(_POLICY)
                    return
                older, self._newest = self._newest, frame
                self._there.set()
                if older is not None:
                    await self._socket.send_json({"type": "skipped", "id": HEAD.unpack_from(older)[0]})
            else:
                try:
                    self._settings = self._settings.changed(_json(message.get("text")))
                except InputError:
                    await self._socket.close(_POLICY)
                    return

    async def work(self) -> None:
        """Analyzes the newest frame, again and again; a page that sends nothing holds no analyzer."""
        while True:
            await self._there.wait()
            if not self._places.take(self):
                await self._socket.send_json({"type": "busy"})
                await self._socket.close(_AGAIN)
                return
            try:
                await self._work_awhile()
            finally:
                self._places.give_back(self)

    async def _work_awhile(self) -> None:
        """Holds an analyzer while frames come."""
        lease: AbstractContextManager[Analyzer] = self._pool.lease()
        analyzer = await self._pool.run(lease.__enter__)
        try:
            session = LiveSession(analyzer, self._settings, max_pixels=self._options.max_pixels)
            while True:
                try:
                    async with asyncio.timeout(_IDLE):
                        await self._there.wait()
                except TimeoutError:
                    return
                self._there.clear()
                frame, self._newest = self._newest, None
                if frame is not None:
                    await self._socket.send_text(await self._pool.run(self._answer, session, frame))
        finally:
            lease.__exit__(None, None, None)

    def _answer(self, session: LiveSession, frame: bytes) -> str:
        """The answer to one frame, computed on a thread of the pool."""
        start = time.perf_counter()
        number, flags, seconds = HEAD.unpack_from(frame)
        answer: dict[str, Any] = {"type": "result", "id": number}
        try:
            if not 0 <= seconds < math.inf:
                raise InputError(f"the time of a frame is {seconds}, expected seconds from 0")
            session.settings = self._settings
            result = session.analyze(frame[HEAD.size :], seconds, still=bool(flags & _STILL))
            answer["result"] = document(result)
        except MienError as error:
            answer |= {"type": "failed"} | error_body(error)
        except Exception:
            log.exception("a live frame could not be analyzed")
            answer |= {"type": "failed"} | error_body(
                MienError("an unexpected error; the server's log has the details")
            )
        answer["ms"] = round(1000 * (time.perf_counter() - start), 2)
        return json.dumps(answer, separators=(",", ":"), allow_nan=False)


def _json(text: str | None) -> dict[str, Any]:
    """The object of a text message; empty if it is none."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
