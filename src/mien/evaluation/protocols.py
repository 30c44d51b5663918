"""Protocols: definitions of the true label. Accuracies under different protocols differ by several points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.datasets import Samples, ferplus
from mien.datasets.builders.fer2013 import USAGE
from mien.datasets.samples import NO_LABEL, SPLITS
from mien.errors import ConfigError

# The names of the splits of FER2013 in print.
_PRINTED = dict(zip(SPLITS, USAGE, strict=True))


@dataclass(frozen=True)
class Protocol:
    """One definition of the true label of each face.

    Attributes:
        name: What `mien evaluate --protocol` takes.
        title: In words, printed with every score.
        classes: The C classes.
        labels: (N,) indices into `classes`; meaningless for faces that are not kept.
        kept: (N,) bool; the protocol excludes the other faces.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    kept: NDArray[np.bool_]


def protocols_of(samples: Samples) -> list[Protocol]:
    """The protocols that samples allow: their labels and, with votes, the two of FER+, if they keep any face."""
    found = []
    if samples.votes is None or samples.classes != emotions.vocabulary(8):
        title = f"{samples.about.get('labels', 'labels')}, {len(samples.classes)} classes"
        found.append(Protocol("labels", title, samples.classes, samples.labels, samples.labels != NO_LABEL))
    if samples.votes is not None:
        eight = emotions.vocabulary(8)
        targets, kept = ferplus.process(samples.votes, "majority")
        found.append(Protocol("majority", "FER+ majority", eight, targets.argmax(axis=1), kept))
        labels, kept = ferplus.argmax(samples.votes)
        found.append(Protocol("argmax", "FER+ argmax of the votes", eight, labels, kept))
    return [protocol for protocol in found if protocol.kept.any()]


def select_protocols(samples: Samples, names: Sequence[str] | None) -> list[Protocol]:
    """The protocols with these names; None for all that the samples allow.

    Raises:
        ConfigError: The samples do not allow one of them.
    """
    possible = {protocol.name: protocol for protocol in protocols_of(samples)}
    if unknown := [name for name in names or () if name not in possible]:
        raise ConfigError(
            f"protocol not available for this data: {', '.join(unknown)}", hint=f"choose from {', '.join(possible)}"
        )
    return [possible[name] for name in names or possible]


def restricted(protocol: Protocol, classes: Sequence[str]) -> Protocol | None:
    """The protocol for some of its classes: faces of the others are not kept. None if it lacks a class.

    In the vocabulary of six, disgust counts as anger, as `emotions.MERGED` says.
    """
    if set(classes) == set(protocol.classes):
        return protocol
    if not set(classes) <= set(protocol.classes):
        return None
    matrix = emotions.mapping(protocol.classes, classes)  # (all, some)
    scored = matrix.sum(axis=1) > 0
    shown = [name for name, is_scored in zip(protocol.classes, scored, strict=True) if is_scored]
    before = np.where(protocol.kept, protocol.labels, 0)  # labels of other faces may be out of range
    return replace(
        protocol,
        title=f"{protocol.title}, only faces of {', '.join(shown)}",
        classes=tuple(classes),
        labels=matrix.argmax(axis=1)[before],
        kept=protocol.kept & scored[before],
    )


def votes_for(samples: Samples, classes: Sequence[str]) -> NDArray[np.uint8] | None:
    """The votes (N, C) for these classes; None if the samples have none or a class is not an emotion."""
    if samples.votes is None or not set(classes) <= set(emotions.ALL):
        return None
    votes: NDArray[np.uint8] = samples.votes @ emotions.mapping(emotions.ALL, classes).astype(np.uint8)
    return votes


def printed_split(samples: Samples, split: str) -> str:
    """The name of a split in print: that of FER2013's authors for their splits of FER2013, else its own."""
    official = samples.about.get("data_set") == "fer2013" and samples.about.get("official_splits", True)
    return _PRINTED[split] if official else split
