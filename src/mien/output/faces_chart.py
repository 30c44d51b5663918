"""The faces of images as a picture: how many show which emotion, and where they lie in valence and arousal."""

from collections.abc import Iterator
from typing import Final

from mien.names import counted
from mien.output.drawing.palette import colour_of
from mien.output.drawing.shapes import GRID, MARGIN, MUTED, PANEL, TEXT, WIDTH, Box, Item, Text
from mien.output.photographs import EmotionCount, PhotographSummary

_TOP: Final = 88  # below the title
_ROW: Final = 40  # more where there is room
_BARS: Final = 176  # where the bars begin
_SQUARE: Final = 400  # side of the valence and arousal
_DOT: Final = 7.0


def chart(found: PhotographSummary) -> tuple[int, list[Item]]:
    """The height of the picture, whose width is `WIDTH`, and what is in it, in the order in which it is drawn."""
    square = bool(found.places)
    height = max(_ROW * len(found.emotions) + 72, (_SQUARE + 96) * square, 72)
    items: list[Item] = [Text(MARGIN, 44, counted(found.images, "image"), 22, bold=True)]
    items.append(Text(MARGIN, 68, " \u00b7 ".join(_counts(found)), 14, MUTED))
    right = WIDTH - MARGIN - (_SQUARE + 116) * square
    items.append(Box(MARGIN, _TOP, right - MARGIN, height, PANEL, 14))
    items += _bars(found, right - 24, height)
    if square:
        left = right + 12
        items.append(Box(left, _TOP, WIDTH - MARGIN - left, height, PANEL, 14))
        items += _places(found, left + (WIDTH - MARGIN - left - _SQUARE) / 2, _TOP + (height - _SQUARE) / 2)
    return _TOP + height + 16, items


def _counts(found: PhotographSummary) -> Iterator[str]:
    yield counted(found.faces, "face")
    if found.without_face:
        yield f"{counted(found.without_face, 'image')} without a face"
    if found.unread:
        yield f"{found.unread:,} could not be read"
    if found.uncertain:
        yield f"{counted(found.uncertain, 'face')} uncertain"


def _bars(found: PhotographSummary, right: float, height: float) -> Iterator[Item]:
    """A bar for each emotion: its share of the faces; the mark in it is its mean probability."""
    if not found.emotions:
        yield Text(MARGIN + 20, _TOP + 42, "no face has an emotion", 15, MUTED)
        return
    longest = max(max(each.share, each.mean) for each in found.emotions.values())
    reach = (right - 150 - _BARS) / max(longest, 1e-9)
    row = min((height - 72) / len(found.emotions), 1.35 * _ROW)
    for number, (name, each) in enumerate(found.emotions.items()):
        y = _TOP + 20 + row * number
        yield Text(_BARS - 16, y + 19, name.replace("_", " "), 15, TEXT, "end")
        if each.faces:
            yield Box(_BARS, y + 4, max(each.share * reach, 1.5), 20, colour_of(name), 4, _said(name, each))
        mark = _BARS + each.mean * reach
        yield Box(mark - 3, y, 6, 28, PANEL)  # its border, where it lies on the bar
        yield Box(mark - 1, y, 2, 28, TEXT, 1, f"{name}, mean probability {each.mean:.1%}")
        x = _BARS + max(each.share, each.mean) * reach + 12
        yield Text(x, y + 19, f"{each.faces:,}", 15, TEXT, bold=True)
        yield Text(x + 9.2 * len(f"{each.faces:,}") + 10, y + 19, f"{each.share:.0%}", 14, MUTED)
    words = "bars: faces of which it is the most probable emotion \u00b7 marks: its mean probability over all faces"
    yield Text(MARGIN + 20, _TOP + height - 18, words, 12, MUTED)


def _said(name: str, each: EmotionCount) -> str:
    return f"{name}, {counted(each.faces, 'face')} in {counted(each.images, 'image')}, {each.share:.1%}"


def _places(found: PhotographSummary, left: float, top: float) -> Iterator[Item]:
    """A dot for each face; grey ones are uncertain."""
    middle = left + _SQUARE / 2, top + _SQUARE / 2
    yield Box(middle[0] - 0.5, top, 1, _SQUARE, GRID)
    yield Box(left, middle[1] - 0.5, _SQUARE, 1, GRID)
    for place in found.places:
        x = middle[0] + place.valence * _SQUARE / 2 - _DOT / 2
        y = middle[1] - place.arousal * _SQUARE / 2 - _DOT / 2
        colour = colour_of(place.emotion, place.uncertain)
        title = f"{place.emotion}, valence {place.valence:+.2f}, arousal {place.arousal:+.2f}"
        yield Box(x, y, _DOT, _DOT, colour, _DOT / 2, title)
    yield Text(middle[0], top - 14, "excited", 13, MUTED, "middle")
    yield Text(middle[0], top + _SQUARE + 24, "calm", 13, MUTED, "middle")
    yield Text(left + 2, middle[1] - 8, "negative", 13, MUTED)
    yield Text(left + _SQUARE - 2, middle[1] - 8, "positive", 13, MUTED, "end")
