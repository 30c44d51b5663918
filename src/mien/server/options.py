"""The options of the server: where it listens, who may use it, and the limits that protect it."""

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from mien.errors import ConfigError

# A shorter key could be found by trying.
LEAST_KEY: Final = 16

# The largest message of a WebSocket.
WEBSOCKET_BYTES: Final = 8 * 2**20

# The longest name of an image, in characters: it is repeated in results.
LONGEST_NAME: Final = 500

_FROM_ONE: Final = (
    "batch",
    "max_megabytes",
    "max_pixels",
    "max_images",
    "max_video_megabytes",
    "max_frames",
    "max_seconds",
    "max_job_seconds",
    "max_requests",
    "max_jobs",
    "max_live",
)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Everything that can be chosen about the server.

    Attributes:
        api_keys: Keys that are accepted; those of the file are added.

    Raises:
        ConfigError: An option has a value out of its range, the file of keys cannot be used, or the server could be
            reached from other machines without an API key.
    """

    host: Annotated[str, "Address to listen on; any but a loopback address requires --api-key-file."] = "127.0.0.1"
    port: Annotated[int, "Port to listen on; 0 for any free one."] = 8000
    api_key_file: Annotated[
        Path | None, f"File with the accepted API keys, one per line, of at least {LEAST_KEY} characters each."
    ] = None
    allow_origin: Annotated[
        tuple[str, ...] | None,
        "Origin of web pages that may use the server besides its own, such as https://example.org; repeatable.",
    ] = None
    certfile: Annotated[Path | None, "Certificate (PEM) for HTTPS; with the chain, and the key unless --keyfile."] = (
        None
    )
    keyfile: Annotated[Path | None, "Private key (PEM) of the certificate."] = None
    workers: Annotated[int | None, "Analyzers that work at the same time; by default one for each processor core."] = (
        None
    )
    batch: Annotated[int, "Images of waiting requests that are analyzed together; 1 turns micro-batching off."] = 16
    max_megabytes: Annotated[int, "Largest body of a request with images, in megabytes; beyond it: status 413."] = 32
    max_pixels: Annotated[int, "Largest image, width times height in pixels; beyond it: 413."] = 50_000_000
    max_images: Annotated[int, "Most images in a request; beyond it: 413."] = 64
    max_video_megabytes: Annotated[int, "Largest video, in megabytes; beyond it: 413."] = 512
    max_frames: Annotated[int, "Most frames that are analyzed of a video; beyond it: 413."] = 20_000
    max_seconds: Annotated[
        int, "Longest time to receive the body of a request (beyond it: 408), and to analyze its images (503)."
    ] = 30
    max_job_seconds: Annotated[int, "Longest time to analyze a video; and to keep the result of one, in seconds."] = (
        3600
    )
    max_requests: Annotated[int, "Most requests with images that wait or are analyzed; beyond it: 503."] = 128
    max_jobs: Annotated[int, "Most videos that wait or are analyzed; beyond it: 503."] = 8
    max_live: Annotated[int, "Most live connections at the same time."] = 8
    rate: Annotated[
        float | None, "Most requests per second for each API key, or for each address without keys; beyond it: 429."
    ] = None
    access_log: Annotated[
        bool, "Write a line for each request to standard error: time, address, method, route, status, seconds."
    ] = False
    api_keys: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "allow_origin", tuple(origin.rstrip("/") for origin in self.allow_origin or ()))
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port: expected a number 0-65535, got {self.port}", hint="for example 8000")
        for name in _FROM_ONE:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected a number from 1, got {getattr(self, name)}")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers: expected a number from 1, got {self.workers}")
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise ConfigError(f"rate: expected a number of requests per second above 0, got {self.rate:g}")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ConfigError(
                    f"allow_origin: expected scheme://host, got '{origin}'", hint="for example https://example.org"
                )
        if self.keyfile is not None and self.certfile is None:
            raise ConfigError("keyfile: has no effect without a certificate", hint="add --certfile CERT.pem")
        keys = [*self.api_keys, *(read_keys(self.api_key_file) if self.api_key_file else ())]
        object.__setattr__(self, "api_keys", tuple(dict.fromkeys(keys)))
        if not self.api_keys and not is_loopback(self.host):
            raise ConfigError(
                f"host: '{self.host}' can be reached from other machines, which requires API keys",
                hint="add --api-key-file FILE, or listen on 127.0.0.1",
            )

    @property
    def origins(self) -> tuple[str, ...]:
        """The allowed origins besides the server's own."""
        return self.allow_origin or ()


def read_keys(path: Path) -> tuple[str, ...]:
    """The keys of a file: one per line; empty lines and those that begin with # are ignored.

    Raises:
        ConfigError: The file cannot be read, has no key, or one that is too short or has other characters than ASCII.
    """
    hint = f"write one key per line: openssl rand -hex 32 > {path}"
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file in UTF-8"
        raise ConfigError(f"api_key_file: '{path}' cannot be read: {reason.lower()}", hint=hint) from None
    keys = []
    for number, line in enumerate(lines, 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if len(key) < LEAST_KEY or not key.isascii() or " " in key or not key.isprintable():
            raise ConfigError(
                f"api_key_file: line {number} of '{path}' is not a key: expected at least {LEAST_KEY} characters, "
                "all of them ASCII, without blanks",
                hint=hint,
            )
        keys.append(key)
    if not keys:
        raise ConfigError(f"api_key_file: '{path}' has no key", hint=hint)
    return tuple(keys)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on this address; a name is looked up.

    Raises:
        ConfigError: There is no such name.
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        found = {str(each[4][0]).partition("%")[0] for each in socket.getaddrinfo(host or "0.0.0.0", None)}
    except (OSError, UnicodeError):
        raise ConfigError(f"host: '{host}' is not an address of this machine", hint="for example 127.0.0.1") from None
    return all(ipaddress.ip_address(address).is_loopback for address in found)
