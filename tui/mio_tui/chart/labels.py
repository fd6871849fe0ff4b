"""Which labels stand at the right of a chart, and what a row says that several share.

A label stands on the row of its value or nowhere: one that was moved to a free row would be read against the axis.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from mio_tui.chart.frame import shorten

_BETWEEN = ", "
_LEAST_NAME = 2  # columns: a letter, and that there was more


class Label(NamedTuple):
    """What may stand on a row. `value` is kept whole; the name of a line may be cut, a fixed one is told or not."""

    row: int
    name: str
    value: str
    style: int
    fixed: bool = False


def on_rows(labels: Sequence[Label], most: int, ellipsis: str) -> list[tuple[int, list[tuple[str, int]]]]:
    """(row, pieces of text with their styles) of each row that has a label, in at most `most` columns.

    Labels of one row are joined in the order given, lines before fixed ones: as many as fit, which for lines alone may
    be with their names cut. `ellipsis` says that there are more, where it has room.
    """
    rows: dict[int, list[Label]] = {}
    for label in labels:
        rows.setdefault(label.row, []).append(label)
    return [(row, _joined(sharing, most, ellipsis)) for row, sharing in sorted(rows.items())]


def width_of(pieces: Sequence[tuple[str, int]]) -> int:
    """The columns of a row's pieces."""
    return sum(cell_len(text) for text, _ in pieces)


def _joined(sharing: Sequence[Label], most: int, ellipsis: str) -> list[tuple[str, int]]:
    for number in range(len(sharing), 1, -1):
        more = [(f" {ellipsis}", sharing[number - 1].style)] if number < len(sharing) else []
        longest = max(cell_len(label.name) for label in sharing[:number])
        least = longest if sharing[number - 1].fixed else min(longest, _LEAST_NAME)
        for width in range(longest, least - 1, -1):
            pieces = [*_pieces(sharing[:number], width, ellipsis), *more]
            if width_of(pieces) <= most:
                return pieces
    first = sharing[0]
    room = max(most - (cell_len(first.value) + 1 if first.value else 0), 1)
    alone = _pieces(sharing[:1], room, ellipsis)
    more = [(f" {ellipsis}", first.style)] if len(sharing) > 1 else []
    return [*alone, *more] if width_of([*alone, *more]) <= most else alone


def _pieces(labels: Sequence[Label], width: int, ellipsis: str) -> list[tuple[str, int]]:
    """The labels with their names cut to `width` columns."""
    texts = [" ".join(filter(None, (shorten(label.name, width, ellipsis), label.value))) for label in labels]
    ends = [*[_BETWEEN] * (len(labels) - 1), ""]
    return [(text + end, label.style) for text, end, label in zip(texts, ends, labels, strict=True)]
