"""The contrast of every character that a screen shows, by the WCAG 2 formula."""

import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from rich.color import ColorType
from rich.color_triplet import ColorTriplet
from textual.app import App

DRAWN = (("\u2500", "\u259f"), ("\u2800", "\u28ff"))  # frames, blocks and braille: drawings, no text


class Words(NamedTuple):
    """Some characters of a row in one style, and how far their colour stands out from what is behind them."""

    contrast: float
    text: str
    color: str
    behind: str


def luminance(color: ColorTriplet) -> float:
    """Relative luminance of an sRGB colour, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    parts = [part / 255 for part in color]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: ColorTriplet, other: ColorTriplet) -> float:
    """From 1, the same, to 21, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def words(app: App[Any]) -> Iterator[Words]:
    """What is on the screen, as it is sent to a terminal of 16 million colours, without drawings and blanks.

    What lies under a question is darkened on purpose, and left out.
    """
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            text = "".join(letter for letter in segment.text if _read(letter))
            if not text or segment.style is None:
                continue
            color, behind = segment.style.color, segment.style.bgcolor
            assert color is not None, segment
            assert behind is not None, segment
            assert not segment.style.dim, segment  # what that does to a colour is the terminal's affair
            assert ColorType.DEFAULT not in (color.type, behind.type), segment
            if segment.style.reverse:
                color, behind = behind, color
            first, second = color.get_truecolor(), behind.get_truecolor()
            yield Words(contrast(first, second), text, first.hex, second.hex)


def _read(letter: str) -> bool:
    return not letter.isspace() and unicodedata.category(letter) != "Cc" and not any(
        low <= letter <= high for low, high in DRAWN
    )
