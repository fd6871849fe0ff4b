"""The judge reward-model:NAME: a Hugging Face sequence classification of one label, through PyTorch."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from mio_local.backends import load_backend
from mio_local.data.messages import Message
from mio_local.data.templating.rendering import Renderer, template_text
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import BackendError, DataError, ModelError
from mio_local.making.answered import Answered, Rewards
from mio_local.making.judging.plain_judge import PlainJudge
from mio_local.models.locate import model_folder
from mio_local.process import with_all
from mio_local.recipe import ModelSettings


class SequenceRewarder(Protocol):
    """A loaded reward model; `longest` is the most tokens of a conversation, 0 where it does not say."""

    longest: int

    def rewards(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """The reward of each conversation of token ids, (len(rows),) float32."""
        ...


class RewardBackend(Protocol):
    """The backend that can load one: PyTorch's."""

    def reward_model(self, folder: Path) -> SequenceRewarder:
        """Load the reward model in `folder` onto the GPU, or the CPU where there is none. Raises ModelError."""
        ...


class RewardModel(PlainJudge):
    """The logit of a conversation, written in the reward model's own chat template: no right and wrong.

    `name` is a folder or a name on the hub. Raises BackendError where PyTorch is not installed, ModelError and HubError
    for a model that is none, or whose tokenizer has no chat template.
    """

    def __init__(self, judge: str, name: str) -> None:
        super().__init__(judge, None)
        with_all()  # PyTorch may be hidden from libraries, for a model of MLX
        try:
            backend = cast(RewardBackend, load_backend("cuda"))
        except BackendError as error:
            raise BackendError(f"--judge {judge}: needs PyTorch; {error}") from None
        folder = model_folder(ModelSettings(name=name))
        self._tokenizer = load_tokenizer(ModelSettings(name=str(folder)))
        text = template_text(self._tokenizer, "auto", time.time())
        if text is None:
            raise ModelError(f"--judge {judge}: its tokenizer has no chat template, by which a conversation is written")
        self._renderer = Renderer(self._tokenizer, text)
        self._model = backend.reward_model(folder)

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        rows = [self._row(one, answer) for one in answered for answer in one.answers]
        found = iter(self._model.rewards([row for row in rows if row]))
        rewards = iter([self._finite(float(next(found))) if row else None for row in rows])
        return [tuple(next(rewards) for _ in one.answers) for one in answered]

    def _row(self, one: Answered, answer: str) -> list[int] | None:
        """The conversation's token ids, as transformers' own `apply_chat_template` gives them."""
        prompt = one.asked.prompt
        asked: list[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        messages: list[Message] = [*asked, {"role": "assistant", "content": answer}]
        try:
            text = self._renderer.render(messages, generate=False, where=one.asked.where, tools=one.asked.tools)
        except DataError as error:
            self.skip("the reward model's template cannot write it", str(error))
            return None
        row = list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if not row or (self._model.longest and len(row) > self._model.longest):
            self.skip(f"over the {self._model.longest:,} tokens that the reward model takes", one.asked.where)
            return None
        return row

    def _finite(self, reward: float) -> float | None:
        if math.isfinite(reward):
            return reward
        self.skip("the reward model's logit is not finite")
        return None
