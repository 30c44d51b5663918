"""Who may use the server: hosts, origins, API keys and rates; and the one form of errors."""

import hashlib
import hmac
import http
import ipaddress
import math
import re
import time
from collections import OrderedDict
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from mien.errors import AccessError, MienError, OriginError, RateError, UnavailableError, http_status
from mien.names import counted, printable
from mien.server.options import ServerOptions, is_loopback

# Addresses that need no API key: the first must be equal, those that end with / begin the path.
OPEN: Final = ("/", "/healthz", "/readyz", "/live/")

# Clients whose requests are counted; the one that was not seen for the longest time is forgotten.
_CLIENTS: Final = 10_000

# A host that can be allowed: a name, an IPv4 address, or an IPv6 address in brackets, and a port.
_HOST: Final = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")

# The seconds after which a client should try again that found the server busy.
_RETRY: Final = 2


class Guard:
    """Checks requests and WebSockets.

    Args:
        options: The options of the server.
    """

    def __init__(self, options: ServerOptions) -> None:
        # Compared as digests of one length: the time tells nothing about a key.
        self._keys = [hashlib.sha256(key.encode()).digest() for key in options.api_keys]
        self._origins = frozenset(options.origins)
        # A page of another site can give its name the address of this machine (DNS rebinding). Without a key, only the
        # names of this machine protect a server on loopback.
        self._hosts_are_known = not self._keys and is_loopback(options.host)
        self._hosts = frozenset(urlsplit(origin).hostname for origin in options.origins)
        self._rate = options.rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    @property
    def needs_key(self) -> bool:
        """Whether requests need an API key."""
        return bool(self._keys)

    def check(self, connection: HTTPConnection) -> str:
        """Checks the host, the origin, the API key and the rate of a request.

        Returns:
            A digest of the API key; empty if the server has none or the address is open to all.

        Raises:
            OriginError: It was sent by a web page that may not use the server, or to another host.
            AccessError: The API key is missing or wrong.
            RateError: There were too many requests.
        """
        self.check_origin(connection)
        if _is_open(connection):
            return ""
        owner = self.check_key(connection)
        self._check_rate(owner or _address(connection))
        return owner

    def check_origin(self, connection: HTTPConnection) -> None:
        """Checks the headers Host and Origin. A request without Origin does not come from another page.

        Raises:
            OriginError: The host is not this machine's, or the origin neither the server's own nor an allowed one.
        """
        host = connection.headers.get("host", "")
        if self._hosts_are_known and not self._is_known(host):
            raise OriginError(
                f"the request is for the host '{printable(host)[:80]}', expected localhost",
                hint=f"start the server with --allow-origin http://{host}, or https:// behind a proxy that has HTTPS"
                if _HOST.fullmatch(host)
                else "",
            )
        origin = connection.headers.get("origin")
        if origin is not None and origin not in self._origins and _host_of(origin) != host:
            raise OriginError(
                f"pages of '{printable(origin)[:80]}' may not use this server",
                hint="start the server with --allow-origin ORIGIN",
            )

    def check_key(self, connection: HTTPConnection, key: str | None = None) -> str:
        """Checks the API key: that of the header `Authorization: Bearer KEY` or `X-API-Key: KEY`.

        Args:
            connection: The request. One with a wrong key counts for its address, so that keys cannot be tried quickly.
            key: The key, if it came in another way: a browser cannot set the headers of a WebSocket.

        Returns:
            A digest of the key; empty if the server has none.

        Raises:
            AccessError: It is missing or wrong.
            RateError: It is missing or wrong, and so were too many others from this address.
        """
        if not self._keys:
            return ""
        headers = connection.headers
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = key or headers.get("x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
        digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        found = [hmac.compare_digest(digest, known) for known in self._keys]  # always all of them
        if not any(found):
            self._check_rate(_address(connection))
            raise AccessError(
                "the API key is wrong" if given else "this server needs an API key",
                hint="send the header 'Authorization: Bearer KEY'",
            )
        return digest.hex()

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in {"localhost", *self._hosts} or ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def _check_rate(self, client: str) -> None:
        """Takes a token from the client's bucket, which holds those of two seconds."""
        if self._rate is None:
            return
        now = time.monotonic()
        most = max(2 * self._rate, 1)
        tokens, seen = self._buckets.pop(client, (most, now))
        tokens = min(most, tokens + (now - seen) * self._rate)
        self._buckets[client] = (max(tokens - 1, 0) if tokens >= 1 else tokens, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        if tokens < 1:
            seconds = math.ceil((1 - tokens) / self._rate)
            raise RateError(
                f"more than {self._rate:g} requests per second",
                hint=f"try again in {counted(seconds, 'second')}",
                seconds=seconds,
            )


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


def _host_of(origin: str) -> str | None:
    """The host and the port of an origin; None for one that no browser sends, such as `http://[`."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_open(connection: HTTPConnection) -> bool:
    path = connection.scope["path"]
    return path in OPEN or any(path.startswith(each) for each in OPEN[1:] if each.endswith("/"))


def error_body(error: MienError) -> dict[str, Any]:
    """The JSON of an error; the status is that of the table in `mien.errors`."""
    return {
        "error": {
            "type": type(error).__name__,
            "status": http_status(error),
            "message": printable(error.message),
            "hint": printable(error.hint),
        }
    }


def error_response(error: MienError) -> JSONResponse:
    """The response for an error."""
    status = http_status(error)
    headers = {}
    if isinstance(error, AccessError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, (RateError, UnavailableError)):
        headers["Retry-After"] = str(math.ceil(error.seconds) if isinstance(error, RateError) else _RETRY)
    return JSONResponse(error_body(error), status, headers)


def error_of_status(status: int, detail: str) -> MienError:
    """The error for a status that the framework raised."""
    from mien import errors

    kinds = {http_status(kind("")): kind for kind in errors.RequestError.__subclasses__()}
    hint = {404: "see /openapi.json", 405: "see /openapi.json"}.get(status, "")
    kind = kinds.get(status, errors.InputError if status == 422 else errors.RequestError)
    return kind(detail or http.HTTPStatus(status).phrase.lower(), hint=hint)
