"""What every judge has: a count of the answers that got no reward, and no pairs of its own."""

from collections.abc import Sequence

from mio_local.data.messages import Answer
from mio_local.making.answered import Answered, Rewards
from mio_local.text import visible_line

LONGEST_REASON = 200  # characters of a reason's first message


class Unjudged(dict[str, int]):
    """How many answers got no reward, by reason: `raised (the first: ValueError: no number)`."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, str] = {}

    def add(self, reason: str, first: str = "", count: int = 1) -> None:
        """Count a reason; of its messages the first alone is kept."""
        shown = f"{reason} (the first: {visible_line(first, LONGEST_REASON)})" if first else reason
        key = self._keys.setdefault(reason, shown)
        self[key] = self.get(key, 0) + count


class PlainJudge:
    """A judge of single answers; see `Judge`."""

    kind = "answers"

    def __init__(self, name: str, threshold: float | None) -> None:
        self.name, self.threshold = name, threshold
        self.unjudged: dict[str, int] = Unjudged()

    def skip(self, reason: str, first: str = "", count: int = 1) -> None:
        """Count answers without a reward."""
        assert isinstance(self.unjudged, Unjudged)
        self.unjudged.add(reason, first, count)

    def pairs(self, answered: Sequence[Answered], rewards: Sequence[Rewards]) -> list[list[tuple[Answer, Answer]]]:
        """None: they are made of the rewards."""
        return [[] for _ in answered]

    def close(self) -> None:
        """Nothing is open."""
