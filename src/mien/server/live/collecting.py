"""The guided half-minute of the live page: images of the expressions that it asks for, for `mien personalise`.

The page keeps the images until the person has looked at them, and sends those that stay with POST to
`/collect/EMOTION`. They are written into class folders, `FOLDER/happiness/001.jpg`, which `mien personalise FOLDER`
reads. There is no such address unless the command was given a folder: `mien live --collect FOLDER`.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from mien.errors import InputError, LimitError, NotFoundError
from mien.files import new_file, write_errors
from mien.media.images import read_frame
from mien.server.live.pages import HEADERS, frame_in

# Images of one emotion in a folder: more than anyone means to give.
_MOST: Final = 1000
_JPEG: Final = b"\xff\xd8\xff"


class Collection:
    """Class folders that images are added to; what is there stays.

    Args:
        folder: The folder; it is made with the first image.
        emotions: The names of its class folders.
    """

    def __init__(self, folder: Path, emotions: tuple[str, ...]) -> None:
        self.folder, self.emotions = folder, emotions

    def add(self, emotion: str, content: bytes, max_pixels: int) -> str:
        """Adds an image under the next free number, and gives its place in the folder.

        Args:
            emotion: One of `emotions`.
            content: A JPEG file.
            max_pixels: The largest width times height.

        Raises:
            NotFoundError: There is no such emotion.
            InputError: The content is no JPEG image.
            LimitError: The image is too large, or there are too many.
            OutputError: It cannot be written.
        """
        if emotion not in self.emotions:
            raise NotFoundError(f"there is no emotion '{emotion[:80]}'", hint=f"one of {', '.join(self.emotions)}")
        if not content.startswith(_JPEG):
            raise InputError("the image is no JPEG file", hint="send it as image/jpeg")
        read_frame(content, max_pixels=max_pixels)  # refuses what is no image
        place = self.folder / emotion
        with write_errors(place):
            place.mkdir(parents=True, exist_ok=True)
        for number in range(1, _MOST + 1):
            path = place / f"{number:03}.jpg"
            if not path.exists():
                with new_file(path, "wb") as file:
                    file.write(content)
                return f"{emotion}/{path.name}"
        raise LimitError(f"'{place}' has {_MOST:,} images already", hint="give --collect another folder")

    def as_dict(self) -> dict[str, Any]:
        """What the page must know."""
        return {"folder": str(self.folder), "emotions": self.emotions}


def add_collecting(app: FastAPI, collection: Collection) -> None:
    """Adds the address that images are sent to; it needs the API key, if the server has one."""
    app.state.collection = collection  # the page asks for it
    lock = asyncio.Lock()  # two images must not get the same number

    @app.post("/collect/{emotion}", include_in_schema=False)
    async def collect(emotion: str, request: Request) -> JSONResponse:
        content = await frame_in(request)
        async with lock:
            place = await run_in_threadpool(collection.add, emotion, content, app.state.options.max_pixels)
        return JSONResponse({"file": place}, headers=HEADERS)
