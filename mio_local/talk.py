"""A conversation with a model: its base, or an adapter on it, answers."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mio_local.adapters import SavedAdapter
from mio_local.chat import Chat
from mio_local.errors import RunError
from mio_local.loading import Base, source
from mio_local.message import Message
from mio_local.models import model_folder
from mio_local.recipe import BackendSettings, ModelSettings
from mio_local.report import Report, silent
from mio_local.sampling import Sampling
from mio_local.tokens import chat_of
from mio_local.voices import Voices, load_voices, unique

BASE = "base"


@dataclass(frozen=True)
class Ending:
    """How an answer ended: by itself, `cut` at the most tokens, or `stopped` by whoever listened."""

    text: str
    tokens: int
    seconds: float
    end: str


class Talker:
    """A loaded base with its adapters. `voices`: the names of those who can answer, the base last."""

    def __init__(self, loaded: Voices, chat: Chat, system: str = "") -> None:
        self.loaded, self.chat, self.system = loaded, chat, system
        self.voices = [*loaded.weights, BASE]
        self._voice = ""

    def answer(
        self, messages: Sequence[Message], voice: str, sampling: Sampling, told: Callable[[str], bool]
    ) -> Ending:
        """`voice`'s answer to a conversation that ends with a question. `told` hears of each new piece of text, which
        may be empty, and says whether to go on. Raises DataError where the template refuses the conversation."""
        asked = list(messages)
        if self.system and asked[0]["role"] != "system":
            asked = [{"role": "system", "content": self.system}, *asked]
        prompt = self.chat.generation_prompt(asked)
        if voice not in (BASE, self._voice):
            self.loaded.take(voice)
            self._voice = voice
        text, ids, wanted = Text(self.chat.tokenizer), 0, True
        began = time.perf_counter()

        def heard(token: int) -> bool:
            nonlocal ids, wanted
            ids += 1
            wanted = told(text.add(token))
            return wanted

        reference = voice == BASE and bool(self.loaded.weights)
        self.loaded.model.stream(prompt, sampling, sorted(self.chat.end_ids), heard, reference=reference)
        if rest := text.rest():
            told(rest)
        end = "cut" if ids >= sampling.max_tokens else "ended" if wanted else "stopped"
        return Ending(text.whole, ids, time.perf_counter() - began, end)


class Text:
    """Tokens to text, as they come: a character that is not complete yet waits for its other bytes."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self.whole = ""

    def add(self, token: int) -> str:
        """What can be told now."""
        self._ids.append(token)
        text = self._decode()
        return "" if text.endswith("\ufffd") else self._tell(text)

    def rest(self) -> str:
        """What was held back at the end."""
        return self._tell(self._decode())

    def _decode(self) -> str:
        return self._tokenizer.decode(self._ids, skip_special_tokens=True)

    def _tell(self, text: str) -> str:
        piece, self.whole = text[len(self.whole) :], text
        return piece


def open_talker(
    base: Base, adapters: Mapping[str, SavedAdapter], system: str = "", report: Report = silent
) -> Talker:
    """Load `base` once, and the adapters by their names on it. Raises ModelError for what does not fit together."""
    report("loading the tokenizer", 0, 0)
    chat = chat_of(base.model, base.template, base.base)
    report("loading the model", 0, 0)
    backend = base.open()
    model = backend.load(base.base, base.model, base.device(backend), grad_checkpoint=False, seed=0)
    return Talker(load_voices(model, adapters), chat, system or base.system)


def gather(
    runs: Path, names: Sequence[str], checkpoint: str, model: str, device: str
) -> tuple[Base, dict[str, SavedAdapter]]:
    """The one base of some runs and adapters' folders, and their adapters by name; or a model, which has none.

    Raises RunError for different bases, and what `source` raises.
    """
    settings = ModelSettings(name=model)
    if len(names) == 1 and not model and (Path(names[0]).expanduser() / "config.json").exists():
        settings = ModelSettings(name=names[0])
        base, adapters = Base(model_folder(settings), settings, BackendSettings()), {}
    else:
        found = [source(runs, name, checkpoint, settings) for name in names]
        base, titles = found[0], unique([one.title for one in found])
        for other in found[1:]:
            if (other.base, other.model.quantize) != (base.base, base.model.quantize):
                raise RunError(f"{base.title} and {other.title}: of different bases; open one alone")
        adapters = {title: one.saved for title, one in zip(titles, found, strict=True)}
    return replace(base, backend=base.backend.model_copy(update={"device": device})) if device else base, adapters
