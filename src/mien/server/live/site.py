"""The live page without a server: a folder of files with which a browser finds faces and classifies them itself.

The networks run on onnxruntime-web, which is not part of mien: its archive is given as a file and must have the hash of
the pinned version. What surrounds the networks (resizing, decoding of the detector's cells, crops, calibration) is in
the scripts of `in_browser`; their constants come from here, so that each is written once.
"""

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.assets.manifest import ModelInfo, default_model, model_info, quick_model
from mien.assets.signature import STRIDES, ImageInput
from mien.assets.store import model_bytes, verified
from mien.emotions import mapping
from mien.errors import ConfigError, OutputError
from mien.expression import affect
from mien.expression.base import ClassifierOptions
from mien.expression.classifier import OnnxClassifier
from mien.expression.smoothing import SECONDS
from mien.faces import landmarks
from mien.faces.detectors import DetectorOptions
from mien.faces.detectors import mien as detector
from mien.faces.landmarks import mien as landmarker
from mien.files import staging_folder
from mien.output.schema import SCHEMA
from mien.results import AFFECT, LANDMARKS, POSE
from mien.server.live.content import STATIC, emoji_png, page_config, policy

if TYPE_CHECKING:
    from fastapi import FastAPI

IN_BROWSER: Final = Path(__file__).parent / "in_browser"

VERSION: Final = "1.22.0"
ARCHIVE: Final = f"onnxruntime-web-{VERSION}.tgz"
_SHA256: Final = "e293551f9d36d003e293d0f2937fee7b3dfdcef76d71d1449b55e2d4157c7aea"
_RUNTIME: Final = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_FETCH: Final = f"npm pack onnxruntime-web@{VERSION} fetches it"

# The largest file of an image that is read as it is, in bytes.
_MOST_BYTES: Final = 64 * 2**20


