"""How fast a loaded model trains, and the work that its training needs."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mio_local.backends import Model
from mio_local.data.collate import collate
from mio_local.data.examples import Example
from mio_local.data.stepping.passes import passes
from mio_local.learning import PassSize
from mio_local.models.shapes import Shape
from mio_local.objectives.losses import objective
from mio_local.recipe import LoraSettings, SpeedSettings

WARM_UP = 2  # steps that are not counted: allocations, compilation


@dataclass(frozen=True)
class Measured:
    """Steps of one setting: seconds of each, pairs and tokens of each (a prompt counted twice), FLOP that each needs,
    questions to other ranks, and the peak of device memory in bytes since the model was loaded."""

    seconds: list[float]
    pairs: list[int]
    tokens: list[int]
    work: list[float]
    questions: list[int]
    peak: int

    def per_second(self, amounts: Sequence[float]) -> float:
        """Median over the steps of an amount per second."""
        return statistics.median(amount / took for amount, took in zip(amounts, self.seconds, strict=True))


def steps(
    model: Model, speed: SpeedSettings, groups: Sequence[Sequence[Example]], pad: int, work: Sequence[float],
    *, reference: bool, size: PassSize | None = None, asked: Callable[[], int] = lambda: 0,
) -> Iterator[Measured]:  # fmt: skip
    """Take an optimiser step over each group of pairs, and yield all that was measured so far, the first few left out.

    `reference` computes the reference's log-probs in every step, as a first epoch does; else they are known before.
    `size` is of a forward pass; None takes a group in one. `asked`: questions to other ranks so far.
    """
    shared = speed.share_prompt
    goal = objective("mio", 0.1, "sum")
    found = Measured([], [], [], [], [], 0)
    for number, group in enumerate(groups):
        cut = passes(group, range(len(group)), size or PassSize(len(group)), shared=shared)
        known = [
            None if reference else model.logps(collate(group, pairs, pad, shared=shared), reference=True)
            for pairs in cut
        ]
        began, tokens, before = time.perf_counter(), 0, asked()
        for pairs, ref in zip(cut, known, strict=True):
            # another object: what frozen blocks gave for the first one is not reused
            batch = collate(group, pairs, pad, shared=shared)
            ref = model.logps(batch, reference=True) if ref is None else ref
            model.accumulate(batch, ref, goal, 1 / len(group))
            tokens += batch.real_tokens
        model.apply(1e-5)
        took = time.perf_counter() - began
        if number >= WARM_UP:
            found.seconds.append(took)
            found.pairs.append(len(group))
            found.tokens.append(tokens)
            found.work.append(work[number])
            found.questions.append(asked() - before)
        found = replace(found, peak=model.memory().peak)
        yield found


def needed(shape: Shape, lora: LoraSettings, examples: Sequence[Example]) -> float:
    """FLOP that one step over `examples` needs, however it is done: each token of a prompt once, forward pass, gradient
    of the activations, gradient of the adapter. Matrix products alone; attention's are those of the causal half."""
    blocks, linears = shape.blocks, shape.linears
    trained = min(lora.layers or blocks, blocks)
    times = {name: shape.active if name.startswith("mlp") else 1 for name in linears}  # experts that a token meets
    weights = sum(times[name] * wide * high for name, (wide, high) in linears.items())
    factors = lora.rank * sum(times[name] * (wide + high) for name, (wide, high) in linears.items())
    total = 0.0
    for example in examples:
        prompt, answers = len(example.prompt), [len(answer) - 1 for answer in example.answers if answer]
        tokens = prompt + sum(answers)
        scores = prompt**2 / 2 + sum(answer * (prompt + answer / 2) for answer in answers)
        forward = 2 * tokens * weights + 4 * scores * shape.queries
        backward = 2 * tokens * weights + 8 * scores * shape.queries
        total += blocks * forward + trained * (backward + 6 * tokens * factors)
        total += 4 * sum(map(len, example.answers)) * shape.width * shape.vocabulary
    return total
