"""A conversation with a model: its base, or an adapter on it, answers."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mio_local.adapters.adapter import SavedAdapter
from mio_local.chat.multi_adapter import Voices, load_voices, unique
from mio_local.chat.start import BASE, ChatStart
from mio_local.data.messages import BadRow, Message
from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.data.token_text import decoder
from mio_local.data.tokenise import chat_of
from mio_local.errors import DataError, RunError
from mio_local.evaluation.loading import Base, Source, named
from mio_local.models.locate import end_ids
from mio_local.progress import Report, silent
from mio_local.recipe import BackendSettings, DataSettings
from mio_local.sampling import Sampling

UNLIMITED = 2**62  # tokens


@dataclass(frozen=True)
class Ending:
    """How an answer ended: by itself, `cut` at the most tokens, or `stopped` by whoever listened."""

    text: str
    tokens: int
    seconds: float
    end: str


class Talker:
    """A loaded base with its adapters. `voices`: the names of those who can answer, the base last. `ends`: the tokens
    that end an answer beside the template's."""

    def __init__(self, loaded: Voices, chat: Chat, ends: Collection[int] = ()) -> None:
        self.loaded, self.chat = loaded, chat
        self.voices = [*loaded.weights, BASE]
        self.ends = sorted(chat.end_ids.union(ends))
        self._voice = ""

    def answer(
        self, messages: Sequence[Message], voice: str, sampling: Sampling, told: Callable[[str], bool]
    ) -> Ending:
        """`voice`'s answer to a conversation that ends with a question. `told` hears of each new piece of text, which
        may be empty, and says whether to go on. Raises DataError where the template refuses the conversation."""
        prompt = self.chat.generation_prompt(list(messages))
        if voice not in (BASE, self._voice):
            self.loaded.take(voice)
            self._voice = voice
        text, ids, wanted = Text(self.chat.tokenizer, self.chat.opening), 0, True
        began = time.perf_counter()

        def heard(token: int) -> bool:
            nonlocal ids, wanted
            ids += 1
            wanted = told(text.add(token))
            return wanted

        reference = voice == BASE and bool(self.loaded.weights)
        self.loaded.model.stream(prompt, sampling, self.ends, heard, reference=reference)
        if rest := text.rest():
            told(rest)
        end = "cut" if ids >= sampling.max_tokens else "ended" if wanted else "stopped"
        return Ending(text.whole, ids, time.perf_counter() - began, end)

    def check_pair(self, messages: Sequence[Message], better: str, worse: str) -> None:
        """Raise DataError where nothing could be learnt from two answers, as the template writes them."""
        try:
            self.chat.encode(Pair(list(messages), better, worse, "the pair"), UNLIMITED)
        except BadRow as error:
            raise DataError(f"{error}; press ctrl+r") from None


class Text:
    """Tokens to text, as they come: a character that is not complete yet waits for its other bytes. `opening` is what
    the template itself writes in front of an answer, and so no part of it."""

    def __init__(self, tokenizer: Any, opening: str = "") -> None:
        self._decode = decoder(tokenizer, special=False)
        self._opening = opening
        self._ids: list[int] = []
        self.whole = ""

    def add(self, token: int) -> str:
        """What can be told now."""
        self._ids.append(token)
        text = self._decode(self._ids)
        waits = text.endswith("\ufffd") or (text != self._opening and self._opening.startswith(text))
        return "" if waits else self._tell(text)

    def rest(self) -> str:
        """What was held back at the end."""
        return self._tell(self._decode(self._ids))

    def _tell(self, text: str) -> str:
        text = text.removeprefix(self._opening)
        piece, self.whole = text[len(self.whole) :], text
        return piece


def open_talker(base: Base, adapters: Mapping[str, SavedAdapter], report: Report = silent) -> Talker:
    """Load `base` once, and the adapters by their names on it. Raises ModelError for what does not fit together."""
    report("loading the tokenizer", 0, 0)
    written = DataSettings(template=base.template, template_args=base.template_args)
    chat = chat_of(base.model, written, base.base)
    report("loading the model", 0, 0)
    backend = base.open()
    model = backend.load(base.base, base.model, base.device(backend), grad_checkpoint=False, seed=0)
    return Talker(load_voices(model, adapters), chat, end_ids(base.base))


def gather(runs: Path, start: ChatStart) -> tuple[Base, dict[str, SavedAdapter]]:
    """The one base of all that is to talk, with the template and the system message of the conversation, and the
    adapters by their names. Raises RunError for what cannot talk together, and what `named` raises."""
    backend = BackendSettings(device=start.device or "auto")
    found = [named(runs, name, start.checkpoint, start.model, backend) for name in start.names]
    adapters = [one for one in found if isinstance(one, Source)]
    for one, name in zip(found, start.names, strict=True):
        if len(found) > 1 and not isinstance(one, Source):
            raise RunError(f"{name}: is a model without an adapter; open it alone")
    first = found[0]
    for other in adapters[1:]:
        both = f"{adapters[0].title} and {other.title}"
        if (other.base, other.model.quantize) != (first.base, first.model.quantize):
            raise RunError(f"{both}: of different bases; open one alone")
        for key in ("template", "system", "template_args"):
            if not getattr(start, key, None) and getattr(other, key) != getattr(first, key):
                raise RunError(f"{both}: their data.{key} differs; give one by --{key}, or open one alone")
    titles = unique([one.title for one in adapters], [BASE])
    base = replace(first, template=start.template or first.template, system=start.system or first.system)
    return base, {title: one.saved for title, one in zip(titles, adapters, strict=True)}
