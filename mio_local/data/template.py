"""Pairs to tokens: the chat template applied, one BOS, the answer's end scored, the prompt a prefix of both sides."""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from mio_local.data.examples import Example, Scored
from mio_local.data.messages import BadRow, Message
from mio_local.data.pairs import Pair
from mio_local.data.stored import cache
from mio_local.data.stored.collected import Collected
from mio_local.data.stored.encoded import Encoded, Left
from mio_local.data.templating.batched import Batches, Joint
from mio_local.data.templating.coverage import REPEATED
from mio_local.data.templating.cutting import LongPrompt, fitted, within
from mio_local.data.templating.framing import Framed, Part
from mio_local.data.templating.insertion import QuickFraming
from mio_local.data.templating.plain import plain_frame, plain_text
from mio_local.data.templating.rendering import Renderer, Tools, template_text
from mio_local.errors import DataError, ModelError
from mio_local.process import rarely_collected
from mio_local.recipe import DataSettings
from mio_local.text import visible_line

WRITTEN = {"template_args", "thoughts", "score"}  # settings that change the tokens of a pair
CHUNK, FEW, LARGE = 100, 1000, 2000  # pairs that are tokenised together; of more than a FEW a LARGE number


class Chat:
    """A tokenizer with the template that its conversations are written in.

    Of the settings, `template` is "auto" (the tokenizer's own chat template where it has one), "none" (prompt and
    answer joined as they are), or the path of a Jinja file. `mode` is then "chat" or "text", `end_ids` are the tokens
    that end an answer, and `opening` is what the template puts between a prompt and its answer.
    `now` (Unix seconds) is the day for templates that print one: a run resumed tomorrow must see today's tokens.
    `rows` is the number of rows of the model's embedding table, 0 where it is not known.
    Raises `DataError` for a template that cannot be read or used, `ModelError` for a tokenizer without any end token.
    """

    def __init__(
        self, tokenizer: Any, template: str = "auto", now: float | None = None, *,
        settings: DataSettings | None = None, rows: int = 0,
    ) -> None:  # fmt: skip
        settings = settings or DataSettings()
        self.tokenizer, self.rows = tokenizer, rows
        self._batches = Batches(tokenizer)
        self.bos: int | None = tokenizer.bos_token_id
        self.eos: int | None = tokenizer.eos_token_id
        probe = self._ids("a", special=True)
        self._adds_bos = self.bos is not None and probe[:1] == [self.bos]
        self.now = time.time() if now is None else now
        self.template = template_text(tokenizer, template, self.now)
        self.template_name = template
        self.mode: Literal["chat", "text"] = "chat" if self.template else "text"
        self.settings = settings
        self.opening = ""
        self.end_ids: set[int] = set() if self.eos is None else {self.eos}
        if self.template:
            ends = {str(token) for token in tokenizer.added_tokens_decoder.values() if str(token).strip()}
            renderer = Renderer(tokenizer, self.template, settings.template_args)
            self._framing = QuickFraming(renderer, ends, settings.thoughts, settings.score)
            _, self.opening, tail = self._framing.opening("Q", f"--template {template}")
            if (end := self._framing.end_of(tail)) is not None:
                self.end_ids.add(self._ids(end)[-1])
        if not self.end_ids:
            raise ModelError("the tokenizer has no end-of-sequence token, so no answer could end; "
                             "set eos_token in tokenizer_config.json")

    @cached_property
    def fingerprint(self) -> str:
        """What tokens are kept by: all that they depend on beside the pairs; empty for a tokenizer without a Rust part,
        whose rules are code."""
        if not self.tokenizer.is_fast:
            return ""
        rules: str = self.tokenizer.backend_tokenizer.to_str()
        named = [type(self.tokenizer).__name__, self.tokenizer.special_tokens_map, self.tokenizer.init_kwargs.get(
            "clean_up_tokenization_spaces"), self._adds_bos, self.rows, metadata.version("tokenizers")]  # fmt: skip
        return cache.key_of("chat", rules, self.template, self.settings.model_dump(include=WRITTEN), *named)

    @property
    def pad(self) -> int:
        """The token that fills rows up: any that the model has a row for will do, as it is never scored."""
        pad: int = self.tokenizer.pad_token_id or 0
        return pad if not self.rows or pad < self.rows else 0

    def encode(self, pair: Pair, max_tokens: int, long_prompt: Literal["error", "skip", "cut"] = "error") -> Example:
        """Token ids of a pair, the answers cut at the right so that prompt plus answer has at most `max_tokens`.

        A prompt of `max_tokens` or more is cut at its start for "cut" (a leading BOS stays, and the longer answer gets
        up to half of the room), else raises `LongPrompt`. Raises `DataError` naming a row that cannot be encoded.
        """
        framed = self._framed(pair, max_tokens)
        if isinstance(framed, DataError):
            raise framed
        return fitted(self._tokens(framed, pair), max_tokens, long_prompt, self.bos)

    def _framed(self, pair: Pair, max_tokens: int) -> Framed | DataError:
        try:
            pair = within(pair, max_tokens, self._longest)
            return self._framing.frame(pair) if self.mode == "chat" else plain_frame(pair, self.settings.thoughts)
        except DataError as error:
            return error

    @rarely_collected()
    def encode_all(
        self,
        pairs: Sequence[Pair],
        max_tokens: int,
        long_prompt: Literal["error", "skip", "cut"] = "error",
        bad_rows: Literal["error", "skip"] = "error",
        progress: Callable[[int, int], None] | None = None,
        file: Path | None = None,
    ) -> Encoded:
        """Every pair encoded, and what was left out.

        `progress(done, total)` is called after each hundred pairs, of many after each two thousand. The tokens go to
        `file` where one is given.
        """
        wrong = self._wrong
        with closing(Collected(self.end_ids, file)) as made:
            left, lost = self._encode(pairs, made, max_tokens, long_prompt, bad_rows, progress)
            if self._wrong == wrong:
                return Encoded(made.examples(lambda number: pairs[number].where), left, lost)
        return self.encode_all(pairs, max_tokens, long_prompt, bad_rows, progress, file)  # one of them was wrong

    def _longest(self) -> int:
        """Characters of the longest token."""
        return max(map(len, self.tokenizer.get_vocab()))

    @property
    def misled(self) -> bool:
        """Whether pairs were framed, or prompts tokenised, by less than the whole, and that proved wrong."""
        return any(self._wrong)

    @property
    def _wrong(self) -> tuple[bool, bool]:
        return self.mode == "chat" and self._framing.misled, self._batches.misled

    def take_no_shortcuts(self) -> None:
        """Frame and tokenise the whole of every pair."""
        self._batches.misled = True
        if self.mode == "chat":
            self._framing.misled = True

    def _encode(
        self, pairs: Sequence[Pair], made: Collected, max_tokens: int, long_prompt: Literal["error", "skip", "cut"],
        bad_rows: Literal["error", "skip"], progress: Callable[[int, int], None] | None,
    ) -> tuple[list[Left], dict[str, tuple[int, str]]]:  # fmt: skip
        """Put every pair into `made`; those left out, and what reached no token."""
        lost: dict[str, tuple[int, str]] = {}
        left: list[Left] = []
        done, coming = 0, iter(pairs)
        while chunk := list(itertools.islice(coming, CHUNK if done < FEW else LARGE)):
            framed = [self._framed(pair, max_tokens) for pair in chunk]
            joint = self._batches.joint([each for each in framed if isinstance(each, Framed)])
            for number, (pair, each) in enumerate(zip(chunk, framed, strict=True), done):
                try:
                    if isinstance(each, DataError):
                        raise each
                    example = self._tokens(each, pair, next(joint))
                    made.add(fitted(example, max_tokens, long_prompt, self.bos), number)
                    repeated = [REPEATED] if len(example.others) < len(pair.others) else []
                    for kind in (*each.lost, *repeated):
                        count, first = lost.get(kind, (0, pair.where))
                        lost[kind] = count + 1, first
                except DataError as error:
                    is_long = isinstance(error, LongPrompt)
                    if (long_prompt if is_long else bad_rows) != "skip":
                        raise
                    left.append(Left(number, _reason(error), str(error), is_long))
            done += len(chunk)
            if progress:
                progress(done, len(pairs))
        return left, lost

    def lost(self, pair: Pair) -> list[str]:
        """The kinds of text of a pair that reach no token."""
        return self._framing.frame(pair).lost if self.mode == "chat" else []

    def generation_prompt(self, prompt: list[Message] | str, tools: Tools | None = None) -> list[int]:
        """The ids to generate an answer from: what `encode` puts before answers without a thought. Raises DataError."""
        return self._one_bos(self._ids(self.prompt_text(prompt, tools)))

    def prompt_text(self, prompt: list[Message] | str, tools: Tools | None = None) -> str:
        """The text that `generation_prompt` is of."""
        if self.mode == "chat":
            return self._framing.opening(prompt, "prompt", tools)[0]
        return plain_text(prompt, "prompt", tools)

    def _tokens(self, framed: Framed, pair: Pair, joint: Joint | None = None) -> Example:
        """A framed pair as ids, of any length. Of a group's answers that become the same tokens the first stays, but
        of samples all. Raises BadRow for one that has nothing to tell apart or to score."""
        where = pair.where
        text, ids, spans = self._scored("", [], framed.prompt, where, joint[0] if joint else None)
        answers: list[list[int]] = []
        scored = [spans]
        for side, parts in enumerate(framed.answers):
            _, answer, spans = self._scored(text, ids, parts, where, joint[side + 1] if joint else None)
            ended = self._ended(answer, not framed.ended[side]) if parts else []
            if spans and spans[-1][1] in (len(answer), len(ended)):
                spans[-1] = spans[-1][0], len(ended)
            answers.append(ended)
            scored.append(spans)
        prompt = self._one_bos(ids)
        if not prompt:
            raise BadRow(where, "the prompt has no tokens, so the answer's first one could not be scored")
        shift = len(prompt) - len(ids)
        scored[0] = [(start + shift, stop + shift) for start, stop in scored[0]]
        if self.rows and max(map(max, filter(None, (prompt, *answers)))) >= self.rows:
            raise self._no_row(where)
        places = range(len(answers)) if pair.sampled else [n for n, ids in enumerate(answers) if ids not in answers[:n]]
        if len(places) < 2:
            raise BadRow(where, "chosen and rejected become the same tokens, so there is nothing to learn")
        chosen, rejected, *others = (answers[place] for place in places)
        whole = not scored[0] and all(scored[1 + place] == _all_of(answers[place]) for place in places)
        found: Scored | None = None if whole else (tuple(scored[0]), *(tuple(scored[1 + place]) for place in places))
        rewards = tuple(pair.rewards[place] for place in places) if pair.rewards else ()
        return Example(prompt, chosen, rejected, False, False, False, where, found, tuple(others), rewards)

    def _scored(
        self, before: str, ids: list[int], parts: Sequence[Part], where: str, joint: list[int] | None = None
    ) -> tuple[str, list[int], list[tuple[int, int]]]:
        """(text, ids of the parts after `before`, whose ids are `ids`, which of them are scored). `joint` are the ids
        of it all where those are known."""
        made: list[int] = []
        spans: list[tuple[int, int]] = []
        for part in parts:
            whole = self._ids(before + part.text) if joint is None else joint
            more = self._continue(whole, [*ids, *made], part.text, where) if before else whole
            if part.scored:
                spans.append((len(made), len(made) + len(more)))
            made += more
            before += part.text
        return before, made, spans

    def _no_row(self, where: str) -> ModelError:
        beyond = sorted((number, name) for name, number in self.tokenizer.get_vocab().items() if number >= self.rows)
        named = ", ".join(f"{visible_line(name, 40)} ({number:,})" for number, name in beyond[:5])
        return ModelError(
            f"{where}: the tokenizer gives ids up to {beyond[-1][0]:,}, and the model has {self.rows:,} rows of "
            f"embeddings: none for {named}{', ...' if len(beyond) > 5 else ''}; resize the model's embeddings, or take "
            "the tokenizer and the template that it was trained with"
        )

    def _ended(self, scored: list[int], append: bool) -> list[int]:
        """`scored` with one end token: appended when the template wrote none, and not twice when the data has one."""
        if append:
            if self.eos is None:
                raise ModelError("the tokenizer has no end-of-sequence token, and the template ends no answer")
            scored = [*scored, self.eos]
        while len(scored) > 1 and scored[-1] == scored[-2]:
            scored.pop()
        return scored

    def _continue(self, joint: list[int], ids: list[int], text: str, where: str) -> list[int]:
        """The ids of `text` where it follows a text whose ids are `ids`.

        They are the rest of `joint`, of both texts together, when that begins with `ids`. Where tokens merge across the
        border, `text` is tokenised apart, or after a short text for the tokenizers that put a space before every text.
        """
        if joint[: len(ids)] == ids:
            return joint[len(ids) :]
        wanted = self._decode(joint)
        for anchor in ("", "\n", "a", "."):
            start, anchored = self._ids(anchor), self._ids(anchor + text)
            rest = anchored[len(start) :]
            if anchored[: len(start)] == start and self._decode(ids + rest) == wanted:
                return rest
        raise DataError(f"{where}: this tokenizer merges the end of the prompt with the answer's start; "
                        "end the prompt with a newline, or choose another --template")

    def _one_bos(self, ids: list[int]) -> list[int]:
        while len(ids) > 1 and ids[0] == ids[1] == self.bos:
            ids = ids[1:]
        if self._adds_bos and ids[:1] != [self.bos]:
            assert self.bos is not None
            return [self.bos, *ids]
        return ids

    def _ids(self, text: str, special: bool = False) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _all_of(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Where the scored tokens of an answer are when all are."""
    return [(0, len(ids))] if ids else []


def _reason(error: DataError) -> str:
    if isinstance(error, LongPrompt):
        return "prompt is too long"
    return error.reason if isinstance(error, BadRow) else "the chat template does not take it"
