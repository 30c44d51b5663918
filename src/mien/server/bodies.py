"""Reads the bodies of requests within limits: bytes, time, parts, and the memory of all requests together.

Nothing is read that exceeds a limit. Images stay in memory; a video goes to a file without a name, which the system
removes when it is closed, even if the server is killed.
"""

import asyncio
import base64
import binascii
import io
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import IO, Annotated, Final, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mien.errors import InputError, LimitError, MediaTypeError, SlowRequestError, UnavailableError
from mien.media.decode import decode, shown
from mien.media.formats import ALONE
from mien.results import Frame
from mien.server.options import LONGEST_NAME, ServerOptions
from mien.server.pool import Upload

IMAGES, VIDEO = "images", "video"

# The name of an image that is the body.
_ALONE: Final = f"{IMAGES}[0]"

_FORM, _JSON = "multipart/form-data", "application/json"

_MEGABYTE: Final = 1_000_000

# A video may take longer than `max_seconds` to arrive if it keeps this rate, in bytes per second.
_LEAST_RATE: Final = 50_000

# Request bodies with images that may be in memory at the same time, in units of the largest one.
_BODIES: Final = 4

# A part of a form is a file, not text; a text part is refused beyond this size.
_TEXT: Final = 1000


class EncodedImage(BaseModel):
    """An image in JSON."""

    model_config = ConfigDict(extra="forbid")

    data: Annotated[str, Field(description="The file in base64, or as a data: URI.")]
    name: Annotated[str | None, Field(description="Becomes the `source` of its result.", max_length=LONGEST_NAME)] = (
        None
    )


class EncodedImages(BaseModel):
    """The images of a request in JSON."""

    model_config = ConfigDict(extra="forbid")

    images: Annotated[
        list[EncodedImage | str], Field(description="Each an object, or only its data as text.", min_length=1)
    ]


class Body:
    """What was read of one request; it counts as held until the request ends."""

    def __init__(self) -> None:
        self.size = 0
        self.is_complete = False
        self.is_refused = False
        self.timer: asyncio.Timeout | None = None

    def refuse(self) -> None:
        """Stops reading at once."""
        self.is_refused = True
        if self.timer is not None:
            self.timer.reschedule(asyncio.get_running_loop().time())


