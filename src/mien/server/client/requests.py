"""What is sent: images, videos, and the requests of the interface, the same for both clients."""

import inspect
import io
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Generic, TypeVar, cast

from PIL import Image

from mien.errors import InputError, LimitError
from mien.media.decode import shown
from mien.media.images import STANDARD_INPUT, name_of, opened
from mien.media.inputs import UNNAMED, check_item, frame_of, is_one, source_of
from mien.media.picking import VideoOptions
from mien.names import printable
from mien.results import Frame, FrameResult
from mien.server.client.answers import Job, content_of, job_of, results_of

if TYPE_CHECKING:
    import httpx

# A video: a path, the content of a file, or an open binary file. Images may also be pixels.
Source = str | os.PathLike[str] | bytes | BinaryIO

# What a request has at most: half of what the server takes, unless it is told to take less.
_MOST_IMAGES: Final = 32
_MOST_BYTES: Final = 16_000_000

# A part of a form: its field, the name of the file, and the file.
_Part = tuple[str, tuple[str, bytes | BinaryIO]]

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send.

    Attributes:
        name: Its name.
        file: The file.
        known: Fields of its result that only the caller's side knows, besides its name.
        start: Where an open file is read from, so that it can be sent again; None if it cannot be moved.
    """

    name: str
    file: Source
    known: Mapping[str, Any] = field(default_factory=dict)
    start: int | None = None

    @property
    def size(self) -> int:
        """Its bytes; for a stream, of which nobody knows, as many as a request takes."""
        if isinstance(self.file, bytes):
            return len(self.file)
        if isinstance(self.file, (str, os.PathLike)):
            with suppress(OSError):  # sending it tells why
                return os.stat(self.file).st_size
            return 0
        return _MOST_BYTES if self.start is None else self.file.seek(0, os.SEEK_END) - self.start


@dataclass(frozen=True, slots=True)
class Request(Generic[Answer]):
    """One request of the interface, and how its answer is read.

    Attributes:
        method: The HTTP method.
        path: The address on the server.
        read: Makes the answer of the client from the JSON of the response; None without content.
        params: The query.
        form: The name of the files in the form.
        files: Files that are sent as a form.
        wait: Seconds for which the server is asked to hold its answer back.
    """

    method: str
    path: str
    read: Callable[[Any], Answer]
    params: Mapping[str, float] = field(default_factory=dict)
    form: str = ""
    files: Sequence[Upload] = ()
    wait: float = 0

    @property
    def can_repeat(self) -> bool:
        """Whether it can be sent again: its files are names or contents, or can be read from the start once more."""
        return all(isinstance(each.file, (str, os.PathLike, bytes)) or each.start is not None for each in self.files)

    @property
    def starts_a_job(self) -> bool:
        """Whether the server would do its work again if it came a second time."""
        return self.form == "video"

    @contextmanager
    def opened(self) -> Iterator[dict[str, Any]]:
        """The arguments of `httpx.Client.request`, whose files are open until the block ends.

        Raises:
            InputError: A file cannot be read.
        """
        with ExitStack() as stack:
            parts: list[_Part] = []
            for each in self.files:
                file = each.file
                if isinstance(file, (str, os.PathLike)):
                    file = stack.enter_context(opened(os.fsdecode(file)))
                elif each.start is not None and not isinstance(file, bytes):
                    file.seek(each.start)
                parts.append((self.form, (printable(each.name), file)))
            yield {"method": self.method, "url": self.path, "params": dict(self.params), "files": parts or None}

    def answer(self, response: "httpx.Response") -> Answer:
        """The answer of the client.

        Raises:
            MienError: The response is an error: the class that the server named.
        """
        return self.read(content_of(response))


class Images:
    """The images of one call, and their results: several requests for a long list, one after another.

    After each `request`, either `take` or `refuse` is called.

    Args:
        images: As for `Client.analyze`.

    Raises:
        MienError: As for `Client.analyze`, before anything is sent.
    """

    def __init__(self, images: object) -> None:
        self._is_one = is_one(images)
        if not self._is_one and not isinstance(images, Collection):
            kind = type(images).__name__
            raise TypeError(f"expected an image, or a list of them, got {kind}; write list({kind})")
        items = [_upload(images, 0)] if self._is_one else _items(cast(Collection[object], images))
        self._items: Sequence[Upload | FrameResult] = items
        self._waiting = deque(_parts([each for each in items if isinstance(each, Upload)]))
        self._results: list[FrameResult] = []

    def request(self) -> Request[list[FrameResult]] | None:
        """The next request; None if there is nothing more to send."""
        if not self._waiting:
            return None
        return Request("POST", "/v1/analyze", results_of, form="images", files=self._waiting[0])

    def take(self, results: list[FrameResult]) -> None:
        """Takes the results of the request."""
        self._waiting.popleft()
        self._results += results

    def refuse(self, error: InputError) -> None:
        """Goes on after the server answered with an error.

        It does so if the only image of a request cannot be read. The images of a request that is too large for it are
        sent in halves.

        Raises:
            InputError: The error itself, if it is not about single images of a list.
        """
        part = self._waiting.popleft()
        if self._is_one or (len(part) > 1 and not isinstance(error, LimitError)):
            raise error
        if len(part) == 1:
            self._results.append(FrameResult(part[0].name, error=str(error)))
        else:
            half = len(part) // 2
            self._waiting.extendleft([part[half:], part[:half]])

    def answer(self) -> FrameResult | list[FrameResult]:
        """The answer to the caller, with the server's results in the places of what was sent."""
        rest = iter(self._results)
        found = [
            # A form does not keep every character of a name.
            replace(next(rest), **{"source": each.name, **each.known}) if isinstance(each, Upload) else each
            for each in self._items
        ]
        return found[0] if self._is_one else found


