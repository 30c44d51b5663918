"""`POST /v1/video`: a video in, a job that analyzes it, with progress, its result, and cancel.

Jobs are kept in memory: a restart of the server forgets them, and their uploads are removed with it. Frames are
analyzed in short steps on the threads of the pool, so that requests with images are served meanwhile.
"""

import asyncio
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import IO, Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from mien.analyzer import AnalyzerOptions
from mien.containers import is_self_contained
from mien.errors import ConflictError, InputError, LimitError, MienError, NotFoundError, UnavailableError
from mien.media.decode import shown
from mien.media.picking import VideoOptions
from mien.media.video import expected_frames, is_video, read_video
from mien.output.schema import document
from mien.results import FrameResult
from mien.server.bodies import Body, Reader
from mien.server.guard import error_body
from mien.server.images import to_json
from mien.server.metrics import Metrics
from mien.server.openapi import errors_of, results_of, video_body
from mien.server.options import ServerOptions
from mien.server.pool import AnalyzerPool

# How long a step on a thread of the pool may take before it lets others work, in seconds; and the faces that are
# classified together, which limits the time of a step that has begun.
_STEP_SECONDS: Final = 0.05
_STEP_FACES: Final = 8

# The most bytes that the results of one video take in memory.
_RESULT_BYTES: Final = 128 * 2**20

# Finished jobs that are kept, and the bytes that the results of all jobs may take; beyond it the oldest finished one is
# forgotten.
_FINISHED: Final = 32
_ALL_RESULT_BYTES: Final = 256 * 2**20

# The longest time that a client may wait for the end of a job in one request, in seconds.
_WAIT: Final = 30

State = Literal["waiting", "running", "done", "failed"]


class JobStatus(BaseModel):
    """What is known of a job."""

    id: str
    state: State
    source: Annotated[str, Field(description="The name of the video.")]
    frames: Annotated[int, Field(description="Frames that are analyzed.")]
    expected_frames: Annotated[int | None, Field(description="About how many there will be; null if unknown.")]
    progress: Annotated[float | None, Field(description="0-1; null if unknown.", ge=0, le=1)]
    error: Annotated[dict[str, Any] | None, Field(description="Why it failed, in the form of `Error`.")] = None


@dataclass(slots=True, eq=False)
class Job:
    """One video.

    Attributes:
        id: Cannot be guessed.
        owner: Who sent it; others do not see it.
        source: The name of the video.
        file: Its content; closed when the job ends.
        body: Its place among the uploads that the server holds.
        options: Which frames are analyzed.
    """

    id: str
    owner: str
    source: str
    file: IO[bytes]
    body: Body
    options: VideoOptions
    state: State = "waiting"
    expected: int | None = None
    error: MienError | None = None
    lines: list[bytes] = field(default_factory=list)  # the JSON of the results
    size: int = 0
    is_cancelled: bool = False
    finished: float = 0.0
    end: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    def status(self) -> JobStatus:
        """What clients see."""
        done = len(self.lines)
        progress = min(done / self.expected, 1.0) if self.expected else None
        return JobStatus(
            id=self.id,
            state=self.state,
            source=self.source,
            frames=done,
            expected_frames=self.expected,
            progress=1.0 if self.state == "done" else progress,
            error=error_body(self.error)["error"] if self.error else None,
        )


