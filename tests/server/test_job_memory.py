"""Jobs hold no more than they need: the file of a cancelled one is closed, and old results give way to new ones."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.errors import NotFoundError, UnavailableError
from mien.media.picking import VideoOptions
from mien.server.bodies import Body, Reader
from mien.server.metrics import Metrics
from mien.server.options import ServerOptions
from mien.server.pool import AnalyzerPool
from mien.server.video import Job, Jobs


@pytest.fixture(scope="module")
def pool() -> Iterator[AnalyzerPool]:
    pool = AnalyzerPool(workers=1)
    yield pool
    pool.close()


def jobs_of(pool: AnalyzerPool, most_bytes: int) -> Jobs:
    options = ServerOptions()
    return Jobs(options, pool, Reader(options), Metrics(), most_bytes=most_bytes)


def job_of(jobs: Jobs, clip: Path, name: str) -> Job:
    body = Body()
    body.size = clip.stat().st_size
    jobs.reader.videos.hold(body)
    return Job(name, "", "clip.mp4", clip.open("rb"), body, VideoOptions(every=3))


@pytest.mark.parametrize("steps", [0, 1, 20], ids=["before its first step", "after one step", "while it runs"])
def test_a_cancelled_job_frees_its_file(pool: AnalyzerPool, clip: Path, steps: int) -> None:
    async def use() -> None:
        jobs = jobs_of(pool, 10**9)
        job = job_of(jobs, clip, "a")
        await jobs.add(job)
        for _ in range(steps):
            await asyncio.sleep(0)
        await jobs.remove(job)
        assert job.file.closed
        assert job.end.is_set()
        assert jobs.reader.videos.held == 0

    asyncio.run(use())


def test_a_damaged_video_frees_its_file(pool: AnalyzerPool, clip: Path, tmp_path: Path) -> None:
    """The head of the file is whole, and nothing follows."""
    damaged = tmp_path / "clip.mp4"
    content = clip.read_bytes()
    place = content.index(b"mdat")
    damaged.write_bytes(content[: place + 4] + bytes(len(content) - place - 4))

    async def use() -> None:
        jobs = jobs_of(pool, 10**9)
        job = job_of(jobs, damaged, "a")
        await jobs.add(job)
        await job.end.wait()
        assert job.file.closed
        assert jobs.reader.videos.held == 0

    asyncio.run(use())


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_the_results_of_all_jobs_are_bounded(pool: AnalyzerPool, clip: Path, kept: int) -> None:
    """Three jobs end one after the other, with room for the results of some of them: the newest ones stay."""

    async def use() -> None:
        size = 0
        for room in (10**9, None):
            jobs = jobs_of(pool, room or kept * size)
            for name in "abc":
                job = job_of(jobs, clip, name)
                await jobs.add(job)
                await job.end.wait()
                assert job.state == "done"
                assert job.size > 0
            size = job.size + 10  # the digits of a result may differ
            if room is None:
                found = [name for name in "abc" if exists(jobs, name)]
                assert found == list("abc")[3 - kept :]

    def exists(jobs: Jobs, name: str) -> bool:
        with contextlib.suppress(NotFoundError):
            return jobs.find(name, "").id == name
        return False

    asyncio.run(use())


def test_a_closed_pool_refuses_every_request() -> None:
    pool = AnalyzerPool(workers=1)
    pool.close()

    async def asked() -> None:
        await asyncio.wait_for(pool.analyze([]), 500)

    for _ in range(3):
        with pytest.raises(UnavailableError, match="shutting down"):
            asyncio.run(asked())
