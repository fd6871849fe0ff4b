"""Answers drawn to prompts, chunk by chunk: which prompts a chunk has, and its seed, depend on no other chunk, so that
what was stopped goes on as if it had not been."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mio_local.backends import Model
from mio_local.data.template import Chat
from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered, Asked
from mio_local.making.prompts import prompt_ids
from mio_local.making.work_file import Ids, Work, digest_of_ids
from mio_local.ranks.leader import RankedModel
from mio_local.sampling import SEEDS, Draws, Told

CHUNK = 4  # times the rows that are drawn at once: answers of a chunk


@dataclass(frozen=True)
class Chunk:
    """Some prompts that are next to one another, from `first` on; `prompts` are their token ids."""

    number: int
    first: int
    prompts: Sequence[Sequence[int]]

    @property
    def digest(self) -> str:
        """What stands for its prompts."""
        return digest_of_ids(list(map(list, self.prompts)))

    @property
    def places(self) -> range:
        """Where its prompts stand among all."""
        return range(self.first, self.first + len(self.prompts))


def chunks(prompts: Sequence[Sequence[int]], settings: MakeSettings) -> list[Chunk]:
    """All prompts, in chunks of a fixed size."""
    size = max(1, CHUNK * settings.rows // settings.answers)
    return [Chunk(number, first, prompts[first : first + size])
            for number, first in enumerate(range(0, len(prompts), size))]  # fmt: skip


def draws_of(settings: MakeSettings, seed: int, chunk: int) -> Draws:
    """How the answers of a chunk are drawn."""
    mixed = int.from_bytes(hashlib.sha256(f"answers/{seed}/{chunk}".encode()).digest()[:8]) % SEEDS
    return Draws(
        settings.answers, tuple(settings.temperature), settings.top_p, settings.answer_tokens, mixed, settings.rows
    )


def draw(
    model: Model, chat: Chat, coming: Sequence[Chunk], settings: MakeSettings, seed: int, work: Work, told: Told,
    *, reference: bool = False,
) -> Iterator[tuple[Chunk, Ids]]:  # fmt: skip
    """Each chunk with its answers, those that `work` has not drawn now and kept there: by several ranks a chunk each.
    `told` hears how many answers of what is drawn at once are done, and of how many tokens."""
    stop = sorted(chat.end_ids)
    at_once = model.ranks if isinstance(model, RankedModel) else 1
    for first in range(0, len(coming), at_once):
        some = coming[first : first + at_once]
        known = {chunk.number: work.answers(chunk.number, chunk.digest) for chunk in some}
        fresh = [chunk for chunk in some if known[chunk.number] is None]
        asked = [(chunk.prompts, draws_of(settings, seed, chunk.number)) for chunk in fresh]
        if isinstance(model, RankedModel):
            drawn = model.draw_each(asked, stop, told, reference=reference)
        else:
            drawn = [model.draw(prompts, how, stop, told, reference=reference) for prompts, how in asked]
        for chunk, answers in zip(fresh, drawn, strict=True):
            work.add_answers(chunk.number, chunk.digest, answers)
        now = dict(zip((chunk.number for chunk in fresh), drawn, strict=True))
        for chunk in some:
            yield chunk, known[chunk.number] or now[chunk.number]


def draw_now(
    model: Model, chat: Chat, asked: Sequence[Asked], draws: Draws, *, reference: bool = False
) -> tuple[Ids, list[Answered]]:
    """Answers to all of some prompts at once, kept nowhere: their tokens, and the same as texts."""
    prompts = [prompt_ids(chat, one) for one in asked]
    ids = model.draw(prompts, draws, sorted(chat.end_ids), lambda *_: None, reference=reference)
    return ids, [answered_of(chat, one, answers) for one, answers in zip(asked, ids, strict=True)]


def answered_of(chat: Chat, asked: Asked, ids: Sequence[Sequence[int]]) -> Answered:
    """A prompt with its answers as texts."""
    texts = tuple(chat.tokenizer.decode(answer, skip_special_tokens=True) for answer in ids)
    return Answered(asked, texts, tuple(answer[-1] not in chat.end_ids for answer in ids))
