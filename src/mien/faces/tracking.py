"""Tracking: which faces of a video's frames belong to the same person. Causal, so that it works with a camera.

Each track has a Kalman filter of the place and size of its face, and a signature of the colours in it. A new face is
assigned to the track for which the two together are most likely (the Hungarian method finds the best assignment of
all faces at once), or starts a track of its own. A track whose face is not seen is kept for some time: for a moment the
motion says where it comes back, later only the signature. A cut of the scene ends all tracks.

Between detections a face is followed by optical flow; see `mien.faces.motion`. `docs/design/tracking.md` has the
measurements behind the constants.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError
from mien.faces.boxes import areas, intersection
from mien.faces.motion import NEWCOMER, FacePatch, Scene, Shift
from mien.opencv import cv2
from mien.results import Face, Frame

# The detector runs at least this often, in seconds: flow needs frames that are close to each other. The longer limit is
# for a scene that stands still around faces of which nearly all points can be followed. Measured on clips of crossing
# people and of crowds: nothing is found less; see `docs/design/tracking.md`.
_LONGEST_FLOW: Final = 0.25
_LONGEST_STILL: Final = 1.0
_WELL_FOLLOWED: Final = 0.8  # share of trusted points
# So long after a face was lost, the detector looks for it in every frame.
_SEARCH: Final = 1.0
# A track that was lost for longer than this has no speed any more, and its face may be anywhere.
_MOMENT: Final = 0.5
# Seconds that a track without a face is kept, and the number of such tracks: memory stays constant.
_MEMORY: Final = 60.0
_MOST_LOST: Final = 256
# A track that had fewer faces than this is forgotten when it is lost for longer than `_SEARCH`.
_FEW: Final = 3

# Motion, in units of the face's size: noise of a detected place, spectral density of the acceleration (1/s³), time
# constant of the speed (s), standard deviation of the speed of a new face (1/s).
_PLACE_NOISE: Final = 0.08
_ACCELERATION: Final = 8.0
_SPEED_TIME: Final = 0.7
_FIRST_SPEED: Final = 2.0
# The same for the logarithm of the size: its noise, and how fast its standard deviation grows (1/s).
_SIZE_NOISE: Final = 0.12
_SIZE_GROWTH: Final = 0.5
# Half of those who come back are where they were lost, with this standard deviation.
_STAYED: Final = 0.5
_SIZE_RANGE: Final = 3.0  # another face has any size in this range

# The signature: counts of colours, in bands of the box grown by this share.
_BANDS: Final = 4
_BINS: Final = 6
_SIGNATURE_SIDE: Final = 32
_GROWN: Final = 0.15
# Log-likelihood ratio of "another person" against "the same" by the distance of signatures: 0 at the first number, 1
# more with every second; limited, because light can change all colours at once.
_EVEN: Final = 0.17
_STEP: Final = 0.022
_MOST_LIKE: Final = -5.0
_MOST_UNLIKE: Final = 6.0
# Smaller limits: of a face in the very next frame, which light is more likely to have changed than another person to
# have replaced; and of faces without colours, which are all alike. The share of grey that makes one such.
_NEXT_UNLIKE: Final = 4.0
_GREY_LIKE: Final = -1.5
_GREY: Final = 0.95
# A face that comes back after more than a second must be this much more likely the same person than another.
_RETURN: Final = -2.0
# Weight of the newest face in a track's signature.
_LEARN: Final = 0.1
# Share of a box that others may cover; beyond it, the face is not followed by flow and its colours are not learnt.
_COVERED: Final = 0.1
# The box of another face hides what lies in it, grown by this share: hair and ears hide, too. Of the rest there must be
# so much.
_HIDING: Final = 0.3
_LEAST_LEFT: Final = 0.2


_STILL: Final = Shift(1, 0)


@dataclass(eq=False, slots=True)
class _Track:
    """A person. Lengths of the filter are in pixels; `p`, its covariance (2, 2), in units of the size."""

    number: int
    face: Face
    signature: NDArray[np.float32]
    seen: float  # time of the last face
    place: NDArray[np.float64]  # (2,) centre
    size: float
    speed: NDArray[np.float64]  # (2,) pixels a second
    p: NDArray[np.float64]
    born: float  # time of the first face
    faces: int = 1
    present: bool = True  # has a face in the last frame
    patch: FacePatch | None = None
    since: Shift = _STILL  # the transform from the patch's frame to the last one
    box: NDArray[np.float32] | None = None  # in the patch's frame
    landmarks: NDArray[np.float32] | None = None


class FaceTracker:
    """Follows the faces of one video or camera; a `mien.analyzer.Tracker`.

    Args:
        detect_every: The detector runs on every so many frames; None for four times a second, once if nothing but
            the known faces moves. Between detections faces are followed by optical flow, and the detector runs earlier
            if one is lost, if two meet, after a cut, and if something comes into view.

    Raises:
        ConfigError: `detect_every` is below 1.
    """

    def __init__(self, detect_every: int | None = None) -> None:
        if detect_every is not None and detect_every < 1:
            raise ConfigError(
                f"detect_every: expected a number of frames from 1, got {detect_every}", hint="for example 3"
            )
        self.detect_every = detect_every
        self._tracks: list[_Track] = []
        self._next = 0
        self._time = -math.inf
        self._scene: Scene | None = None
        self._detected: Scene | None = None  # the scene of the last frame with detection
        self._detected_at = -math.inf
        self._without = 0  # frames since then
        self._found: dict[int, Face] | None = None  # faces by track that the flow has found in the next frame

    def needs_detection(self, frame: Frame) -> bool:
        """Whether the detector has to run on the next frame; if not, the flow has found its faces."""
        now = frame.seconds
        scene = Scene(frame.image)
        # A frame of one colour says nothing of where the camera is: the next one is compared with that before it.
        if self._scene is not None and not scene.is_flat and scene.is_cut_from(self._scene):
            self._tracks.clear()
            self._detected = None
        if self._scene is None or not scene.is_flat:
            self._scene = scene
        self._found = None
        if self._may_follow(now, scene):
            self._found = self._follow(frame, now)
        if self._found is None:
            self._detected, self._detected_at = scene, now
        return self._found is None

    def update(self, frame: Frame, faces: tuple[Face, ...] | None) -> Sequence[Face]:
        """The faces of the next frame with their `track`, largest first.

        Args:
            frame: The frame.
            faces: What the detector found; None to take what the flow has found.
        """
        now = frame.seconds
        if faces is None:
            self._without += 1
            for track in self._tracks:
                if track.present and self._found is not None:
                    self._see(track, self._found[track.number], now)
        else:
            self._without = 0
            self._assign(frame, faces, now)
        self._time = now
        present = [track.face for track in self._tracks if track.present]
        return tuple(sorted(present, key=lambda face: -float(areas(face.box[None])[0])))

    # Between detections

    def _may_follow(self, now: float, scene: Scene) -> bool:
        """Whether the flow may replace the detector in the next frame."""
        since = now - self._detected_at
        if self._detected is None or not 0 <= since <= _LONGEST_STILL:
            return False
        if self.detect_every is not None and self._without + 1 >= self.detect_every:
            return False
        present = [track for track in self._tracks if track.present]
        if any(not track.present and now - track.seen < _SEARCH for track in self._tracks):
            return False
        boxes = np.array([track.face.box for track in present]).reshape(-1, 4)
        if (_covered(boxes) > _COVERED).any():
            return False
        at_detection = np.array([track.box for track in present if track.box is not None]).reshape(-1, 4)
        changed = scene.changed_share(self._detected, np.concatenate([boxes, at_detection]))
        if since <= _LONGEST_FLOW:
            return not NEWCOMER[0] < changed < NEWCOMER[1]
        still = changed == 0 and now - self._time <= _LONGEST_FLOW
        return still and all(track.patch and track.patch.trusted >= _WELL_FOLLOWED for track in present)

    def _follow(self, frame: Frame, now: float) -> dict[int, Face] | None:
        """The faces by the number of their track; None if one cannot be followed."""
        height, width = frame.image.shape[:2]
        found = {}
        for track in (track for track in self._tracks if track.present):
            if track.patch is None or track.box is None:
                return None
            right, down = (track.speed * (now - track.seen)).tolist()
            near = Shift(track.since.turn, track.since.offset + complex(right, down))
            shift = track.patch.shift(frame.image, near)
            if shift is None:
                return None
            box = shift.box(track.box)
            x0, y0, x1, y1 = box.tolist()
            if not (0 <= x0 + x1 < 2 * width and 0 <= y0 + y1 < 2 * height):
                return None
            track.since = shift
            landmarks = None if track.landmarks is None else shift.points(track.landmarks)
            found[track.number] = replace(track.face, box=box, landmarks=landmarks)
        return found

    # At detections

    def _assign(self, frame: Frame, faces: Sequence[Face], now: float) -> None:
        """Gives each face to a track, or to a new one."""
        boxes = np.array([face.box for face in faces], np.float64).reshape(-1, 4)
        signatures = [_signature(frame.image, box) for box in boxes]
        heads = _heads(boxes)
        uncovered = [
            _signature(frame.image, box, np.delete(heads, number, axis=0)) if near else signatures[number]
            for number, (box, near) in enumerate(zip(boxes, _covered(heads) > 0, strict=True))
        ]
        clear = np.maximum(_covered(boxes), _outside(boxes, frame)) <= _COVERED
        costs = self._costs(frame, boxes, signatures, uncovered, now)
        pairs = self._decided(_best_pairs(costs), costs, clear, now)
        for track in self._tracks:
            track.present = False
        for number, (face, signature) in enumerate(zip(faces, signatures, strict=True)):
            if number in pairs:
                track = self._tracks[pairs[number]]
                self._see(track, face, now)
                if clear[number]:
                    rate = max(_LEARN, 1 / track.faces)
                    track.signature = _unit((1 - rate) * track.signature + rate * signature)
            else:
                track = self._new_track(face, signature, now)
                self._tracks.append(track)
            follows = clear[number] and self.detect_every != 1
            track.patch = FacePatch(frame.image, face.box) if follows else None
            track.since, track.box, track.landmarks = _STILL, face.box, face.landmarks
        self._forget(now)

    def _decided(
        self, pairs: Mapping[int, int], costs: NDArray[np.float64], clear: NDArray[np.bool_], now: float
    ) -> Mapping[int, int]:
        """The pairs of face and track, where the face of a new track may be that of one that was lost before.

        Whoever comes into the picture, or out from behind something, is first seen in part, and gets a new track if the
        colours of that part say nothing. For a second they may still say that the person is known.
        """
        found = dict(pairs)
        for number, column in pairs.items():
            young = self._tracks[column]
            if now - young.born > _SEARCH or not clear[number]:
                continue
            taken = set(found.values())
            earlier = {
                each: float(costs[number, each])
                for each, track in enumerate(self._tracks)
                if each not in taken and track.seen < young.born and costs[number, each] < _RETURN
            }
            if earlier:
                found[number] = min(earlier, key=lambda each: earlier[each])
                young.seen = -math.inf  # it is forgotten
        return found

    def _costs(
        self,
        frame: Frame,
        boxes: NDArray[np.float64],
        signatures: Sequence[NDArray[np.float32]],
        uncovered: Sequence[NDArray[np.float32]],
        now: float,
    ) -> NDArray[np.float64]:
        """Costs (N faces, M tracks): the log-likelihood ratio of another person against the same; below 0 for a match.

        Another person would be anywhere in the frame, with any size.
        """
        if not len(boxes) or not self._tracks:
            return np.empty((len(boxes), len(self._tracks)))
        height, width = frame.image.shape[:2]
        centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, np.sqrt(areas(boxes))
        # The colours of a covered face are half another person's. Which of two boxes is in front is not known: the
        # more similar of both readings counts, so that nobody is lost whom the whole box would have found.
        known = np.stack([track.signature for track in self._tracks]).T
        likeness = np.maximum(np.stack(signatures) @ known, np.stack(uncovered) @ known)
        grey = _grey_share(np.stack(signatures))[:, None] > _GREY
        least = np.where(grey, _GREY_LIKE, _MOST_LIKE)
        most = [_NEXT_UNLIKE if track.present else _MOST_UNLIKE for track in self._tracks]
        colours = np.clip((1 - likeness - _EVEN) / _STEP, least, most)
        costs = np.empty_like(colours, np.float64)
        for column, track in enumerate(self._tracks):
            gap = max(0.0, now - track.seen)
            place, p = _predicted(track, gap)
            variance = p[0, 0] + _PLACE_NOISE**2
            apart = np.sum((centres - place) ** 2, axis=1) / track.size**2
            anywhere = math.log(2 * math.pi * variance * track.size**2 / (height * width))
            noise = _SIZE_NOISE + _SIZE_GROWTH * gap
            change = np.log(sizes / track.size) / noise
            any_size = math.log(math.sqrt(2 * math.pi) * noise / _SIZE_RANGE)
            motion = apart / (2 * variance) + min(anywhere, 0.0) + change**2 / 2 + min(any_size, 0.0)
            if gap > _MOMENT:
                # Far from where it was lost, a person can come back anywhere: then motion says nothing. Or the person
                # never went away, but looked down, or was hidden.
                there = math.log(2 * 2 * math.pi * (_STAYED * track.size) ** 2 / (height * width))
                stayed = apart / (2 * _STAYED**2) + there + change**2 / 2
                motion = np.minimum(np.minimum(motion, 0.0) - _RETURN * min(gap, 1.0), stayed)
            costs[:, column] = motion + colours[:, column]
        return costs

    def _new_track(self, face: Face, signature: NDArray[np.float32], now: float) -> _Track:
        number = self._next
        self._next += 1
        place, size = _place(face.box)
        p = np.diag([_PLACE_NOISE**2, _FIRST_SPEED**2])
        return _Track(number, replace(face, track=number), signature, now, place, size, np.zeros(2), p, born=now)

    def _see(self, track: _Track, face: Face, now: float) -> None:
        """Updates a track with its face in the present frame."""
        gap = now - track.seen
        place, size = _place(face.box)
        if gap > _MOMENT:  # it came back: the old speed means nothing
            track.place, track.speed, track.p = place, np.zeros(2), np.diag([_PLACE_NOISE**2, _FIRST_SPEED**2])
        else:
            predicted, p = _predicted(track, gap)
            gain = p[:, 0] / (p[0, 0] + _PLACE_NOISE**2)
            missed = place - predicted
            fade = math.exp(-max(gap, 0.0) / _SPEED_TIME)
            track.place = predicted + gain[0] * missed
            track.speed = track.speed * fade + gain[1] * missed
            track.p = p - np.outer(gain, p[0])
        track.size, track.seen, track.present = size, now, True
        track.faces += 1
        track.face = face if face.track == track.number else replace(face, track=track.number)

    def _forget(self, now: float) -> None:
        """Drops tracks that were lost too long ago."""
        kept = []
        lost = sorted((track.seen for track in self._tracks if not track.present), reverse=True)
        oldest = lost[_MOST_LOST - 1] if len(lost) >= _MOST_LOST else -math.inf
        for track in self._tracks:
            if not track.present:
                track.patch = None
                limit = _MEMORY if track.faces >= _FEW else _SEARCH
                if now - track.seen > limit or track.seen < oldest:
                    continue
            kept.append(track)
        self._tracks = kept


def _predicted(track: _Track, gap: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The place (2,) of a track's face after some seconds, and the covariance (2, 2) of place and speed.

    The speed fades away with time: nobody moves on for ever.
    """
    gap = max(gap, 0.0)
    fade = math.exp(-gap / _SPEED_TIME)
    reach = _SPEED_TIME * (1 - fade)
    step = np.array([[1.0, reach], [0.0, fade]])
    noise = _ACCELERATION * np.array([[gap**3 / 3, gap**2 / 2], [gap**2 / 2, gap]])
    return track.place + track.speed * reach, step @ track.p @ step.T + noise


