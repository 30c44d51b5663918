"""`mien serve`: the HTTP server.

The options of the server are those of `ServerOptions`; the others choose the analyzers, as for `mien analyze`.
FastAPI and the models are loaded when the command runs, and not for its help.
"""

from typing import Annotated

import typer

from mien.cli import say, tell
from mien.cli.options import Only, Quiet, command, option_name
from mien.errors import ConfigError
from mien.expression.base import ClassifierOptions
from mien.faces.detectors import DetectorOptions
from mien.faces.landmarks import LandmarkOptions
from mien.media.picking import TrackingOptions
from mien.server.options import ServerOptions, is_loopback


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("serve")(command(serve))


def serve(
    server: ServerOptions,
    classifier: Annotated[ClassifierOptions, Only({"model", "vote", "emotions", "abstain", "tta", "prior", "threads"})],
    detector: DetectorOptions,
    landmarks: LandmarkOptions,
    tracking: TrackingOptions,
    *,
    keypoints: Annotated[bool, "Also find dense keypoints, the head pose and measures of each face."] = False,
    largest_only: Annotated[bool, "Keep only the largest face of each image or frame."] = False,
    quiet: Quiet = False,
) -> None:
    """Serves images and videos over HTTP: POST /v1/analyze, POST /v1/video and others; see docs/server.md.

    It listens on this machine only, unless --host and --api-key-file are given. Images are not written to disk. Ctrl-C
    and SIGTERM stop it after the open requests.
    """
    from mien.analyzer import AnalyzerOptions
    from mien.server.app import create_app
    from mien.server.run import serve as run

    if not keypoints and landmarks != LandmarkOptions():
        given = "name" if landmarks.name != LandmarkOptions().name else "weights"
        raise ConfigError(
            f"{option_name(LandmarkOptions, given)} has no effect without keypoints", hint="add --keypoints"
        )
    analyzer = AnalyzerOptions(
        detector, classifier, landmarks, tracking, keypoints=keypoints, largest_only=largest_only
    )
    run(create_app(server, analyzer), server, None if quiet else lambda url: _say_where(url, server))


def _say_where(url: str, server: ServerOptions) -> None:
    """Says where the server listens, and what its user should know."""
    tell(f"listening on {url} (Ctrl-C to stop)")
    if server.certfile is None and not is_loopback(server.host):
        say("note", "yellow", "without --certfile, API keys and images are not encrypted; a proxy with HTTPS can do it")
