"""The server as its users meet it: images, videos, what it tells of itself, and how it stops."""

import base64
import concurrent.futures
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.server.conftest import Server, Starter, error_in, running

from mien.analyzer import Analyzer, AnalyzerOptions
from mien.analyzer.record import models_in_use
from mien.assets.manifest import DEFAULT, ENSEMBLES, FOLDER, shipped_models
from mien.expression.base import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.faces.landmarks import LandmarkOptions
from mien.media.picking import VideoOptions
from mien.output.schema import document


@pytest.fixture(scope="module")
def server(start: Starter) -> Server:
    return start("--workers", "2")


def test_results_are_those_of_the_analyzer(server: Server, astronaut: Path, photo: bytes) -> None:
    response = server.post(("photo.jpg", photo))
    assert response.status_code == 200
    expected = document(Analyzer().analyze(astronaut)) | {"source": "photo.jpg"}
    assert response.json() == {"results": [expected]}


def test_several_images_keep_their_order_and_their_errors(server: Server, photo: bytes) -> None:
    response = server.post(("a.jpg", photo), ("b.jpg", b"no image"), ("c.jpg", photo[:3000]), ("d.jpg", photo))
    results = response.json()["results"]
    assert response.status_code == 200
    assert [each["source"] for each in results] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert [len(each["faces"]) for each in results] == [1, 0, 0, 1]
    assert results[0]["error"] is None
    assert "not an image" in results[1]["error"]
    assert "damaged or incomplete" in results[2]["error"]


@pytest.mark.parametrize("kind", ["image/jpeg", "IMAGE/png; q=1", "application/octet-stream"])
def test_an_image_as_the_body(server: Server, photo: bytes, kind: str) -> None:
    """Its content says which format it has."""
    expected = server.post(("images[0]", photo)).json()
    response = server.http.post("/v1/analyze", content=photo, headers={"Content-Type": kind})
    assert response.status_code == 200
    assert response.json() == expected


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_base64_gives_the_same(server: Server, photo: bytes, prefix: str) -> None:
    data = prefix + base64.b64encode(photo).decode()
    response = server.http.post("/v1/analyze", json={"images": [{"name": "photo.jpg", "data": data}, data]})
    expected = server.post(("photo.jpg", photo)).json()["results"]
    assert response.json()["results"] == [expected[0], {**expected[0], "source": "images[1]"}]


def test_requests_at_the_same_time_get_their_own_results(server: Server, photo: bytes) -> None:
    before = server.metric("mien_batch_images_count"), server.metric("mien_batch_images_sum")
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda number: server.post((f"{number}.jpg", photo)).json(), range(48)))
    assert [each["results"][0]["source"] for each in found] == [f"{number}.jpg" for number in range(48)]
    assert {len(each["results"][0]["faces"]) for each in found} == {1}
    batches, images = (server.metric(f"mien_batch_images_{part}") for part in ("count", "sum"))
    assert images - before[1] == 48
    assert batches - before[0] < 48, "no two requests were analyzed together"


def test_metrics_count_faces(server: Server, photo: bytes) -> None:
    before = server.metric("mien_faces_total")
    server.post(("a.jpg", photo), ("b.jpg", photo), ("c.jpg", b"nothing"))
    assert server.metric("mien_faces_total") == before + 2
    assert server.metric('mien_frames_total{outcome="error"}') >= 1
    assert server.metric("process_resident_memory_bytes") > 0
    assert server.http.get("/metrics").headers["content-type"].startswith("text/plain; version=")


def test_it_says_what_it_is(server: Server) -> None:
    assert server.http.get("/healthz").json()["status"] == "ok"
    models = server.http.get("/v1/models").json()
    used = {each["name"] for each in models["models"] if each["in_use"]}
    assert used == {*ENSEMBLES[DEFAULT], "mien-detector", "mien-landmarks"}
    assert len(models["emotions"]) == 8
    document = server.http.get("/openapi.json").json()
    assert {"/v1/analyze", "/v1/video", "/v1/models", "/healthz", "/metrics"} <= set(document["paths"])
    assert document["components"]["schemas"]["FrameResult"]["properties"]["faces"]["items"]


FACES, POINTS = "mien-detector", "mien-landmarks"
OWN_FACES, OWN_POINTS = (FOLDER / shipped_models()[name].file for name in (FACES, POINTS))
WHOLE = DetectorOptions("whole-image")
OTHER_LANDMARKS = LandmarkOptions(weights=OWN_POINTS)


@pytest.mark.parametrize(
    ("options", "used"),
    [
        (AnalyzerOptions(), {FACES, POINTS}),  # it aligns
        (AnalyzerOptions(align=False), {FACES}),
        (AnalyzerOptions(align=False, keypoints=True), {FACES, POINTS}),
        (AnalyzerOptions(WHOLE), {POINTS}),
        (AnalyzerOptions(WHOLE, align=False), set()),
        (AnalyzerOptions(DetectorOptions(weights=OWN_FACES)), {FACES, POINTS}),  # the same network, by its file
        (AnalyzerOptions(landmarks=OTHER_LANDMARKS), {FACES, POINTS}),
        (AnalyzerOptions(landmarks=OTHER_LANDMARKS, keypoints=True), {FACES, POINTS}),
        (AnalyzerOptions(WHOLE, landmarks=OTHER_LANDMARKS, keypoints=True), {POINTS}),
    ],
)
def test_models_in_use_are_those_that_an_analyzer_runs(options: AnalyzerOptions, used: set[str]) -> None:
    options = replace(options, classifier=ClassifierOptions("mien-s"))
    assert models_in_use(Analyzer(options)) == {"mien-s", *used}


