"""Reading probabilities under other class frequencies (priors) than those of the training data.

A classifier trained with the cross-entropy gives p(class | face) for faces drawn like its training faces. Bayes' rule
gives the probabilities for faces drawn with other class shares: multiply by the assumed shares, divide by those of
training, renormalise (Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori
probabilities", Neural Computation 14, 2002, equation 4). No network is trained again.

- `training`: the shares of the training faces; nothing is changed, unless the loss removed them (logit adjustment).
- `uniform`: all classes that have training faces are equally frequent.
- `soft`: shares in proportion to the square roots of those in training: half way, on a logarithmic scale.
- `auto`: `soft` if the model knows its class shares, else `training`. It is what the analyzer reads under.
- a file, or a table: your own shares.
"""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions as vocabularies
from mien.assets.signature import ClassShares, Head
from mien.errors import ConfigError, meant
from mien.values import path_of

# By name: the power of the shares that is taken out.
PRIORS: Final = {"training": 0.0, "soft": 0.5, "uniform": 1.0}
AUTO: Final = "auto"  # what the analyzer reads under
NAMES: Final = ", ".join((*PRIORS, AUTO))

# The name of a prior, a file with shares, or the shares of classes by name.
Prior = str | Path | tuple[tuple[str, float], ...]
_SHAPE: Final = 'a table of a share for each class: {"happiness": 0.4, "neutral": 0.6}'


def checked(given: object) -> Prior:
    """The prior as the options keep it: a name, a path, or pairs.

    Raises:
        ConfigError: It is none of these.
    """
    if isinstance(given, Mapping):
        given = tuple(given.items())
    if isinstance(given, tuple):
        return _pairs(given, "prior")
    if isinstance(given, str) and (given in PRIORS or given == AUTO):
        return given
    if isinstance(given, Path) or (
        isinstance(given, str) and (Path(given).suffix in (".json", ".toml") or Path(given).expanduser().is_file())
    ):
        return path_of(given, "prior")
    raise ConfigError(
        f"prior: unknown value {str(given)[:80]!r}",
        hint=f"{meant(str(given), (*PRIORS, AUTO))}choose one of {NAMES}, or a .json or .toml file with {_SHAPE}",
    )


def name_of(prior: Prior) -> str:
    """The prior in words, for reports."""
    return prior if isinstance(prior, str) else prior.name if isinstance(prior, Path) else "given shares"


def resolved(prior: Prior, head: Head, classes: Sequence[str]) -> Prior:
    """The prior that a head reads some classes under: `auto` becomes `soft` or `training`, others stay."""
    if prior != AUTO:
        return prior
    known = (
        head.classes is not None
        and (np.asarray(head.classes.shares) @ vocabularies.mapping(head.emotions, classes)).sum() > 0
    )
    return "soft" if known else "training"


def _pairs(given: Sequence[object], named: str) -> tuple[tuple[str, float], ...]:
    """Checked shares of classes, by name.

    Raises:
        ConfigError: They are not numbers from 0 by name, or none is above 0.
    """
    pairs = [each for each in given if isinstance(each, Sequence) and len(each) == 2]
    shares = {str(name): share for name, share in pairs}
    got = str(shares if len(shares) == len(given) else given)[:80]
    numbers = [float(share) for share in shares.values() if isinstance(share, Real) and not isinstance(share, bool)]
    if len(numbers) != len(given) or not numbers:
        raise ConfigError(f"{named}: expected a number for each class, got {got}", hint=f"write {_SHAPE}")
    if not all(math.isfinite(share) and share >= 0 for share in numbers) or sum(numbers) <= 0:
        raise ConfigError(f"{named}: expected shares from 0, not all of them 0, got {got}", hint=f"write {_SHAPE}")
    return tuple(zip(shares, numbers, strict=True))


