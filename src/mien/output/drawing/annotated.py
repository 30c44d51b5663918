"""Annotated images: boxes, and beside each face its emotion as bars, a label or an emoji.

Faces can also be made unrecognisable, with only their emotions left, for images that are passed on.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mien.errors import ConfigError, OutputError, meant
from mien.files import cannot_write, replacing
from mien.output.drawing.canvas import Canvas
from mien.output.drawing.layout import Rect
from mien.output.drawing.notes import AffectLabel, Badge, Label, Note, Panel, arrange
from mien.output.drawing.palette import colour_of
from mien.results import Face, Frame, FrameResult

Overlay = Literal["bars", "label", "emoji", "blur", "affect"]
OVERLAYS: Final[tuple[Overlay, ...]] = get_args(Overlay)

_NOTES: Final[dict[Overlay, type[Note]]] = {
    "bars": Panel,
    "label": Label,
    "emoji": Badge,
    "blur": Label,
    "affect": AffectLabel,
}

# A blurred face becomes this many squares along the longer side of its area, which is its box grown by this share on
# every side (hair, ears and chin): five squares across the face itself.
_CELLS, _AROUND = 7, 0.22

# Shorter side of an image, in pixels, from which text beside a face is legible.
_LEGIBLE: Final = 480

_JPEG: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})


def annotate(
    image: NDArray[np.uint8] | Image.Image,
    faces: Sequence[Face] | Face,
    overlay: Overlay = "bars",
    *,
    smoothed: bool = False,
) -> NDArray[np.uint8]:
    """Draws faces on a copy of an image.

    Sizes depend on the image and the face. An uncertain emotion is greyed and has a question mark.

    Args:
        image: (H, W, 3) uint8 RGB, or an image of Pillow, which is turned upright as `mien.analyze` does.
        faces: A result of this image, or some faces with boxes in its pixels.
        overlay: What is drawn for each face (the emotion only if it has an expression):
            "bars": box, landmarks, and a panel with its emotion and a bar for every class, or only a label if the
            face is small or a panel would cover others;
            "label": box, landmarks and a label with its emotion and percentage;
            "emoji": box and a drawn face that shows its emotion;
            "blur": the face is made unrecognisable and gets a label; a face that the detector missed stays visible;
            "affect": box, landmarks and a label with its emotion, valence and arousal.
        smoothed: Draw the smoothed expression of a face that has one, as `mien analyze` draws videos.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        TypeError: `image` or `faces` is something else; the message has what to write.
        ValueError: The image has another shape or dtype, or another size than the one that was analyzed.
        ConfigError: There is no such overlay.
    """
    check_overlay(overlay)
    image = _pixels(image)
    height, width = image.shape[:2]
    faces = _checked_faces(faces, width, height)
    if smoothed:
        faces = [face if face.smoothed is None else replace(face, expression=face.smoothed) for face in faces]
    canvas = Canvas(image)
    for face in faces:
        if overlay == "blur":
            box = Rect(*face.box.tolist())
            canvas.mosaic(box.grown(_AROUND * max(box.width, box.height)), _CELLS)
        else:
            _draw_box(canvas, face, min(width, height))
            if overlay != "emoji":
                _draw_landmarks(canvas, face, min(width, height))
    for note in arrange(faces, Rect(0, 0, width, height), _NOTES[overlay]):
        note.draw(canvas)
    return canvas.array()


def _pixels(image: object) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) uint8 RGB of what is annotated; errors are those of `annotate`."""
    if isinstance(image, Image.Image):
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if isinstance(image, (str, Path)):
        raise TypeError("image: expected pixels, got a path; write mien.media.read_image(path)")
    if image is None:
        raise TypeError("image: got None; a result keeps its pixels with AnalyzerOptions(keep_images=True)")
    return Frame(cast(NDArray[np.uint8], image)).image  # a Frame checks shape and dtype


def _checked_faces(faces: Sequence[Face] | Face, width: int, height: int) -> Sequence[Face]:
    """The faces of what is annotated; errors are those of `annotate`."""
    if isinstance(faces, Face):
        return [faces]
    if isinstance(faces, FrameResult) and faces.width and (faces.width, faces.height) != (width, height):
        raise ValueError(
            f"image: the result is of an image of {faces.width} x {faces.height} pixels, this one has {width} x "
            f"{height}; mien.media.read_image(path) gives the pixels that were analyzed, upright"
        )
    for face in faces:
        if isinstance(face, FrameResult):
            raise TypeError("faces: expected the faces of one image, got results; call annotate for each result")
        if not isinstance(face, Face):
            raise TypeError(f"faces: expected faces, got {type(face).__name__}")
    return faces


def check_overlay(overlay: str) -> None:
    """Refuses an overlay that there is not.

    Raises:
        ConfigError: The message names those that there are.
    """
    if overlay not in OVERLAYS:
        raise ConfigError(
            f"there is no overlay '{overlay}'", hint=f"{meant(overlay, OVERLAYS)}choose one of {', '.join(OVERLAYS)}"
        )


def _draw_box(canvas: Canvas, face: Face, short_side: int) -> None:
    """The box, with a dark edge so that it is visible on any background."""
    box = Rect(*face.box.tolist())
    side = box.area**0.5
    uncertain = face.expression is not None and face.expression.uncertain
    colour = colour_of(face.emotion, uncertain)
    line = max(1.5, min(0.012 * side, 0.004 * short_side))
    radius = 0.06 * side
    edge = 0.5 * line
    canvas.rounded(box.grown(edge), radius + edge, (0, 0, 0), opacity=0.35, line=line + 2 * edge)
    canvas.rounded(box, radius, colour, line=line)


