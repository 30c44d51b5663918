"""A client of the server, for programs in Python: the same results, and the same errors, as without a server.

It needs `httpx` and neither FastAPI nor a model. `Client` blocks, `AsyncClient` awaits; both have the same methods.

    with Client("http://127.0.0.1:8000") as client:
        result = client.analyze("photo.jpg")
        results = client.analyze_video("clip.mp4")
"""

import asyncio
import inspect
import io
import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Generic, Self, TypeVar, cast, overload

import numpy as np
from PIL import Image

from mien import errors
from mien.errors import InputError, MienError, MissingExtraError, UnavailableError
from mien.media.images import STANDARD_INPUT, opened
from mien.media.inputs import ImageItem, ImageSource, check_item, frame_of, is_one, source_of
from mien.media.picking import VideoOptions
from mien.results import LANDMARKS, POSE, Affect, Expression, Face, Frame, FrameResult, Measures

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError("the client of the server", "serve") from error

# A video: a path, the content of a file, or an open binary file. Images may also be pixels.
Source = str | os.PathLike[str] | bytes | BinaryIO

# A file to send: its name, None for that of its path or its number; and the file.
_Upload = tuple[str | None, Source]

# A part of a form: its field, the name of the file, and the file.
_Part = tuple[str, tuple[str, bytes | BinaryIO]]

Answer = TypeVar("Answer")

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
    def analyze(self, images: ImageSource | Frame) -> FrameResult: ...  # type: ignore[overload-overlap]  # as a str
    @overload
    def analyze(self, images: Collection[ImageItem]) -> list[FrameResult]: ...
    def analyze(self, images: ImageSource | Frame | Collection[ImageItem]) -> FrameResult | list[FrameResult]:
        """The result of one image, or a list of results for several.

        An image among several that cannot be read has a result with its `error`, also if it is not on this side.

        Args:
            images: As for `mien.analyze`: an image, or a list or another collection. Files are sent as they are,
                pixels as PNG.

        Raises:
            InputError: A single image cannot be read, or there is no image.
            TypeError: Something can never be an image; the message has the conversion.
            ValueError: An array has another shape.
            MienError: What the server answered, as the same class.
            UnavailableError: The server cannot be reached, or is busy.
        """
        given = _Images(images)
        return given.answer(self._send(given.request()) if given.sent else ())

    def submit_video(self, video: Source, options: VideoOptions | None = None) -> Job:
        """Sends a video; the server analyzes it in the background.

        Args:
            video: The video.
            options: Which frames are analyzed.
        """
        return self._send(_submit(video, options))

    def job(self, job: Job | str, *, wait: float = 0) -> Job:
        """The present state of a job; with `wait`, after its end, or that many seconds, at most 30."""
        return self._send(_state(job, wait))

    def results(self, job: Job | str, *, partial: bool = False) -> list[FrameResult]:
        """The results of a finished job; with `partial`, those so far."""
        return self._send(_results(job, partial=partial))

    def cancel(self, job: Job | str) -> None:
        """Cancels a job, and removes its results from the server."""
        self._send(_cancel(job))

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
        return self._send(_models())

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, request: "_Request[Answer]") -> Answer:
        try:
            with request.opened() as parts:
                return request.read(_content(self._http.request(**request.arguments(parts))))
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
    async def analyze(self, images: ImageSource | Frame) -> FrameResult: ...  # type: ignore[overload-overlap]
    @overload
    async def analyze(self, images: Collection[ImageItem]) -> list[FrameResult]: ...
    async def analyze(self, images: ImageSource | Frame | Collection[ImageItem]) -> FrameResult | list[FrameResult]:
        """As `Client.analyze`."""
        given = _Images(images)
        return given.answer(await self._send(given.request()) if given.sent else ())

    async def submit_video(self, video: Source, options: VideoOptions | None = None) -> Job:
        """As `Client.submit_video`."""
        return await self._send(_submit(video, options))

    async def job(self, job: Job | str, *, wait: float = 0) -> Job:
        """As `Client.job`."""
        return await self._send(_state(job, wait))

    async def results(self, job: Job | str, *, partial: bool = False) -> list[FrameResult]:
        """As `Client.results`."""
        return await self._send(_results(job, partial=partial))

    async def cancel(self, job: Job | str) -> None:
        """As `Client.cancel`."""
        await self._send(_cancel(job))

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
        return await self._send(_models())

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, request: "_Request[Answer]") -> Answer:
        try:
            with request.opened() as parts:
                return request.read(_content(await self._http.request(**request.arguments(parts))))
        except httpx.HTTPError as error:
            raise _unreachable(self._http.base_url, error) from error


# --- the requests, the same for both clients


