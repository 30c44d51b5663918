"""Videos that name other files: a client of the server must not read what it did not send."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.videos import numbered, write_video

from mien.containers import is_self_contained
from mien.server.app import create_app
from mien.server.options import ServerOptions

# A control character, so that the file does not pass for text.
CONCAT = "ffconcat version 1.0\n#\x01\nfile {}\n"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(ServerOptions(workers=1)), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", numbered(3))


def refused(client: TestClient, content: str | bytes) -> str:
    answer = client.post("/v1/video", files={"video": ("clip.mp4", content)})
    assert answer.status_code == 422, answer.text
    return str(answer.json()["error"]["message"])


def test_the_upload_of_another_client_is_not_read(client: TestClient, clip: Path) -> None:
    with clip.open("rb") as held:  # as the server holds it: /proc/PID/fd/N, beside the playlist
        assert "'clip.mp4' is a playlist" in refused(client, CONCAT.format(held.fileno()))


@pytest.mark.parametrize(
    "text",
    [
        CONCAT.replace("#\x01\n", ""),
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "<MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{}</BaseURL></MPD>",
    ],
    ids=["concat", "HLS", "SDP", "DASH"],
)
def test_files_of_the_server_are_not_read(client: TestClient, clip: Path, text: str) -> None:
    assert "'clip.mp4' is" in refused(client, text.format(clip))


def test_a_playlist_is_recognised_by_its_content(clip: Path, tmp_path: Path) -> None:
    listed = tmp_path / "video.mp4"
    listed.write_text(CONCAT.format("clip.mp4"))
    assert not is_self_contained(str(listed))
    assert is_self_contained(str(clip))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.ts", "libx264"), ("a.webm", "libvpx"), ("a.mpg", "mpeg2video")],
)
def test_usual_formats_hold_their_video(tmp_path: Path, name: str, codec: str) -> None:
    assert is_self_contained(str(write_video(tmp_path / name, numbered(3, (176, 144)), codec=codec)))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animated_images_hold_their_frames(tmp_path: Path, suffix: str) -> None:
    image = Image.new("RGB", (64, 48))
    image.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[Image.new("RGB", (64, 48), (200, 0, 0))])
    assert is_self_contained(str(tmp_path / f"a.{suffix}"))
