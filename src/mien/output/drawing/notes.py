"""What is drawn beside a face: a panel with a bar for every class, a label with the top class, or an emoji."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from mien.output.drawing.canvas import Canvas, text_width
from mien.output.drawing.emoji import emoji
from mien.output.drawing.layout import Rect, at_corner, beside, on_top
from mien.output.drawing.palette import RGB, colour_of
from mien.results import Expression, Face

_GROUND: Final[RGB] = (18, 20, 26)
_INK: Final[RGB] = (250, 250, 252)
_DIM_INK: Final[RGB] = (186, 191, 201)
_BACKGROUND_OPACITY: Final = 0.84

# Lengths in units of the text size.
_PAD, _TITLE, _HEADER, _ROW, _BAR, _BAR_LENGTH, _SPACE = 0.9, 1.3, 2.1, 1.5, 0.5, 5.5, 0.7
_LABEL_PAD, _LABEL_HEIGHT = 0.5, 1.6

# Text sizes: the smallest legible one in pixels; shares of the face and of the image's shorter side.
_SMALLEST, _SMALLEST_LABEL = 10, 9
_OF_FACE, _OF_FACE_LABEL = 0.09, 0.14
_LEAST_OF_IMAGE, _MOST_OF_IMAGE = 1 / 60, 1 / 30

# Side of an emoji: the smallest in pixels; shares of the face and of the image's shorter side.
_SMALLEST_BADGE, _OF_FACE_BADGE, _MOST_OF_IMAGE_BADGE = 20, 0.55, 1 / 4

# The shares of its face and of the face's middle that a panel may hide, and of itself that may lie on others.
_MOST_OF_FACE, _MOST_OF_MIDDLE, _MOST_ON_OTHERS = 0.25, 0.1, 0.03


class Note(Protocol):
    """Something drawn at a place in the image."""

    @property
    def rect(self) -> Rect:
        """Its place, in pixels."""

    def draw(self, canvas: Canvas) -> None:
        """Draws it."""


@dataclass(frozen=True)
class Panel:
    """The emotion as a title and a bar for every class, in the order of the vocabulary.

    Attributes:
        rect: Its place; `size` computes how large it must be.
        text: The size of its text in pixels.
        expression: The expression that it shows.
    """

    rect: Rect
    text: float
    expression: Expression

    @staticmethod
    def size(expression: Expression, text: float) -> tuple[float, float]:
        """Width and height in pixels at a text size."""
        names = max(text_width(_words(name), text) for name in expression.emotions)
        bars = names + text_width("100%", text) + (_BAR_LENGTH + 2 * _SPACE) * text
        title = text_width(_title(expression), _TITLE * text) + text_width("100%", _TITLE * text) + _SPACE * text
        height = (2 * _PAD + _HEADER + _ROW * len(expression.emotions)) * text
        return max(bars, title) + 2 * _PAD * text, height

    def draw(self, canvas: Canvas) -> None:
        """Draws it."""
        expression, text = self.expression, self.text
        canvas.rounded(self.rect, 0.7 * text, _GROUND, opacity=_BACKGROUND_OPACITY)
        left, right = self.rect.x0 + _PAD * text, self.rect.x1 - _PAD * text
        accent = colour_of(expression.emotion, expression.uncertain)
        y = self.rect.y0 + (_PAD + 0.4 * _HEADER) * text
        canvas.text(left, y, _title(expression), _TITLE * text, accent, bold=True)
        canvas.text(right, y, _percent(expression.confidence), _TITLE * text, accent, right=True, bold=True)

        names = max(text_width(_words(name), text) for name in expression.emotions)
        start, end = left + names + _SPACE * text, right - text_width("100%", text) - _SPACE * text
        y = self.rect.y0 + (_PAD + _HEADER + _ROW / 2) * text
        for name, probability in expression.as_dict().items():
            top = name == expression.emotion
            ink = _INK if top else _DIM_INK
            canvas.text(left, y, _words(name), text, ink)
            canvas.text(right, y, _percent(probability), text, ink, right=True)
            track = Rect(start, y - _BAR * text / 2, end, y + _BAR * text / 2)
            canvas.rounded(track, _BAR * text / 2, _INK, opacity=0.14)
            length = probability * track.width
            canvas.rounded(
                track._replace(x1=start + length),
                min(length, track.height) / 2,
                colour_of(name, expression.uncertain),
                opacity=1.0 if top else 0.75,
            )
            y += _ROW * text


@dataclass(frozen=True)
class Label:
    """The emotion and its percentage on a background of its colour.

    Attributes:
        rect: Its place; `size` computes how large it must be.
        text: The size of its text in pixels.
        expression: The expression that it shows.
        words: The text: the emotion and its percentage, or only the emotion if there is no room.
    """

    rect: Rect
    text: float
    expression: Expression
    words: str

    @staticmethod
    def size(words: str, text: float) -> tuple[float, float]:
        """Width and height in pixels at a text size."""
        return text_width(words, text) + 2 * _LABEL_PAD * text, _LABEL_HEIGHT * text

    def draw(self, canvas: Canvas) -> None:
        """Draws it."""
        accent = colour_of(self.expression.emotion, self.expression.uncertain)
        ground, ink = (_GROUND, accent) if self.expression.uncertain else (accent, _GROUND)
        canvas.rounded(self.rect, 0.4 * self.text, ground, opacity=0.92)
        middle = (self.rect.y0 + self.rect.y1) / 2
        canvas.text(self.rect.x0 + _LABEL_PAD * self.text, middle, self.words, self.text, ink)


class AffectLabel(Label):
    """The emotion with its valence and arousal; with its percentage if the classes have no coordinates."""


@dataclass(frozen=True)
class Badge:
    """The emoji of the top emotion.

    Attributes:
        rect: Its place, a square.
        expression: The expression that it shows.
    """

    rect: Rect
    expression: Expression

    def draw(self, canvas: Canvas) -> None:
        """Draws it."""
        side = round(self.rect.width)
        canvas.image(self.rect, emoji(self.expression.emotion, side, uncertain=self.expression.uncertain))


def arrange(faces: Sequence[Face], image: Rect, kind: type[Note] = Panel) -> list[Note]:
    """The notes of all faces that have an expression, each at its place; larger faces are placed first.

    Panels do not cover other faces or each other. A face without room for a panel, or too small for one, gets a label.

    Args:
        faces: Their boxes are in pixels.
        image: The area of the whole image.
        kind: `Panel`, `Label`, `AffectLabel` or `Badge`.
    """
    boxes = [Rect(*face.box.tolist()) for face in faces]
    order = sorted(range(len(faces)), key=lambda number: -boxes[number].area)
    notes: list[Note] = []
    labelled: list[tuple[Rect, Expression]] = []
    for number in order:
        expression = faces[number].expression
        if expression is None:
            continue
        others = [*(box for at, box in enumerate(boxes) if at != number), *(note.rect for note in notes)]
        note: Note | None = None
        if kind is Badge:
            note = _badge(expression, boxes[number], others, image)
        elif kind is Panel:
            note = _panel(expression, boxes[number], others, image)
        if note is not None:
            notes.append(note)
        elif kind is not Badge:
            labelled.append((boxes[number], expression))
    for box, expression in labelled:
        others = [*(other for other in boxes if other is not box), *(note.rect for note in notes)]
        label = _label(expression, box, others, image, affect=kind is AffectLabel)
        if label is not None:
            notes.append(label)
    return notes


def _panel(expression: Expression, face: Rect, others: Sequence[Rect], image: Rect) -> Panel | None:
    """The largest panel that fits well beside a face; None if none does."""
    short = min(image.width, image.height)
    side = face.area**0.5
    smallest = max(_SMALLEST, _LEAST_OF_IMAGE * short)
    wanted = min(max(_OF_FACE * side, smallest), max(_MOST_OF_IMAGE * short, smallest))
    best: Panel | None = None
    for text in (wanted, (wanted + smallest) / 2, smallest):
        size = Panel.size(expression, round(text))
        if size[1] > 2.2 * side:
            continue  # the panel would be much larger than the face
        place = beside(size, face, others, image.grown(-0.4 * text), gap=0.6 * text)
        if place is None or place.on_others > _MOST_ON_OTHERS:
            continue
        if place.on_face == 0:
            return Panel(place.rect, round(text), expression)
        if place.on_face <= _MOST_OF_FACE and place.on_middle <= _MOST_OF_MIDDLE:
            best = Panel(place.rect, round(text), expression)
    return best


def _label(
    expression: Expression, face: Rect, others: Sequence[Rect], image: Rect, *, affect: bool = False
) -> Label | None:
    """The label of a face; only the emotion in a very small image, None if even that does not fit."""
    short = min(image.width, image.height)
    smallest = max(_SMALLEST_LABEL, _LEAST_OF_IMAGE * short * 0.8)
    text = round(min(max(_OF_FACE_LABEL * face.area**0.5, smallest), max(_MOST_OF_IMAGE * short * 0.8, smallest)))
    title = _title(expression)
    more = _percent(expression.confidence)
    if affect and expression.affect is not None:
        more = f"valence {expression.affect.valence:+.2f} arousal {expression.affect.arousal:+.2f}"
    for words in (f"{title} {more}", title):
        place = on_top(Label.size(words, text), face, others, image, gap=0.3 * text)
        if place is not None:
            return Label(place.rect, text, expression, words)
    return None


def _badge(expression: Expression, face: Rect, others: Sequence[Rect], image: Rect) -> Badge | None:
    """The emoji of a face; None if even the smallest does not fit into the image."""
    most = max(_MOST_OF_IMAGE_BADGE * min(image.width, image.height), _SMALLEST_BADGE)
    side = round(min(max(_OF_FACE_BADGE * face.area**0.5, _SMALLEST_BADGE), most))
    place = at_corner((side, side), face, others, image)
    return None if place is None else Badge(place.rect, expression)


def _words(emotion: str) -> str:
    return emotion.replace("_", " ")


def _title(expression: Expression) -> str:
    return _words(expression.emotion) + ("?" if expression.uncertain else "")


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f}%"
