"""What the Python client cannot send is refused by name before a request is made."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.errors import InputError
from mien.server.client import AsyncClient, Client

# Nobody listens there: a request would raise UnavailableError.
NOWHERE = "http://127.0.0.1:9"

SOURCES: list[tuple[Callable[[Path], Any], str, str]] = [
    (lambda path: [], "there are no images", "at least one"),
    (lambda path: (), "there are no images", "at least one"),
    (lambda path: (each for each in [path]), "of the type generator", "expected a list"),
    (lambda path: {path}, "of the type set", "expected a list"),
    (lambda path: map(str, [path]), "of the type map", "expected a list"),
    (lambda path: None, "of the type NoneType", "expected a path"),
    (lambda path: [path, None], "of the type NoneType", "expected a path"),
    (lambda path: np.zeros((4, 4, 3), np.uint8), "of the type ndarray", "as bytes"),
    (lambda path: bytearray(b"x"), "of the type bytearray", "as bytes"),
    (lambda path: io.StringIO("x"), "of the type StringIO", '"rb"'),
    (lambda path: "no such file.jpg", "'no such file.jpg' cannot be read", ""),
    (lambda path: path.parent, "cannot be read: is a directory", ""),
    (lambda path: "a\0b", "cannot be read", ""),
]


@pytest.mark.parametrize(("source", "message", "hint"), SOURCES)
def test_what_cannot_be_sent_is_refused(tmp_path: Path, source: Callable[[Path], Any], message: str, hint: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(b"x")
    with Client(NOWHERE) as client, pytest.raises(InputError, match=message) as found:
        client.analyze(source(path))
    assert hint in found.value.hint

    async def use() -> None:
        async with AsyncClient(NOWHERE) as other:
            with pytest.raises(InputError, match=message):
                await other.analyze(source(path))

    asyncio.run(use())


@pytest.mark.parametrize("video", [None, [b"x"], io.StringIO("x"), "no such video.mp4"])
def test_a_video_that_cannot_be_sent_is_refused(video: Any) -> None:
    with Client(NOWHERE) as client, pytest.raises(InputError):
        client.analyze_video(video)