class Intake:
    """All bodies that are held at the same time.

    If they exceed the limit, the largest one that is still being read is refused: clients that send endless bodies
    give way to those with usual ones.

    Args:
        most: Bytes of all bodies together.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._bodies: set[Body] = set()

    @asynccontextmanager
    async def body(self) -> AsyncIterator[Body]:
        """A body, which is held until the block ends."""
        body = Body()
        self._bodies.add(body)
        try:
            yield body
        finally:
            self.release(body)

    def hold(self, body: Body) -> None:
        """Holds a body beyond its block."""
        self._bodies.add(body)

    def release(self, body: Body) -> None:
        """Forgets a body."""
        self._bodies.discard(body)

    @property
    def held(self) -> int:
        """Bytes of all bodies."""
        return sum(body.size for body in self._bodies)

    def add(self, body: Body, size: int) -> None:
        """Counts what arrived of a body.

        Raises:
            UnavailableError: The body was refused, now or before.
        """
        body.size += size
        while not body.is_refused and self.held > self.most:
            largest = max((each for each in self._bodies if not each.is_complete), key=lambda each: each.size)
            self._bodies.discard(largest)
            largest.refuse()
        if body.is_refused:
            raise _busy()


class Reader:
    """Reads requests.

    Args:
        options: The options of the server, with the limits.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.images = Intake(_BODIES * options.max_megabytes * _MEGABYTE)
        self.videos = Intake(options.max_jobs * options.max_video_megabytes * _MEGABYTE)

    async def read_images(self, request: Request, body: Body) -> list[Upload]:
        """The images of a request, not yet decoded.

        Raises:
            LimitError: The body is too large, or has too many images.
            MediaTypeError: It is neither a form, nor JSON, nor an image.
            InputError: It is damaged, or has other fields.
            SlowRequestError: It did not arrive in time.
            UnavailableError: The bodies of all requests exceed the memory.
        """
        limit = self.options.max_megabytes
        kind = _content_type(request)
        if not (kind in (_FORM, _JSON) or _is_file(kind, "image/")):
            raise MediaTypeError(
                f"{_body_of(kind)}, expected multipart/form-data, application/json or image/...",
                hint="videos: POST /v1/video"
                if kind.startswith("video/")
                else _curl(IMAGES, "photo.jpg", "image/jpeg"),
            )
        stream = self._stream(request, body, self.images, limit, least_rate=None)
        if kind == _FORM:
            files = await _files(request, stream, IMAGES, self.options.max_images, spool=limit * _MEGABYTE + 1)
            data = [(file.filename or f"{IMAGES}[{number}]", await file.read()) for number, file in enumerate(files)]
            return [Upload(name, partial(_decoded, name, part, self.options.max_pixels)) for name, part in data]
        content = bytearray()  # a list of chunks could take many times the memory of their bytes
        async for chunk in stream:
            content += chunk
        if kind != _JSON:
            return [Upload(_ALONE, partial(_decoded, _ALONE, bytes(content), self.options.max_pixels))]
        try:
            found = EncodedImages.model_validate_json(bytes(content))
        except ValidationError as error:
            raise InputError(_problems(error), hint='expected {"images": ["BASE64", ...]}') from None
        if len(found.images) > self.options.max_images:
            raise _too_many(self.options.max_images)
        uploads = []
        for number, image in enumerate(found.images):
            text, name = (image, None) if isinstance(image, str) else (image.data, image.name)
            name = name or f"{IMAGES}[{number}]"
            uploads.append(Upload(name, partial(_decoded_text, name, text, self.options.max_pixels)))
        return uploads

    async def read_video(self, request: Request, body: Body) -> tuple[str, IO[bytes]]:
        """The name of a video, and its content in a file that has no name.

        Raises:
            MienError: As for `read_images`.
        """
        limit = self.options.max_video_megabytes
        kind = _content_type(request)
        if kind == _FORM:
            stream = self._stream(request, body, self.videos, limit, least_rate=_LEAST_RATE)
            (file, *_) = await _files(request, stream, VIDEO, 1, spool=_MEGABYTE)
            spooled = cast("tempfile.SpooledTemporaryFile[bytes]", file.file)
            await asyncio.to_thread(spooled.rollover)
            return file.filename or VIDEO, spooled
        if not _is_file(kind, "video/"):
            raise MediaTypeError(
                f"{_body_of(kind)}, expected multipart/form-data or video/...",
                hint="images: POST /v1/analyze" if kind.startswith("image/") else _curl(VIDEO, "clip.mp4", "video/mp4"),
            )
        target = tempfile.TemporaryFile(prefix="mien-")  # noqa: SIM115  (the job closes it)
        try:
            async for chunk in self._stream(request, body, self.videos, limit, least_rate=_LEAST_RATE):
                await asyncio.to_thread(target.write, chunk)
            target.flush()
        except BaseException:
            target.close()
            raise
        return VIDEO, target

    async def _stream(
        self, request: Request, body: Body, intake: Intake, megabytes: int, least_rate: int | None
    ) -> AsyncGenerator[bytes, None]:
        """The chunks of a body."""
        most, seconds = megabytes * _MEGABYTE, self.options.max_seconds
        stated = request.headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > most:
            raise _too_large(megabytes)
        clock = asyncio.get_running_loop()
        start = clock.time()
        chunks = request.stream()
        try:
            while True:
                allowed = seconds + (body.size / least_rate if least_rate else 0)
                async with asyncio.timeout_at(start + allowed) as body.timer:
                    chunk = await anext(chunks, None)
                body.timer = None
                if chunk is None:
                    break
                if body.size + len(chunk) > most:
                    raise _too_large(megabytes)
                intake.add(body, len(chunk))
                yield chunk
            body.is_complete = True
        except TimeoutError:
            if body.is_refused:
                raise _busy() from None
            raise SlowRequestError(
                f"the body of the request did not arrive within {seconds} seconds", hint="send less, or faster"
            ) from None
        except ClientDisconnect:
            raise SlowRequestError("the client closed the connection before the body was complete") from None


