"""Every error that mien raises on purpose, and its exit code and HTTP status.

A message has two parts: what failed, with what was found and what was expected; and a hint: what to do next.
Programming errors (an array of a wrong shape or type) remain ValueError and TypeError.
"""

import difflib
import math
from collections.abc import Iterable
from numbers import Real
from typing import Final

__all__ = [
    "EXIT_CODES",
    "HTTP_STATUS",
    "AccessError",
    "ConfigError",
    "ConflictError",
    "DataError",
    "DivergedError",
    "InputError",
    "LimitError",
    "MediaTypeError",
    "MethodError",
    "MienError",
    "MissingExtraError",
    "NotFoundError",
    "OriginError",
    "OutputError",
    "RateError",
    "RequestError",
    "SlowRequestError",
    "StoppedError",
    "UnavailableError",
    "UnsupportedError",
    "WeightsError",
    "check_flag",
    "check_fraction",
    "exit_code",
    "http_status",
    "meant",
    "nearest",
]


class MienError(Exception):
    """The base of all errors below; catch it to catch everything that mien raises on purpose.

    Attributes:
        message: One line: what failed, what was found, what was expected. Several errors have an indented line each,
            below a line that says where they are.
        hint: What to do next; empty if there is nothing to add.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(MienError):
    """An option, a recipe or a name has an invalid value."""


class InputError(MienError):
    """An image, video or camera cannot be read."""


class LimitError(InputError):
    """An input exceeds the limit that protects the machine."""


class DataError(MienError):
    """A data set is not in its documented format."""


class WeightsError(MienError):
    """A file of weights is missing, damaged, or not the one that its manifest entry describes."""


class DivergedError(MienError):
    """The loss of a training run became NaN or infinite."""


class UnsupportedError(MienError):
    """The installed version of a library does not support the request."""


class MissingExtraError(UnsupportedError):
    """A feature needs packages that the core does not install."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed", hint=f"pip install 'mien[{extra}]'")
        self.feature, self.extra = feature, extra

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return type(self), (self.feature, self.extra)  # an error may cross processes


class OutputError(MienError):
    """A result cannot be written."""


class StoppedError(MienError):
    """The user stopped the command; the hint says how to continue."""


class RequestError(MienError):
    """A request to the server cannot be served; the children say why."""


class AccessError(RequestError):
    """A request has no API key, or a wrong one."""


class OriginError(RequestError):
    """A request comes from a web page that may not use the server."""


class NotFoundError(RequestError):
    """The server has no such address, or no such job."""


class MethodError(RequestError):
    """An address of the server has no such method."""


class SlowRequestError(RequestError):
    """The body of a request did not arrive in time."""


class ConflictError(RequestError):
    """A job is in a state in which it cannot do this."""


class MediaTypeError(RequestError):
    """The body of a request is of a type that the server does not read."""


class RateError(RequestError):
    """A client sent more requests than it may.

    Attributes:
        seconds: After which another request will be accepted.
    """

    def __init__(self, message: str, *, hint: str = "", seconds: float = 1) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds


class UnavailableError(RequestError):
    """The server is busy or shutting down."""


# The most specific class counts. 1 remains for bugs (a traceback); shells and click use 2 for wrong usage.
EXIT_CODES: Final[dict[type[MienError], int]] = {
    ConfigError: 2,
    InputError: 3,
    DataError: 4,
    WeightsError: 5,
    UnsupportedError: 6,
    OutputError: 7,
    DivergedError: 8,
    RequestError: 9,
    StoppedError: 130,  # what shells report for Ctrl-C
    MienError: 1,
}

HTTP_STATUS: Final[dict[type[MienError], int]] = {
    ConfigError: 400,
    LimitError: 413,
    InputError: 422,
    DataError: 422,
    WeightsError: 503,
    UnsupportedError: 501,
    RequestError: 400,
    AccessError: 401,
    OriginError: 403,
    NotFoundError: 404,
    MethodError: 405,
    SlowRequestError: 408,
    ConflictError: 409,
    MediaTypeError: 415,
    RateError: 429,
    UnavailableError: 503,
    MienError: 500,
}


def exit_code(error: MienError) -> int:
    """The exit code of the process for an error."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def http_status(error: MienError) -> int:
    """The HTTP status for an error."""
    return next(HTTP_STATUS[kind] for kind in type(error).__mro__ if kind in HTTP_STATUS)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known name that a wrong word may have meant, for messages; empty if none is similar."""
    plain = {name.lower().replace("_", "-"): name for name in known}
    meant = word.strip().lower().replace("_", "-")
    begun = sorted(name for name in plain if len(meant) > 2 and name.startswith(meant))
    found = begun or difflib.get_close_matches(meant, sorted(plain), n=1, cutoff=0.65)
    return plain[found[0]] if found else ""


def meant(word: str, known: Iterable[str]) -> str:
    """The start of a hint that suggests the nearest known name: "did you mean X? "; empty if none is similar."""
    near = nearest(word, known)
    return f"did you mean {near}? " if near else ""


def check_fraction(name: str, value: object) -> None:
    """Refuses what is not a number 0-1.

    Raises:
        ConfigError: The message names the option.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not 0 <= number <= 1:  # also refuses nan
        # Just above 1 it is hardly a percentage.
        hint = f"{number:g} percent is {number / 100:g}" if 5 <= number <= 100 else "for example 0.5"
        raise ConfigError(f"{name}: expected a number 0-1, got {value!r}", hint=hint)


def check_flag(name: str, value: object) -> None:
    """Refuses what is not True or False, also of NumPy: text such as "no" would count as yes.

    Raises:
        ConfigError: The message names the option.
    """
    if type(value).__name__ not in ("bool", "bool_"):
        raise ConfigError(f"{name}: expected True or False, got {repr(value)[:80]}")
