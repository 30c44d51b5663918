"""mien's own detector: a single-shot network of plain convolutions, in the package, offline, with five landmarks.

Its network is `mien.models.detection.face_detector`, its training `mien.training.detection`; docs/benchmarks.md has
its scores.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.session import Session
from mien.assets.signature import STRIDES
from mien.assets.signature import Detections as Cells
from mien.assets.store import open_model
from mien.faces.boxes import areas, intersection, iou, nms
from mien.faces.detectors import Detections, DetectorOptions
from mien.opencv import cv2, shrunk
from mien.results import Frame

TAKES_WEIGHTS: Final = True
MAX_SIDE: Final = 640
# Images with a smaller long side are enlarged to it, at most this many times: small faces are found better.
ENLARGED: Final = 2.0
# Cells with a lower score of the network are not used: there are many, and hardly any shows a face. All others count,
# whatever the requested score, so that a face always has the same box.
LOWEST: Final = 0.12
# An image whose 95th percentile of values is below `DARK` is smoothed, because the noise of dark images hides small
# faces, and brightened until this is `BRIGHT`, at most `GAIN` times: more would make the noise that is left too strong.
DARK: Final = 80.0
BRIGHT: Final = 110.0
GAIN: Final = 2.5
SAMPLED: Final = 8  # every eighth row and column tells how dark an image is
SAME: Final = 0.4  # IoU from which two boxes are of the same face
AGREE: Final = 0.6  # IoU from which a box counts in the mean box of a face
CANDIDATES: Final = 4000
# If a face seems to have a larger side, in pixels of the searched image, the image is searched again at half the size.
# All but the small faces then come from that search: a cell does not see all of a large face, and takes its parts for
# faces.
LARGE: Final = 208
SUSPECTED: Final = 0.25
# Medians over photographs, by `python -m benchmarks.measure_geometry`.
MEAN_LANDMARKS: Final = ((0.260, 0.388), (0.721, 0.387), (0.490, 0.600), (0.289, 0.750), (0.693, 0.750))


class MienDetector:
    """Finds faces of 10 px and more, also in profile, masked or dark; boxes from hair line to chin; five landmarks.

    Images with a longer side than `max_side` are searched at that size, and small images enlarged to 640 pixels, at
    most twice. The search is repeated at half the size if there seems to be a large face. The box and the landmarks of
    a face are the weighted mean of those of its cells, which is steadier than the best cell alone.
    """

    name = "mien"

    def __init__(self, options: DetectorOptions, session: Session, cells: Cells) -> None:
        self.mean_landmarks = np.array(MEAN_LANDMARKS, np.float32)
        self._min_face = options.min_face
        self._max_side = options.max_side or MAX_SIDE
        self._session = session
        self._cells = cells
        self._grids: dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    @property
    def files(self) -> Mapping[str, str]:
        """The file of the network, with its SHA-256."""
        return self._session.files

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        """See `Detector.detect`."""
        whole = scale = self.scale(Frame(image).image.shape)
        found = self._candidates(image, scale)
        while found.may_have_larger(LARGE / scale):
            scale /= 2
            border = LARGE / 4 / scale
            # Each search counts for its range of sizes; around the border between them both count.
            found = found.of_sides(0, 1.2 * border).joined(
                self._candidates(image, scale).of_sides(border / 1.2, np.inf)
            )
        return self._faces(found, min_score, whole)

    def scale(self, shape: tuple[int, ...]) -> float:
        """The scale at which an image (H, W, 3) is first searched."""
        long = max(shape[:2])
        if long > self._max_side:
            return self._max_side / long
        return max(1.0, min(ENLARGED, min(MAX_SIDE, self._max_side) / long))

    def _candidates(self, image: NDArray[np.uint8], scale: float) -> "_Candidates":
        """The candidates for faces in an image that is searched at that scale."""
        sheet, factor = _prepared(image, scale)
        cells = self._session.run(sheet[None], outputs=["cells"])["cells"]  # (1, cells, 15)
        return _decoded(cells[0], *self._grid(*sheet.shape[:2]), factor)

    def _faces(self, cells: "_Candidates", min_score: float, scale: float) -> Detections:
        """One face for all its candidates: their weighted mean; the image was searched at that scale."""
        if not len(cells.scores):
            return Detections.empty()
        boxes = cells.places[:, :2].reshape(-1, 4)
        kept = nms(boxes, cells.scores, SAME)
        kept = kept[~_inside_another(boxes[kept], cells.scores[kept])]
        votes = cells.scores * (iou(boxes[kept], boxes) >= AGREE)  # (N, K)
        votes /= votes.sum(axis=1, keepdims=True)
        faces = np.einsum("nk,kij->nij", votes, cells.places).astype(np.float32)
        scores = self._cells.calibrated(cells.scores[kept], cells.sides[kept] * scale)
        return Detections(faces[:, :2].reshape(-1, 4), scores, faces[:, 2:]).at_least(min_score, self._min_face)

    def _grid(self, high: int, wide: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `grid`; cached for the last sizes."""
        if (high, wide) not in self._grids:
            if len(self._grids) >= 8:
                self._grids.clear()
            self._grids[high, wide] = grid(high, wide)
        return self._grids[high, wide]


