"""What the four steps share: the draft, and what was found out about its model, its data and its memory."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text
from textual.message import Message

from mio_local.data.reading.wanted import PAIRS, wanted_of
from mio_local.learning import LossSettings
from mio_local.models.hub import ModelCard
from mio_tui.formatting import line
from mio_tui.new.draft import Draft
from mio_tui.new.fetch import Download
from mio_tui.new.key_field import Field, Fields
from mio_tui.new.lookups.ahead import Ahead
from mio_tui.new.lookups.lasting import Lasting
from mio_tui.new.needs import SIGNS, Needs

TRUST_KEY = "model.trust_remote_code"
READING = ("train.seed", "train.rounds", "loss.name", "loss.negatives")  # what is read depends on these too


@dataclass
class Data:
    """What the preview process said of the pairs of `key`, the settings that were sent to it."""

    key: object = None
    opened: dict[str, Any] = field(default_factory=dict[str, Any])
    summary: dict[str, Any] = field(default_factory=dict[str, Any])
    warnings: list[str] = field(default_factory=list[str])
    stops: str = ""  # what would stop the training
    error: str = ""  # why nothing is open
    beside: str = ""  # a file beside the data that is named as held-out ones are
    untokenised: str = ""  # why the pairs are shown as text
    busy: str = ""
    progress: tuple[int, int] = (0, 0)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt and answer, as far as the statistics tell; 0 where there are none."""
        return int(self.summary.get("longest", 0))

    @property
    def longest_pair(self) -> int:
        """Tokens of the longest prompt with all its answers; 0 where there are no statistics."""
        return int(self.summary.get("longest_pair", 0))

    @property
    def answers(self) -> int:
        """The most answers of a prompt, as far as the statistics tell."""
        return int(self.summary.get("group_sizes", (2,))[-1])

    @property
    def held_out(self) -> int:
        """Pairs held out, as far as the statistics tell."""
        return int(self.summary.get("held_out_pairs", 0))

    @property
    def tokens_a_pair(self) -> float:
        """The mean of a pair's tokens, its prompt counted twice; 0 where there are no statistics."""
        return float(self.summary.get("tokens_a_pair", 0.0))

    @property
    def pairs(self) -> int:
        """Pairs to train on: all but the held-out ones; 0 is unknown."""
        if self.summary:
            return max(0, int(self.summary["encoded"]) - int(self.summary["held_out_pairs"]))
        return int(self.opened.get("pairs", 0))


@dataclass
class State:
    """The form's state. `needs` is None while it is being estimated, or where there is no model."""

    draft: Draft
    folder: Path  # of the runs
    card: ModelCard | None = None
    not_taken: str = ""  # what was typed for a model, and is not the draft's
    template: str = ""  # what is known of the model's chat template
    data: Data = field(default_factory=Data)
    needs: Needs | None = None
    lasting: Lasting | None = None  # None while it is being estimated
    download: Download | None = None
    trusted: str = ""  # the model whose remote code was allowed here, by hand: a recipe may be a stranger's
    name_error: str = ""  # what is wrong with the run's name
    disk_free: int = 0  # bytes in the runs folder
    ahead: Ahead = field(default_factory=Ahead)  # who trains or waits in the runs folder
    starting: bool = False
    start_after: bool = False  # start when the download is done

    def wanted(self) -> tuple[Any, ...] | None:
        """What the preview is to open, data, model, seed, and of the objective what the reading depends on; None while
        no data is named, one of these is wrong, or the data are the prompts of rounds."""
        draft = self.draft
        wrong = any(key.startswith(("data.", "model.")) or key in READING for key in draft.errors())
        if wrong or self.rounds or not draft.text("data.source"):
            return None
        model = draft.section("model")
        allowed = bool(draft.value(TRUST_KEY)) and self.trusted == draft.text("model.name")
        loss = {name: draft.value(f"loss.{name}") for name in ("name", "negatives")}
        pairs_alone = wanted_of(LossSettings.model_construct(**loss)) == PAIRS
        seed = draft.value("train.seed")
        return draft.section("data"), {**model, "trust_remote_code": allowed}, seed, {} if pairs_alone else loss

    @property
    def rounds(self) -> bool:
        """Whether the run is to make its pairs itself, of prompts."""
        return "train.rounds" not in self.draft.errors() and bool(self.draft.value("train.rounds"))


class Step(Fields):
    """One of the four steps."""

    DEFAULT_CSS = """
    Step { width: 1fr; height: 1fr; padding: 0 1; }
    """

    class Changed(Message):
        """The draft was edited here; `key` is the recipe's key, or empty."""

        def __init__(self, key: str = "") -> None:
            super().__init__()
            self.key = key

    class Found(Message):
        """Something was found out: a card, pairs, statistics, an end of a download."""

    class Next(Message):
        """This step is done."""

    class GoTo(Message):
        """Another step is asked for."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    class Beside(Message):
        """What the step says beside itself has changed."""

    def __init__(self, state: State, id: str) -> None:
        super().__init__(id=id)
        self.state = state

    def enter(self) -> None:
        """The step is shown: put the focus where work begins."""

    async def leave(self) -> str:
        """Take what is on the screen, as somebody goes on; why it cannot be taken, or an empty string."""
        return ""

    def after(self, field: Field) -> None:
        """Enter leads from field to field, and from the last one on."""
        fields = [entry for entry in self.query(Field) if entry.edited and entry.edited.focusable]
        at = fields.index(field) + 1 if field in fields else len(fields)
        if at < len(fields) and (edited := fields[at].edited):
            edited.focus()
        else:
            self.post_message(self.Next())

    def tell(self) -> None:
        """Show the state anew."""

    def beside(self) -> Text:
        """What stands first in the column beside the step."""
        needs = self.state.needs
        return needs.bars() if needs and needs.total else line(self.memory_words(), 300)

    def memory_words(self) -> str:
        """What is known of the memory, in a line."""
        state = self.state
        if needs := state.needs:
            return f"{SIGNS[needs.fits]} {needs.line}"
        if state.draft.errors() or state.name_error:
            return "memory: once the settings are valid"
        if state.card:
            return "memory: estimating…"
        return f"memory: {'known once the model is here' if state.draft.text('model.name') else 'choose a model first'}"

    def shown_value(self, key: str) -> str:
        """What the field of a key shows."""
        return self.state.draft.text(key)

    def put_all(self) -> None:
        """Show the draft's values anew: they were edited elsewhere."""
        for entry in self.query(Field):
            if entry.value != (value := self.shown_value(entry.key)):
                entry.put(value)
