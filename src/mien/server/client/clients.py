"""The two clients: `Client`, which blocks, and `AsyncClient`, which awaits."""

import asyncio
import math
import random
import ssl
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, overload

from mien.errors import ConfigError, InputError, MienError, MissingExtraError, UnavailableError
from mien.media.inputs import ImageItem, ImageSource
from mien.media.picking import VideoOptions
from mien.results import Frame, FrameResult
from mien.server.client import requests
from mien.server.client.answers import Job
from mien.server.client.requests import Answer, Images, Request, Source
from mien.values import path_of

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError("the client of the server", "serve") from error

# What a server answers that is too busy, and the longest time to wait before a request is sent again, in seconds.
_BUSY: Final = (429, 503)
_LONGEST_PAUSE: Final = 60.0

# How long one request waits for the end of a job, in seconds; less than proxies usually allow.
_WAIT: Final = 20


class Client:
    """A client that blocks. One client can serve several threads.

    Args:
        url: The address of the server.
        api_key: The API key, if the server needs one.
        timeout: Seconds to wait for the server.
        retries: How often a request is sent again that the server was too busy for, each after the time that it asks
            for, or that found no server, as while it restarts, after 1, 2, 4, ... seconds. A stream that can be read
            only once, and a video that may have arrived, are sent once.
        certfile: A certificate (PEM) to trust, such as that of a server which signed its own.

    Raises:
        ConfigError: The address has no http:// or https://, the key has characters that no key has, `retries` is no
            number from 0, or the certificate cannot be read.
        MissingExtraError: httpx is not installed (on import).
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 60,
        retries: int = 0,
        certfile: str | Path | None = None,
    ) -> None:
        self._retries = _checked_retries(retries)
        self._http = httpx.Client(
            base_url=_address(url), headers=_headers(api_key), timeout=timeout, verify=_trusted(certfile)
        )

    @overload
    def analyze(self, images: ImageSource | Frame) -> FrameResult: ...  # type: ignore[overload-overlap]  # as a str
    @overload
    def analyze(self, images: Collection[ImageItem]) -> list[FrameResult]: ...
    def analyze(self, images: ImageSource | Frame | Collection[ImageItem]) -> FrameResult | list[FrameResult]:
        """The result of one image, or a list of results for several; a long list is sent in several requests.

        An image of a list that cannot be read, here or on the server, or is too large for the server, has a result with
        its `error`.

        Args:
            images: As for `mien.analyze`: an image, or a list or another collection. Files are sent as they are,
                pixels as PNG. A `Frame` is analyzed as an image, also if it has a time.

        Returns:
            As `mien.analyze`, but a file has its name without the folder as its `source`. Content without a name has
            `images[N]`, N being its place in the list.

        Raises:
            InputError: A single image cannot be read.
            TypeError: Something can never be an image; the message has the conversion.
            ValueError: An array has another shape.
            MienError: What the server answered, as the same class.
            UnavailableError: The server cannot be reached, or is busy.
        """
        given = Images(images)
        while (request := given.request()) is not None:
            try:
                given.take(self._send(request))
            except InputError as error:
                given.refuse(error)
        return given.answer()

    def submit_video(self, video: Source, options: VideoOptions | None = None) -> Job:
        """Sends a video; the server analyzes it in the background.

        Args:
            video: The video.
            options: Which frames are analyzed.
        """
        return self._send(requests.submit(video, options))

    def job(self, job: Job | str, *, wait: float = 0) -> Job:
        """The present state of a job; with `wait`, after its end, or that many seconds, at most 30."""
        return self._send(requests.state(job, wait))

    def results(self, job: Job | str, *, partial: bool = False) -> list[FrameResult]:
        """The results of a finished job; with `partial`, those so far."""
        return self._send(requests.results(job, partial=partial))

    def cancel(self, job: Job | str) -> None:
        """Cancels a job, and removes its results from the server."""
        self._send(requests.cancel(job))

    def analyze_video(
        self,
        video: Source,
        options: VideoOptions | None = None,
        *,
        progress: Callable[[Job], None] | None = None,
        timeout: float | None = None,
    ) -> list[FrameResult]:
        """The results of a video, when they are complete; the server forgets the job.

        Args:
            video: The video.
            options: Which frames are analyzed.
            progress: Called with the state of the job from time to time.
            timeout: Seconds after which the job is cancelled; None for no limit.

        Raises:
            UnavailableError: It took longer than `timeout`.
        """
        job = self.submit_video(video, options)
        wait = _Waiting(progress, timeout)
        try:
            while not job.is_finished:
                job = wait.shown(self.job(job, wait=wait.seconds()))
            return self.results(job)
        finally:
            with suppress(MienError):  # another error counts more
                self.cancel(job)

    def models(self) -> dict[str, Any]:
        """The models of the server, and which of them it uses."""
        return self._send(requests.models())

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, request: Request[Answer]) -> Answer:
        for tried in range(self._retries + 1):
            left = self._retries - tried
            try:
                with request.opened() as arguments:
                    response = self._http.request(**arguments, timeout=_patience(self._http.timeout, request))
            except httpx.HTTPError as error:
                if not left or not _may_come_back(error, request):
                    raise _unreachable(self._http.base_url, error) from error
                time.sleep(_growing(tried))
                continue
            if not left or response.status_code not in _BUSY or not request.can_repeat:
                break
            time.sleep(_pause(response))
        return request.answer(response)


class AsyncClient:
    """A client for asyncio, with the methods of `Client`.

    Args:
        url: The address of the server.
        api_key: The API key, if the server needs one.
        timeout: Seconds to wait for the server.
        retries: As for `Client`.
        certfile: As for `Client`.

    Raises:
        ConfigError: As `Client`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 60,
        retries: int = 0,
        certfile: str | Path | None = None,
    ) -> None:
        self._retries = _checked_retries(retries)
        self._http = httpx.AsyncClient(
            base_url=_address(url), headers=_headers(api_key), timeout=timeout, verify=_trusted(certfile)
        )

    @overload
    async def analyze(self, images: ImageSource | Frame) -> FrameResult: ...  # type: ignore[overload-overlap]
    @overload
    async def analyze(self, images: Collection[ImageItem]) -> list[FrameResult]: ...
    async def analyze(self, images: ImageSource | Frame | Collection[ImageItem]) -> FrameResult | list[FrameResult]:
        """As `Client.analyze`."""
        given = await asyncio.to_thread(Images, images)  # which may compress large arrays
        while (request := given.request()) is not None:
            try:
                given.take(await self._send(request))
            except InputError as error:
                given.refuse(error)
        return given.answer()

    async def submit_video(self, video: Source, options: VideoOptions | None = None) -> Job:
        """As `Client.submit_video`."""
        return await self._send(requests.submit(video, options))

    async def job(self, job: Job | str, *, wait: float = 0) -> Job:
        """As `Client.job`."""
        return await self._send(requests.state(job, wait))

    async def results(self, job: Job | str, *, partial: bool = False) -> list[FrameResult]:
        """As `Client.results`."""
        return await self._send(requests.results(job, partial=partial))

    async def cancel(self, job: Job | str) -> None:
        """As `Client.cancel`."""
        await self._send(requests.cancel(job))

    async def analyze_video(
        self,
        video: Source,
        options: VideoOptions | None = None,
        *,
        progress: Callable[[Job], None] | None = None,
        timeout: float | None = None,
    ) -> list[FrameResult]:
        """As `Client.analyze_video`; if the task is cancelled, so is the job."""
        job = await self.submit_video(video, options)
        wait = _Waiting(progress, timeout)
        try:
            while not job.is_finished:
                job = wait.shown(await self.job(job, wait=wait.seconds()))
            return await self.results(job)
        finally:
            with suppress(MienError):
                await asyncio.shield(self.cancel(job))

    async def models(self) -> dict[str, Any]:
        """As `Client.models`."""
        return await self._send(requests.models())

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, request: Request[Answer]) -> Answer:
        for tried in range(self._retries + 1):
            left = self._retries - tried
            try:
                with request.opened() as arguments:
                    response = await self._http.request(**arguments, timeout=_patience(self._http.timeout, request))
            except httpx.HTTPError as error:
                if not left or not _may_come_back(error, request):
                    raise _unreachable(self._http.base_url, error) from error
                await asyncio.sleep(_growing(tried))
                continue
            if not left or response.status_code not in _BUSY or not request.can_repeat:
                break
            await asyncio.sleep(_pause(response))
        return await asyncio.to_thread(request.answer, response)  # the results of a video may be many


