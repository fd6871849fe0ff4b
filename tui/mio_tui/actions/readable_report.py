"""A report's Markdown as it is meant to be read in a terminal: no signs of Markdown, tables whose figures are whole.

It reads what `mio_local.reports` writes, and takes anything: what it does not know stands there as text. Textual's own
Markdown cuts the cells of a table that is wider than the screen.
"""

import re
import textwrap

from rich.cells import cell_len
from rich.text import Text

TAG = re.compile(r"</?(?:details|summary)>|^<!--.*-->$")
ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
BOLD = re.compile(r"^(.*?)\*\*(.+)\*\*(.*)$")
BAR = re.compile(r"(?<!\\)\|")
GAP = "  "


def readable(markdown: str, width: int) -> Text:
    """The whole of it, tables within `width` columns where they can be."""
    made, table, fence = Text(), list[list[str]](), ""
    for line in [*markdown.splitlines(), ""]:
        if fence:
            fence = "" if line.strip() == fence else fence
            if fence:
                made.append(f"  {line}\n", style="not bold")
            continue
        if line.startswith("|"):
            table.append([_plain(cell.strip()) for cell in BAR.split(line)[1:-1]])
            continue
        if table:
            made.append_text(_table(table, width))
            table = []
        if found := re.match(r"(`{3,})", line):
            fence = found[1]
        elif line.startswith("#"):
            made.append(f"{_plain(line.lstrip('# '))}\n", style="bold underline")
        elif (words := TAG.sub("", line)) or not line:
            made.append_text(_line(words)).append("\n")
    return made


def _line(words: str) -> Text:
    """A line with what is bold in it."""
    if not (found := BOLD.match(words)):
        return Text(_plain(words))
    before, bold, after = found.groups()
    return Text(_plain(before)).append(_plain(bold), style="bold").append(_plain(after), style="not bold")


def _table(rows: list[list[str]], width: int) -> Text:
    """Columns; where they are too wide together, each row as its names and values below one another."""
    head, *body = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    columns = max(map(len, rows))
    head, *body = ([*row, *[""] * (columns - len(row))] for row in (head, *body))
    widths = [max(cell_len(row[at]) for row in (head, *body)) for at in range(columns)]
    if sum(widths) + len(GAP) * (columns - 1) <= width:
        made = Text()
        for number, row in enumerate((head, *body)):
            cells = (cell + " " * (size - cell_len(cell)) for cell, size in zip(row, widths, strict=True))
            made.append(GAP.join(cells).rstrip() + "\n", style="not bold" if number else "bold")
        return made
    if columns == 2:  # a name and a long value
        first = max(cell_len(row[0]) for row in (head, *body))
        return Text("".join(_entry(row[0], row[1], first, width) for row in (head, *body)))
    names = max(map(cell_len, head))
    blocks = ("".join(_entry(name, cell, names, width) for name, cell in zip(head, row, strict=True)) for row in body)
    return Text("\n".join(blocks))


def _entry(name: str, value: str, names: int, width: int) -> str:
    """A name, and its value beside it, in as many lines as that takes."""
    lines = textwrap.wrap(value, max(width - names - len(GAP), 20)) or [""]
    said = [name + " " * (names - cell_len(name)), *[" " * names] * (len(lines) - 1)]
    return "".join(f"{before}{GAP}{part}".rstrip() + "\n" for before, part in zip(said, lines, strict=True))


def _plain(words: str) -> str:
    """Without what escapes a character in Markdown."""
    return ESCAPED.sub(r"\1", words)
