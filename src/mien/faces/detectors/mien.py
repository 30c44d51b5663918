"""mien's own detector: a single-shot network of plain convolutions, in the package, offline, with five landmarks.

Its network is `mien.models.detector`, its training `mien.training.detection`, how good it is docs/benchmarks.md.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.assets.detectors import STRIDES, open_detector
from mien.assets.session import Session
from mien.faces.detectors import Detections, DetectorOptions
from mien.faces.overlap import iou, surest
from mien.faces.scaling import shrunk
from mien.results import Frame

__all__ = ["MienDetector", "load"]

TAKES_WEIGHTS: Final = True
MAX_SIDE: Final = 640
# Lower scores of the network's own are not looked at: hardly one is a face, and there are many.
LOWEST: Final = 0.05
SAME: Final = 0.4  # IoU from which two boxes are of one face
AGREE: Final = 0.6  # and from which a box has a say in where that face is
CANDIDATES: Final = 4000
# Medians over photographs, by `python -m benchmarks.measure_geometry`.
ANCHOR: Final = ((0.270, 0.391), (0.739, 0.392), (0.504, 0.597), (0.300, 0.741), (0.708, 0.741))


class MienDetector:
    """Faces of 10 px and more, turned, masked and dark ones too; box from the hair line to the chin; five landmarks.

    Pictures with a long side above `max_side` are searched at that size. Of the cells that answer for one face, each
    with a box and landmarks, the weighted mean counts: it is steadier than the surest alone.
    """

    name = "mien"

    def __init__(self, options: DetectorOptions, session: Session, operating_point: float) -> None:
        self.anchor = np.array(ANCHOR, np.float32)
        self._min_face = options.min_face
        self._max_side = options.max_side or MAX_SIDE
        self._session = session
        self._operating_point = operating_point
        self._grids: dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def detect(self, image: NDArray[np.uint8], *, min_score: float = 0.5) -> Detections:
        """See `Detector.detect`."""
        return self.detect_many([image], min_score=min_score)[0]

    def detect_many(self, images: Sequence[NDArray[np.uint8]], *, min_score: float = 0.5) -> list[Detections]:
        """The same for several pictures; those of one size go through the network together."""
        prepared = [self._prepared(image) for image in images]
        results: dict[int, Detections] = {}
        sizes = sorted({sheet.shape for sheet, _ in prepared})
        for size in sizes:
            rows = [index for index, (sheet, _) in enumerate(prepared) if sheet.shape == size]
            # A single picture, the usual case, is not copied.
            stack = prepared[rows[0]][0][None] if len(rows) == 1 else np.stack([prepared[row][0] for row in rows])
            (cells,) = self._session.run(stack).values()  # (B, cells, 15)
            for row, found in zip(rows, cells, strict=True):
                results[row] = self._read(found, size[0], size[1], prepared[row][1], min_score)
        return [results[index] for index in range(len(images))]

    def _prepared(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """The picture as it is searched, black up to whole cells at its right and bottom, and its factors of scale."""
        Frame(image)  # refuses other shapes and types
        small, factor = shrunk(image, min(1, self._max_side / max(image.shape[:2])))
        high, wide = small.shape[:2]
        coarsest = STRIDES[-1]
        below, beside = -high % coarsest, -wide % coarsest
        if below or beside:
            small = np.asarray(cv2.copyMakeBorder(small, 0, below, 0, beside, cv2.BORDER_CONSTANT), np.uint8)
        return np.ascontiguousarray(small), factor

    def _read(
        self, cells: NDArray[np.float32], high: int, wide: int, factor: NDArray[np.float64], min_score: float
    ) -> Detections:
        """From what the cells say to faces in pixels of the picture."""
        least = max(LOWEST, _own(min_score, self._operating_point))
        chosen = np.flatnonzero(cells[:, 0] >= np.log(least / (1 - least)) - 1e-6) if least < 1 else np.empty(0, int)
        if not len(chosen):
            return Detections.empty()
        if len(chosen) > CANDIDATES:
            chosen = chosen[np.argsort(-cells[chosen, 0], kind="stable")[:CANDIDATES]]
        rows = cells[chosen].astype(np.float64)
        centres, strides = self._grid(high, wide)
        centre, stride = centres[chosen], strides[chosen, None]
        scores = 1 / (1 + np.exp(-rows[:, 0]))
        middle = centre + rows[:, 1:3] * stride
        half = np.exp(np.clip(rows[:, 3:5], -6, 6)) * stride / 2
        points = centre[:, None] + rows[:, 5:].reshape(-1, 5, 2) * stride[:, None]
        places = np.concatenate([(middle - half)[:, None], (middle + half)[:, None], points], axis=1)  # (K, 7, 2)
        overlaps = iou(*[places[:, :2].reshape(-1, 4)] * 2)
        kept = surest(overlaps, scores, SAME)
        votes = scores * (overlaps[kept] >= AGREE)  # (N, K)
        votes /= votes.sum(axis=1, keepdims=True)
        faces = (np.einsum("nk,kij->nij", votes, places) / factor).astype(np.float32)
        boxes, landmarks = faces[:, :2].reshape(-1, 4), faces[:, 2:]
        own = np.interp(scores[kept], (0, self._operating_point, 1), (0, 0.5, 1)).astype(np.float32)
        return Detections(boxes, own, landmarks).at_least(min_score, self._min_face)

    def _grid(self, high: int, wide: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Middles (cells, 2) x, y in pixels and strides (cells,), in the network's order; kept for the last sizes."""
        if (high, wide) not in self._grids:
            if len(self._grids) >= 8:
                self._grids.clear()
            self._grids[high, wide] = grid(high, wide)
        return self._grids[high, wide]


def _own(score: float, operating_point: float) -> float:
    """The network's score for one on mien's scale, on which the operating point is 0.5."""
    return float(np.interp(score, (0, 0.5, 1), (0, operating_point, 1)))


def grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Middles (cells, 2) x, y in pixels, and strides (cells,), of all cells of a picture, in the network's order."""
    centres, strides = [], []
    for stride in STRIDES:
        down, across = np.mgrid[: height // stride, : width // stride]
        centres.append((np.stack([across, down], axis=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(np.full(len(centres[-1]), stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(strides).astype(np.float32)


def load(options: DetectorOptions) -> MienDetector:
    """Makes the detector ready, with the weights in the package or an exported file's.

    Raises:
        WeightsError: The weights are missing, damaged, or no detector that mien exported.
    """
    entry, session = open_detector(options.weights)
    return MienDetector(options, session, entry.operating_point)
