"""The list of what can be done with a run: one place for the menu, the palette and the help."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mio_local.runs.directory import LIVE, RESUMABLE, Run
from mio_local.runs.summary import Row, row_of

GROUPS = ("look", "use", "train", "keep", "trainer")
MOST_COMPARED = 4


@dataclass(frozen=True)
class Meant:
    """The runs that something is to be done with, at least one; the first one's row, and the title of the command that
    was run on it last, if any."""

    runs: tuple[Run, ...]
    row: Row
    last: str = ""

    @classmethod
    def by(cls, runs: Sequence[Run], last: str = "") -> "Meant":
        """As the first one's files are now. Reads them."""
        return cls(tuple(runs), row_of(runs[0]), last)

    @property
    def run(self) -> Run:
        return self.runs[0]

    @property
    def title(self) -> str:
        return self.run.name if len(self.runs) == 1 else f"{len(self.runs)} runs"

    @property
    def paused(self) -> bool:
        return self.row.state == "paused"


@dataclass(frozen=True)
class Action:
    """`key` is the menu's; `group` one of GROUPS; `words` say what it does; `refused` why it cannot be done now, ""
    where it can; `most` is of how many runs at once, 0 for any number."""

    key: str
    name: str
    group: str
    words: Callable[[Meant], str]
    refused: Callable[[Meant], str]
    most: int = 1

    def why_not(self, meant: Meant) -> str:
        """Why it cannot be done with these runs; "" where it can."""
        if self.most and len(meant.runs) > self.most:
            return "of one run at a time" if self.most == 1 else f"of {self.most} runs at most"
        return self.refused(meant)


def chat_pairs(run: Run) -> Path:
    """The file in which a chat keeps a run's pairs."""
    from mio_local.chat.feedback import NAME  # 40 ms: not before the first screen

    return run.path / NAME


def _said(words: str) -> Callable[[Meant], str]:
    return lambda meant: words


def _never(meant: Meant) -> str:
    return ""


def _without_adapter(meant: Meant) -> str:
    return "" if meant.run.adapter.exists() else "it has no adapter yet"


def _without_command(meant: Meant) -> str:
    return "" if meant.last else "none was run here yet"


def _without_pairs(meant: Meant) -> str:
    file = chat_pairs(meant.run)
    return "" if file.is_file() and file.stat().st_size else "none was kept in a chat yet"


def _at_rest(meant: Meant) -> str:
    return "" if meant.row.live or meant.row.after else "nothing trains here"


def _not_resumable(meant: Meant) -> str:
    return "" if meant.paused or meant.row.state in RESUMABLE else f"it is {meant.row.state}"


def _at_work(meant: Meant) -> str:
    return "stop it first" if meant.row.state in LIVE else ""


def other_objective(name: str) -> str:
    """The objective that a run is compared with: DPO for MIO, MIO for all others."""
    return "dpo" if name == "mio" else "mio"


ACTIONS = (
    Action("c", "compare", "look", _said("Compare"), _never, MOST_COMPARED),
    Action("w", "report", "look", _said("Write and read its report"), _never),
    Action("v", "evaluate", "look", _said("Evaluate…"), _without_adapter),
    Action("l", "last", "look",
           lambda meant: f"Look at the last command{f': {meant.last}' * bool(meant.last)}", _without_command),
    Action("k", "check", "look", _said("Check its files, base and pairs"), _never),
    Action("t", "chat", "use", _said("Chat"), _never, MOST_COMPARED),
    Action("o", "export", "use", _said("Export…"), _without_adapter),
    Action("e", "again", "train", _said("Train again with changes"), _never),
    Action("a", "other", "train",
           lambda meant: f"Train again as {other_objective(meant.row.objective).upper()}", _never),
    Action("p", "pairs", "train", _said("Train on its chat pairs"), _without_pairs),
    Action("n", "rename", "keep", _said("Rename…"), _at_work),
    Action("i", "note", "keep", _said("Note…"), _never),
    Action("g", "tag", "keep", _said("Tags…"), _never),
    Action("y", "copy", "keep", _said("Copy its folder's path"), _never),
    Action("b", "command", "keep", _said("Copy the command that trains it again"), _never),
    Action("f", "folder", "keep", _said("Open its folder"), _never),
    Action("r", "resume", "trainer", lambda meant: "Go on" if meant.paused else "Resume", _not_resumable),
    Action("x", "stop", "trainer", _said("Stop"), _at_rest, 0),
    Action("d", "delete", "trainer", _said("Delete"), _at_work, 0),
)  # fmt: skip


def in_help() -> list[tuple[str, str]]:
    """(key, words) for each group: its keys, and what they do."""
    nobody = Meant((), Row("", ""))
    said: list[tuple[str, str]] = []
    for group in GROUPS:
        own = [action for action in ACTIONS if action.group == group]
        words = ", ".join(f"{action.key} {_small(action.words(nobody).rstrip('…'))}" for action in own)
        said.append((group, words))
    return said


def _small(words: str) -> str:
    return words[:1].lower() + words[1:]
