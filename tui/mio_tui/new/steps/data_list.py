"""The list of data to choose from."""

from collections.abc import Sequence

from rich.text import Text
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from mio_tui.formatting import line
from mio_tui.new.lookups.suggestions import Offer
from mio_tui.new.steps.model_list import ending
from mio_tui.new.stock import shown

NARROWEST = 16  # cells of a path, however much there is to say of it


class DataList(OptionList):
    """What is offered and goes with what was typed; all of it where nothing does."""

    DEFAULT_CSS = """
    DataList { height: 1fr; border: round $border-blurred; background: $background; padding: 0; }
    DataList:focus { border: round $primary; }
    """

    class Chosen(Message):
        """Train on this."""

        def __init__(self, offer: Offer) -> None:
            super().__init__()
            self.offer = offer

    def __init__(
        self, title: str = "data of runs, of chats, and here", foot: str = "f5: make pairs · down: to this list",
        nothing: str = "none: type a path or the name of a dataset on the hub",
    ) -> None:  # fmt: skip
        super().__init__(id="files", markup=False)
        self.title, self.foot, self.nothing = title, foot, nothing
        self.offers: Sequence[Offer] = []
        self.listed: list[Offer] = []
        self._typed = ""
        self._drawn: object = None

    def on_mount(self) -> None:
        self.border_title, self.border_subtitle = self.title, self.foot
        self._fill()

    def offer(self, offers: Sequence[Offer], nothing: str = "") -> None:
        """List these; `nothing` is what is said where there are none."""
        self.offers, self.nothing = offers, nothing or self.nothing
        self._fill()

    def narrow(self, typed: str) -> None:
        """List what goes with `typed`: a part of its place, or of what it is."""
        self._typed = typed.lower()
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    def _fill(self) -> None:
        fits = [offer for offer in self.offers if self._typed in f"{offer.source}\n{offer.words}".lower()]
        listed, width = fits or list(self.offers), self.content_size.width - 2
        if (listed, width, self.nothing) == self._drawn:
            return
        at = (self.highlighted or 0) if listed == self.listed else 0
        self.listed, self._drawn = listed, (listed, width, self.nothing)
        longest = max((len(offer.words) for offer in listed), default=0)
        nothing = Option(line(self.nothing), disabled=True)
        self.clear_options()
        self.add_options([Option(_row(offer, width - longest - 2)) for offer in listed] or [nothing])
        self.highlighted = at if listed else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_index < len(self.listed):
            self.post_message(self.Chosen(self.listed[event.option_index]))


def _row(offer: Offer, room: int) -> Text:
    """The end of a path in so many cells, then what it is."""
    room = max(NARROWEST, room)
    name = line(ending(line(shown(offer.source), 1000).plain, room))
    name.append(" " * max(2, room + 2 - name.cell_len))
    return name.append_text(line(offer.words, style="dim"))