def _draw_landmarks(canvas: Canvas, face: Face, short_side: int) -> None:
    """The keypoints, or else the landmarks, also with a dark edge."""
    side = Rect(*face.box.tolist()).area ** 0.5
    dot = max(0.9, min(0.011 * side, 0.005 * short_side))
    if face.keypoints is not None:
        _draw_keypoints(canvas, face.keypoints, dot)
    elif face.landmarks is not None:
        for x, y in face.landmarks.tolist():
            canvas.dot(x, y, dot + max(0.5, 0.3 * dot), (0, 0, 0), opacity=0.45)
            canvas.dot(x, y, dot, (255, 255, 255), opacity=0.95)


def _draw_keypoints(canvas: Canvas, points: NDArray[np.float32], dot: float) -> None:
    """Dense keypoints: smaller and fainter, so that the face stays visible."""
    for x, y in points.tolist():
        canvas.dot(x, y, 0.55 * dot + 0.3, (0, 0, 0), opacity=0.3)
        canvas.dot(x, y, 0.55 * dot, (255, 255, 255), opacity=0.8)


def _legible(image: NDArray[np.uint8], faces: Sequence[Face]) -> tuple[NDArray[np.uint8], Sequence[Face]]:
    """A small image enlarged, with its faces; any other unchanged."""
    height, width = image.shape[:2]
    # The longer side is limited as well: otherwise a strip of a few pixels would become huge.
    times = min(math.ceil(_LEGIBLE / min(height, width)), math.ceil(4 * _LEGIBLE / max(height, width)))
    if times == 1:
        return image, faces
    larger = Image.fromarray(image).resize((width * times, height * times), Image.Resampling.BICUBIC)
    enlarged = [
        replace(
            face,
            box=face.box * times,
            landmarks=None if face.landmarks is None else face.landmarks * times,
            keypoints=None if face.keypoints is None else face.keypoints * times,
        )
        for face in faces
    ]
    return np.array(larger), enlarged


class AnnotatedImages:
    """Writes `<stem>.annotated.png`, for JPEG sources `.jpg`, for each result that carries its image.

    The name never replaces the original, also if both are in one folder. A frame of a video has its number in its name,
    `<stem>-000025.annotated.png`. Results with the same name get a further number, `<stem>-2.annotated.png`, so that
    nothing is overwritten within a run; images of an earlier run are replaced. Images of less than 480 pixels are
    enlarged by a whole number, so that the text has room: coordinates of the results do not fit them.

    Only the pixels of the source file are written: no EXIF, no location, no preview.

    Args:
        folder: Where to write; it is created if it does not exist.
        overlay: What is drawn for each face, as in `annotate`.
        sources: Folders in which the sources were found: images from a subfolder of theirs are written into a subfolder
            of the same name, and if there are several, into one for each.

    Raises:
        ConfigError: There is no such overlay.
        OutputError: On entering, the folder cannot be created; on writing, an image cannot be written.
    """

    def __init__(self, folder: str | Path, overlay: Overlay = "bars", sources: Sequence[str | Path] = ()) -> None:
        check_overlay(overlay)
        self.folder = Path(folder)
        self.overlay = overlay
        # The deepest first: one may be inside of another.
        self._sources = sorted(map(Path, sources), key=lambda source: -len(source.parts))
        self._taken: set[str] = set()
        self._videos: dict[str, Path] = {}  # the names of videos without the number of a frame
        self._open = False

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise OutputError(f"cannot write into '{self.folder}': it is not a folder") from None
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self._taken.clear()
        self._videos.clear()
        self._open = True
        return self

    def write(self, result: FrameResult) -> None:
        """Draws and writes one image; a result without an image is skipped.

        Raises:
            OutputError: It cannot be written.
            ValueError: This output is not open.
        """
        if not self._open:
            raise ValueError("the output is not open: use it in a with statement")
        if result.image is None:
            return
        path = self._path(result)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path.parent, error) from error
        image = Image.fromarray(annotate(*_legible(result.image, result.faces), self.overlay))
        with replacing(path) as partial:
            try:
                if path.suffix == ".png":
                    image.save(partial, "PNG")
                else:
                    # No chroma subsampling, which would blur the text.
                    image.save(partial, "JPEG", quality=92, subsampling=0)
            except OSError as error:
                raise cannot_write(path, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False

    def _path(self, result: FrameResult) -> Path:
        """The path for a result's image, with a name not yet used in this run."""
        source = Path(result.source)
        ending = ".annotated.jpg" if source.suffix.lower() in _JPEG else ".annotated.png"
        place = self._subfolder(result.source) / (source.stem or "image")
        if result.timestamp is not None:
            if result.source not in self._videos:
                self._videos[result.source] = self._free(place)
            # Zeros in front, so that a listing sorts the frames.
            place = self._videos[result.source]
            place = place.with_name(f"{place.name}-{result.frame:06}")
        return self.folder / self._free(place, ending)

    def _free(self, place: Path, ending: str = "") -> Path:
        """A name that was not yet used in this run: the given one, or one with a number."""
        name, number = f"{place}{ending}", 1
        # Some file systems do not distinguish upper and lower case.
        while name.casefold() in self._taken:
            number += 1
            name = f"{place}-{number}{ending}"
        self._taken.add(name.casefold())
        return Path(name)

    def _subfolder(self, source: str) -> Path:
        """Where the image of a source goes below the folder: where it lies below the folder in which it was found."""
        for folder in self._sources:
            if "://" in source or not Path(source).is_relative_to(folder):
                continue
            below = Path(source).parent.relative_to(folder)
            if ".." not in below.parts:  # every relative path is below "."
                return Path(folder.resolve().name) / below if len(self._sources) > 1 else below
        return Path()
