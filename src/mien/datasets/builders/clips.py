"""Labelled video clips: each becomes a sequence of the crops of one person, the largest track of the clip.

A folder has one folder of videos per class, or splits that contain those; a CSV file has the columns `file` (relative
to the CSV file) and `label`, and optionally `start` and `end` (seconds, or 1:02:03.5), `subject` and `split`. Faces are
found, tracked and cropped as `mien analyze` does.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.datasets.class_folders import read_tree
from mien.datasets.class_names import ClassOptions, naming
from mien.datasets.csv_rows import LeftOut, RowErrors, check_columns, header, quoted, rows
from mien.datasets.exclude import ExcludeFile, RowOptions, Sources, without_duplicates
from mien.datasets.folds import PersonSplitOptions, check_subjects, subject_split
from mien.datasets.samples import SPLITS, Samples
from mien.datasets.splits import split_of
from mien.datasets.stored_faces import FaceCropper, StoredFaceOptions, moved
from mien.errors import ConfigError, DataError, InputError
from mien.faces.detectors import DetectorOptions
from mien.faces.keypoints import COUNTS
from mien.media import VideoOptions, find, is_video, read_video
from mien.media.picking import seconds
from mien.progress import Progress, unseen
from mien.results import Frame

YIELDS: Final = {"subjects"}
_COLUMNS: Final = ("file", "label")
_TIMES: Final = ("start", "end")


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """What becomes of a clip.

    Raises:
        ConfigError: A value is invalid.
    """

    fps: Annotated[float | None, "Keep at most this many frames per second; by default all."] = None
    least: Annotated[int, "Smallest number of frames in which the person of a clip must be found."] = 1
    keypoints: Annotated[bool, "Also find the dense keypoints of each face, in the full frames."] = False
    subject: Annotated[
        str | None,
        "Regular expression that finds the person in the path of a clip; its first group, or all of it. For folders.",
    ] = None
    exclude: ExcludeFile = None

    def __post_init__(self) -> None:
        VideoOptions(fps=self.fps)
        if self.least < 1:
            raise ConfigError(f"least: expected a number of frames from 1, got {self.least}")
        try:
            re.compile(self.subject or "")
        except re.error as error:
            raise ConfigError(
                f"subject: '{self.subject}' is not a regular expression: {error}", hint=r"for example 'actor_(\d+)'"
            ) from None

    def subject_of(self, name: str) -> str:
        """The person in the path of a clip; empty if the expression finds none."""
        found = re.search(self.subject, name) if self.subject else None
        return "" if found is None else (found[1] or "") if found.re.groups else found[0]


_NAMES: Final = ClassOptions()
_CLIPS: Final = ClipOptions()
_FACES: Final = StoredFaceOptions()
_DETECTOR: Final = DetectorOptions()
_SPLIT: Final = PersonSplitOptions()


def build(
    source: Annotated[Path, "A folder with a folder of videos per class, or a CSV file with the columns file, label."],
    *,
    names: ClassOptions = _NAMES,
    clips: ClipOptions = _CLIPS,
    faces: StoredFaceOptions = _FACES,
    detector: DetectorOptions = _DETECTOR,
    split: PersonSplitOptions = _SPLIT,
    report: Annotated[Path | None, "Write the clips that were left out, and the reasons, to this CSV file."] = None,
    progress: Progress = unseen,
) -> Samples:
    """Builds sequences of faces from labelled video clips.

    A CSV file may also have the columns start and end, of a part of a video, subject and split. Each clip is the
    largest track in it: the person whose face covers the most pixels over all frames. All frames get the label of the
    clip. Clips that cannot be read, or without a face, are left out, counted and reported; the exit code is then 3.

    Raises:
        InputError: The folder or the file is missing or cannot be read.
        DataError: Rows or names of classes are wrong, a person is in two splits, or no clip can be used.
        ConfigError: Options do not exist or do not go together.
        UnsupportedError: The detector cannot run here.
        WeightsError: The weights of the detector are missing or damaged.
        OutputError: The report cannot be written.
    """
    if source.is_file() and clips.subject:
        raise ConfigError("subject: is for folders; a CSV file has a column subject", hint="leave out --subject")
    found, notes = _listed(source) if source.is_file() else _in_folders(source, clips)
    if not found:
        raise DataError(f"{source}: names no videos", hint="expected videos such as DIR/happy/*.mp4")
    present = sorted({clip.split for clip in found if clip.split})
    shares = split.shares(present)
    labels = list(dict.fromkeys(clip.label for clip in found))
    meaning = naming(labels, names, lambda name: sum(clip.label == name for clip in found), what="label")
    reader = _Reader(clips, faces, detector)
    for number, clip in enumerate(found, 1):
        reader.read(clip)
        progress(number, len(found))
    if report:
        reader.left_out.write(report)
    if not reader.rows:
        raise DataError(
            f"{source}: no clip can be used; the first: {': '.join(reader.left_out[0][::2])}",
            hint="check the files with `mien analyze`",
        )
    samples = reader.samples(meaning.classes, meaning.place)
    check_subjects(samples)
    if not present:
        samples = replace(samples, split=subject_split(samples, shares, split.seed))
    about: dict[str, object] = {
        "data_set": "clips",
        "labels": f"clips {source.resolve().stem}",
        "votes": False,
        "rows_read": len(samples),
        "clips": len(found) - len({path for path, _, _ in reader.left_out}),
        "fps": clips.fps,
        "seed": split.seed,
        **reader.left_out.about(),
        "notes": notes,
    }
    sources = Sources(
        np.asarray([row.clip.label for row in reader.rows], np.str_),
        {name: meaning.classes[index] for name, index in meaning.place.items()},
        "label",
    )
    return without_duplicates(samples, about, choice=RowOptions(exclude=clips.exclude), sources=sources)


class _Clip(NamedTuple):
    """A labelled clip in the source."""

    path: Path
    name: str
    label: str
    subject: str = ""
    split: str = ""
    start: float | None = None
    end: float | None = None


def _in_folders(folder: Path, options: ClipOptions) -> tuple[list[_Clip], list[str]]:
    """The clips of class folders, and what to tell about them."""
    tree = read_tree(folder)
    clips: list[_Clip] = []
    notes = list(tree.notes)
    for split, classes in tree.items():
        for label, places in classes.items():
            for place in places:
                for path in _videos(place, notes):
                    name = path.relative_to(folder).as_posix()
                    clips.append(_Clip(path, name, label, options.subject_of(name), split * tree.has_splits))
    if options.subject and (without := [clip.name for clip in clips if not clip.subject]):
        raise ConfigError(
            f"subject: '{options.subject}' finds no person in {without[0]}"
            + (f" and {len(without) - 1:,} more" if len(without) > 1 else ""),
            hint=r"for example --subject 'actor_(\d+)'",
        )
    return clips, notes


def _videos(place: Path, notes: list[str]) -> Iterator[Path]:
    """The videos below a class folder; images are counted."""
    try:
        paths = find([place], videos=True).images
    except InputError as error:
        notes.append(error.message)
        return
    videos = [path for path in paths if is_video(path) or not path.stat().st_size]
    if len(videos) < len(paths):
        notes.append(f"{place}: {len(paths) - len(videos):,} images are not used; only videos are clips")
    yield from videos


def _listed(path: Path) -> tuple[list[_Clip], list[str]]:
    """The clips of a CSV file.

    Raises:
        DataError: A column is missing, or rows are wrong; all are named.
    """
    found = [name.lower() for name in header(path)]
    check_columns(path, found, _COLUMNS)
    clips: list[_Clip] = []
    names: set[str] = set()
    errors = RowErrors(path)
    lines = rows(path)
    next(lines)
    for line, cells in lines:
        row = dict(zip(found, cells, strict=False))
        problem = None
        times: dict[str, float | None] = {}
        for name in _TIMES:
            try:
                times[name] = seconds(row[name]) if row.get(name) else None
            except ConfigError:
                problem = f"{name} is {quoted(row[name])}, expected seconds, or 1:02:03.5"
        split = split_of(row["split"]) if row.get("split") else ""
        if not row.get("file") or not row.get("label"):
            problem = "has no file or no label"
        elif split is None:
            problem = f"split is {quoted(row['split'])}, expected {', '.join(SPLITS)}"
        elif problem is None and times["end"] is not None and times["end"] <= (times["start"] or 0):
            problem = f"end {row['end']} is not after start {row.get('start') or 0}"
        if problem is not None:
            errors.add(line, problem)
            continue
        file, span = row["file"], "-".join(row.get(name, "") for name in _TIMES)
        name = f"{file}#{span}" if span.strip("-") else file
        if name in names:
            errors.add(line, f"{quoted(name)} is already in an earlier line")
        names.add(name)
        clips.append(
            _Clip(path.parent / file, name, row["label"], row.get("subject", ""), split or "", *times.values())
        )
    errors.check(hint="nothing was written; correct these rows")
    if without := sum(not clip.split for clip in clips) if any(clip.split for clip in clips) else 0:
        raise DataError(
            f"{path}: {without:,} rows have no split, and others have", hint="fill the column, or remove it"
        )
    return clips, []


class _Row(NamedTuple):
    """A frame of a clip."""

    clip: _Clip
    number: int
    image: NDArray[np.uint8]
    points: NDArray[np.float32] | None


@dataclass
class _Reader:
    """Reads clips and keeps the frames of the largest track of each."""

    options: ClipOptions
    faces: StoredFaceOptions
    detector: DetectorOptions
    rows: list[_Row] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def __post_init__(self) -> None:
        from mien.faces import landmarks

        self.cropper = FaceCropper(self.faces, self.detector)
        self.landmarker = landmarks.load() if self.options.keypoints else None

    def read(self, clip: _Clip) -> None:
        """Adds the frames of a clip."""
        try:
            track = self._largest_track(clip)
        except InputError as error:
            self.left_out.append((clip.name, "unreadable", error.message))
            return
        if len(track) < max(1, self.options.least):
            found = f"the largest track has {len(track)} frames" if track else "no face was found"
            self.left_out.append((clip.name, "without_a_face" if not track else "too_short", found))
            return
        self.rows += track

    def _largest_track(self, clip: _Clip) -> list[_Row]:
        """The frames of the person whose face covers the most pixels in all.

        Raises:
            InputError: The video cannot be read to the end of the clip, or has no frames there.
        """
        from mien.faces.boxes import areas
        from mien.faces.landmarks import with_keypoints
        from mien.faces.tracking import FaceTracker

        tracker, aligner = FaceTracker(), self.cropper.aligner
        tracks: dict[int, list[_Row]] = {}
        sizes: Counter[int] = Counter()
        count = 0
        for frame in read_video(clip.path, VideoOptions(fps=self.options.fps, start=clip.start, end=clip.end)):
            if not isinstance(frame, Frame):
                raise InputError(frame.error or "cannot be read")
            count += 1
            found = aligner.refined(frame.image, aligner.find(frame.image)) if tracker.needs_detection(frame) else None
            faces = tuple(tracker.update(frame, found))
            points = aligner.landmarks(faces)
            if self.landmarker is not None:
                faces = with_keypoints(frame.image, faces, points, self.landmarker)
            for face, five in zip(faces, points, strict=True):
                crop = self.cropper.by_points(frame.image, five)
                dense = None if face.keypoints is None else moved(face.keypoints, crop.matrix)
                track = -1 if face.track is None else face.track
                tracks.setdefault(track, []).append(_Row(clip, frame.index, crop.image, dense))
                sizes[track] += round(float(areas(face.box[None])[0]))
        if not count:
            raise InputError(f"{clip.name}: has no frames there")
        return tracks[sizes.most_common(1)[0][0]] if tracks else []

    def samples(self, classes: tuple[str, ...], place: dict[str, int]) -> Samples:
        """The samples, in the splits of the source, else in train."""
        rows = self.rows
        labels = np.array([place[row.clip.label] for row in rows], np.int64)
        subjects = np.array([row.clip.subject for row in rows], np.str_)
        scheme = "" if self.landmarker is None else self.landmarker.scheme
        keypoints = None
        if scheme:
            unknown = np.full((COUNTS[scheme], 2), np.nan, np.float32)
            keypoints = np.stack([unknown if row.points is None else row.points for row in rows])
        return Samples(
            images=np.stack([row.image for row in rows]),
            labels=labels,
            classes=classes,
            split=np.array([SPLITS.index(row.clip.split or "train") for row in rows], np.uint8),
            targets=np.eye(len(classes), dtype=np.float32)[labels],
            names=np.array([f"{row.clip.name}:{row.number}" for row in rows], np.str_),
            keypoints=keypoints,
            keypoint_scheme=scheme,
            subjects=subjects if (subjects != "").any() else None,
            clips=np.array([row.clip.name for row in rows], np.str_),
            frames=np.array([row.number for row in rows], np.int64),
            clip_labels=labels,
        )
