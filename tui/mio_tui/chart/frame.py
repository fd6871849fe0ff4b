"""A picture of character cells: what stands in each, and in which style. Two frames can be compared cell by cell."""

import unicodedata

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

_SPACE = ord(" ")


class Frame:
    """Cells (height, width): `codes` are characters, 0 the second half of a wide one; `styles` the caller's numbers."""

    def __init__(self, width: int, height: int) -> None:
        self.codes: NDArray[np.uint32] = np.full((height, width), _SPACE, np.uint32)
        self.styles: NDArray[np.uint8] = np.zeros((height, width), np.uint8)

    def put(self, column: int, row: int, text: str, style: int) -> None:
        """Write cleaned text on one row, cut at the edges of the frame, where half of a wide character is left out."""
        height, width = self.codes.shape
        if not 0 <= row < height:
            return
        for character in clean(text):
            size = cell_len(character)
            if column >= 0 and column + size <= width:
                self.codes[row, column : column + size] = [ord(character), 0][:size]
                self.styles[row, column : column + size] = style
            column += size

    def runs(self, row: int) -> list[tuple[str, int]]:
        """The text of a row in pieces of one style. Spaces have no colour, so they take the style before them."""
        codes, styles = self.codes[row], self.styles[row]
        if not codes.size:
            return []
        seen = np.flatnonzero(codes != _SPACE)
        starts = seen[np.flatnonzero(np.diff(styles[seen])) + 1] if seen.size else seen
        style = int(styles[seen[0]]) if seen.size else 0
        text = codes.astype("<u4").tobytes().decode("utf-32-le")
        pieces: list[tuple[str, int]] = []
        begin = 0
        for start in [*starts.tolist(), len(text)]:
            pieces.append((text[begin:start].replace("\0", ""), style))
            if start < len(text):
                begin, style = start, int(styles[start])
        return pieces

    def changes(self, old: "Frame | None") -> list[tuple[int, int, int]] | None:
        """(row, first column, columns) of each row that differs from `old`; None where the sizes differ."""
        if old is None or old.codes.shape != self.codes.shape:
            return None
        differs = (self.codes != old.codes) | (self.styles != old.styles)
        found: list[tuple[int, int, int]] = []
        for row in np.flatnonzero(differs.any(axis=1)).tolist():
            columns = np.flatnonzero(differs[row])
            found.append((row, int(columns[0]), int(columns[-1] - columns[0] + 1)))
        return found


def clean(text: str) -> str:
    """Text that a terminal shows as it is, on one row: a dot for control characters, nothing for those without width.

    Names come from models, files and people: no escape sequence or change of text direction may reach the screen.
    """
    kept: list[str] = []
    for character in text:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs"):
            kept.append("·")
        elif cell_len(character) > 0 and unicodedata.category(character) != "Cf":
            kept.append(character)
    return "".join(kept)


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """Clean text cut to `width` columns, the cut shown by an ellipsis."""
    text = clean(text)
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - len(ellipsis):
        text = text[:-1]
    return (text + ellipsis)[: max(width, 0)]