def write_site(
    out: Path, runtime: Path, classifier: ClassifierOptions | None = None, *, smooth: float | None = None
) -> None:
    """Writes the page, the networks and the runtime into a new folder, which any web server can serve.

    Args:
        out: The folder to make; it may exist if it is empty.
        runtime: The archive `onnxruntime-web-VERSION.tgz` of the pinned version.
        classifier: The options of the classifier; by default the one that reads videos.
        smooth: Seconds over which probabilities are smoothed in videos; 0 for none, None for the usual.

    Raises:
        ConfigError: The model cannot run in the page.
        WeightsError: The archive is missing, damaged, or of another version.
        OutputError: The folder is not empty, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"cannot write '{out}': it is not an empty folder", hint="give the name of a new folder")
    config, models = _described(classifier or ClassifierOptions(), SECONDS if smooth is None else smooth)
    archive = verified(runtime, _SHA256, hint=f"expected {ARCHIVE}: {_FETCH}")
    with staging_folder(out) as staging:
        site = staging / "site"
        live = site / "live"
        shutil.copytree(STATIC, live)
        shutil.copytree(IN_BROWSER, live, dirs_exist_ok=True)
        head = f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy(networks=True)}">'
        page = (live / "index.html").read_text("utf-8").replace('<meta charset="utf-8">', head)
        (live / "index.html").unlink()
        (site / "index.html").write_text(page, "utf-8")
        emotions = tuple(config["classifier"]["emotions"])
        settings = page_config(emotions, _MOST_BYTES) | {"browser": config}
        (live / "config.json").write_text(json.dumps(settings, allow_nan=False), "utf-8")
        (live / "emoji").mkdir()
        for name in (*emotions, "unknown"):
            (live / "emoji" / f"{name}.png").write_bytes(emoji_png(name))
        (live / "models").mkdir()
        for name, content in models.items():
            (live / "models" / name).write_bytes(content)
        (live / "runtime").mkdir()
        with tarfile.open(fileobj=io.BytesIO(archive)) as members:
            for name in _RUNTIME:
                member = members.extractfile(f"package/dist/{name}")
                assert member is not None  # the archive has its hash
                (live / "runtime" / name).write_bytes(member.read())
        if out.exists():
            out.rmdir()
        site.rename(out)


def site_app(site: Path) -> "FastAPI":
    """An application that serves a folder of `write_site`, with the headers of the live page."""
    from fastapi import FastAPI
    from starlette.staticfiles import StaticFiles

    from mien.server.live.pages import HEADERS, add_headers

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add_headers(app, HEADERS | {"Content-Security-Policy": f"{policy(networks=True)}; frame-ancestors 'none'"})
    app.mount("/", StaticFiles(directory=site, html=True))
    return app


def _described(options: ClassifierOptions, smooth: float) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the scripts must know of the three networks, and the files of these by name.

    Raises:
        ConfigError: The model reads something else than single grey images of faces.
    """
    source = ClassifierOptions(
        model=options.model or quick_model(),
        emotions=options.emotions,
        abstain=options.abstain,
        prior=options.prior or "auto",
    )
    classifier = OnnxClassifier(source)
    (name,) = source.models
    points = landmarks.LandmarkOptions()
    finder, refiner = model_info(default_model("detection")), model_info(default_model("landmarks"))
    cells, face_score = finder.detections, refiner.face_score
    assert refiner.pose is not None  # of the network in the package
    assert face_score is not None
    config = {
        "schema": SCHEMA,
        "points": LANDMARKS,
        "angles": POSE,
        "smooth": smooth,
        "detector": {
            "file": "detector.onnx",
            "output": cells.name,
            "strides": STRIDES,
            "minScore": DetectorOptions().min_score,
            "maxSide": detector.MAX_SIDE,
            "enlarged": detector.ENLARGED,
            "lowest": detector.LOWEST,
            "dark": detector.DARK,
            "bright": detector.BRIGHT,
            "gain": detector.GAIN,
            "sampled": detector.SAMPLED,
            "same": detector.SAME,
            "agree": detector.AGREE,
            "candidates": detector.CANDIDATES,
            "largest": detector.LARGE,
            "suspected": detector.SUSPECTED,
            "operatingPoint": cells.operating_point,
            "bySize": cells.by_size,
        },
        "landmarks": {
            "file": "landmarks.onnx",
            **_input(refiner, points.name),
            "points": refiner.landmarks.name,
            "scheme": refiner.landmarks.scheme,
            "pose": refiner.pose.name,
            "score": face_score.name,
            "operatingPoint": face_score.operating_point,
            "most": landmarker.MOST,
            "moved": landmarker.MOVED,
            "sure": landmarks.SURE,
        },
        "classifier": {"file": "classifier.onnx", **_input(classifier.info, str(name)), **_answers_of(classifier)},
    }
    files = {
        "detector.onnx": model_bytes(finder.name),
        "landmarks.onnx": model_bytes(refiner.name),
        "classifier.onnx": model_bytes(name),
    }
    return config, files


def _input(info: ModelInfo, name: str) -> dict[str, Any]:
    """The crops that a network reads.

    Raises:
        ConfigError: It reads something else than single grey images of faces whose landmarks have a known place.
    """
    (part, *more) = info.inputs
    spec = part.spec if isinstance(part, ImageInput) and part.frames == 1 and part.landmarks and not more else None
    if spec is None or spec.channels != "grey" or spec.illumination != "none":
        raise ConfigError(
            f"model: '{name}' cannot run in the page, whose networks read one grey image of an aligned face",
            hint=f"choose another one, such as {quick_model()}",
        )
    crop = info.crop_spec
    return {"size": crop.size, "places": crop.points.tolist(), "mean": spec.mean[0], "std": spec.std[0]}


def _answers_of(classifier: OnnxClassifier) -> dict[str, Any]:
    """How probabilities are made of the network's outputs."""
    places = affect.coordinates(classifier.emotions, classifier.affect_table)
    factors = classifier.factors
    return {
        "output": classifier.head.name,
        "temperature": classifier.temperature,
        "emotions": classifier.emotions,
        "mapping": mapping(classifier.head.emotions, classifier.emotions).tolist(),
        "factors": None if factors is None else factors.tolist(),
        "threshold": classifier.threshold,
        "affect": places and {"names": AFFECT, "values": places.values.tolist(), "counted": places.counted.tolist()},
    }
