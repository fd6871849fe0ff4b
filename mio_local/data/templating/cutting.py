"""Examples that are longer than the limit, cut."""

from collections.abc import Sequence
from typing import Literal

from mio_local.data.examples import Example, Spans
from mio_local.data.messages import BadRow
from mio_local.errors import DataError


class LongPrompt(DataError):
    """A prompt that leaves no room for an answer within the token limit."""


def fitted(
    whole: Example, max_tokens: int, long_prompt: Literal["error", "skip", "cut"], bos: int | None
) -> Example:
    """The example with the answers cut at the right, so that prompt plus answer has at most `max_tokens`.

    A prompt of `max_tokens` or more is cut at its start for "cut" (a leading `bos` stays, and the longer answer gets up
    to half of the room), else raises `LongPrompt`. Raises BadRow where nothing is left to learn.
    """
    prompt, chosen, rejected = whole.prompt, whole.chosen, whole.rejected
    cut = len(prompt) >= max_tokens
    if cut and long_prompt != "cut":
        raise LongPrompt(f"{whole.where}: prompt has {len(prompt):,} tokens, --max-tokens is {max_tokens:,}; "
                         "raise it, or --set data.long_prompt=skip")
    gone = kept = 0
    if cut:
        keep = max_tokens - min(max(len(chosen), len(rejected)), max_tokens // 2)
        kept = int(prompt[0] == bos)
        gone = len(prompt) - keep
        prompt = prompt[:kept] + prompt[gone + kept :]
    room = max_tokens - len(prompt)
    scored = whole.scored and (
        _within(whole.scored[0], gone + kept, gone + len(prompt), gone),
        _within(whole.scored[1], 0, room), _within(whole.scored[2], 0, room),
    )  # fmt: skip
    if scored and not all(scored[1:]):
        raise BadRow(whole.where, "an answer has no scored token within the limit", "; raise --max-tokens")
    return Example(
        prompt, chosen[:room], rejected[:room], len(chosen) > room, len(rejected) > room, cut, whole.where, scored
    )


def _within(spans: Sequence[tuple[int, int]], start: int, stop: int, shift: int = 0) -> Spans:
    """The parts of the spans from `start` to `stop`, moved back by `shift`."""
    cut = [(max(begin, start) - shift, min(end, stop) - shift) for begin, end in spans]
    return tuple((begin, end) for begin, end in cut if end > begin)