@pytest.mark.parametrize("address", ["/healthz", "/v1/models", "/openapi.json", "/v2"])
def test_head_is_get_without_a_body(server: Server, address: str) -> None:
    head, get = server.http.head(address), server.http.get(address)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert head.headers["content-type"] == get.headers["content-type"]


def test_a_wrong_method_is_told_the_right_ones(server: Server) -> None:
    response = server.http.head("/v1/analyze")
    assert (response.status_code, response.headers["allow"], response.content) == (405, "POST", b"")
    allowed = {
        "/healthz": "GET, HEAD",
        "/openapi.json": "GET, HEAD",
        "/v1/video": "POST",
        "/v1/video/x": "DELETE, GET, HEAD",
    }
    assert {address: server.http.put(address).headers["allow"] for address in allowed} == allowed


def test_a_video_is_a_job(server: Server, clip: Path) -> None:
    response = server.http.post("/v1/video", files={"video": ("clip.mp4", clip.read_bytes())})
    assert response.status_code == 202
    job = response.headers["location"]
    status = server.http.get(job, params={"wait": 30}).json()
    while status["state"] in ("waiting", "running"):
        status = server.http.get(job, params={"wait": 30}).json()
    assert (status["state"], status["frames"], status["progress"]) == ("done", 12, 1.0)
    results = server.http.get(f"{job}/result").json()["results"]
    expected = [document(each) | {"source": "clip.mp4"} for each in Analyzer().analyze(str(clip), video=VideoOptions())]
    assert results == expected
    assert server.http.delete(job).status_code == 204
    error_in(server.http.get(job), 404, "NotFoundError")
    error_in(server.http.get(f"{job}/result"), 404, "NotFoundError")


def test_a_part_of_a_video_as_the_body(server: Server, clip: Path) -> None:
    content = clip.read_bytes()
    response = server.http.post("/v1/video?every=4", content=content, headers={"Content-Type": "video/mp4"})
    job = response.headers["location"]
    while server.http.get(job, params={"wait": 30}).json()["state"] in ("waiting", "running"):
        pass
    assert [each["frame"] for each in server.http.get(f"{job}/result").json()["results"]] == [0, 4, 8]


def test_a_job_is_cancelled_while_it_runs(server: Server, long_clip: Path) -> None:
    content, before = long_clip.read_bytes(), _uploads(server.process.pid)
    job = server.http.post("/v1/video", files={"video": ("long.mp4", content)}).headers["location"]
    while not (status := server.http.get(job).json())["frames"]:
        assert status["state"] in ("waiting", "running")
    error_in(server.http.get(f"{job}/result"), 409, "ConflictError")
    partial = server.http.get(f"{job}/result?partial=true").json()["results"]
    assert len(partial) >= 1
    assert partial[0]["faces"]
    assert _uploads(server.process.pid) > before
    assert server.http.delete(job).status_code == 204
    error_in(server.http.get(job), 404, "NotFoundError")
    assert server.metric("mien_jobs_running") == 0
    assert _uploads(server.process.pid) == before


def _files(folder: Path) -> list[str]:
    """What was written there; onnxruntime creates an empty file `.ses` of its own."""
    return [path.name for path in folder.iterdir() if path.name != ".ses"]


def _uploads(process: int) -> int:
    """The files without a name that a process has open; a library may have one of its own."""
    links = Path(f"/proc/{process}/fd").iterdir()
    return sum("(deleted)" in os.readlink(link) for link in links if link.is_symlink())


def test_nothing_is_written_to_disk(photo: bytes, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running() as server:
        server.post(("a.jpg", photo * 1))
        job = server.http.post("/v1/video", files={"video": ("clip.mp4", clip.read_bytes())}).headers["location"]
        assert _files(tmp_path) == []
        server.http.get(job, params={"wait": 30})
        assert _files(tmp_path) == []


def test_a_restart_in_mid_job_loses_the_job_and_leaves_nothing(
    long_clip: Path, photo: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    content = long_clip.read_bytes()
    with running() as server:
        job = server.http.post("/v1/video", files={"video": ("long.mp4", content)}).headers["location"]
        while not server.http.get(job).json()["frames"]:
            pass
        server.process.kill()
        server.process.wait(600)
    assert _files(tmp_path) == []
    with running() as server:
        error = error_in(server.http.get(job), 404, "NotFoundError")
        assert "restart" in error["hint"]
        assert server.post(("a.jpg", photo)).status_code == 200


def test_it_stops_after_the_open_requests(photo: bytes, long_clip: Path) -> None:
    with running("--workers", "1") as server:
        job = server.http.post("/v1/video", files={"video": ("long.mp4", long_clip.read_bytes())}).headers["location"]
        while not server.http.get(job).json()["frames"]:
            pass
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            answer = thread.submit(server.post, *[(f"{number}.jpg", photo) for number in range(4)])
            while not server.metric("mien_requests_in_analysis"):
                assert not answer.done()
            server.process.send_signal(signal.SIGTERM)
            assert len(answer.result().json()["results"]) == 4
        assert server.process.wait(600) == 0
        with pytest.raises(httpx.ConnectError):
            server.http.get("/healthz")


def test_the_server_module_does_not_load_the_framework() -> None:
    program = "import sys, mien.server.client, mien.server.options; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=600)
    assert not {"fastapi", "uvicorn", "starlette", "pydantic", "onnxruntime"} & set(loaded.stdout.split())
