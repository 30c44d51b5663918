"""Protocols: who counts as the truth. Accuracies under different ones differ by whole points, so each has a name."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien import emotions
from mien.datasets import Samples, ferplus
from mien.datasets.samples import NO_LABEL

__all__ = ["Protocol", "protocols_of"]


@dataclass(frozen=True)
class Protocol:
    """One way to say what each face truly shows.

    Attributes:
        name: What `mien evaluate --protocol` takes.
        title: In words, printed with every score.
        classes: The C classes.
        labels: (N,) indices into `classes`; meaningless where not kept.
        kept: (N,) bool; the other rows are left out.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    kept: NDArray[np.bool_]


def protocols_of(samples: Samples) -> list[Protocol]:
    """The protocols that samples allow: their labels, and with votes FER+'s two; none that keeps no face."""
    found = []
    if samples.votes is None or samples.classes != emotions.vocabulary(8):
        title = str(samples.about.get("labels", "labels"))
        size = len(samples.classes)
        found.append(
            Protocol(
                "labels",
                f"{title}, {size} classes",
                samples.classes,
                samples.labels,
                samples.labels != NO_LABEL,
            )
        )
    if samples.votes is not None:
        eight = emotions.vocabulary(8)
        targets, kept = ferplus.process(samples.votes, "majority")
        found.append(Protocol("majority", "FER+ majority", eight, targets.argmax(axis=1), kept))
        labels, kept = ferplus.argmax(samples.votes)
        found.append(Protocol("argmax", "FER+ argmax of the votes", eight, labels, kept))
    return [protocol for protocol in found if protocol.kept.any()]