class Jobs:
    """The jobs of a server.

    Args:
        options: The options of the server.
        pool: Analyzes the frames.
        reader: Holds the uploads.
        metrics: Counts the frames.
        most_bytes: The bytes that the results of all jobs may take together: beyond it the oldest finished ones are
            forgotten.
    """

    def __init__(
        self,
        options: ServerOptions,
        pool: AnalyzerPool,
        reader: Reader,
        metrics: Metrics,
        *,
        most_bytes: int = _ALL_RESULT_BYTES,
    ) -> None:
        self.options, self.pool, self.reader, self.metrics = options, pool, reader, metrics
        self._most_bytes = most_bytes
        self._jobs: dict[str, Job] = {}
        # One worker stays free for images, if there are several.
        self._turns = asyncio.Semaphore(max(1, pool.workers - 1))
        metrics.gauge("mien_jobs_waiting", "Videos that wait.", lambda: self._count("waiting"))
        metrics.gauge("mien_jobs_running", "Videos that are analyzed.", lambda: self._count("running"))

    def _count(self, *states: str) -> int:
        return sum(job.state in states for job in list(self._jobs.values()))

    def check(self) -> None:
        """Refuses a video early.

        Raises:
            UnavailableError: There are too many jobs.
        """
        if self._count("waiting", "running") >= self.options.max_jobs:
            raise UnavailableError(f"{self.options.max_jobs} videos wait or are analyzed, the limit", hint="try later")

    async def add(self, job: Job) -> None:
        """Starts a job.

        Raises:
            InputError: It is not a video.
            LimitError: It has too many frames.
            UnavailableError: There are too many jobs.
        """
        path = path_of(job.file)
        if not await asyncio.to_thread(is_video, path):
            raise InputError(f"'{shown(job.source)}' is not a video", hint="images: POST /v1/analyze")
        if not await asyncio.to_thread(is_self_contained, path):  # a playlist could name the upload of another client
            raise InputError(
                f"'{shown(job.source)}' is a playlist, or a video in a format that the server does not read",
                hint="send the video itself, for example as MP4, WebM or Matroska",
            )
        job.expected = await asyncio.to_thread(expected_frames, path, job.options)
        if job.expected is not None and job.expected > self.options.max_frames:
            raise self._too_many_frames(job)
        self._forget_old()
        self.check()
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job))
        job.task.add_done_callback(lambda _: self._ended(job))  # a task cancelled before its first step runs no finally

    def find(self, number: str, owner: str) -> Job:
        """A job of this owner.

        Raises:
            NotFoundError: There is none with this number.
        """
        self._forget_old()
        job = self._jobs.get(number)
        if job is None or job.owner != owner:
            raise NotFoundError(
                f"there is no job '{shown(number)}'",
                hint=f"results are kept for {self.options.max_job_seconds} seconds, less if many other jobs end, and "
                "are lost when the server restarts",
            )
        return job

    async def remove(self, job: Job) -> None:
        """Cancels a job, and forgets its results."""
        job.is_cancelled = True
        self._jobs.pop(job.id, None)
        if job.state == "waiting" and job.task is not None:
            job.task.cancel()
        if job.task is not None:
            await asyncio.wait({job.task})

    async def close(self) -> None:
        """Cancels all jobs."""
        for job in list(self._jobs.values()):
            await self.remove(job)

    def _forget_old(self) -> None:
        now = time.monotonic()
        held = sum(job.size for job in self._jobs.values())
        finished = sorted((job for job in self._jobs.values() if job.end.is_set()), key=lambda job: job.finished)
        for number, job in enumerate(finished):
            is_old = now - job.finished > self.options.max_job_seconds
            if is_old or number < len(finished) - _FINISHED or held > self._most_bytes:
                held -= job.size
                del self._jobs[job.id]

    async def _run(self, job: Job) -> None:
        try:
            async with self._turns:
                job.state = "running"
                await self._analyze(job)
            job.state = "done"
        except MienError as error:
            job.state, job.error = "failed", error
        except Exception:
            job.state, job.error = "failed", MienError("an unexpected error; the server's log has the details")
            raise

    def _ended(self, job: Job) -> None:
        """Frees what a job holds besides its results."""
        job.finished = time.monotonic()
        job.file.close()
        self.reader.videos.release(job.body)
        job.end.set()
        self._forget_old()

    async def _analyze(self, job: Job) -> None:
        """Analyzes the frames, step by step."""
        deadline = time.monotonic() + self.options.max_job_seconds
        options = self.pool.options
        steps = replace(options, classifier=replace(options.classifier, batch_size=_STEP_FACES))
        work = await self.pool.run(_Work, self.pool, steps, job, self.options.max_pixels)
        try:
            while not job.is_cancelled and (found := await self.pool.run(work.step)):
                self.metrics.count_results(found)
                for result in found:
                    line = to_json(document(result))
                    job.size += len(line)
                    job.lines.append(line)
                self._check_limits(job, found, deadline)
                self._forget_old()
        finally:
            await asyncio.shield(asyncio.to_thread(work.close))

    def _check_limits(self, job: Job, found: list[FrameResult], deadline: float) -> None:
        if len(job.lines) == len(found) == 1 and found[0].error is not None and not found[0].width:
            raise InputError(found[0].error)  # nothing of the file can be read
        if len(job.lines) > self.options.max_frames:
            raise self._too_many_frames(job)
        if job.size > _RESULT_BYTES:
            raise LimitError(f"the results exceed {_RESULT_BYTES:,} bytes", hint="send parts of the video")
        if time.monotonic() > deadline:
            raise LimitError(
                f"the analysis takes longer than {self.options.max_job_seconds} seconds", hint="send parts of the video"
            )

    def _too_many_frames(self, job: Job) -> LimitError:
        return LimitError(
            f"'{shown(job.source)}' has more than {self.options.max_frames:,} frames, the limit",
            hint="analyze fewer: ?fps=5, or a part: ?start=0&end=60",
        )


class _Work:
    """The analysis of one video, on the threads of the pool; one step at a time."""

    def __init__(self, pool: AnalyzerPool, options: AnalyzerOptions, job: Job, max_pixels: int) -> None:
        self._stack = ExitStack()
        self._path, self._source = path_of(job.file), job.source
        try:
            analyzer = self._stack.enter_context(pool.lease(options))
            frames = self._stack.enter_context(closing(read_video(self._path, job.options, max_pixels=max_pixels)))
            self._results: Iterator[FrameResult] = analyzer.stream(frames)
        except BaseException:
            self._stack.close()
            raise

    def step(self) -> list[FrameResult]:
        """The next results; none at the end."""
        found: list[FrameResult] = []
        end = time.monotonic() + _STEP_SECONDS
        for result in self._results:
            # The file has no name; clients know that of the upload.
            error = result.error and result.error.replace(self._path, shown(self._source))
            found.append(replace(result, source=self._source, error=error))
            if time.monotonic() > end:
                break
        return found

    def close(self) -> None:
        """Ends the reading of the video."""
        if hasattr(self._results, "close"):
            self._results.close()
        self._stack.close()


