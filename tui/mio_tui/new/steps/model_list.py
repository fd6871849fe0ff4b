"""The list of models: which rows there are, and what stands in them."""

import os
from dataclasses import dataclass, field

from rich.text import Text

from mio_local.models.hub import ModelCard
from mio_local.recipe import Recipe
from mio_tui.formatting import ago, line, now, size
from mio_tui.new import needs
from mio_tui.new.fetch import Download
from mio_tui.new.needs import Needs
from mio_tui.new.state import Data
from mio_tui.new.stock import has_template, is_folder, is_path, shown

SHOWN = 200
WIDE = 90  # cells that all columns take, with room for a name


@dataclass(frozen=True)
class Row:
    """A row of the list."""

    card: ModelCard
    total: int = 0  # bytes of the whole download, where it is known
    needs: Needs | None = None
    chosen: bool = False
    used: str = ""  # how long ago a run was trained from it

    @property
    def sign(self) -> str:
        """On disk, on disk in part, or on the hub."""
        if self.card.complete:
            return "▪"
        return "◐" if self.card.on_disk else "↓"

    @property
    def state(self) -> str:
        """Where the model is, in words."""
        if self.card.complete:
            return "on disk"
        if not self.card.on_disk:
            return "gated" if self.card.gated else "on the hub"
        return f"partial {self.card.size / self.total:.0%}" if self.total else "partial"

    @property
    def size(self) -> str:
        """Bytes on disk, or to download."""
        if self.card.on_disk and not self.card.complete:
            return self.state
        return size(self.card.size) if self.card.size else "?"

    def cells(self, *, wide: bool, width: int) -> list[Text]:
        """The row's cells; `width` is the name's."""
        mark = line(f"{'●' if self.chosen else ' '}{self.sign}")
        name = line(ending(shown(self.card.name), width), width, style="bold" if self.chosen else "")
        gated = not self.card.on_disk and self.card.gated
        fits = line("gated" if gated else self.needs.cell if self.needs else "…")
        if not wide:
            return [mark, name, line(self.size), fits, line(self.used)]
        return [mark, name, line(self.size), line(self.card.quant), line(self.card.licence, 16), fits, line(self.used)]


def ending(text: str, width: int) -> str:
    """The end of what is too long: names of models and folders differ there."""
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]


def columns(*, wide: bool) -> list[str]:
    """The table's heads."""
    more = ["quant", "licence"] if wide else []
    return ["", "model", "size", *more, "fits", "last run"]


def widths(heads: list[str], cells: list[list[Text]]) -> list[int]:
    """Each column's width in terminal cells: that of its widest text."""
    rows = [[line(head) for head in heads], *cells]
    return [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]


@dataclass
class Shelf:
    """All models that were found: on this disk, on the hub, in the folder typed; and what was found out of each."""

    local: list[ModelCard] = field(default_factory=list[ModelCard])
    remote: list[ModelCard] = field(default_factory=list[ModelCard])
    typed: list[ModelCard] = field(default_factory=list[ModelCard])
    used: dict[str, float] = field(default_factory=dict[str, float])  # Unix seconds of the last run, by name
    looked: dict[str, ModelCard] = field(default_factory=dict[str, ModelCard])  # the hub's full account, by name
    needs: dict[str, Needs] = field(default_factory=dict[str, Needs])
    templates: dict[str, str] = field(default_factory=dict[str, str])

    def find(self, name: str) -> ModelCard | None:
        """The model that a recipe names."""
        folder = os.path.realpath(os.path.expanduser(name)) if is_folder(name) else ""
        cards = [*self.local, *self.typed, *self.looked.values(), *self.remote]
        return next((card for card in cards if name and card.name in (name, folder)), None)

    def rows(self, query: str, chosen: str, downloads: dict[str, int]) -> dict[str, Row]:
        """The rows for what was typed, by name: the folder it names, or local models that hold it, then the hub's.

        `downloads` gives the bytes of a download by name.
        """
        words = query.lower().split()
        here = [card for card in self.local if all(word in card.name.lower() for word in words)]
        names = {card.name for card in here}
        cards = self.typed if is_path(query) else [*here, *(card for card in self.remote if card.name not in names)]
        made: dict[str, Row] = {}
        for card in cards[:SHOWN]:
            full = self.looked.get(card.name)
            total = downloads.get(card.name) or (full.size if full else 0)
            shown_card = full if full and not card.on_disk else card
            used = ago(now() - self.used[card.name]) if card.name in self.used else ""
            made[card.name] = Row(shown_card, total, self.needs.get(card.name), card.name == chosen, used)
        return made

    def to_estimate(self, row: Row) -> ModelCard:
        """The account of a model that tells the most of its shape."""
        return row.card if row.card.complete else self.looked.get(row.card.name, row.card)

    def measure(self, card: ModelCard, recipe: Recipe, data: Data) -> None:
        """Estimate a model's memory and look for its chat template; reads files, so it is for a thread."""
        if card.complete or card.name in self.looked:
            self.needs[card.name] = needs.needs(card, recipe, data.longest, data.longest_pair, data.answers)
        else:
            self.needs.setdefault(card.name, Needs())
        if card.complete and card.folder:
            there = has_template(card.folder)
            self.templates[card.name] = "chat template ✓" if there else "no chat template: plain text"


def describe(row: Row, template: str) -> Text:
    """What is known of a model, for the side panel."""
    card, config = row.card, row.card.config
    text = line(shown(card.name), style="bold")
    text.overflow = "fold"
    text.no_wrap = False
    facts: list[str] = []
    if card.parameters:
        facts.append(f"{parameters(card.parameters)} parameters")
    if isinstance(blocks := config.get("num_hidden_layers"), int):
        facts.append(f"{blocks} blocks")
    facts.append(card.quant)
    licences = f"licence {card.licence}" if card.licence else ""
    folder = card.folder
    revision = f"revision {folder.name[:7]}" if folder and folder.parent.name == "snapshots" else ""
    bytes_ = f"{row.state} · {size(card.size)}" if card.size else row.state
    for part in (" · ".join(filter(None, facts)), template, licences, revision, bytes_):
        if part:
            text.append("\n").append_text(line(part, style="not bold"))
    if row.needs and row.needs.total:
        text.append("\n\n").append_text(row.needs.bars())
    elif row.needs and row.needs.unknown:
        text.append("\n\n").append_text(line(row.needs.unknown, 300, style="not bold"))
    return text


def parameters(count: int) -> str:
    """A number of weights as people say it: 0.60 B, 1.2 M."""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale / 2:
            return f"{count / scale:.3g} {unit}"
    return str(count)


def note(download: Download | None, rows: dict[str, Row], typed: str, looking: str, *, failed: bool) -> str:
    """What the line below the list says."""
    if download and download.state != "done":
        return download.words
    if looking or rows:
        here = sum(row.card.on_disk for row in rows.values())
        counts = f"{here} here, {len(rows) - here} to download"
        return " · ".join(("▪ on disk, ◐ in part, ↓ on the hub", looking or counts))
    if typed:
        return "" if failed else "no model of that name here"
    return "no models on this disk: type a name to search the hub, or a folder"
