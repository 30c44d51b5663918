"""What a table says about images that are no video: how many faces show which emotion."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np

from mien.output.saved_tables import number

MOST_PLACES: Final = 2000


@dataclass(frozen=True, slots=True)
class Place:
    """Where one face lies.

    Attributes:
        valence: -1 to 1.
        arousal: -1 to 1.
        emotion: Its most probable emotion.
        uncertain: Whether that is uncertain.
    """

    valence: float
    arousal: float
    emotion: str
    uncertain: bool


@dataclass(frozen=True, slots=True)
class EmotionCount:
    """One emotion among the faces of images.

    Attributes:
        faces: Number of faces of which it is the most probable emotion.
        share: Their share of all faces with an emotion.
        mean: Its mean probability over these.
        images: Number of images with such a face.
    """

    faces: int
    share: float
    mean: float
    images: int


@dataclass(frozen=True, slots=True)
class PhotographSummary:
    """The images of a table in numbers.

    Attributes:
        images: That could be read.
        unread: Number of images with an error.
        without_face: Number of images without a face.
        faces: Number of faces.
        uncertain: Number of faces whose emotion is uncertain.
        emotions: For each emotion its count.
        valence: The mean over the faces; None without coordinates.
        arousal: The same.
        places: Valence, arousal and emotion of single faces, at most `MOST_PLACES`, evenly chosen; not in `as_dict`.
    """

    images: int
    unread: int
    without_face: int
    faces: int
    uncertain: int
    emotions: dict[str, EmotionCount]
    valence: float | None
    arousal: float | None
    places: tuple[Place, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        found = asdict(replace(self, places=()))
        del found["places"]
        return found


class Photographs:
    """Counts the rows of a table that are of images."""

    def __init__(self) -> None:
        self.sources: set[str] = set()
        self._unread: set[str] = set()
        self._with_face: set[str] = set()
        self._faces = self._uncertain = self._known = 0
        self._tops: Counter[str] = Counter()
        self._images: dict[str, set[str]] = defaultdict(set)
        self._sums: dict[str, float] = {}
        self._affect = np.zeros(2)  # the sums of valence and arousal
        self._placed, self._every = 0, 1
        self._places: list[Place] = []

    def add_row(self, row: Mapping[str, Any], emotions: tuple[str, ...]) -> None:
        """Counts a row; one of a video is left out."""
        if row.get("timestamp") not in (None, ""):
            return
        source = str(row["source"])
        self.sources.add(source)
        if row.get("error"):
            self._unread.add(source)
        if row.get("face") in (None, ""):
            return
        self._with_face.add(source)
        self._faces += 1
        top = row.get("emotion")
        if not top:  # detection only
            return
        self._known += 1
        self._tops[top] += 1
        self._images[top].add(source)
        uncertain = str(row.get("uncertain", "")).lower() == "true"
        self._uncertain += uncertain
        for name in emotions:
            self._sums[name] = self._sums.get(name, 0.0) + number(row.get(name))
        valence, arousal = number(row.get("valence")), number(row.get("arousal"))
        if np.isfinite([valence, arousal]).all():
            self._place(Place(valence, arousal, top, uncertain))

    def _place(self, place: Place) -> None:
        """Keeps every first, second, fourth ... face, so that there are never more than `MOST_PLACES`."""
        self._affect += place.valence, place.arousal
        if self._placed % self._every == 0:
            self._places.append(place)
        self._placed += 1
        if len(self._places) > MOST_PLACES:
            self._places = self._places[::2]
            self._every *= 2

    def summary(self) -> PhotographSummary:
        """The numbers so far."""
        known = max(self._known, 1)
        valence, arousal = (self._affect / self._placed).tolist() if self._placed else (None, None)
        return PhotographSummary(
            images=len(self.sources - self._unread),
            unread=len(self._unread),
            without_face=len(self.sources - self._unread - self._with_face),
            faces=self._faces,
            uncertain=self._uncertain,
            emotions={
                name: EmotionCount(self._tops[name], self._tops[name] / known, total / known, len(self._images[name]))
                for name, total in self._sums.items()
            },
            valence=valence,
            arousal=arousal,
            places=tuple(self._places),
        )
