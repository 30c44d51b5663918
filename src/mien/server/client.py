"""A client of the server, for programs in Python: the same results, and the same errors, as without a server.

It needs `httpx` and neither FastAPI nor a model. `Client` blocks, `AsyncClient` awaits; both have the same methods.

    with Client("http://127.0.0.1:8000") as client:
        result = client.analyze("photo.jpg")
        results = client.analyze_video("clip.mp4")
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, overload

import numpy as np

from mien import errors
from mien.errors import InputError, MienError, MissingExtraError, UnavailableError
from mien.media.picking import VideoOptions
from mien.results import LANDMARKS, POSE, Affect, Expression, Face, FrameResult, Measures

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError("the client of the server", "serve") from error

# A path, the content of a file, or an open binary file.
Source = str | os.PathLike[str] | bytes | BinaryIO

# How long one request waits for the end of a job, in seconds; less than proxies usually allow.
_WAIT: Final = 20


@dataclass(frozen=True, slots=True)
class Job:
    """The state of a video on the server.

    Attributes:
        id: Its name on the server.
        state: "waiting", "running", "done" or "failed".
        source: The name of the video.
        frames: Frames that are analyzed.
        expected_frames: About how many there will be; None if unknown.
        progress: 0-1; None if unknown.
        error: Why it failed; None unless it did.
    """

    id: str
    state: str
    source: str
    frames: int
    expected_frames: int | None
    progress: float | None
    error: Mapping[str, Any] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in ("done", "failed")


class Client:
    """A client that blocks. One client can serve several threads.

    Args:
        url: The address of the server.
        api_key: The API key, if the server needs one.
        timeout: Seconds to wait for the server.

    Raises:
        MissingExtraError: httpx is not installed (on import).
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None, timeout: float = 60) -> None:
        self._http = httpx.Client(base_url=url, headers=_headers(api_key), timeout=timeout)

    @overload
    def analyze(self, images: Source) -> FrameResult: ...  # type: ignore[overload-overlap]  # a str is a sequence
    @overload
    def analyze(self, images: Sequence[Source]) -> list[FrameResult]: ...
    def analyze(self, images: Source | Sequence[Source]) -> FrameResult | list[FrameResult]:
        """The result of one image, or a list of results for several.

        An image among several that cannot be read has a result with its `error`.

        Raises:
            InputError: A single image cannot be read.
            MienError: What the server answered, as the same class.
            UnavailableError: The server cannot be reached, or is busy.
        """
        several, sources = _sources(images)
        with _form("images", sources) as form:
            found = results_of(self._send("POST", "/v1/analyze", files=form.parts))
        return found if several else found[0]

    def submit_video(self, video: Source, options: VideoOptions | None = None) -> Job:
        """Sends a video; the server analyzes it in the background.

        Args:
            video: The video.
            options: Which frames are analyzed.
        """
        with _form("video", [video]) as form:
            return _job(self._send("POST", "/v1/video", files=form.parts, params=_query(options)))

    def job(self, job: Job | str, *, wait: float = 0) -> Job:
        """The present state of a job; with `wait`, after its end, or that many seconds, at most 30."""
        return _job(self._send("GET", f"/v1/video/{_id(job)}", params={"wait": wait}))

    def results(self, job: Job | str, *, partial: bool = False) -> list[FrameResult]:
        """The results of a finished job; with `partial`, those so far."""
        return results_of(self._send("GET", f"/v1/video/{_id(job)}/result", params={"partial": partial}))

    def cancel(self, job: Job | str) -> None:
        """Cancels a job, and removes its results from the server."""
        self._send("DELETE", f"/v1/video/{_id(job)}")

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
        end = _end(timeout)
        try:
            while not job.is_finished:
                job = self.job(job, wait=_wait(end, quick=progress is not None))
                if progress is not None:
                    progress(job)
            return self.results(job)
        finally:
            with suppress(MienError):  # another error counts more
                self.cancel(job)

    def models(self) -> dict[str, Any]:
        """The models of the server, and which of them it uses."""
        found: dict[str, Any] = self._send("GET", "/v1/models")
        return found

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, method: str, path: str, **request: Any) -> Any:
        try:
            return _content(self._http.request(method, path, **request))
        except httpx.HTTPError as error:
            raise _unreachable(self._http.base_url, error) from error