def path_of(file: IO[bytes]) -> str:
    """A path under which an open file can be opened again, until it is closed.

    On Linux it stays without a name. Elsewhere it gets one, which is removed when the file is closed.
    """
    if sys.platform == "linux":
        return f"/proc/{os.getpid()}/fd/{file.fileno()}"
    named = getattr(file, "mien_copy", None)
    if named is None:
        named = tempfile.NamedTemporaryFile(prefix="mien-")  # noqa: SIM115  (removed with `file`)
        file.seek(0)
        while part := file.read(2**20):
            named.write(part)
        named.flush()
        cast(Any, file).mien_copy = named
    return str(named.name)


def router(jobs: Jobs, reader: Reader) -> APIRouter:
    """The routes, with what they use."""
    routes = APIRouter(tags=["videos"])

    @routes.post(
        "/v1/video",
        status_code=202,
        summary="Analyze a video",
        response_model=JobStatus,
        openapi_extra=video_body(),
        responses=errors_of(400, 408, 413, 415, 422, 503),
    )
    async def add(
        request: Request,
        every: Annotated[int | None, Query(description="Analyze every Nth frame.", ge=1)] = None,
        fps: Annotated[float | None, Query(description="At most this many frames per second.", gt=0)] = None,
        start: Annotated[float | None, Query(description="Where to begin, in seconds.", ge=0)] = None,
        end: Annotated[float | None, Query(description="Where to end, in seconds.", ge=0)] = None,
    ) -> JSONResponse:
        """Takes a video, as a form with the field `video` or as the body itself, and answers at once with a job.

        Ask for its state at the address in the header `Location`. People are followed through the video, and their
        probabilities smoothed, as by `mien analyze`.
        """
        picked = VideoOptions(every=every, fps=fps, start=start, end=end)
        jobs.check()
        async with reader.videos.body() as body:
            name, file = await reader.read_video(request, body)
            job = Job(secrets.token_urlsafe(16), request.scope["state"]["owner"], name, file, body, picked)
            try:
                await jobs.add(job)
            except BaseException:
                file.close()
                raise
            status = job.status().model_dump()
        if not job.end.is_set():
            reader.videos.hold(body)  # until the job ends
        return JSONResponse(status, 202, {"Location": f"/v1/video/{job.id}"})

    @routes.get("/v1/video/{id}", summary="The state of a job", response_model=JobStatus, responses=errors_of(404, 422))
    async def state(
        request: Request,
        id: str,
        wait: Annotated[float, Query(description="Seconds to wait for its end.", ge=0, le=_WAIT)] = 0,
    ) -> JobStatus:
        """How far a job is; with `wait`, the answer comes when the job ends, or after that time."""
        job = jobs.find(id, request.scope["state"]["owner"])
        if wait:
            try:
                async with asyncio.timeout(wait):
                    await job.end.wait()
            except TimeoutError:
                pass
        return job.status()

    @routes.get(
        "/v1/video/{id}/result",
        summary="The results of a job",
        response_class=Response,
        responses={**results_of("The results, in the order of the frames."), **errors_of(404, 409, 413, 422, 503)},
    )
    async def result(
        request: Request,
        id: str,
        partial: Annotated[bool, Query(description="The results so far, in any state of the job.")] = False,
    ) -> Response:
        """The results of all frames. For a failed job it is the error, unless `partial` is true."""
        job = jobs.find(id, request.scope["state"]["owner"])
        if not partial:
            if job.error is not None:
                raise job.error
            if job.state != "done":
                raise ConflictError(
                    f"the job is {job.state}: {len(job.lines)} frames are analyzed",
                    hint="ask again later, or add ?partial=true for the results so far",
                )
        return StreamingResponse(_joined(list(job.lines)), media_type="application/json")

    @routes.delete(
        "/v1/video/{id}",
        summary="Cancel a job",
        status_code=204,
        response_class=Response,
        responses=errors_of(404, 422),
    )
    async def cancel(request: Request, id: str) -> Response:
        """Cancels a job if it runs, and removes its results."""
        await jobs.remove(jobs.find(id, request.scope["state"]["owner"]))
        return Response(status_code=204)

    return routes


async def _joined(lines: list[bytes]) -> AsyncIterator[bytes]:
    """The JSON of results, in parts."""
    yield b'{"results":['
    for start in range(0, len(lines), 50):
        yield (b"," if start else b"") + b",".join(lines[start : start + 50])
    yield b"]}"
