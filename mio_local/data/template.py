"""Pairs to tokens: the chat template applied, one BOS, the answer's end scored, the prompt a prefix of both sides."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

from mio_local.data.examples import EncodeCounts, Example
from mio_local.data.messages import Answer, Message
from mio_local.data.pairs import Pair
from mio_local.errors import DataError, MioError, ModelError, one_line
from mio_local.paths import expanded

CLOCK = re.compile(r"strftime_now\(\s*(['\"])(?P<format>.*?)\1\s*\)")
SENTINEL = "mio-local-answer-7c1d04"  # stands in for an answer, to see where a template puts one


class LongPrompt(DataError):
    """A prompt that leaves no room for an answer within the token limit."""


class Chat:
    """A tokenizer with the template that its conversations are written in.

    `template` is "auto" (the tokenizer's own chat template where it has one), "none" (prompt and answer joined as they
    are), or the path of a Jinja file. `mode` is then "chat" or "text", `end_ids` are the tokens that end an answer, and
    `opening` is what the template puts between a prompt and its answer.
    `now` (Unix seconds) is the day for templates that print one: a run resumed tomorrow must see today's tokens.
    Raises `DataError` for a template that cannot be read or used, `ModelError` for a tokenizer without any end token.
    """

    def __init__(self, tokenizer: Any, template: str = "auto", now: float | None = None) -> None:
        self.tokenizer = tokenizer
        self.bos: int | None = tokenizer.bos_token_id
        self.eos: int | None = tokenizer.eos_token_id
        probe = self._ids("a", special=True)
        self._adds_bos = self.bos is not None and probe[:1] == [self.bos]
        day = datetime.fromtimestamp(time.time() if now is None else now)
        self.template = _dated(_template(tokenizer, template), day)
        self.template_name = template
        self.mode: Literal["chat", "text"] = "chat" if self.template else "text"
        self._ends = {str(token) for token in tokenizer.added_tokens_decoder.values() if str(token).strip()}
        self._merges_system, self.opening = False, ""
        self.end_ids: set[int] = set() if self.eos is None else {self.eos}
        if self.mode == "chat":
            self._probe()
        if not self.end_ids:
            raise ModelError("the tokenizer has no end-of-sequence token, so no answer could end; "
                             "set eos_token in tokenizer_config.json")

    def encode(self, pair: Pair, max_tokens: int, long_prompt: Literal["error", "skip", "cut"] = "error") -> Example:
        """Token ids of a pair, the answers cut at the right so that prompt plus answer has at most `max_tokens`.

        A prompt of `max_tokens` or more is cut at its start for "cut" (a leading BOS stays, and the longer answer gets
        up to half of the room), else raises `LongPrompt`. Raises `DataError` naming a row that cannot be encoded.
        """
        encode = self._encode_chat if self.mode == "chat" else self._encode_text
        prompt, chosen, rejected = encode(pair)
        cut = len(prompt) >= max_tokens
        if cut and long_prompt != "cut":
            raise LongPrompt(f"{pair.where}: prompt has {len(prompt):,} tokens, --max-tokens is {max_tokens:,}; "
                             "raise it, or --set data.long_prompt=skip")
        if cut:
            keep = max_tokens - min(max(len(chosen), len(rejected)), max_tokens // 2)
            head = prompt[:1] if prompt[0] == self.bos else []
            prompt = head + prompt[len(prompt) - keep + len(head) :]
        room = max_tokens - len(prompt)
        return Example(
            prompt, chosen[:room], rejected[:room], len(chosen) > room, len(rejected) > room, cut, pair.where
        )

    def encode_all(
        self,
        pairs: Sequence[Pair],
        max_tokens: int,
        long_prompt: Literal["error", "skip", "cut"] = "error",
        bad_rows: Literal["error", "skip"] = "error",
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[list[Example], EncodeCounts]:
        """Every pair encoded, and the counts; `progress(done, total)` is called after each hundred pairs."""
        examples: list[Example] = []
        skipped: Counter[str] = Counter()
        problem = ""
        for done, pair in enumerate(pairs, 1):
            try:
                examples.append(self.encode(pair, max_tokens, long_prompt))
            except LongPrompt as error:
                if long_prompt != "skip":
                    raise
                skipped["prompt is too long"] += 1
                problem = problem or str(error)
            except DataError as error:
                if bad_rows != "skip":
                    raise
                skipped["the chat template does not take it"] += 1
                problem = problem or str(error)
            if progress and (done % 100 == 0 or done == len(pairs)):
                progress(done, len(pairs))
        counts = EncodeCounts(
            dict(skipped),
            sum(example.truncated_chosen for example in examples),
            sum(example.truncated_rejected for example in examples),
            sum(example.cut_prompt for example in examples),
            problem,
        )
        return examples, counts

    def generation_prompt(self, prompt: list[Message] | str) -> list[int]:
        """The ids to generate an answer from: what `encode` puts before the answers."""
        text = self._parts(prompt, "prompt")[0] if self.mode == "chat" else _plain(prompt, "prompt")
        return self._one_bos(self._ids(text))

    def _encode_chat(self, pair: Pair) -> tuple[list[int], list[int], list[int]]:
        before, tail, messages = self._parts(pair.prompt, pair.where)
        ids = self._ids(before)
        answers = [self._chat_answer(messages, answer, before, tail, ids, pair.where)
                   for answer in (pair.chosen, pair.rejected)]
        return self._one_bos(ids), answers[0], answers[1]

    def _chat_answer(
        self, messages: list[Message], answer: Answer, before: str, tail: str, ids: list[int], where: str
    ) -> list[int]:
        full = self._render([*messages, {"role": "assistant", "content": _text(answer, where)}], False, where)
        if not full.startswith(before) or not full.endswith(tail):
            raise DataError(f"{where}: the chat template writes the prompt differently once the answer follows")
        end = self._end_of(tail)
        shown = end if end is not None else tail.rstrip()
        text = full[len(before) : len(full) - len(tail)] + shown
        scored = self._continue(before, ids, text, where)
        return self._ended(scored, end is None)

    def _encode_text(self, pair: Pair) -> tuple[list[int], list[int], list[int]]:
        text = _plain(pair.prompt, pair.where)
        ids = self._ids(text)
        answers = [self._ended(self._continue(text, ids, _text(answer, pair.where), pair.where), True)
                   for answer in (pair.chosen, pair.rejected)]
        prompt = self._one_bos(ids)
        if not prompt:
            raise DataError(f"{pair.where}: the prompt has no tokens, so the answer's first one could not be scored")
        return prompt, answers[0], answers[1]

    def _ended(self, scored: list[int], append: bool) -> list[int]:
        """`scored` with one end token: appended when the template wrote none, and not twice when the data has one."""
        if append:
            if self.eos is None:
                raise ModelError("the tokenizer has no end-of-sequence token, and the template ends no answer")
            scored = [*scored, self.eos]
        while len(scored) > 1 and scored[-1] == scored[-2]:
            scored.pop()
        return scored

    def _continue(self, before: str, ids: list[int], text: str, where: str) -> list[int]:
        """The ids of `text` where it follows `before`, whose ids are `ids`.

        They are the rest of the joint tokenisation when that begins with `ids`. Where tokens merge across the border,
        `text` is tokenised apart, or after a short text for the tokenizers that put a space before every text.
        """
        joint = self._ids(before + text)
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

    def _parts(self, prompt: list[Message] | str, where: str) -> tuple[str, str, list[Message]]:
        """(text up to the answer, template's text after it, messages): what frames any answer to `prompt`."""
        messages = self._messages(prompt)
        opened = self._render(messages, True, where)
        full = self._render([*messages, {"role": "assistant", "content": SENTINEL}], False, where)
        start = full.rfind(SENTINEL)
        if start < 0:
            raise DataError(f"{where}: the chat template leaves the assistant's answer out")
        head = full[:start]
        # Some templates open an answer differently when asked to generate (a think block, another newline): the
        # conversation as it is written out then says where the answer begins.
        return (opened if head.startswith(opened) else head), full[start + len(SENTINEL) :], messages

    def _end_of(self, tail: str) -> str | None:
        """`tail` up to and with its first special token, or None when it has none."""
        found = [(tail.find(end), -len(end), end) for end in self._ends if end in tail]
        if not found:
            return None
        start, _, end = min(found)
        return tail[: start + len(end)]

    def _messages(self, prompt: list[Message] | str) -> list[Message]:
        messages: list[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        if self._merges_system and messages[0]["role"] == "system" and len(messages) > 1:
            system, first, *rest = messages
            return [{"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}, *rest]
        return messages

    def _render(self, messages: list[Message], generate: bool, where: str) -> str:
        from jinja2 import TemplateError, TemplateSyntaxError

        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=generate, chat_template=self.template
            )
        except TemplateSyntaxError as error:
            raise DataError(f"{where}: not a Jinja template: line {error.lineno}: {one_line(error)}") from None
        except TemplateError as error:
            raise DataError(f"{where}: the chat template refuses this conversation: {one_line(error)}") from None
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise DataError(f"{where}: the chat template fails: {one_line(error)}") from None
        bare = text.lstrip()  # a Jinja file's own blank lines before {{ bos_token }}
        return bare if self.tokenizer.bos_token and bare.startswith(self.tokenizer.bos_token) else text

    def _probe(self) -> None:
        """Learn from the template whether it takes a system message, and which token ends an answer."""
        name = f"--template {self.template_name}"
        before, tail, messages = self._parts("Q", name)
        full = self._render([*messages, {"role": "assistant", "content": SENTINEL}], False, name)
        self.opening = full[len(before) : len(full) - len(SENTINEL + tail)]
        end = self._end_of(tail)
        if end is not None:
            self.end_ids.add(self._ids(end)[-1])
        try:
            asked: list[Message] = [{"role": "system", "content": SENTINEL}, {"role": "user", "content": "Q"}]
            self._merges_system = SENTINEL not in self._render(asked, True, name)
        except MioError:
            self._merges_system = True


def _plain(prompt: list[Message] | str, where: str) -> str:
    """The text of a prompt that no template frames: a text, or the only turn of a conversation."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]["content"]
    raise DataError(f"{where}: a conversation of {len(prompt)} messages needs a chat template, and there is none; "
                    "pass --template FILE.jinja (or none, for Human/Assistant transcripts)")


def _text(answer: Answer, where: str) -> str:
    if isinstance(answer, str):
        return answer
    raise DataError(f"{where}: an answer with a thought, a tool call or several messages cannot be written yet")


def _template(tokenizer: Any, template: str) -> str | None:
    """The Jinja text, or None to join texts as they are."""
    if template == "none":
        return None
    if template == "auto":
        own = tokenizer.chat_template
        return own.get("default") or next(iter(own.values())) if isinstance(own, dict) else own
    try:
        return expanded(template, "--template").read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"--template {template}: no such file; it is auto, none, or a Jinja file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--template {template}: cannot be read: {one_line(error)}") from None


def _dated(template: str | None, day: datetime) -> str | None:
    """The template with its calls for today's date answered."""
    if template is None:
        return None
    return CLOCK.sub(lambda call: json.dumps(day.strftime(call["format"])), template)
