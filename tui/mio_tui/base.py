"""What every screen has: size classes, a word instead of a drawing where there is no room, a footer, and help."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import Reactive
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from mio_local.runs.directory import Run
from mio_local.runs.index import Index
from mio_local.runs.summary import Row
from mio_tui.formatting import line
from mio_tui.key_bar import KeyBar

if TYPE_CHECKING:
    from mio_local.chat.start import ChatStart  # with the recipe: not before the first screen is drawn

LEAST = (60, 16)
WIDE = (110, 32)
MOVING = Binding.Group("Moving")  # of keys that move a cursor, a picture, a page: help puts them in a few lines
T = TypeVar("T")


class Mio(Protocol):
    """What screens may ask of the app: it opens other screens, so that none of them knows another."""

    folder: Path  # of the runs
    index: Index  # of that folder
    poll_seconds: float  # between two looks at the files
    commands: list[object]  # that were run from here, the newest last: see mio_tui.actions.command_process

    def listed(self, rows: list[Row]) -> None: ...
    def follow(self, runs: Iterable[Run]) -> None: ...
    def show_run(self, run: Run) -> None: ...
    def compare(self, chosen: Iterable[Run]) -> None: ...
    def chat(self, start: "ChatStart") -> None: ...
    def start(self, queue: list[Run]) -> bool: ...
    def ask(self, run: Run, command: str) -> bool: ...
    def new_like(self, run: Run, change: Callable[[dict[str, Any]], dict[str, Any]], step: str) -> None: ...
    def new_with(self, tables: dict[str, Any], step: str) -> None: ...
    def make_pairs(self, tables: dict[str, Any]) -> None: ...
    def review_pairs(self, file: Path, tables: dict[str, Any]) -> None: ...
    def action_demo(self) -> None: ...
    def complain(self, error: object) -> None: ...
    def before_keys(self, move: Callable[[], object]) -> None: ...


class MioScreen(Screen[T], Generic[T]):
    """A full screen. `-small`, `-narrow` and `-wide` are its size classes, for CSS; `wide` and `small` for code."""

    DEFAULT_CSS = """
    MioScreen {
        #too-small { display: none; width: 100%; height: 100%; }
        &.-small > * { display: none; }
        &.-small > #too-small { display: block; }
    }
    """
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)  # the widgets show it: no need to paint all anew
    TITLE_WORDS: ClassVar[str] = ""  # what help calls this screen
    HELP_WORDS: ClassVar[str] = ""  # what help says below the keys
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "app.help", "Help", id="help"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._clocks: list[Timer] = []
        self._laid_out_wide = False

    def compose(self) -> ComposeResult:
        self._classify(self.app.size)  # while nothing is in it yet: each change of a class styles all that is
        yield Static(id="too-small", markup=False)
        yield from self.body()
        yield KeyBar()

    def body(self) -> ComposeResult:
        """The screen's own widgets."""
        raise NotImplementedError

    def short(self) -> str:
        """What must be seen even where there is no room: step and time left, say."""
        return ""

    @property
    def mio(self) -> Mio:
        """The app, as far as a screen may ask it for something."""
        return cast("Mio", self.app)

    @property
    def wide(self) -> bool:
        return _wide(self.size)

    @property
    def small(self) -> bool:
        return _small(self.size)

    @property
    def on_top(self) -> bool:
        """Whether this screen is the one seen: one that is covered draws nothing."""
        return self.app.screen is self

    def every(self, seconds: float, work: Callable[[], object]) -> None:
        """Do something again and again while this screen is on top.

        Its clock stands while the screen is covered: Textual repaints the whole terminal at each message to a covered
        screen that was ever dirty.
        """
        self._clocks.append(self.set_interval(seconds, work))

    def on_screen_suspend(self) -> None:
        for clock in self._clocks:
            clock.pause()

    def on_screen_resume(self) -> None:
        for clock in self._clocks:
            clock.resume()

    def on_resize(self, event: events.Resize) -> None:
        self._classify(self.size)
        self.tell_small()
        if self._laid_out_wide != self.wide:
            self._laid_out_wide = self.wide
            self.resized()

    def _classify(self, size: Size) -> None:
        wide = _wide(size)
        for name, has in (("-small", _small(size)), ("-wide", wide), ("-narrow", not wide)):
            self.set_class(has, name)

    def resized(self) -> None:
        """The screen went from narrow to wide or back: tables choose their columns anew."""

    def tell_small(self) -> None:
        """Say that there is no room, with what must be seen all the same."""
        if self.small:
            words = f"terminal too small ({self.size.width}x{self.size.height}), needs {LEAST[0]}x{LEAST[1]}"
            text = line(words)
            if short := self.short():
                text = line(short).append("\n").append(words)
            self.query_one("#too-small", Static).update(text)


def _wide(size: Size) -> bool:
    return size.width >= WIDE[0] and size.height >= WIDE[1]


def _small(size: Size) -> bool:
    return size.width < LEAST[0] or size.height < LEAST[1]
