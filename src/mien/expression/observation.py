"""What networks may read of a face besides one crop: several frames of it, oldest first, and its keypoints.

A plain array stands for one frame without keypoints. A window that is longer than what was seen of a face begins with
its first frame, repeated: in a still image the window holds the one frame, as often as it is long.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mien.expression.tta import Tta, tta_images
from mien.results import Face

Image: TypeAlias = NDArray[np.uint8]
Crops: TypeAlias = tuple[Sequence[Image], ...]  # for each crop spec, the crops of some faces
_LOST: Final = 250  # frames after which what was seen of a track that does not come back is dropped


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What was seen of one face in T frames, oldest first.

    Attributes:
        images: Crops of the face, each (H, W) grey or (H, W, 3) RGB, uint8; empty if only keypoints are known.
        keypoints: (T, K, 2) float32 x, y in pixels of any image, nan where unknown; None if there are none.
    """

    images: tuple[Image, ...] = ()
    keypoints: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.keypoints) if self.keypoints is not None else (len(self.images), 0, 2)
        if len(shape) != 3 or shape[2] != 2 or (self.images and shape[0] != len(self.images)) or not shape[0]:
            raise ValueError(f"keypoints: expected (T, K, 2) for T frames, got {shape} for {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.images) if self.keypoints is None else len(self.keypoints)

    def last(self, frames: int) -> "Observation":
        """The last `frames` frames; the first one is repeated where there are fewer."""
        places = padded(range(len(self)), frames)
        points = None if self.keypoints is None else self.keypoints[places]
        return Observation(tuple(self.images[place] for place in places) if self.images else (), points)

    def augmented(self, tta: Tta, mirrored: Sequence[int]) -> "list[Observation]":
        """The views of test-time augmentation; see `tta_images`.

        Args:
            tta: The kind.
            mirrored: The order of the keypoints after mirroring; empty: they stay.
        """
        blank = np.zeros((1, 1), np.uint8)  # of a face of which only keypoints are known
        by_frame = [tta_images(image, tta) for image in self.images] or [tta_images(blank, tta)]
        count = len(by_frame[0])
        found = []
        for number in range(count):
            points = self.keypoints
            if points is not None and mirrored and 2 * number >= count > 1:  # the second half are mirror images
                points = points[:, list(mirrored)] * np.array([-1, 1], np.float32)
            found.append(Observation(tuple(views[number] for views in by_frame) if self.images else (), points))
        return found


Seen: TypeAlias = Image | Observation


def observed(face: Seen) -> Observation:
    """A face as an observation: an array is one frame without keypoints."""
    return face if isinstance(face, Observation) else Observation((face,))


def padded(items: Sequence[int], frames: int) -> list[int]:
    """The last `frames` of some numbers; the first one repeated in front where there are fewer."""
    kept = list(items)[-frames:]
    return [kept[0]] * (frames - len(kept)) + kept


@dataclass(slots=True)
class _Track:
    """What was seen of one person lately: for each frame a crop for each crop spec, and the keypoints."""

    seen: deque[tuple[tuple[Image, ...], NDArray[np.float32] | None]]
    last: int = 0


@dataclass(slots=True)
class Windows:
    """The last frames of each person of one source.

    Attributes:
        frames: How many are kept.
    """

    frames: int
    _tracks: dict[int, _Track] = field(default_factory=dict)
    _now: int = 0

    def update(
        self, faces: Sequence[Face], crops: Crops, keypoints: NDArray[np.float32] | None
    ) -> tuple[list[Observation], ...]:
        """Takes the faces of the next frame; gives, for each crop spec, what has been seen of each of them.

        Faces without a track have a window of this frame alone.

        Args:
            faces: N faces.
            crops: Their crops for each crop spec; no specs if only keypoints are read.
            keypoints: (N, K, 2) float32, or None.
        """
        self._now += 1
        windows = []
        for row, face in enumerate(faces):
            item = tuple(kind[row] for kind in crops), None if keypoints is None else keypoints[row]
            track = _Track(deque(maxlen=self.frames))
            if face.track is not None:
                track = self._tracks.setdefault(face.track, track)
            track.seen.append(item)
            track.last = self._now
            windows.append(list(track.seen))
        for number in [each for each, track in self._tracks.items() if self._now - track.last > _LOST]:
            del self._tracks[number]
        return tuple([_joined(window, kind) for window in windows] for kind in range(max(1, len(crops))))


def _joined(window: Sequence[tuple[tuple[Image, ...], NDArray[np.float32] | None]], kind: int) -> Observation:
    """The frames of a window as an observation, with the crops of one crop spec."""
    points = [points for _, points in window if points is not None]
    images = tuple(crops[kind] for crops, _ in window if crops)
    return Observation(images, np.stack(points).astype(np.float32) if points else None)