class AsyncClient:
    """A client for asyncio, with the methods of `Client`.

    Args:
        url: The address of the server.
        api_key: The API key, if the server needs one.
        timeout: Seconds to wait for the server.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None, timeout: float = 60) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=_headers(api_key), timeout=timeout)

    @overload
    async def analyze(self, images: Source) -> FrameResult: ...  # type: ignore[overload-overlap]  # a str is a sequence
    @overload
    async def analyze(self, images: Sequence[Source]) -> list[FrameResult]: ...
    async def analyze(self, images: Source | Sequence[Source]) -> FrameResult | list[FrameResult]:
        """As `Client.analyze`."""
        several, sources = _sources(images)
        with _form("images", sources) as form:
            found = results_of(await self._send("POST", "/v1/analyze", files=form.parts))
        return found if several else found[0]

    async def submit_video(self, video: Source, options: VideoOptions | None = None) -> Job:
        """As `Client.submit_video`."""
        with _form("video", [video]) as form:
            return _job(await self._send("POST", "/v1/video", files=form.parts, params=_query(options)))

    async def job(self, job: Job | str, *, wait: float = 0) -> Job:
        """As `Client.job`."""
        return _job(await self._send("GET", f"/v1/video/{_id(job)}", params={"wait": wait}))

    async def results(self, job: Job | str, *, partial: bool = False) -> list[FrameResult]:
        """As `Client.results`."""
        return results_of(await self._send("GET", f"/v1/video/{_id(job)}/result", params={"partial": partial}))

    async def cancel(self, job: Job | str) -> None:
        """As `Client.cancel`."""
        await self._send("DELETE", f"/v1/video/{_id(job)}")

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
        end = _end(timeout)
        try:
            while not job.is_finished:
                job = await self.job(job, wait=_wait(end, quick=progress is not None))
                if progress is not None:
                    progress(job)
            return await self.results(job)
        finally:
            with suppress(MienError):
                await asyncio.shield(self.cancel(job))

    async def models(self) -> dict[str, Any]:
        """As `Client.models`."""
        found: dict[str, Any] = await self._send("GET", "/v1/models")
        return found

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, method: str, path: str, **request: Any) -> Any:
        try:
            return _content(await self._http.request(method, path, **request))
        except httpx.HTTPError as error:
            raise _unreachable(self._http.base_url, error) from error


class _form(ExitStack):  # noqa: N801  (used like a function)
    """The files of a form, open until the block ends."""

    def __init__(self, field: str, sources: Iterable[Source]) -> None:
        super().__init__()
        self.parts: list[tuple[str, tuple[str, bytes | BinaryIO]]] = []
        for number, source in enumerate(sources):
            name = f"{field}[{number}]"
            if isinstance(source, (str, os.PathLike)):
                path = Path(source)
                try:
                    opened: bytes | BinaryIO = self.enter_context(path.open("rb"))
                except OSError as error:
                    self.close()
                    reason = (error.strerror or str(error)).lower()
                    raise InputError(f"'{path}' cannot be read: {reason}") from None
                self.parts.append((field, (path.name, opened)))
            else:
                self.parts.append((field, (name, source)))


def _sources(images: Source | Sequence[Source]) -> tuple[bool, list[Source]]:
    """Whether these are several images, and all of them."""
    if isinstance(images, Sequence) and not isinstance(images, (str, bytes)):
        return True, list(images)
    return False, [images]


def _headers(api_key: str | None) -> dict[str, str]:
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def _query(options: VideoOptions | None) -> dict[str, float]:
    return {name: value for name, value in asdict(options or VideoOptions()).items() if value is not None}


def _id(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id


def _job(found: Mapping[str, Any]) -> Job:
    return Job(**{each.name: found.get(each.name) for each in fields(Job)})  # type: ignore[arg-type]


def _end(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _wait(end: float | None, *, quick: bool) -> float:
    """How long the next request waits for the end of a job.

    Raises:
        UnavailableError: The time is over.
    """
    longest = 1.0 if quick else float(_WAIT)
    if end is None:
        return longest
    left = end - time.monotonic()
    if left <= 0:
        raise UnavailableError("the analysis of the video did not end in time", hint="raise timeout, or use fewer fps")
    return min(longest, left)


def _content(response: httpx.Response) -> Any:
    """The JSON of a response.

    Raises:
        MienError: The response is an error: the class that the server named.
    """
    if response.status_code == httpx.codes.NO_CONTENT:
        return None
    try:
        found = response.json()
    except ValueError:
        raise MienError(
            f"the server at {response.url} answered {response.status_code} without JSON", hint="is it `mien serve`?"
        ) from None
    if response.is_success:
        return found
    details = found.get("error", {}) if isinstance(found, dict) else {}
    kind = getattr(errors, str(details.get("type")), MienError)
    if not isinstance(kind, type) or not issubclass(kind, MienError) or kind is MissingExtraError:
        kind = MienError
    raise kind(str(details.get("message", response.text[:200])), hint=str(details.get("hint", "")))


def _unreachable(url: object, error: Exception) -> UnavailableError:
    reason = str(error) or type(error).__name__
    return UnavailableError(f"the server at {url} does not answer: {reason}", hint="start it: mien serve")


def results_of(found: Mapping[str, Any]) -> list[FrameResult]:
    """The results in the JSON of the server."""
    return [_result(each) for each in found["results"]]


def _result(found: Mapping[str, Any]) -> FrameResult:
    plain = {name: found[name] for name in ("source", "frame", "timestamp", "width", "height", "error", "note")}
    return FrameResult(**plain, faces=tuple(map(_face, found["faces"])))


def _face(found: Mapping[str, Any]) -> Face:
    def points(value: Any) -> Any:
        return None if value is None else np.array(value, np.float32)

    landmarks, pose, measures = found["landmarks"], found["pose"], found["measures"]
    return Face(
        box=np.array(found["box"], np.float32),
        score=found["score"],
        landmarks=points(landmarks and [landmarks[name] for name in LANDMARKS]),
        keypoints=points(found["keypoints"]),
        keypoint_scheme=found["keypoint_scheme"],
        pose=points(pose and [pose[name] for name in POSE]),
        measures=measures and Measures(**measures),
        track=found["track"],
        expression=_expression(found.get("emotions"), found.get("affect"), uncertain=found.get("uncertain", False)),
        smoothed=_expression(found["smoothed"], found.get("smoothed_affect"), uncertain=False),
    )


def _expression(
    found: Mapping[str, float] | None, dimensions: Mapping[str, float] | None, *, uncertain: bool
) -> Expression | None:
    if found is None:
        return None
    affect = Affect(**dimensions) if dimensions else None
    return Expression(np.array(list(found.values()), np.float32), tuple(found), uncertain=uncertain, affect=affect)
