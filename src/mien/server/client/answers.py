"""What comes back: jobs, results and errors, made from the JSON of the server."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from mien import errors
from mien.errors import MienError, MissingExtraError, UnavailableError
from mien.results import FrameResult

if TYPE_CHECKING:
    import httpx


# What a proxy answers whose server is down or busy.
_BEHIND_A_PROXY: Final = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Job:
    """The state of a video on the server.

    Attributes:
        id: Its name on the server.
        state: "waiting", "running", "done" or "failed".
        source: The name of the video.
        frames: Frames that are analyzed.
        expected_frames: About how many there will be; None if unknown.
        progress: 0-1; None if unknown.
        error: Why it failed; None unless it did.
    """

    id: str
    state: str
    source: str
    frames: int
    expected_frames: int | None
    progress: float | None
    error: Mapping[str, Any] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state in ("done", "failed")


def content_of(response: "httpx.Response") -> Any:
    """The JSON of a response; None for a response without content.

    Raises:
        MienError: The response is an error: the class that the server named.
    """
    if response.status_code == HTTPStatus.NO_CONTENT:
        return None
    try:
        found = response.json()
    except ValueError:
        busy = response.status_code in _BEHIND_A_PROXY
        raise (UnavailableError if busy else MienError)(
            f"the server at {response.url} answered {response.status_code} without JSON",
            hint="the server behind the proxy may be down or busy" if busy else "is it `mien serve`?",
        ) from None
    if response.is_success:
        return found
    details = found.get("error", {}) if isinstance(found, dict) else {}
    kind = getattr(errors, str(details.get("type")), MienError)
    if not isinstance(kind, type) or not issubclass(kind, MienError) or kind is MissingExtraError:
        kind = MienError
    raise kind(str(details.get("message", response.text[:200])), hint=str(details.get("hint", "")))


def job_of(found: Mapping[str, Any]) -> Job:
    """The job in the JSON of the server."""
    return Job(**{each.name: found.get(each.name) for each in fields(Job)})  # type: ignore[arg-type]


def results_of(found: Mapping[str, Any]) -> list[FrameResult]:
    """The results in the JSON of the server."""
    return [FrameResult.from_dict(each) for each in found["results"]]
