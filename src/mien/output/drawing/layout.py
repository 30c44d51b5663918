"""Places for a panel or a label beside its face: inside the image, and clear of other faces if there is room."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Rect(NamedTuple):
    """A rectangle in pixels; x grows to the right, y downwards."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """In pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """In square pixels."""
        return self.width * self.height

    def overlap(self, other: "Rect") -> float:
        """The area that both cover."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(width, 0.0) * max(height, 0.0)

    def grown(self, margin: float) -> "Rect":
        """With `margin` added on all sides."""
        return Rect(self.x0 - margin, self.y0 - margin, self.x1 + margin, self.y1 + margin)


class Place(NamedTuple):
    """A possible place.

    Attributes:
        rect: The place itself, inside the image.
        on_face: The share of its own face that it hides, 0-1.
        on_middle: The share of that face's middle, where eyes and mouth are, that it hides, 0-1.
        on_others: The share of itself that lies on other faces, panels and labels; above 1 if several overlap.
    """

    rect: Rect
    on_face: float
    on_middle: float
    on_others: float


def beside(size: tuple[float, float], face: Rect, others: Sequence[Rect], image: Rect, gap: float) -> Place | None:
    """The best place for a panel of `size` (width, height): right of the face, else left, below, above, over it.

    The panel of a single face may also be in a corner of the image. None if the image is smaller than the panel.
    """
    width, height = size
    levels = (face.y0, (face.y0 + face.y1 - height) / 2, face.y1 - height)
    columns = (face.x0, (face.x0 + face.x1 - width) / 2, face.x1 - width)
    corners = [
        *((face.x1 + gap, y) for y in levels),
        *((face.x0 - gap - width, y) for y in levels),
        *((x, face.y1 + gap) for x in columns),
        *((x, face.y0 - gap - height) for x in columns),
    ]
    if not others:
        corners += [(x, y) for y in (image.y0, image.y1) for x in (image.x1, image.x0)]
    return _best(size, corners, face, others, image)


def on_top(size: tuple[float, float], face: Rect, others: Sequence[Rect], image: Rect, gap: float) -> Place | None:
    """The best place for a label of `size` (width, height): above the face, else below, right or left of it.

    None if the image is smaller than the label.
    """
    width, height = size
    columns = (face.x0, (face.x0 + face.x1 - width) / 2, face.x1 - width)
    corners = [
        *((x, face.y0 - gap - height) for x in columns),
        *((x, face.y1 + gap) for x in columns),
        (face.x1 + gap, face.y0),
        (face.x0 - gap - width, face.y0),
    ]
    return _best(size, corners, face, others, image)


def at_corner(size: tuple[float, float], face: Rect, others: Sequence[Rect], image: Rect) -> Place | None:
    """The best place for a badge of `size` (width, height): on the face's upper right corner, or on another.

    Two thirds of it lie outside the box, so that it hides hair and background rather than eyes and mouth. None if
    the image is smaller than the badge.
    """
    width, height = size
    columns = (face.x1 - width / 3, face.x0 - 2 * width / 3)
    levels = (face.y0 - 2 * height / 3, face.y1 - height / 3)
    return _best(size, [(x, y) for y in levels for x in columns], face, others, image)


def _best(
    size: tuple[float, float],
    corners: Sequence[tuple[float, float]],
    face: Rect,
    others: Sequence[Rect],
    image: Rect,
) -> Place | None:
    """The first of the places with the lowest cost; one that crosses the border of the image is moved inside."""
    width, height = size
    if width > image.width or height > image.height:
        return None

    side, above, below = 0.2 * face.width, 0.2 * face.height, 0.28 * face.height  # from the brows to the mouth
    middle = Rect(face.x0 + side, face.y0 + above, face.x1 - side, face.y1 - below)

    def places() -> Iterator[Place]:
        for x, y in corners:
            left = min(max(x, image.x0), image.x1 - width)
            top = min(max(y, image.y0), image.y1 - height)
            rect = Rect(left, top, left + width, top + height)
            yield Place(
                rect,
                on_face=rect.overlap(face) / face.area,
                on_middle=rect.overlap(middle) / middle.area,
                on_others=sum(rect.overlap(other) for other in others) / rect.area,
            )

    # Hiding eyes and mouth costs more than hiding the rim of a face, and hiding other faces costs most.
    return min(places(), key=lambda place: place.on_face + 3 * place.on_middle + 4 * place.on_others)
