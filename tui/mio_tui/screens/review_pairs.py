"""Review pairs by hand: two answers to a prompt, and a key for the better one; which is which is not shown."""

from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll

from mio_local.data.messages import Answer, shown_text
from mio_local.errors import MioError, one_line
from mio_local.making.hand_review import Question, Review, Verdict, reviewed_file
from mio_tui.actions.recipe_like import with_pairs
from mio_tui.background_thread import aside
from mio_tui.base import MOVING, MioScreen
from mio_tui.formatting import block, line
from mio_tui.make.make_draft import of_line
from mio_tui.static_text import StaticText

BESIDE = 100  # cells from which on the answers stand side by side
LONGEST = 20_000  # characters of an answer that are shown
OF_A_PAIR = ("better", "alike", "skip")
WORDS = {"first": "1 is better", "second": "2 is better", "alike": "alike, dropped", "skip": "skipped"}


class ReviewPairsScreen(MioScreen[None]):
    """`tables` is the recipe that the reviewed pairs are for; what the file says of its making, where it is empty."""

    TITLE_WORDS = "Review by hand"
    HELP_WORDS = (
        "Which of two answers is better? The order in which they stand does not follow the rewards.\n"
        "What you choose is written at once to the file that ends in -reviewed.jsonl: the better one as chosen, judge\n"
        "hand, all else as it was. Alike pairs are in no file of pairs; a skipped one comes again when you come back.\n"
        "Leave whenever you like: the review goes on where it was left."
    )
    DEFAULT_CSS = """
    ReviewPairsScreen {
        #head { text-wrap: nowrap; text-overflow: ellipsis; }
        #prompt { height: auto; max-height: 25%; padding: 0 1; }
        #answers { height: 1fr; layout: vertical; }
        &.-beside #answers { layout: horizontal; }
        .answer { width: 1fr; height: 1fr; border: round $border-blurred; padding: 0 1; }
        .answer:focus { border: round $primary; }
        StaticText { width: 1fr; height: auto; }
        #head { height: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "better('first')", "First better", key_display="1"),
        Binding("2", "better('second')", "Second better", key_display="2"),
        Binding("equals_sign", "alike", "Alike", key_display="="),
        Binding("s,space", "skip", "Skip", key_display="s"),
        Binding("u,ctrl+z", "undo", "Undo", key_display="u"),
        Binding("n", "train", "Train"),
        Binding("up,k", "scroll(-1)", "Up", show=False, group=MOVING),
        Binding("down,j", "scroll(1)", "Down", show=False, group=MOVING),
        Binding("pageup", "scroll(-10)", "Ten lines up", show=False, group=MOVING),
        Binding("pagedown", "scroll(10)", "Ten lines down", show=False, group=MOVING),
        Binding("escape,q", "dismiss", "Back"),
    ]

    def __init__(self, file: Path, tables: dict[str, Any]) -> None:
        super().__init__()
        self.file, self.tables = file, tables
        self.review: Review | None = None
        self.asked: Question | None = None
        self.said = ""  # of what was decided last

    def body(self) -> ComposeResult:
        yield StaticText(line(f"reading {self.file.name}…"), id="head", classes="head")
        with VerticalScroll(id="prompt", can_focus=False):
            yield StaticText(id="asked")
        with Container(id="answers"):
            for number in (1, 2):
                with VerticalScroll(id=f"answer-{number}", classes="answer", can_focus=False) as panel:
                    panel.border_title = str(number)
                    yield StaticText(id=f"text-{number}")

    def on_mount(self) -> None:
        self.run_worker(self._read(), exit_on_error=False)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.set_class(self.size.width >= BESIDE, "-beside")

    async def _read(self) -> None:
        try:
            self.review = await aside(Review, self.file)
        except (MioError, OSError) as error:
            self.query_one("#head", StaticText).show(line(f"Review {self.file.name}"))
            self.query_one("#asked", StaticText).show(block(f"✗ {_why(error)}"), layout=True)
            return
        self.tell()

    def short(self) -> str:
        return self._head()

    def tell(self) -> None:
        """The next pair, and how far it is."""
        review = self.review
        if not review or not self.is_attached:
            return
        self.asked = review.asked
        self.query_one("#head", StaticText).show(line(self._head(), 300))
        self.query_one("#answers").display = bool(self.asked)
        shown = (self.asked.prompt, self.asked.first, self.asked.second) if self.asked else (self._end(), "", "")
        for name, value in zip(("asked", "text-1", "text-2"), shown, strict=True):
            self.query_one(f"#{name}", StaticText).show(block(_whole(value), LONGEST + 100), layout=True)
        for panel in self.query(VerticalScroll):
            panel.scroll_home(animate=False)
        self.refresh_bindings()
        self.tell_small()

    def _head(self) -> str:
        if not self.review:
            return self.file.name
        counts, total = self.review.counts(), len(self.review.questions)
        done = sum(counts.values())
        at = f"{done + 1} of {total}" if self.asked else f"all {total} seen"
        words = [f"{count} {name}" for name, count in counts.items() if count]
        bad = [f"{self.review.bad} lines without two answers"] if self.review.bad else []
        said = [self.said] if self.said else []
        return " · ".join([f"Review {self.file.name}", at, *said, *words, *bad])

    def _end(self) -> str:
        assert self.review
        counts = self.review.counts()
        parts = [f"{counts['kept']} {'pair' if counts['kept'] == 1 else 'pairs'} in {self.review.reviewed.name}"]
        parts += [f"{counts['alike']} alike"] * bool(counts["alike"])
        parts += [f"{counts['skipped']} skipped, for when you come back"] * bool(counts["skipped"])
        keys = f"{'n trains on them · ' * bool(counts['kept'])}u takes back"
        return f"That was the last one: {', '.join(parts)}.\n\n{keys}"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in OF_A_PAIR:
            return self.asked is not None
        if action == "undo":
            return bool(self.review and self.review.decided)
        if action == "train":
            return bool(self.review and self.review.kept)
        return True

    # keys

    def action_better(self, verdict: Verdict) -> None:
        """This one is chosen, the other rejected."""
        self._decide(verdict)

    def action_alike(self) -> None:
        """Neither is better: the pair is left out."""
        self._decide("alike")

    def action_skip(self) -> None:
        """Decide another time."""
        self._decide("skip")

    def _decide(self, verdict: Verdict) -> None:
        if self.review and self.asked:
            try:
                self.review.decide(self.asked, verdict)
            except OSError as error:
                self.mio.complain(_why(error))
                return
            self.said = WORDS[verdict]
            self.tell()

    def action_undo(self) -> None:
        """Take back what was decided last."""
        if not self.review:
            return
        try:
            last = self.review.undo()
        except OSError as error:
            self.mio.complain(_why(error))
            return
        self.said = f"taken back: {WORDS[last.verdict]}" if last else ""
        self.tell()

    def action_train(self) -> None:
        """A new run with the reviewed pairs as its data."""
        if self.review:
            reviewed = reviewed_file(self.file)
            known = with_pairs(self.tables, reviewed) if self.tables else {}
            self.mio.new_with(known or of_line(self.review.questions[0].row, reviewed), "Data")

    def action_scroll(self, rows: int) -> None:
        """All that is longer than its place."""
        for panel in self.query(VerticalScroll):
            panel.scroll_relative(y=rows, animate=False)


def _whole(value: Answer) -> str:
    text = shown_text(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… {len(text) - LONGEST:,} more characters"


def _why(error: MioError | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the review'}: {error.strerror or one_line(error)}"
    return str(error)
