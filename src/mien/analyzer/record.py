"""What makes the results of an analyzer: the networks with their hashes, the prior, the options, the libraries.

Probabilities say little without the network and the prior that they come from, and tables have no place for them.
"""

import hashlib
import importlib
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from mien.analyzer.analyzer import Analyzer
from mien.assets.download import list_remote
from mien.assets.manifest import Task, default_model, shipped_models
from mien.assets.store import model_bytes
from mien.errors import ConfigError
from mien.expression import Classifier, Ensemble, OnnxClassifier
from mien.expression.prior import name_of
from mien.faces import detectors, landmarks
from mien.files import sha256

# The libraries whose version can change a result, by their modules; one that is not loaded did not run.
_LIBRARIES: Final = {"cv2": "opencv", "PIL": "pillow"} | {name: name for name in ("numpy", "onnxruntime", "av", "dlib")}


def record_of(analyzer: Analyzer, *, videos: bool = True) -> dict[str, Any]:
    """What makes the results of an analyzer, as JSON can hold it.

    `networks` has each one that runs, with what it reads ("images", "videos", "faces", "landmarks"), the SHA-256 of its
    file, its licence, and for emotions the prior and the temperature of its probabilities. `options` are those of the
    analyzer, `versions` those of mien, Python and the libraries that can change a result. Of a ready object that the
    analyzer was given, only the name is known.

    Args:
        analyzer: The analyzer.
        videos: Whether it reads videos or cameras, for which it may have a classifier of its own.
    """
    networks = [*_classifiers(analyzer, videos), _detector(analyzer), *_landmarks(analyzer)]
    loaded = {name: sys.modules[module].__version__ for module, name in _LIBRARIES.items() if module in sys.modules}
    own = importlib.import_module("mien").__version__  # an import statement would be a cycle: mien imports this
    return {
        "networks": networks,
        "emotions": list(analyzer.emotions),
        "options": _plain(analyzer.options),
        "versions": {"mien": own, "python": platform.python_version(), **loaded},
    }


def _classifiers(analyzer: Analyzer, videos: bool) -> Iterator[dict[str, Any]]:
    """The networks that classify images and videos, each once."""
    readers = {"images": analyzer.classifier} | ({"videos": analyzer.video_classifier} if videos else {})
    reads: dict[str, list[str]] = {}
    networks: dict[str, Classifier] = {}
    for part, classifier in readers.items():
        for member in classifier.members if isinstance(classifier, Ensemble) else (classifier,):
            networks.setdefault(member.name, member)
            reads.setdefault(member.name, []).append(part)
    for name, classifier in networks.items():
        yield {"name": name, "reads": list(dict.fromkeys(reads[name])), **_about(classifier)}


def _about(classifier: Classifier) -> dict[str, Any]:
    """What is known of the file of a classifier, and how its probabilities are read."""
    if not isinstance(classifier, OnnxClassifier):
        return {}
    model = next(iter(classifier.options.members))
    return {
        "sha256": hashlib.sha256(model_bytes(model)).hexdigest(),
        "licence": classifier.info.licence,
        "prior": name_of(classifier.prior),
        "temperature": float(classifier.temperature),
    }


def _detector(analyzer: Analyzer) -> dict[str, Any]:
    options, name = analyzer.options.detector, analyzer.detector.name
    if options.weights is not None and name == options.name:
        return {"name": name, "reads": ["faces"], "weights": _files(options.weights)}
    if name == detectors.DEFAULT:
        return _shipped("detection", "faces")
    remote = list_remote().get(name)
    known = {file.name: file.sha256 for file in remote.files} if remote else {}
    return {"name": name, "reads": ["faces"], **({"weights": known} if known else {})}


def _landmarks(analyzer: Analyzer) -> Iterator[dict[str, Any]]:
    """What finds keypoints, and the landmarks that faces are aligned by."""
    options = analyzer.options.landmarks
    if _uses_landmarks(analyzer):
        yield _shipped("landmarks", "landmarks")
    if analyzer.landmarker is not None and options.weights is not None:
        yield {"name": options.name, "reads": ["landmarks"], "weights": _files(options.weights)}
    elif analyzer.landmarker is not None and options.name != landmarks.DEFAULT:
        yield {"name": options.name, "reads": ["landmarks"]}


def _shipped(task: Task, reads: str) -> dict[str, Any]:
    """The network in the package for a task."""
    info = shipped_models()[default_model(task)]
    return {"name": info.name, "reads": [reads], "sha256": info.sha256, "licence": info.licence}


def _files(weights: Path) -> dict[str, str]:
    """The hash of a file of weights, or of each in a folder, by its name."""
    files = sorted(weights.iterdir()) if weights.is_dir() else [weights]
    return {file.name: sha256(file) for file in files if file.is_file()}


def _plain(value: object) -> Any:
    """Options as JSON can hold them."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def models_in_use(analyzer: Analyzer) -> set[str]:
    """The names of the models in the package that an analyzer runs."""
    options = analyzer.options
    found = {str(name) for name in options.classifier.members}
    if options.detector.name == detectors.DEFAULT and options.detector.weights is None:
        found.add(default_model("detection"))
    if _uses_landmarks(analyzer):
        found.add(default_model("landmarks"))
    return found


def _uses_landmarks(analyzer: Analyzer) -> bool:
    """Whether an analyzer finds keypoints by the landmark network in the package, or aligns faces by it."""
    options, classifier = analyzer.options, analyzer.classifier
    is_mien, ships = options.landmarks.name == landmarks.DEFAULT, options.landmarks.weights is None
    if is_mien and ships and (options.keypoints or classifier.keypoint_scheme is not None):
        return True
    if not options.align:
        return False
    if analyzer.detector.mean_landmarks is None:  # its boxes are crops
        try:
            return bool(classifier.crop_specs)
        except ConfigError:  # a model that does not know how its faces were cropped: they stay as they are
            return False
    return not (is_mien and options.keypoints)  # else the network of the keypoints aligns, which is another one
