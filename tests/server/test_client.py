"""The Python client: the same results and errors as without a server."""

import asyncio
import io
import os
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.server.conftest import KEY, Server, Starter

from mien import errors
from mien.analyzer import Analyzer, AnalyzerOptions
from mien.assets.manifest import DEFAULT, ENSEMBLES
from mien.media.images import read_image
from mien.media.picking import VideoOptions
from mien.results import Frame, FrameResult
from mien.server.client import AsyncClient, Client, Job, requests
from mien.server.client.clients import _patience


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
        with astronaut.open("rb") as file:
            _same(client.analyze(file), expected, "astronaut.jpg")


def test_several_images(client: Client, astronaut: Path) -> None:
    with client:
        found = client.analyze([astronaut, b"no image"])
        assert [len(each) for each in found] == [1, 0]
        assert "not an image" in (found[1].error or "")
        assert len(client.analyze([astronaut])) == 1
        found = client.analyze([astronaut, "nope.jpg", None, astronaut])
        assert [len(each) for each in found] == [1, 0, 0, 1]
        assert found[1].error == "'nope.jpg' does not exist"
        assert client.analyze([]) == []
        assert client.analyze(()) == []


def test_a_list_may_be_longer_and_an_image_larger_than_a_request(start: Starter, astronaut: Path) -> None:
    server = start("--max-images", "3", "--max-megabytes", "1")
    small = Image.new("RGB", (32, 32))
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)  # 1.2 MB as PNG
    photo = astronaut.read_bytes()
    given: list[Any] = [small, photo, noise, io.BytesIO(photo), astronaut, b"no image", *[small] * 40]
    with Client(server.url, timeout=600) as client:
        found = client.analyze(given)
        assert [len(each) for each in found[:6]] == [0, 1, 0, 1, 1, 0]
        assert "more than 1 megabytes, the limit" in (found[2].error or "")
        assert "not an image" in (found[5].error or "")
        assert [number for number, each in enumerate(found) if each.error] == [2, 5]
        assert [each.source for each in found] == [
            "astronaut.jpg" if image is astronaut else f"images[{number}]" for number, image in enumerate(given)
        ]
        with pytest.raises(errors.LimitError, match="more than 1 megabytes, the limit"):
            client.analyze(noise)

    async def use() -> list[FrameResult]:
        async with AsyncClient(server.url, timeout=600) as client:
            return await client.analyze(given)

    assert asyncio.run(use()) == found


def test_images_are_numbered_as_in_the_list_of_the_caller(client: Client, astronaut: Path) -> None:
    content = astronaut.read_bytes()
    with client, astronaut.open("rb") as file:
        found = client.analyze([astronaut, file, "nope.jpg", None, b"xx", content, io.BytesIO(content)])
    sources = ["astronaut.jpg", "astronaut.jpg", "nope.jpg", "images[3]", "images[4]", "images[5]", "images[6]"]
    assert [each.source for each in found] == sources
    assert [len(each) for each in found] == [1, 1, 0, 0, 0, 1, 1]
    assert (found[4].error or "").startswith("'images[4]' is not an image")


@pytest.mark.parametrize("images", [[b"xx"], [None, b"xx"], ["nope.jpg", b"xx", "nope.jpg"]])
def test_the_only_image_that_is_sent_of_a_list_has_a_result(client: Client, images: list[Any]) -> None:
    """As by `mien.analyze`, though the server answers a single image that cannot be read with an error."""
    place = images.index(b"xx")
    with client:
        found = client.analyze(images)
    assert [each.source == f"images[{place}]" for each in found] == [each == b"xx" for each in images]
    assert f"'images[{place}]' is not an image" in (found[place].error or "")


