"""How the results of an analyzer are produced: networks with their hashes, priors, options, versions.

Probabilities say little without the network and the prior that they come from, and tables have no place for them.
"""

import importlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import metadata
from typing import Any, Final

import numpy as np

from mien.analyzer.analyzer import Analyzer
from mien.assets.download import list_remote
from mien.assets.manifest import Task, classic_models, shipped_models
from mien.expression import Classifier, Ensemble, OnnxClassifier
from mien.expression.prior import name_of

# The libraries whose version can change a result: their modules and their distributions.
_LIBRARIES: Final = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "cv2": "opencv",
    "PIL": "pillow",
    "av": "av",
    "lap": "lap",
    "dlib": "dlib-bin",
}


def record_of(analyzer: Analyzer, *, images: bool = True, videos: bool = True) -> dict[str, Any]:
    """How the results of an analyzer are produced, as JSON can hold it; docs/outputs.md has the names.

    For a detector, classifier, tracker or smoother object that was passed in, its name is recorded, and its files if it
    has any (`files`: their SHA-256 by name); its options are only known if it has `options`.

    Args:
        analyzer: The analyzer.
        images: Whether it reads images.
        videos: Whether it reads videos or cameras, for which it may have another classifier.
    """
    readers = {"images": analyzer.classifier} if images else {}
    if videos:
        readers["videos"] = analyzer.video_classifier
    options: dict[str, Any] = {
        each.name: _plain(getattr(analyzer.options, each.name)) for each in fields(analyzer.options)
    }
    given = analyzer.given
    for part in options.keys() & given.keys():
        options[part] = _plain(getattr(given[part], "options", None))
    return {
        "classifiers": {medium: _classifier(classifier) for medium, classifier in readers.items()},
        "networks": [*_networks(analyzer, tuple(readers.values()))],
        "emotions": list(analyzer.emotions),
        "options": options,
        "given": {part: f"{_class(each).__module__}.{_class(each).__qualname__}" for part, each in given.items()},
        "versions": _versions(),
    }


def classifier_record(classifier: Classifier) -> dict[str, Any]:
    """How the probabilities of a classifier are produced, as `record_of` has it; for an evaluation."""
    networks = _each_once([("expression", member) for member in _members(classifier)])
    return {"classifier": _classifier(classifier), "networks": [*networks], "versions": _versions()}


def models_in_use(analyzer: Analyzer) -> set[str]:
    """The names of the models in the package that an analyzer runs."""
    return {each["name"] for each in _networks(analyzer, (analyzer.classifier,))} & shipped_models().keys()


def _classifier(classifier: Classifier) -> dict[str, Any]:
    """How the probabilities of a classifier come about."""
    members = _members(classifier)
    return {
        "name": _named(classifier, "expression")["name"] if len(members) == 1 else classifier.name,
        "members": [_named(member, "expression")["name"] for member in members],  # one that is named twice votes twice
        "vote": classifier.vote if isinstance(classifier, Ensemble) else None,
        "prior": name_of(classifier.prior),
        "shares": [_shares(member) for member in members],
        "temperatures": [round(float(getattr(member, "temperature", 1.0)), 6) for member in members],
        "uncertain_below": float(classifier.threshold),
    }


def _members(classifier: Classifier) -> Sequence[Classifier]:
    return classifier.members if isinstance(classifier, Ensemble) else (classifier,)


def _shares(classifier: Classifier) -> dict[str, float] | None:
    """The class shares that the probabilities assume; None for those of the training data."""
    shares = classifier.assumed_shares
    return None if shares is None else dict(zip(classifier.emotions, np.round(shares, 4).tolist(), strict=True))


def _networks(analyzer: Analyzer, classifiers: Sequence[Classifier]) -> Iterator[dict[str, Any]]:
    """What is loaded, each file once."""
    members = [member for classifier in classifiers for member in _members(classifier)]
    loaded: list[tuple[Task, object]] = [("expression", member) for member in members]
    loaded += [("detection", analyzer.detector), *(("landmarks", each) for each in analyzer.landmarkers)]
    return _each_once(loaded)


def _each_once(loaded: Sequence[tuple[Task, object]]) -> Iterator[dict[str, Any]]:
    """What is known of some parts, for those of the same files once."""
    seen: list[dict[str, Any]] = []
    for task, each in loaded:
        found = _named(each, task)
        if found not in seen:
            seen.append(found)
            yield found


def _named(part: object, task: Task) -> dict[str, Any]:
    """What is known of a part of an analyzer: by its files, what it is called here, or else by itself."""
    files = dict(getattr(part, "files", {}))
    known = next((_known()[each] for each in files.values() if each in _known()), None)
    own = getattr(part, "name", type(part).__name__)
    licence = part.info.licence if isinstance(part, OnnxClassifier) else None
    name, licence = known or (next(iter(files), own), licence)
    return {"name": name, "task": task, "licence": licence, "files": files}


@cache
def _known() -> Mapping[str, tuple[str, str]]:
    """The name and the licence of files in the package, of classic networks, and of weights to fetch, by SHA-256."""
    models = {
        each.sha256: (each.name, each.licence) for each in (*classic_models().values(), *shipped_models().values())
    }
    fetched = {file.sha256: (each.name, each.licence) for each in list_remote().values() for file in each.files}
    return fetched | models


def _versions() -> dict[str, str]:
    """Of mien, Python, the machine, and the libraries that are installed."""
    found = {
        "mien": importlib.import_module("mien").__version__,  # an import statement would be a cycle: mien imports this
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    for module, distribution in _LIBRARIES.items():
        try:
            found[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:  # other builds have other distributions
            if version := getattr(sys.modules.get(module), "__version__", None):
                found[distribution] = version
    return found


def _class(given: object) -> Any:
    """The class of a ready object, or what makes one."""
    return given if hasattr(given, "__qualname__") else type(given)


def _plain(value: object) -> Any:
    """Options as JSON can hold them."""
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