def _shares_in(path: Path) -> tuple[tuple[str, float], ...]:
    """The shares in a file.

    Raises:
        ConfigError: It cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigError(f"prior: {path}: cannot be read: {error.strerror}", hint="check the path") from error
    except ValueError as error:  # of both formats, and of the encoding
        raise ConfigError(
            f"prior: {path}: is not {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}", hint=f"write {_SHAPE}"
        ) from error
    if not isinstance(table, dict):
        raise ConfigError(f"prior: {path}: expected a table, got {type(table).__name__}", hint=f"write {_SHAPE}")
    return _pairs(tuple(table.items()), f"prior: {path}")


def assumed_shares(classes: Sequence[str], learned: NDArray[np.float64], prior: Prior) -> NDArray[np.float64]:
    """The class shares (C,) that a prior assumes, summing to 1.

    Args:
        classes: The C classes.
        learned: (C,) their shares in training.
        prior: The prior.

    Raises:
        ConfigError: A file or a table lacks a class, or names one that is neither among them nor an emotion.
    """
    if isinstance(prior, str):
        present = learned > 0
        shares = np.where(present, np.where(present, learned, 1.0) ** (1 - PRIORS[prior]), 0.0)
    else:
        pairs = _shares_in(prior) if isinstance(prior, Path) else prior
        given = {vocabularies.find(name, classes, others=vocabularies.ALL): share for name, share in pairs}
        if missing := [name for name in classes if name not in given]:
            raise ConfigError(
                f"prior: no share for {', '.join(missing)}",
                hint=f"give one for each of {', '.join(classes)}; 0 excludes a class",
            )
        shares = np.array([given[name] for name in classes], np.float64)
        if not shares.sum() > 0:
            raise ConfigError(f"prior: all shares of {', '.join(classes)} are 0", hint="give one above 0")
    return np.asarray(shares / shares.sum(), np.float64)


def learned_shares(head: Head, classes: Sequence[str], model: str) -> NDArray[np.float64]:
    """The training shares (C,) of some classes that a head knows, or that join several of its classes.

    Raises:
        ConfigError: They are unknown.
    """
    if head.classes is None:
        raise ConfigError(
            f"prior: the class shares of the training data of '{model}' are not known",
            hint="export the model again, with the data it was trained on, or use the prior training",
        )
    shares = np.asarray(head.classes.shares) @ vocabularies.mapping(head.emotions, classes)
    total = shares.sum()
    if not total > 0:
        raise ConfigError(f"prior: '{model}' has no training faces of {', '.join(classes)}")
    return np.asarray(shares / total, np.float64)


def factors(head: Head, classes: Sequence[str], prior: Prior, model: str) -> NDArray[np.float64] | None:
    """What the probabilities (N, C) of a head are multiplied by, (C,), before they are renormalised.

    Args:
        head: The head.
        classes: The C classes that the probabilities are of.
        prior: The prior.
        model: Name of the model, for errors.

    Returns:
        None if nothing changes.

    Raises:
        ConfigError: The shares in training are not known, or do not fit the prior.
    """
    removed = head.classes.removed if head.classes else 0.0
    if prior == "training" and not removed:
        return None
    learned = learned_shares(head, classes, model)
    present = learned > 0
    assumed = assumed_shares(classes, learned, prior)
    divisor = np.where(present, learned, 1.0) ** (1 - removed)
    return np.where(present, assumed / divisor, 0.0)


def under(probabilities: NDArray[np.float32], by: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """Probabilities (N, C) times factors (C,), renormalised; a row that would sum to 0 stays."""
    if by is None:
        return probabilities
    changed = probabilities * by
    total = changed.sum(axis=1, keepdims=True)
    np.divide(changed, total, out=changed, where=total > 0)
    return np.where(total > 0, changed, probabilities).astype(np.float32)


def fitted(head: Head, prior: Prior) -> tuple[float, float]:
    """The temperature and the threshold of a head under a prior: those fitted for it, or those of the head."""
    known = head.classes or ClassShares((1.0,))
    name = prior if isinstance(prior, str) else ""
    if isinstance(prior, tuple) and len({share for _, share in prior}) == 1:
        name = "uniform"  # written out
    return known.temperatures.get(name, head.temperature), known.thresholds.get(name, head.threshold)
