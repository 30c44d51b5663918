"""Every error mien raises on purpose, and what each means for a shell and for a web client.

A message has two parts: what failed with what was found against what was expected, and a hint: what to do next.
Programming mistakes (a wrong shape, a wrong type) stay ValueError and TypeError.
"""

__all__ = [
    "EXIT_CODES",
    "HTTP_STATUS",
    "ConfigError",
    "DataError",
    "DivergedError",
    "InputError",
    "LimitError",
    "MienError",
    "MissingExtraError",
    "OutputError",
    "StoppedError",
    "UnsupportedError",
    "WeightsError",
    "exit_code",
    "http_status",
]


class MienError(Exception):
    """Base of all errors below; catch it to catch everything mien raises on purpose.

    Attributes:
        message: One line: what failed, what was found, what was expected. Several mistakes have a line each, indented,
            under a line that says where they are.
        hint: What to do next; empty where there is nothing to add.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(MienError):
    """An option, a recipe or a name is not one that exists."""


class InputError(MienError):
    """A image, video or camera cannot be read."""


class LimitError(InputError):
    """An input is larger than the limit that protects the machine."""


class DataError(MienError):
    """A data set file breaks its own format."""


class WeightsError(MienError):
    """A weight file is missing, damaged, or not the one its manifest info describes."""


class DivergedError(MienError):
    """A training run's loss is no number any more."""


class UnsupportedError(MienError):
    """The installed version of a library cannot do what was asked."""


class MissingExtraError(UnsupportedError):
    """A feature needs packages that the light core does not install."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed", hint=f"pip install 'mien[{extra}]'")
        self.extra = extra


class OutputError(MienError):
    """A result cannot be written."""


class StoppedError(MienError):
    """A person stopped what was being done; the hint says how to go on."""


# The most specific class wins. 1 is kept for a bug (a traceback), 2 is what shells and click use for wrong usage.
EXIT_CODES: dict[type[MienError], int] = {
    ConfigError: 2,
    InputError: 3,
    DataError: 4,
    WeightsError: 5,
    UnsupportedError: 6,
    OutputError: 7,
    DivergedError: 8,
    StoppedError: 130,  # what shells report for Ctrl-C
    MienError: 1,
}

HTTP_STATUS: dict[type[MienError], int] = {
    ConfigError: 400,
    LimitError: 413,
    InputError: 422,
    DataError: 422,
    WeightsError: 503,
    UnsupportedError: 501,
    OutputError: 500,
    DivergedError: 500,
    MienError: 500,
}


def _look_up(table: dict[type[MienError], int], error: MienError) -> int:
    return next(table[kind] for kind in type(error).__mro__ if kind in table)


def exit_code(error: MienError) -> int:
    """The process exit code for an error, from `EXIT_CODES`."""
    return _look_up(EXIT_CODES, error)


def http_status(error: MienError) -> int:
    """The HTTP status for an error, from `HTTP_STATUS`."""
    return _look_up(HTTP_STATUS, error)
