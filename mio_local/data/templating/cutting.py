"""Examples that are longer than the limit, cut."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from mio_local.data.examples import Example, Spans
from mio_local.data.messages import Answer, BadRow, Message
from mio_local.data.pairs import Pair
from mio_local.errors import DataError

LARGE = 200_000  # characters: what is shorter is tokenised, however long its tokens may be


class LongPrompt(DataError):
    """A prompt that leaves no room for an answer within the token limit."""


def within(pair: Pair, max_tokens: int, longest: Callable[[], int]) -> Pair:
    """The pair, with answers that end where no token of theirs can be trained on any more: a text of megabytes would
    take minutes to tokenise. `longest` tells the characters of the longest token. Raises LongPrompt, BadRow."""
    sizes = [_characters(text) for text in (pair.prompt, *pair.answers)]
    if max(sizes) <= LARGE:
        return pair
    most = max(LARGE, max_tokens * longest())
    if sizes[0] > most:
        raise LongPrompt(f"{pair.where}: prompt has {sizes[0]:,} characters, more than --max-tokens {max_tokens:,} can "
                         "be; raise it, or --set data.long_prompt=skip")
    answers: list[Answer] = []
    for answer, size in zip(pair.answers, sizes[1:], strict=True):
        if size > most and not isinstance(answer, str):
            raise BadRow(pair.where, f"an answer of {size:,} characters in messages, more than any model reads")
        answers.append(answer[:most] if isinstance(answer, str) else answer)
    return replace(pair, chosen=answers[0], rejected=answers[1], others=tuple(answers[2:]))


def _characters(text: Answer | list[Message]) -> int:
    if isinstance(text, str):
        return len(text)
    return sum(len(value) for message in text for value in message.values() if isinstance(value, str))


def fitted(
    whole: Example, max_tokens: int, long_prompt: Literal["error", "skip", "cut"], bos: int | None
) -> Example:
    """The example with the answers cut at the right, so that prompt plus answer has at most `max_tokens`.

    A prompt of `max_tokens` or more is cut at its start for "cut" (a leading `bos` stays, and the longer answer gets up
    to half of the room), else raises `LongPrompt`. Raises BadRow where nothing is left to learn.
    """
    prompt, answers = whole.prompt, whole.answers
    if not whole.scored and len(prompt) + max(map(len, answers)) <= max_tokens > len(prompt):
        return whole
    cut = len(prompt) >= max_tokens
    if cut and long_prompt != "cut":
        raise LongPrompt(f"{whole.where}: prompt has {len(prompt):,} tokens, --max-tokens is {max_tokens:,}; "
                         "raise it, or --set data.long_prompt=skip")
    gone = kept = 0
    if cut:
        keep = max_tokens - min(max(map(len, answers)), max_tokens // 2)
        kept = int(prompt[0] == bos)
        gone = len(prompt) - keep
        prompt = prompt[:kept] + prompt[gone + kept :]
    room = max_tokens - len(prompt)
    scored = whole.scored and (
        _within(whole.scored[0], gone + kept, gone + len(prompt), gone),
        *(_within(spans, 0, room) for spans in whole.scored[1:]),
    )  # fmt: skip
    if scored and any(ids and not spans for ids, spans in zip(answers, scored[1:], strict=True)):
        raise BadRow(whole.where, "an answer has no scored token within the limit", "; raise --max-tokens")
    chosen, rejected, *others = (ids[:room] for ids in answers)
    long = [len(ids) > room for ids in answers]
    return replace(
        whole, prompt=prompt, chosen=chosen, rejected=rejected, others=tuple(others), truncated_chosen=long[0],
        truncated_rejected=any(long[1:]), cut_prompt=cut, scored=scored,
    )  # fmt: skip


def _within(spans: Sequence[tuple[int, int]], start: int, stop: int, shift: int = 0) -> Spans:
    """The parts of the spans from `start` to `stop`, moved back by `shift`."""
    cut = [(max(begin, start) - shift, min(end, stop) - shift) for begin, end in spans]
    return tuple((begin, end) for begin, end in cut if end > begin)
