"""How answers are drawn: one, by the settings of chat and generate, or several to each of some prompts."""

from collections.abc import Callable
from dataclasses import dataclass

from mio_local.recipe import Section, setting

SEEDS = 2**63  # what both libraries take, with room above
Told = Callable[[int, int], None]  # (answers that are done, tokens drawn), of one call


class Sampling(Section):
    """Settings of one answer; a temperature of 0 takes the likeliest token each time."""

    temperature: float = setting(0.7, "0 takes the likeliest token each time", "--temperature", ge=0, le=5)
    top_p: float = setting(0.95, "draw from the likeliest tokens of this probability", "--top-p", gt=0, le=1)
    top_k: int = setting(0, "draw from this many likeliest tokens; 0 from all", "--top-k", ge=0)
    min_p: float = setting(0.0, "leave out tokens below this share of the likeliest one's", "--min-p", ge=0, le=1)
    repetition_penalty: float = setting(1.0, "above 1, repeats become less likely", "--repetition-penalty", gt=0)
    max_tokens: int = setting(256, "longest answer", "--max-tokens", ge=1)
    seed: int = setting(0, "the same seed draws the same answer", "--seed", ge=0, lt=SEEDS)


@dataclass(frozen=True)
class Draws:
    """How `answers` answers to each of some prompts are drawn, all from one stream of random numbers: the same seed,
    prompts and settings give the same answers. The answers to a prompt take the `temperatures` in turn; 0 takes the
    likeliest token each time. `rows` answers are drawn at once, at most."""

    answers: int
    temperatures: tuple[float, ...] = (1.0,)
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int = 0
    rows: int = 32

    def temperature(self, answer: int) -> float:
        """That of a prompt's answer, which are counted from 0."""
        return self.temperatures[answer % len(self.temperatures)]

    def places(self, lengths: list[int]) -> list[tuple[int, int]]:
        """(prompt, answer) of all answers in the order in which they are drawn: prompts of a length together, and the
        answers to one prompt."""
        order = sorted(range(len(lengths)), key=lambda prompt: lengths[prompt])
        return [(prompt, answer) for prompt in order for answer in range(self.answers)]