def _heads(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The boxes (N, 4) of faces, grown to what hides others."""
    margin: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]) * _HIDING / 2
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)


def _place(box: NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
    """The centre (2,) and the size, the root of the area, of a box (4,)."""
    place: NDArray[np.float64] = np.asarray((box[:2] + box[2:]) / 2, np.float64)
    return place, math.sqrt(areas(box[None])[0])


def _covered(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """The largest share (N,) of each box (N, 4) that another one covers."""
    if len(boxes) < 2:
        return np.zeros(len(boxes))
    common = intersection(boxes, boxes)
    np.fill_diagonal(common, 0)
    return np.asarray(common.max(axis=1) / areas(boxes), np.float64)


def _outside(boxes: NDArray[np.floating], frame: Frame) -> NDArray[np.float64]:
    """The share (N,) of each box (N, 4) that lies outside the frame."""
    height, width = frame.image.shape[:2]
    inside = intersection(boxes, np.array([[0.0, 0.0, width, height]]))[:, 0]
    return np.asarray(1 - inside / areas(boxes), np.float64)


def _best_pairs(costs: NDArray[np.float64]) -> dict[int, int]:
    """The track of each face, for the lowest sum of costs below 0; a face for which none is below 0 has none."""
    if not costs.size:
        return {}
    import lap

    worst = 1e3  # lap takes costs above 0; a pair that costs more than the limit is left alone
    _, columns, _ = lap.lapjv(np.clip(costs, -worst, worst) + worst, extend_cost=True, cost_limit=worst)
    return {row: int(column) for row, column in enumerate(columns) if column >= 0}


def _signature(
    image: NDArray[np.uint8], box: NDArray[np.floating], others: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """The colours of a face, (864,) of length 1: the product of two is 1 for the same colours in the same bands.

    Square roots of counts, so that the product is the Bhattacharyya coefficient. What lies in the boxes `others` (N, 4)
    is not counted, unless hardly anything is left.
    """
    grown = (box[2:] - box[:2]) * (1 + _GROWN)
    x0, y0 = (box[:2] + box[2:]) / 2 - grown / 2
    zoom_x, zoom_y = grown / _SIGNATURE_SIDE
    matrix = np.array([[zoom_x, 0, x0], [0, zoom_y, y0]], np.float64)
    side = (_SIGNATURE_SIDE, _SIGNATURE_SIDE)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels = cv2.warpAffine(image, matrix, side, flags=flags, borderMode=cv2.BORDER_CONSTANT)
    # Columns and rows outside the image are not counted.
    height, width = image.shape[:2]
    steps = np.arange(_SIGNATURE_SIDE)
    across, down = x0 + zoom_x * steps, y0 + zoom_y * steps
    counted = np.outer((down >= 0) & (down < height), (across >= 0) & (across < width))
    if others is not None:
        left = counted.copy()
        for a0, b0, a1, b1 in others.tolist():
            left[np.outer((down >= b0) & (down < b1), (across >= a0) & (across < a1))] = False
        counted = left if np.count_nonzero(left) >= _LEAST_LEFT * left.size else counted
    mask = None if counted.all() else counted.astype(np.uint8)
    high = _SIGNATURE_SIDE // _BANDS
    counts = [
        cv2.calcHist(
            [pixels[top : top + high]],
            [0, 1, 2],
            None if mask is None else mask[top : top + high],
            [_BINS] * 3,
            [0, 256] * 3,
        ).ravel()
        for top in range(0, _SIGNATURE_SIDE, high)
    ]
    return _unit(np.sqrt(np.concatenate(counts)))


def _grey_share(signatures: NDArray[np.floating]) -> NDArray[np.float64]:
    """The share (N,) of the pixels of each signature (N, 864) whose red, green and blue lie in the same bin."""
    shares = signatures.reshape(len(signatures), _BANDS, _BINS, _BINS, _BINS) ** 2
    return np.asarray(np.einsum("nbiii->n", shares), np.float64)


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)