@dataclass(frozen=True)
class _Candidates:
    """Candidates for the faces of one image.

    Attributes:
        scores: (K,) the network's own, 0-1.
        places: (K, 7, 2) x, y of the box's two corners and of the five landmarks, in pixels of the image.
    """

    scores: NDArray[np.float64]
    places: NDArray[np.float64]

    @property
    def sides(self) -> NDArray[np.float64]:
        """Square roots (K,) of the areas of the boxes."""
        side: NDArray[np.float64] = np.sqrt(np.prod(self.places[:, 1] - self.places[:, 0], axis=1))
        return side

    def may_have_larger(self, side: float) -> bool:
        """Whether a candidate with a larger side has a score that justifies a second search."""
        return bool(((self.sides >= side) & (self.scores >= SUSPECTED)).any())

    def of_sides(self, low: float, high: float) -> "_Candidates":
        """The candidates with sides in this range."""
        chosen = (low <= self.sides) & (self.sides < high)
        return _Candidates(self.scores[chosen], self.places[chosen])

    def joined(self, other: "_Candidates") -> "_Candidates":
        """These candidates and others."""
        return _Candidates(np.concatenate([self.scores, other.scores]), np.concatenate([self.places, other.places]))


def _prepared(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The image to search, padded with black to whole cells at its right and bottom, and its exact scale (x, y)."""
    small, factor = shrunk(image, scale)
    small = _brightened(small)
    high, wide = small.shape[:2]
    coarsest = STRIDES[-1]
    bottom, right = -high % coarsest, -wide % coarsest
    if bottom or right:
        small = np.asarray(cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_CONSTANT), np.uint8)
    return np.ascontiguousarray(small), factor


def _brightened(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image (H, W, 3), smoother and brighter if it is dark."""
    sample = np.ascontiguousarray(image[::SAMPLED, ::SAMPLED])
    if np.count_nonzero(sample >= DARK) > 0.05 * sample.size + 1:  # counting is much quicker than sorting
        return image
    level = float(np.percentile(sample, 95))
    if level >= DARK:
        return image
    gain = min(GAIN, BRIGHT / max(level, 1.0))
    table = np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(cv2.blur(image, (3, 3)), table), np.uint8)


def _decoded(
    cells: NDArray[np.float32], centres: NDArray[np.float32], strides: NDArray[np.float32], factor: NDArray[np.float64]
) -> _Candidates:
    """Decodes the cells (cells, 15) whose score is at least `LOWEST`."""
    chosen = np.flatnonzero(cells[:, 0] >= math.log(LOWEST / (1 - LOWEST)))
    if len(chosen) > CANDIDATES:
        chosen = chosen[np.argsort(-cells[chosen, 0], kind="stable")[:CANDIDATES]]
    rows, centre, stride = cells[chosen].astype(np.float64), centres[chosen], strides[chosen, None]
    middle = centre + rows[:, 1:3] * stride
    half = np.exp(np.clip(rows[:, 3:5], -6, 6)) * stride / 2
    points = centre[:, None] + rows[:, 5:].reshape(-1, 5, 2) * stride[:, None]
    places = np.concatenate([(middle - half)[:, None], (middle + half)[:, None], points], axis=1)
    return _Candidates(1 / (1 + np.exp(-rows[:, 0])), places / factor)


def _inside_another(boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which boxes (N,) are at least 80% inside a much larger one of a similar score: a face contains no other face."""
    area = areas(boxes)
    within = intersection(boxes, boxes) >= 0.8 * area[:, None]
    much_larger = area[None] > 2 * area[:, None]
    similar = scores[None] >= 0.6 * scores[:, None]
    inner: NDArray[np.bool_] = np.asarray((within & much_larger & similar).any(axis=1))
    return inner


def grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres (cells, 2) x, y in pixels, and strides (cells,), of all cells of an image, in the network's order."""
    centres, strides = [], []
    for stride in STRIDES:
        down, across = np.mgrid[: height // stride, : width // stride]
        centres.append((np.stack([across, down], axis=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(np.full(len(centres[-1]), stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(strides).astype(np.float32)


def load(options: DetectorOptions) -> MienDetector:
    """Loads the detector, with the weights in the package or those of an exported file.

    Raises:
        WeightsError: The weights are missing, damaged, or not of a detector that mien exported.
    """
    info, session = open_model(options.weights, task="detection")
    return MienDetector(options, session, info.detections)