@pytest.mark.parametrize("name", ['a "quoted"\n name.jpg', "日本.jpg", os.fsdecode(b"not-utf8-\xff.jpg")])
def test_names_of_files_keep_every_character(client: Client, photo: bytes, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(photo)
    with client:
        (found,) = client.analyze([path])
    assert (found.source, len(found)) == (name, 1)


def test_a_frame_keeps_its_source_its_index_and_its_time(client: Client, astronaut: Path) -> None:
    pixels = read_image(astronaut)
    frame = Frame(pixels, "holiday/day 1.jpg", 7, note="only the first of 12 frames was read")
    later = Frame(pixels, "camera:0", 8, 0.32)
    expected = Analyzer(AnalyzerOptions(keypoints=True)).analyze(frame)
    with client:
        one, (other, timed) = client.analyze(frame), client.analyze([frame, later])
    assert one.as_dict() == other.as_dict() == expected.as_dict()
    assert (timed.source, timed.frame, timed.timestamp, timed.note) == ("camera:0", 8, 0.32, None)
    assert len(timed) == 1


def test_a_file_that_is_closed_is_an_error_of_its_own(client: Client, astronaut: Path) -> None:
    with astronaut.open("rb") as closed:
        pass
    with client:
        found = client.analyze([astronaut, closed])
        assert [len(each) for each in found] == [1, 0]
        assert found[1].source == "astronaut.jpg"
        assert "the file is closed" in (found[1].error or "")
        for send in (client.analyze, client.submit_video):
            with pytest.raises(errors.InputError, match="the file is closed"):
                send(closed)


def test_pixels_are_sent_without_a_loss(client: Client, astronaut: Path) -> None:
    pixels = read_image(astronaut)
    expected = Analyzer(AnalyzerOptions(keypoints=True)).analyze(pixels)
    with client:
        _same(client.analyze(pixels), expected, "array")
        one, other = client.analyze([pixels, Image.open(astronaut)])
    _same(one, expected, "images[0]")
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


def test_the_time_that_the_server_is_asked_to_wait_is_added_to_the_limit() -> None:
    usual, state = httpx.Timeout(2), requests.state("job", 7)
    assert _patience(usual, state) == httpx.Timeout(connect=2, read=9, write=2, pool=2)
    assert _patience(usual, requests.models()) == usual
    assert _patience(httpx.Timeout(None), state) == httpx.Timeout(None)


def test_the_source_of_a_video_is_the_name_of_its_file(client: Client, clip: Path) -> None:
    with client, clip.open("rb") as file:
        jobs = [client.submit_video(video) for video in (clip, file, clip.read_bytes())]
        assert [job.source for job in jobs] == ["clip.mp4", "clip.mp4", "video"]
        for job in jobs:
            client.cancel(job)


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


def test_pixels_are_compressed_beside_the_event_loop(
    server: Server, astronaut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    save = Image.Image.save

    def recorded(image: Image.Image, *args: Any, **options: Any) -> None:
        threads.append(threading.current_thread())
        save(image, *args, **options)

    monkeypatch.setattr(Image.Image, "save", recorded)

    async def use() -> None:
        async with AsyncClient(server.url, api_key=KEY, timeout=600) as client:
            assert len(await client.analyze(read_image(astronaut))) == 1

    asyncio.run(use())
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


def test_asynchronous(server: Server, astronaut: Path, clip: Path) -> None:
    async def use() -> None:
        async with AsyncClient(server.url, api_key=KEY, timeout=600) as client:
            one, several = await asyncio.gather(client.analyze(astronaut), client.analyze([astronaut, b"nothing"]))
            assert one.as_dict() == several[0].as_dict()
            assert several[1].error is not None
            assert await client.analyze([]) == []
            assert [each.source for each in await client.analyze(["nope.jpg", b"nothing"])] == ["nope.jpg", "images[1]"]
            assert len(await client.analyze_video(clip)) == 12
            assert (await client.models())["classifier"] == list(ENSEMBLES[DEFAULT])
            with pytest.raises(errors.InputError):
                await client.analyze(b"nothing")
            job = await client.submit_video(clip)
            await client.cancel(job)
            with pytest.raises(errors.NotFoundError):
                await client.results(job)

    asyncio.run(use())
