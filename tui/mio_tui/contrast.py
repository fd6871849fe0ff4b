"""Text that can be read in every theme: a colour that stands out too little is moved towards white or black.

Themes are written for a look, and a text stands on a panel, a cursor's row or a notice as well as on the background; so
this is done where rows are drawn, to whatever pair of colours meets there.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from rich.color import Color, ColorType
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.color import Color as Behind
from textual.filter import LineFilter
from textual.strip import Strip
from textual.widget import Widget

LEAST = 4.5  # WCAG 2.2, success criterion 1.4.3, https://www.w3.org/TR/WCAG22/#contrast-minimum
MIDDLE = 0.179  # the luminance from which black stands out more than white: 4.58 for both
WHITE, BLACK = ColorTriplet(255, 255, 255), ColorTriplet(0, 0, 0)
Seen = tuple[Sequence[LineFilter], Behind]  # filters, and the background for which they work
_TEXT = re.compile("[^\\s\u2500-\u259f\u2800-\u28ff]")  # what is no frame, block or braille


class Readable(LineFilter):
    """Gives every text a contrast of `LEAST`. Drawings keep their colours; so do colours that the terminal chooses."""

    def apply(self, segments: list[Segment], background: Behind) -> list[Segment]:
        behind = background.rich_color
        return [
            Segment(text, _readable(style, behind), control)
            if style is not None and style.color is not None and _TEXT.search(text)
            else Segment(text, style, control)
            for text, style, control in segments
        ]


def filtered(widget: Widget, strips: list[Strip]) -> list[Strip]:
    """Rows that a widget has rendered past Textual's own cache, as that one would hand them on."""
    filters, behind = seen_by(widget)
    for each in filters:
        strips = [strip.apply_filter(each, behind) for strip in strips]
    return strips


def seen_by(widget: Widget) -> Seen:
    """What a widget's rows go through."""
    return widget.get_line_filters(), widget.background_colors[1]


def as_seen(segments: list[Segment], seen: Seen) -> list[Segment]:
    """What has gone through it."""
    filters, behind = seen
    for each in filters:
        segments = each.apply(segments, behind)
    return segments


@lru_cache(4096)
def _readable(style: Style, background: Color) -> Style:
    color, behind = style.color, background if style.bgcolor is None or style.bgcolor.is_default else style.bgcolor
    if color is None or {color.type, behind.type} != {ColorType.TRUECOLOR}:
        return style
    found = lifted(color.get_truecolor(), behind.get_truecolor())
    return style if found == color.get_truecolor() else style + Style(color=Color.from_triplet(found))


def lifted(color: ColorTriplet, behind: ColorTriplet) -> ColorTriplet:
    """The colour nearest to `color`, on its way to white or black, that stands out from `behind` by `LEAST`."""
    away = WHITE if luminance(behind) < MIDDLE else BLACK
    moved = (_blend(color, away, step / 32) for step in range(33))
    return next((each for each in moved if contrast(each, behind) >= LEAST), away)


def luminance(color: ColorTriplet) -> float:
    """Relative luminance of an sRGB colour, 0 to 1."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: ColorTriplet, other: ColorTriplet) -> float:
    """From 1, the same, to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _blend(color: ColorTriplet, to: ColorTriplet, share: float) -> ColorTriplet:
    return ColorTriplet(*(round(one + (other - one) * share) for one, other in zip(color, to, strict=True)))
