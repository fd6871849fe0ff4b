"""Several answers to each of some prompts: the same as one by one, and drawn by the model's own odds."""

import numpy as np
import pytest

from mio_local.sampling import Draws
from tests.helpers.backends import both, move, noisy, start

PROMPTS = [[5, 6, 7, 8, 9], [10], [30, 31, 32, 33, 34, 35, 36, 37], [50, 51]]  # of other lengths than one another


def quiet(done: int, tokens: int) -> None:
    pass


@both
@pytest.mark.parametrize("rows", [pytest.param(3, marks=pytest.mark.slow), 32])
def test_greedy_answers_are_those_drawn_one_by_one(backend, rows, tiny_model):
    """A prompt that is fed once for its answers, and rows that end and make room, change no answer."""
    model = start(backend, tiny_model)
    move(model, noisy(model.get_adapter(), 0.3))
    alone = [model.generate([prompt], 40, [], reference=False)[0] for prompt in PROMPTS]
    stop = [alone[0][4], alone[2][33]]  # answers end early, in a later segment, and not at all
    expected = [model.generate([prompt], 40, stop, reference=False, ends=True)[0] for prompt in PROMPTS]
    assert len({len(answer) for answer in expected}) > 1
    told: list[tuple[int, int]] = []
    draws = Draws(3, (0.0,), max_tokens=40, rows=rows)
    found = model.draw(PROMPTS, draws, stop, lambda *now: told.append(now), reference=False)
    assert found == [[answer] * 3 for answer in expected]
    assert told[-1] == (12, sum(map(len, expected)) * 3)


@both
def test_the_reference_answers_as_before_training(backend, tiny_model):
    model = start(backend, tiny_model)
    before = model.draw(PROMPTS, Draws(1, (0.0,), max_tokens=6), [], quiet, reference=False)
    move(model, noisy(model.get_adapter(), 0.3))
    assert model.draw(PROMPTS, Draws(1, (0.0,), max_tokens=6), [], quiet, reference=True) == before
    assert model.draw(PROMPTS, Draws(1, (0.0,), max_tokens=6), [], quiet, reference=False) != before


@both
def test_first_tokens_come_as_often_as_the_model_says(backend, tiny_model):
    """Against softmax(logits / T) of the plain forward pass; chi-squared over the likeliest tokens and the rest."""
    model = start(backend, tiny_model)
    count, temperature, top_p = 3000, 0.7, 0.8
    logits = model.logits(PROMPTS[0])[-1].astype(np.float64) / temperature
    odds = np.exp(logits - logits.max())
    odds /= odds.sum()
    order = np.argsort(-odds)
    kept = order[: int(np.searchsorted(np.cumsum(odds[order]), top_p)) + 1]
    nucleus = odds[kept] / odds[kept].sum()
    drawn = model.draw(
        PROMPTS[:1], Draws(count, (temperature,), top_p, max_tokens=1, rows=1000, seed=5), [], quiet, reference=False
    )[0]
    seen = np.array([[answer[0] for answer in drawn].count(token) for token in kept])
    assert seen.sum() == count  # none outside of the nucleus
    some = nucleus * count >= 5
    seen = np.append(seen[some], seen[~some].sum())
    expected = np.append(nucleus[some], nucleus[~some].sum()) * count
    free = len(expected) - 1
    chi = float(((seen - expected) ** 2 / np.maximum(expected, 1e-9)).sum())
    assert chi < free + 5 * np.sqrt(2 * free)


@both
def test_temperatures_are_taken_in_turn_and_the_seed_decides(backend, tiny_model):
    model = start(backend, tiny_model)
    draws = Draws(4, (0.0, 1.5), max_tokens=8, seed=1)
    found = model.draw(PROMPTS, draws, [], quiet, reference=False)
    greedy = [model.generate([prompt], 8, [], reference=False)[0] for prompt in PROMPTS]
    assert [[answers[0], answers[2]] for answers in found] == [[answer] * 2 for answer in greedy]
    assert all(answers[1] != answers[3] for answers in found)
    assert model.draw(PROMPTS, draws, [], quiet, reference=False) == found
    other = model.draw(PROMPTS, Draws(4, (0.0, 1.5), max_tokens=8, seed=2), [], quiet, reference=False)
    assert [answers[1] for answers in other] != [answers[1] for answers in found]
