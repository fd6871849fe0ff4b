"""The verdict on a run, as one line of words, and what status.json keeps of it; `reports.verdict` makes it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from mio_local.text import visible_line

Level = Literal["good", "warning", "bad", "unknown"]
LEVELS: dict[str, Level] = {
    "healthy": "good",
    "too early to tell": "unknown",
    "cannot tell": "unknown",
    "nothing moves": "warning",
    "at chance": "warning",
    "both rise": "warning",
    "learns length": "warning",
    "perhaps length": "warning",
    "overfitting": "warning",
    "slipping": "warning",
    "wrong way round": "bad",
    "forgetting": "bad",
    "diverged": "bad",
    "bad start": "bad",
}
KINDS = tuple(LEVELS)
LONGEST = 240  # characters of the words, and of the advice


@dataclass(frozen=True)
class Verdict:
    """`kind` is one of KINDS, `words` the reason in figures, `advice` what to do next, empty where that is nothing."""

    kind: str
    words: str
    advice: str = ""

    @property
    def line(self) -> str:
        return f"{self.kind}: {self.words}{'; ' * bool(self.advice)}{self.advice}"

    @property
    def level(self) -> Level:
        return LEVELS[self.kind]

    def kept(self) -> dict[str, str]:
        """What status.json holds of it."""
        return asdict(self)


def verdict_of(status: dict[str, Any]) -> Verdict | None:
    """The verdict in a status.json, which may hold anything; None for none that makes sense."""
    held = status.get("verdict")
    if not isinstance(held, dict):
        return None
    kind, words, advice = (held.get(key) for key in ("kind", "words", "advice"))
    if not (isinstance(kind, str) and isinstance(words, str) and isinstance(advice, str) and kind in LEVELS):
        return None
    return Verdict(kind, visible_line(words, LONGEST), visible_line(advice, LONGEST))
