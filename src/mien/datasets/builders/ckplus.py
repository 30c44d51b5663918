"""CK+, the extended Cohn-Kanade data set (Lucey et al., CVPR Workshops 2010): sequences from neutral to a peak.

Its folders hold images `S005_001_00000011.png` and, beside them or in trees of their own, `*_emotion.txt`, `*_facs.txt`
and `*_landmarks.txt`; see `mien.datasets.cohn_kanade`. Of 593 sequences of 123 persons, 327 have an emotion, among them
contempt. Every person is in one split only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.datasets.cohn_kanade import EMOTIONS, LISTS, Sequence, read_points, read_sequences
from mien.datasets.csv_rows import LeftOut
from mien.datasets.exclude import ExcludeFile, RowOptions, Sources, without_duplicates
from mien.datasets.folds import PersonSplitOptions, subject_split
from mien.datasets.samples import NO_LABEL, Samples
from mien.datasets.stored_faces import FaceCropper, StoredFace, StoredFaceOptions, moved, whole
from mien.emotions import vocabulary
from mien.errors import ConfigError, DataError, InputError
from mien.faces.detectors import DetectorOptions
from mien.faces.keypoints import COUNTS, POINTS_68, five_of
from mien.media import read_frames
from mien.progress import Progress, unseen
from mien.results import Frame

YIELDS: Final = {"subjects", "keypoints"}
_NEUTRAL: Final = "first frame"
_CODES: Final = "action units: "

Crop = Literal["detector", "landmarks", "whole"]


@dataclass(frozen=True, slots=True)
class SequenceOptions:
    """What becomes of a sequence.

    Raises:
        ConfigError: A value is invalid.
    """

    frames: Annotated[
        Literal["peak", "sequence"],
        "Frames that are kept: peak, the last ones, as images; or sequence, all of them, as clips.",
    ] = "peak"
    peaks: Annotated[int, "Frames at the end of a sequence that show its emotion."] = 3
    neutral: Annotated[
        Literal["first", "none"] | None,
        "Which frames are neutral: the first of each sequence, or none; by default first for --frames peak only.",
    ] = None
    crop: Annotated[
        Crop, "What the faces are cropped by: a detector, the landmarks of the data set, or whole: not at all."
    ] = "detector"
    facs: Annotated[bool, "Label sequences without an emotion by their action units, if these are clear."] = False

    def __post_init__(self) -> None:
        if self.frames not in ("peak", "sequence"):
            raise ConfigError(f"frames: expected peak or sequence, got '{self.frames}'")
        if self.neutral not in (None, "first", "none"):
            raise ConfigError(f"neutral: expected first or none, got '{self.neutral}'")
        if self.crop not in ("detector", "landmarks", "whole"):
            raise ConfigError(f"crop: expected detector, landmarks or whole, got '{self.crop}'")
        if self.peaks < 1:
            raise ConfigError(f"peaks: expected a number of frames from 1, got {self.peaks}", hint="3 is usual")

    @property
    def with_neutral(self) -> bool:
        """Whether first frames are neutral."""
        return self.frames == "peak" if self.neutral is None else self.neutral == "first"


_SEQUENCES: Final = SequenceOptions()
_FACES: Final = StoredFaceOptions()
_DETECTOR: Final = DetectorOptions()
_SPLIT: Final = PersonSplitOptions()


def build(
    folder: Annotated[Path, "The folder with the images and the files of emotions, landmarks and action units."],
    *,
    sequences: SequenceOptions = _SEQUENCES,
    faces: StoredFaceOptions = _FACES,
    detector: DetectorOptions = _DETECTOR,
    split: PersonSplitOptions = _SPLIT,
    exclude: ExcludeFile = None,
    report: Annotated[Path | None, "Write the files that were left out, and the reasons, to this CSV file."] = None,
    progress: Progress = unseen,
) -> Samples:
    """Builds CK+ from its folders: peak frames as images, or whole sequences as clips, divided by person.

    Both layouts are read: separate folders for images, Emotion, FACS and Landmarks, or all files together. Sequences
    without an emotion are left out, unless --facs finds one in their action units. Contempt is a class of its own. The
    68 landmarks of each frame become its keypoints. Files that cannot be used are left out, counted and reported; the
    exit code is then 3.

    Raises:
        InputError: The folder is missing or cannot be listed.
        DataError: The folder holds no labelled sequences, or a file twice.
        ConfigError: Options do not exist or do not go together.
        UnsupportedError: The detector cannot run here.
        WeightsError: The weights of the detector are missing or damaged.
        OutputError: The report cannot be written.
    """
    if sequences.crop != "detector" and detector != _DETECTOR:
        raise ConfigError("options of the detector need --crop detector", hint="leave them out")
    found = read_sequences(folder)
    reader = _Reader(sequences, faces, detector)
    for number, sequence in enumerate(found.values(), 1):
        if sequence.frames:
            reader.read(sequence)
        progress(number, len(found))
    if report:
        reader.left_out.write(report)
    if not reader.rows:
        first = f"; the first: {': '.join(reader.left_out[0][::2])}" if reader.left_out else ""
        raise DataError(
            f"{folder}: no sequence has an emotion and usable images{first}",
            hint=_without_labels(folder, found.values(), reader),
        )
    samples = reader.samples()
    samples = replace(samples, split=subject_split(samples, split.shares(), split.seed))
    about: dict[str, object] = {
        "data_set": "ckplus",
        "labels": "CK+" + (", and action units" if reader.by_codes else ""),
        "votes": False,
        "rows_read": len(samples) + len(reader.left_out),
        "frames": sequences.frames,
        "peaks": sequences.peaks,
        "crop": sequences.crop,
        "cropped_by_landmarks": reader.by_landmarks,
        "sequences": reader.sequences,
        "sequences_by_action_units": reader.by_codes,
        "dropped_sequences_without_an_emotion": reader.unlabelled,
        "seed": split.seed,
        **reader.left_out.about(),
        "notes": reader.notes(found.values()),
    }
    meaning = {name: label for name, label in reader.meaning().items() if label in samples.classes}
    sources = Sources(np.asarray([row.source for row in reader.rows], np.str_), meaning, "emotion")
    return without_duplicates(samples, about, choice=RowOptions(exclude=exclude), sources=sources)


class _Row(NamedTuple):
    """One row of the store."""

    face: StoredFace
    name: str
    points: NDArray[np.float32] | None
    emotion: str | None  # of this frame
    source: str  # what the emotion was called in the source; empty without one
    subject: str
    clip: str
    frame: int
    clip_emotion: str


@dataclass
class _Reader:
    """Reads sequences and brings their frames to their stored form."""

    options: SequenceOptions
    faces: StoredFaceOptions
    detector: DetectorOptions
    rows: list[_Row] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    sequences: int = 0
    unlabelled: int = 0
    by_codes: int = 0
    by_landmarks: int = 0

    def __post_init__(self) -> None:
        self.cropper = None if self.options.crop == "whole" else FaceCropper(self.faces, self.detector)

    def read(self, sequence: Sequence) -> None:
        """Adds the frames of a sequence, if it has an emotion."""
        try:
            known = self._emotion(sequence)
        except (DataError, InputError, ConfigError) as error:
            self.left_out.append((sequence.name, "unreadable", error.message))
            return
        if known is None:
            self.unlabelled += 1
            return
        emotion, source = known
        numbers = list(sequence.frames)
        peaks = numbers[-self.options.peaks :]
        first = [numbers[0]] if self.options.with_neutral and numbers[0] not in peaks else []
        wanted = numbers if self.options.frames == "sequence" else [*first, *peaks]
        rows: list[_Row] = []
        for number, frame in zip(wanted, read_frames(sequence.frames[each] for each in wanted), strict=True):
            placed = self._placed(sequence, number, frame)
            if placed is None:
                continue
            label = emotion if number in peaks else None
            row = _Row(*placed, label, source * (label is not None), sequence.subject, sequence.name, number, emotion)
            if number in first:
                rows.insert(0, _as_neutral(row, alone=self.options.frames == "sequence"))
            if self.options.frames == "sequence" or number in peaks:
                rows.append(row)
        if not any(row.emotion == emotion for row in rows):
            if rows:
                self.left_out.append((sequence.name, "without_a_peak", "none of its last frames can be used"))
            return
        self.rows += rows
        self.sequences += 1
        self.by_codes += source.startswith(_CODES)

    def _emotion(self, sequence: Sequence) -> tuple[str, str] | None:
        """The emotion of a sequence and what it was called in the source; None if it has none."""
        if (number := sequence.label()) is not None:
            return EMOTIONS[number], str(number)
        if not self.options.facs or (sequence.facs_file is None and sequence.codes is None):
            return None
        from mien import action_units

        if sequence.facs_file is not None:
            units = action_units.read_file(sequence.facs_file)
        else:
            units = action_units.parse(sequence.codes or "")
        emotion = action_units.classify(units) if units else None
        return None if emotion is None else (emotion, f"{_CODES}{emotion}")

    def _placed(
        self, sequence: Sequence, number: int, frame: Frame | object
    ) -> tuple[StoredFace, str, NDArray[np.float32] | None] | None:
        """The face of a frame, its name and its keypoints in the crop; None if it cannot be used."""
        path = sequence.frames[number]
        if not isinstance(frame, Frame):
            self.left_out.append((path.name, "unreadable", getattr(frame, "error", "")))
            return None
        points = self._points(sequence, number)
        face = self._face(frame.image, points)
        if face is None:
            lacks = "no face was found" if self.options.crop == "detector" else "it has no landmarks"
            self.left_out.append((path.name, "without_a_face", lacks))
            return None
        return face, path.stem, None if points is None else moved(points, face.matrix)

    def _points(self, sequence: Sequence, number: int) -> NDArray[np.float32] | None:
        """The keypoints of a frame in the photograph; None if they are missing or cannot be read."""
        if number not in sequence.landmarks:
            return None
        try:
            return read_points(sequence.landmarks[number])
        except (DataError, InputError) as error:
            self.left_out.append((sequence.landmarks[number].name, "unreadable", error.message))
            return None

    def _face(self, image: NDArray[np.uint8], points: NDArray[np.float32] | None) -> StoredFace | None:
        """The face of a photograph (H, W, 3); without a find of the detector, by its landmarks."""
        if self.cropper is None:
            return whole(image, self.faces)
        if self.options.crop == "detector" and (face := self.cropper.largest(image)) is not None:
            return face
        if points is None or np.ptp(points, axis=0).min() <= 0:
            return None
        self.by_landmarks += 1
        return self.cropper.by_points(image, five_of(points))

    def meaning(self) -> dict[str, str]:
        """The class that each name of the source means."""
        numbers = {str(number): name for number, name in EMOTIONS.items()}
        present = {row.source for row in self.rows}
        codes = {source: source.removeprefix(_CODES) for source in sorted(present) if source.startswith(_CODES)}
        every = {_NEUTRAL: "neutral", **numbers, **codes}
        return {name: label for name, label in every.items() if name in present}

    def samples(self) -> Samples:
        """The samples, all in train."""
        rows = self.rows
        shown = {row.clip_emotion for row in rows} | {row.emotion for row in rows}
        classes = tuple(name for name in vocabulary(8) if name != "neutral" or name in shown)
        labels = np.array([NO_LABEL if row.emotion is None else classes.index(row.emotion) for row in rows], np.int64)
        targets = np.zeros((len(rows), len(classes)), np.float32)
        known = labels != NO_LABEL
        targets[np.flatnonzero(known), labels[known]] = 1
        points = np.full((len(rows), COUNTS[POINTS_68], 2), np.nan, np.float32)
        for place, row in enumerate(rows):
            if row.points is not None:
                points[place] = row.points
        with_points = any(row.points is not None for row in rows)
        clips = self.options.frames == "sequence"
        return Samples(
            images=np.stack([row.face.image for row in rows]),
            labels=labels,
            classes=classes,
            split=np.zeros(len(rows), np.uint8),
            targets=targets,
            names=np.array([row.name for row in rows], np.str_),
            keypoints=points if with_points else None,
            keypoint_scheme=POINTS_68 if with_points else "",
            subjects=np.array([row.subject for row in rows], np.str_),
            clips=np.array([row.clip for row in rows], np.str_) if clips else None,
            frames=np.array([row.frame for row in rows], np.int64) if clips else None,
            clip_labels=np.array([classes.index(row.clip_emotion) for row in rows], np.int64) if clips else None,
        )

    def notes(self, sequences: Iterable[Sequence]) -> list[str]:
        """What to tell the user."""
        notes = []
        lost = sum(1 for each in sequences if not each.frames)
        if lost:
            notes.append(f"{lost:,} sequences have labels or landmarks, but no images")
        without = sum(row.points is None for row in self.rows)
        if without:
            notes.append(f"{without:,} of {len(self.rows):,} frames have no landmarks")
        return notes


def _as_neutral(row: _Row, *, alone: bool) -> _Row:
    """The first frame of a sequence as a neutral image; among clips, as a clip of this one frame."""
    name = f"{row.name} neutral" if alone else row.name
    return row._replace(
        name=name, emotion="neutral", source=_NEUTRAL, clip=f"{row.clip} neutral", clip_emotion="neutral"
    )


def _without_labels(folder: Path, sequences: Iterable[Sequence], reader: _Reader) -> str:
    """What to do if no sequence could be used."""
    if reader.left_out:
        return "download the data set again"
    if not any(each.emotion_file for each in sequences) and (folder.resolve().parent / "Emotion").is_dir():
        return f"the emotions are beside this folder: give {folder.resolve().parent}"
    if not reader.options.facs and any(each.facs_file or each.codes for each in sequences):
        return "add --facs to label them by their action units, or unpack the folder Emotion beside the images"
    return f"unpack the folder Emotion beside the images, or add {LISTS[0]}"