class _Form(MultiPartParser):
    """The parser of forms; its files stay in memory up to `spool_max_size` bytes."""

    def __init__(self, request: Request, stream: AsyncGenerator[bytes, None], most: int, spool: int) -> None:
        super().__init__(request.headers, stream, max_files=most, max_fields=most, max_part_size=_TEXT)
        self.spool_max_size = spool


async def _files(
    request: Request, stream: AsyncGenerator[bytes, None], field: str, most: int, spool: int
) -> list[UploadFile]:
    """The files of one field of a form, at least one."""
    try:
        form = await _Form(request, stream, most, spool).parse()
    except MultiPartException as error:
        if error.message.startswith("Too many"):
            if most == 1:
                raise InputError(f"expected one part named '{field}', found several parts") from None
            raise _too_many(most, field) from None
        if "exceeded maximum size" in error.message:  # a text of many bytes; the hint is for the file that it was to be
            raise InputError(
                f"a part of the form is text of more than {_TEXT:,} bytes, expected a file",
                hint=f"give the part a file name: -F {field}=@FILE",
            ) from None
        raise InputError(f"the form is damaged: {error.message.lower().rstrip('.')}") from None
    except (ValueError, UnicodeError, KeyError) as error:  # of headers of parts that nobody sends
        raise InputError(f"the form is damaged: {str(error).lower()}") from None
    files = []
    for name, value in form.multi_items():
        if name != field:
            raise InputError(f"the form has the field '{shown(name)}', expected '{field}'", hint=f"-F {field}=@FILE")
        if isinstance(value, str):
            raise InputError(f"the field '{field}' is text, expected a file", hint=f"-F {field}=@FILE")
        files.append(value)
    if not files:
        raise InputError(f"the form has no field '{field}'", hint=f"-F {field}=@FILE")
    return files


def _decoded(name: str, content: bytes, max_pixels: int) -> Frame:
    try:
        return decode(io.BytesIO(content), name, max_pixels)
    except InputError as error:
        error.hint = error.hint.replace(ALONE, "POST /v1/video")  # a client need not be in Python
        raise


def _decoded_text(name: str, text: str, max_pixels: int) -> Frame:
    """The image in a text: base64, or a data: URI in base64."""
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise InputError(f"'{shown(name)}' is a data: URI that is not in base64")
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"'{shown(name)}' is not base64: {str(error).lower()}") from None
    return _decoded(name, content, max_pixels)


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_file(kind: str, prefix: str) -> bool:
    """Whether a body of this type is the file itself; its content says what it is."""
    return kind.startswith(prefix) or kind == "application/octet-stream"


def _body_of(kind: str) -> str:
    return f"the body is '{shown(kind)}'" if kind else "the body has no type"


def _curl(field: str, file: str, kind: str) -> str:
    """A hint with both ways to send a file."""
    return f"curl -F {field}=@{file} URL, or curl --data-binary @{file} -H 'Content-Type: {kind}' URL"


def _problems(error: ValidationError) -> str:
    """The first problems of a JSON body, on one line and without its values, which are images."""
    found = [
        f"{'.'.join(str(part) for part in each['loc']) or 'the body'}: {each['msg'].lower()}" for each in error.errors()
    ]
    return "; ".join(found[:3])[:500]


def _too_large(megabytes: int) -> LimitError:
    return LimitError(
        f"the body of the request has more than {megabytes} megabytes, the limit",
        hint="send fewer or smaller files in each request",
    )


def _too_many(most: int, field: str = IMAGES) -> LimitError:
    return LimitError(f"the request has more than {most} {field}, the limit", hint="send several requests")


def _busy() -> UnavailableError:
    return UnavailableError("too many large requests at the same time", hint="try again later")