class _Waiting:
    """Waits for a job: how long each request waits, and what its user sees.

    Args:
        progress: Called with the state of the job.
        timeout: Seconds for all requests together; None for no limit.
    """

    def __init__(self, progress: Callable[[Job], None] | None, timeout: float | None) -> None:
        self._progress = progress
        self._end = math.inf if timeout is None else time.monotonic() + timeout

    def seconds(self) -> float:
        """How long the next request waits for the end of the job.

        Raises:
            UnavailableError: The time is over.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise UnavailableError(
                "the analysis of the video did not end in time", hint="raise timeout, or use fewer fps"
            )
        return min(float(_WAIT) if self._progress is None else 1.0, left)

    def shown(self, job: Job) -> Job:
        """Passes the state of the job on."""
        if self._progress is not None:
            self._progress(job)
        return job


def _checked_retries(retries: object) -> int:
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise ConfigError(f"retries: expected a number from 0, got {retries!r}", hint="for example 5")
    return retries


def _trusted(certfile: str | Path | None) -> ssl.SSLContext | bool:
    """What verifies the server: besides the usual authorities, a certificate."""
    if certfile is None:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(path_of(certfile, "certfile"))
    except OSError as error:
        reason = "is no certificate in PEM" if isinstance(error, ssl.SSLError) else str(error.strerror).lower()
        raise ConfigError(f"certfile: '{certfile}': {reason}", hint="give the certificate of the server") from None
    return context


def _pause(response: httpx.Response) -> float:
    """How long to wait before a request is sent again, in seconds: what the server says, and up to a quarter more.

    Many clients that were refused together do not come back together.
    """
    said = response.headers.get("retry-after", "")
    return min((float(said) if said.isdecimal() else 1.0) * random.uniform(1, 1.25), _LONGEST_PAUSE)


def _may_come_back(error: httpx.HTTPError, request: Request[Answer]) -> bool:
    """Whether a request may be sent again that got no answer: the server restarts, or has closed the connection.

    A server that answers too late would only get more to do. A video that may have arrived is not sent twice.
    """
    if not request.can_repeat:
        return False
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return True
    return isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError)) and not request.starts_a_job


def _growing(tried: int) -> float:
    """How long to wait for a server that gave no answer, in seconds: twice as long each time, as for `_pause`."""
    return min(2.0**tried * random.uniform(1, 1.25), _LONGEST_PAUSE)


def _patience(usual: httpx.Timeout, request: Request[Answer]) -> httpx.Timeout:
    """How long the client waits for the server: longer, where it asks the server to hold its answer back."""
    read = None if usual.read is None else usual.read + request.wait
    return httpx.Timeout(connect=usual.connect, read=read, write=usual.write, pool=usual.pool)


def _address(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        hint = f"http://{url}" if url else "for example http://127.0.0.1:8000"
        raise ConfigError(f"url: expected an address with http:// or https://, got {url!r}", hint=hint)
    return url


def _headers(api_key: str | None) -> dict[str, str]:
    if api_key is None:
        return {}
    key = api_key.strip()  # a file of one line ends with a line break
    if not key or not (key.isascii() and key.isprintable()):  # no message shows it
        raise ConfigError("api_key: expected printable ASCII characters", hint="give the key that the server has")
    return {"Authorization": f"Bearer {key}"}


def _unreachable(url: object, error: Exception) -> UnavailableError:
    reason = str(error) or type(error).__name__
    return UnavailableError(f"the server at {url} does not answer: {reason}", hint="start it: mien serve")
