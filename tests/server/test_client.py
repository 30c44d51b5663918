"""The Python client: the same results and errors as without a server."""

import asyncio
import io
from pathlib import Path

import pytest
from PIL import Image
from tests.server.conftest import KEY, Server, Starter

from mien import errors
from mien.analyzer import Analyzer, AnalyzerOptions
from mien.assets.manifest import DEFAULT, ENSEMBLES
from mien.media.images import read_image
from mien.media.picking import VideoOptions
from mien.results import FrameResult
from mien.server.client import AsyncClient, Client, Job


@pytest.fixture(scope="module")
def server(start: Starter, tmp_path_factory: pytest.TempPathFactory) -> Server:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(KEY)
    return start("--api-key-file", str(keys), "--keypoints", key=KEY)


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.url, api_key=KEY, timeout=600)


def _same(found: FrameResult, expected: FrameResult, source: str) -> None:
    assert found.as_dict() == expected.as_dict() | {"source": source}


def test_one_image(client: Client, astronaut: Path) -> None:
    expected = Analyzer(AnalyzerOptions(keypoints=True)).analyze(astronaut)
    assert expected[0].measures is not None
    with client:
        _same(client.analyze(astronaut), expected, "astronaut.jpg")
        _same(client.analyze(str(astronaut)), expected, "astronaut.jpg")
        _same(client.analyze(astronaut.read_bytes()), expected, "images[0]")
        _same(client.analyze(io.BytesIO(astronaut.read_bytes())), expected, "images[0]")


def test_several_images(client: Client, astronaut: Path) -> None:
    with client:
        found = client.analyze([astronaut, b"no image"])
        assert [len(each) for each in found] == [1, 0]
        assert "not an image" in (found[1].error or "")
        assert len(client.analyze([astronaut])) == 1
        found = client.analyze([astronaut, "nope.jpg", None, astronaut])
        assert [len(each) for each in found] == [1, 0, 0, 1]
        assert found[1].error == "'nope.jpg' does not exist"


def test_pixels_are_sent_without_a_loss(client: Client, astronaut: Path) -> None:
    pixels = read_image(astronaut)
    expected = Analyzer(AnalyzerOptions(keypoints=True)).analyze(pixels)
    with client:
        _same(client.analyze(pixels), expected, "array")
        one, other = client.analyze([pixels, Image.open(astronaut)])
    _same(one, expected, "array")
    _same(other, expected, "astronaut.jpg")


def test_a_video(client: Client, clip: Path) -> None:
    states: list[Job] = []
    expected = list(Analyzer(AnalyzerOptions(keypoints=True)).analyze(str(clip), video=VideoOptions(every=3)))
    with client:
        found = client.analyze_video(clip, VideoOptions(every=3), progress=states.append)
        with pytest.raises(errors.NotFoundError):
            client.job(states[-1])
    assert len(found) == len(expected) == 4
    for result, other in zip(found, expected, strict=True):
        _same(result, other, "clip.mp4")
    assert states[-1].is_finished


def test_a_video_that_is_cancelled(client: Client, long_clip: Path) -> None:
    with client:
        with pytest.raises(errors.UnavailableError, match="did not end in time"):
            client.analyze_video(long_clip, timeout=0.2)
        job = client.submit_video(long_clip)
        with pytest.raises(errors.ConflictError):
            client.results(job)
        assert isinstance(client.results(job, partial=True), list)
        client.cancel(job)


def test_errors_are_those_of_the_server(client: Client, server: Server, tmp_path: Path) -> None:
    with client:
        with pytest.raises(errors.InputError, match="not an image") as found:
            client.analyze(b"no image")
        assert found.value.hint.startswith("mien reads")
        with pytest.raises(errors.InputError, match="does not exist"):
            client.analyze(tmp_path / "missing.jpg")
        with pytest.raises(errors.NotFoundError):
            client.job("unknown")
    with Client(server.url, api_key="wrong") as other, pytest.raises(errors.AccessError, match="API key is wrong"):
        other.models()
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(errors.UnavailableError, match="does not answer"):
        nobody.models()


def test_asynchronous(server: Server, astronaut: Path, clip: Path) -> None:
    async def use() -> None:
        async with AsyncClient(server.url, api_key=KEY, timeout=600) as client:
            one, several = await asyncio.gather(client.analyze(astronaut), client.analyze([astronaut, b"nothing"]))
            assert one.as_dict() == several[0].as_dict()
            assert several[1].error is not None
            assert len(await client.analyze_video(clip)) == 12
            assert (await client.models())["classifier"] == list(ENSEMBLES[DEFAULT])
            with pytest.raises(errors.InputError):
                await client.analyze(b"nothing")
            job = await client.submit_video(clip)
            await client.cancel(job)
            with pytest.raises(errors.NotFoundError):
                await client.results(job)

    asyncio.run(use())