def _parts(uploads: Sequence[Upload]) -> Iterator[Sequence[Upload]]:
    """What goes into each request."""
    part: list[Upload] = []
    size = 0
    for each in uploads:
        more = each.size
        if part and (len(part) == _MOST_IMAGES or size + more > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(each)
        size += more
    if part:
        yield part


def _items(images: Collection[object]) -> list[Upload | FrameResult]:
    """Each image as a file to send, or its result if it cannot be read.

    Raises:
        TypeError: Something can never be an image.
        ValueError: An array has another shape.
    """
    for place, image in enumerate(images):
        check_item(image, place)
    items: list[Upload | FrameResult] = []
    for place, image in enumerate(images):
        try:
            item = image if isinstance(image, FrameResult) else _upload(image, place)
        except (InputError, TypeError, ValueError) as error:
            item = FrameResult(Path(source_of(image)).name, error=str(error))
        unnamed = f"images[{place}]"
        if isinstance(item, Upload) and item.name in UNNAMED and not isinstance(image, Frame):
            item = replace(item, name=unnamed)
        elif isinstance(item, FrameResult) and item.source in UNNAMED and item is not image:
            item = replace(item, source=unnamed)
        items.append(item)
    return items


def _upload(image: object, place: int) -> Upload:
    """An image as a file to send, whose path can be opened.

    Args:
        image: The image.
        place: Its place in the list of the caller, the name of what has none.

    Raises:
        InputError: It cannot be read.
        TypeError: It is not an image; the message has the conversion.
        ValueError: An array has another shape.
    """
    unnamed = f"images[{place}]"
    is_file = not (isinstance(image, str) and (image == STANDARD_INPUT or image[:5].lower() == "data:"))
    if is_file and (file := _file(image)) is not None:
        if isinstance(file, (str, os.PathLike)):
            with opened(os.fsdecode(file)):
                pass
        return Upload(_name(file) or unnamed, file, start=_place(file))
    frame = frame_of(image)
    content = io.BytesIO()
    Image.fromarray(frame.image).save(content, "PNG", compress_level=1)
    known: dict[str, Any] = {"frame": frame.index, "timestamp": frame.timestamp, "note": frame.note}
    if isinstance(image, Frame):
        known["source"] = frame.source
    return Upload(Path(frame.source).name or unnamed, content.getvalue(), known)


def _file(source: object) -> Source | None:
    """A source that is sent as it is; None for anything else, such as pixels.

    Raises:
        InputError: The file is closed.
    """
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike, bytes)):
        return source
    read = getattr(source, "read", None)
    if read is None or isinstance(source, io.TextIOBase) or inspect.iscoroutinefunction(read):
        return None
    file = cast(BinaryIO, source)
    if getattr(file, "closed", False):
        raise InputError(f"'{shown(source_of(file))}' cannot be read: the file is closed")
    return file


def _place(file: Source) -> int | None:
    """Where an open file stands; None for a stream that only goes forward, and for what is no file."""
    if isinstance(file, (str, os.PathLike, bytes)) or not (hasattr(file, "seekable") and file.seekable()):
        return None
    return file.tell()


def _name(file: Source) -> str:
    """The name of a file without its folder; empty for a content and a stream, which have none."""
    return Path(os.fsdecode(file) if isinstance(file, (str, os.PathLike)) else name_of(file)).name


def submit(video: Source, options: VideoOptions | None) -> Request[Job]:
    """The request that sends a video.

    Raises:
        InputError: It is something else, or a closed file.
    """
    query = {name: value for name, value in asdict(options or VideoOptions()).items() if value is not None}
    if (file := _file(video)) is None:
        hint = 'open the file with "rb"' if isinstance(video, io.TextIOBase) else ""
        expected = "expected a path, the content of a file as bytes, or an open binary file"
        raise InputError(f"an object of the type {type(video).__name__} is not a video", hint=hint or expected)
    return Request(
        "POST", "/v1/video", job_of, query, "video", [Upload(_name(file) or "video", file, start=_place(file))]
    )


def state(job: Job | str, wait: float) -> Request[Job]:
    """The request for the state of a job."""
    return Request("GET", f"/v1/video/{_id(job)}", job_of, {"wait": wait}, wait=wait)


def results(job: Job | str, *, partial: bool) -> Request[list[FrameResult]]:
    """The request for the results of a job."""
    return Request("GET", f"/v1/video/{_id(job)}/result", results_of, {"partial": partial})


def cancel(job: Job | str) -> Request[None]:
    """The request that cancels a job."""
    return Request("DELETE", f"/v1/video/{_id(job)}", lambda _: None)


def models() -> Request[dict[str, Any]]:
    """The request for the models."""
    return Request("GET", "/v1/models", dict)


def _id(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id