@dataclass(frozen=True, slots=True)
class _Request(Generic[Answer]):
    """One request of the interface, and how its answer is read.

    Attributes:
        method: The HTTP method.
        path: The address on the server.
        read: Makes the answer of the client from the JSON of the response; None without content.
        params: The query.
        form: The name of the files in the form.
        files: Files that are sent as a form.
    """

    method: str
    path: str
    read: Callable[[Any], Answer]
    params: Mapping[str, float] = field(default_factory=dict)
    form: str = ""
    files: Sequence[_Upload] = ()

    @contextmanager
    def opened(self) -> Iterator[list[_Part]]:
        """The parts of the form, whose files are open until the block ends.

        Raises:
            InputError: A file cannot be read.
        """
        with ExitStack() as stack:
            parts: list[_Part] = []
            for number, (name, source) in enumerate(self.files):
                if isinstance(source, (str, os.PathLike)):
                    path = os.fsdecode(source)
                    parts.append((self.form, (Path(path).name, stack.enter_context(opened(path)))))
                else:
                    parts.append((self.form, (name or f"{self.form}[{number}]", source)))
            yield parts

    def arguments(self, parts: list[_Part]) -> dict[str, Any]:
        """The arguments of `httpx.Client.request`."""
        return {"method": self.method, "url": self.path, "params": dict(self.params), "files": parts or None}


class _Images:
    """The images of one call.

    Args:
        images: As for `Client.analyze`.

    Attributes:
        sent: What is sent to the server.

    Raises:
        MienError: As for `Client.analyze`, before anything is sent.
    """

    def __init__(self, images: object) -> None:
        self.sent: list[_Upload] = []
        self._unread: dict[int, FrameResult] = {}  # by their number
        self._is_one = is_one(images)
        if self._is_one:
            self.sent.append(_upload(images))
            return
        if not isinstance(images, Collection):
            kind = type(images).__name__
            raise TypeError(f"expected an image, or a list of them, got {kind}; write list({kind})")
        if not len(images):
            raise InputError("there are no images", hint="expected at least one")
        for number, image in enumerate(images):
            check_item(image, number)
            try:
                if isinstance(image, FrameResult):
                    self._unread[number] = image
                else:
                    self.sent.append(_upload(image))
            except (InputError, TypeError, ValueError) as error:
                self._unread[number] = FrameResult(Path(source_of(image)).name, error=str(error))

    def request(self) -> _Request[Sequence[FrameResult]]:
        """The request for what is sent."""
        return _Request("POST", "/v1/analyze", results_of, form="images", files=self.sent)

    def answer(self, results: Sequence[FrameResult]) -> FrameResult | list[FrameResult]:
        """The answer to the caller, with the server's results in the places of what was sent."""
        if self._is_one:
            return results[0]
        rest = iter(results)
        return [
            found if (found := self._unread.get(number)) is not None else next(rest)
            for number in range(len(self._unread) + len(results))
        ]


def _upload(image: object) -> _Upload:
    """An image as a file to send, whose path can be opened.

    Raises:
        InputError: It cannot be read.
        TypeError: It is not an image; the message has the conversion.
        ValueError: An array has another shape.
    """
    is_path = not (isinstance(image, str) and (image == STANDARD_INPUT or image[:5].lower() == "data:"))
    if is_path and (file := _file(image)) is not None:
        if isinstance(file, (str, os.PathLike)):
            with opened(os.fsdecode(file)):
                pass
        return None, file
    frame = frame_of(image)
    content = io.BytesIO()
    Image.fromarray(frame.image).save(content, "PNG", compress_level=1)
    return Path(frame.source).name, content.getvalue()


def _file(source: object) -> Source | None:
    """A source that is sent as it is; None for anything else, such as pixels."""
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike, bytes)):
        return source
    read = getattr(source, "read", None)
    if read is None or isinstance(source, io.TextIOBase) or inspect.iscoroutinefunction(read):
        return None
    return cast(BinaryIO, source)


def _submit(video: Source, options: VideoOptions | None) -> _Request[Job]:
    query = {name: value for name, value in asdict(options or VideoOptions()).items() if value is not None}
    if (file := _file(video)) is None:
        hint = 'open the file with "rb"' if isinstance(video, io.TextIOBase) else ""
        expected = "expected a path, the content of a file as bytes, or an open binary file"
        raise InputError(f"an object of the type {type(video).__name__} is not a video", hint=hint or expected)
    return _Request("POST", "/v1/video", _job, query, "video", [(None, file)])


def _state(job: Job | str, wait: float) -> _Request[Job]:
    return _Request("GET", f"/v1/video/{_id(job)}", _job, {"wait": wait})


def _results(job: Job | str, *, partial: bool) -> _Request[list[FrameResult]]:
    return _Request("GET", f"/v1/video/{_id(job)}/result", results_of, {"partial": partial})


def _cancel(job: Job | str) -> _Request[None]:
    return _Request("DELETE", f"/v1/video/{_id(job)}", lambda _: None)


def _models() -> _Request[dict[str, Any]]:
    return _Request("GET", "/v1/models", dict)


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


def _headers(api_key: str | None) -> dict[str, str]:
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def _id(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id


def _job(found: Mapping[str, Any]) -> Job:
    return Job(**{each.name: found.get(each.name) for each in fields(Job)})  # type: ignore[arg-type]


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
