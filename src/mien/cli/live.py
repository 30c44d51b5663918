"""`mien live`: the live page."""

import ipaddress
import secrets
import socket
import tempfile
import webbrowser
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Final

import typer

from mien.cli import tell
from mien.cli.options import Only, Quiet, command, option_name
from mien.errors import ConfigError
from mien.expression.base import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.faces.landmarks import LandmarkOptions
from mien.media.picking import TrackingOptions
from mien.server.options import ServerOptions, is_loopback

# Options of the server that concern the page.
_PAGE: Final = Only(
    {"host", "port", "api_key_file", "certfile", "keyfile", "allow_origin", "workers", "max_live", "collect"}
)


@dataclass(frozen=True, slots=True)
class PageOptions(ServerOptions):
    """The options of the page. If other machines can reach it and there is no key, it gets a random one."""

    collect: Annotated[
        Path | None,
        "Folder for images of your expressions, for `mien personalise`: the page asks for one after the other, and "
        "writes those that you save.",
    ] = None

    def __post_init__(self) -> None:
        if not self.api_keys and self.api_key_file is None and not is_loopback(self.host):
            object.__setattr__(self, "api_keys", (secrets.token_urlsafe(24),))
        ServerOptions.__post_init__(self)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("live")(command(live))


def live(
    server: Annotated[PageOptions, _PAGE],
    classifier: Annotated[ClassifierOptions, Only({"model", "vote", "emotions", "abstain", "tta", "prior", "threads"})],
    detector: DetectorOptions,
    landmarks: LandmarkOptions,
    tracking: TrackingOptions,
    *,
    in_browser: Annotated[
        Path | None,
        "The browser itself finds and classifies faces, and no image leaves it: the archive of onnxruntime-web, which "
        "runs the networks there; see docs/live.md.",
    ] = None,
    no_open: Annotated[bool, "Only print the address, and do not open the page in a browser."] = False,
    quiet: Quiet = False,
) -> None:
    """Opens a page that shows the emotions of the camera's faces, or of a video or an image, live; see docs/live.md.

    Ctrl-C stops it. Images go only from the page to this command, and are not stored but for --collect. For a phone,
    listen on all addresses with a certificate, because browsers give a camera only to HTTPS: --host 0.0.0.0 --certfile
    --keyfile.
    """
    from mien.analyzer import AnalyzerOptions
    from mien.server.app import create_app
    from mien.server.run import serve

    keys = server.api_keys[:1] if in_browser is None else ()  # the files of that page are no secret

    def ready(url: str) -> None:
        page = f"{_reachable(url, server.host)}/" + "".join(f"#key={key}" for key in keys)
        if not quiet:
            tell(f"live at {page} (Ctrl-C to stop)")
        if not no_open:
            webbrowser.open(page)

    if in_browser is None:
        options = AnalyzerOptions(detector, classifier, landmarks, tracking)
        serve(create_app(server, options, live=True, collect=server.collect), server, ready)
        return
    if server.collect is not None:
        raise ConfigError("--collect has no effect with --in-browser", hint="leave out one of the two")
    _check_in_browser(server, detector, classifier, landmarks, tracking)
    with tempfile.TemporaryDirectory(prefix="mien-live-") as folder:
        from mien.server.live.site import site_app, write_site

        site = Path(folder) / "site"
        write_site(site, in_browser, classifier, smooth=tracking.smooth)
        serve(site_app(site), server, ready)


def _check_in_browser(
    server: PageOptions,
    detector: DetectorOptions,
    classifier: ClassifierOptions,
    landmarks: LandmarkOptions,
    tracking: TrackingOptions,
) -> None:
    """Refuses the options that the page without a server does not have.

    Raises:
        ConfigError: One of them is given.
    """
    known = {"model", "emotions", "abstain", "prior", "smooth", "host", "port", "certfile", "keyfile", "api_keys"}
    for options in (server, detector, classifier, landmarks, tracking):
        usual = type(options)()
        for field in fields(options):
            if field.name not in known and getattr(options, field.name) != getattr(usual, field.name):
                name = option_name(type(options), field.name)
                raise ConfigError(f"{name} has no effect with --in-browser", hint="leave out one of the two")


def _reachable(url: str, host: str) -> str:
    """The URL with an address that other machines reach, if the server listens on all addresses."""
    try:
        if not ipaddress.ip_address(host.strip("[]")).is_unspecified:
            return url
    except ValueError:  # a name
        return url
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; chooses the address that would be used
            address = probe.getsockname()[0]
        except OSError:  # no network
            address = "127.0.0.1"
    return url.replace("[::]" if "[::]" in url else host, address)
