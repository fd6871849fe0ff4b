"""Drawing a token: the distribution that both backends draw from, beside numpy's."""

import numpy as np
import pytest

from mio_local.sampling import Sampling
from tests.helpers.backends import both, load, logits

PROMPT = [*range(5, 40), 5, 6]
PLAIN = Sampling(temperature=1, top_p=1, max_tokens=2)
SETTINGS = [
    {}, {"temperature": 0.2}, {"temperature": 2.5, "top_p": 0.6}, {"temperature": 0.3, "top_p": 0.6}, {"top_k": 7},
    {"top_k": 10**6}, {"temperature": 0.3, "min_p": 0.2}, {"temperature": 1e-4, "top_p": 0.9},
    {"repetition_penalty": 4.0}, {"repetition_penalty": 0.5, "temperature": 0.5},
    {"temperature": 0.4, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.5},
]  # fmt: skip


def by_numpy(scores, seen, settings):
    """The probabilities as Holtzman et al. (arXiv 1904.09751) and Keskar et al. (1909.05858) define them, in the order
    of transformers: penalty, temperature, top_k, top_p, min_p."""
    scores = scores.astype(np.float64)
    scores[seen] = np.where(scores[seen] < 0, scores[seen] * settings.repetition_penalty,
                            scores[seen] / settings.repetition_penalty)  # fmt: skip
    order = np.argsort(-scores)
    chances = np.exp((scores - scores.max()) / settings.temperature)
    if settings.top_k:
        chances[order[settings.top_k :]] = 0
    chances /= chances.sum()
    above = np.cumsum(chances[order]) - chances[order]
    chances[order[above >= settings.top_p]] = 0
    chances[chances < settings.min_p * chances.max()] = 0
    return chances / chances.sum()


@pytest.fixture
def drawn_from(monkeypatch):
    """The distributions that either library is asked to draw from."""
    found = []

    def mlx_draws(scores, draw):
        exponentials = np.exp(np.array(scores)[0].astype(np.float64))
        found.append(exponentials / exponentials.sum())
        return draw(scores)

    def torch_draws(chances, draw, *arguments, **options):
        found.append(chances[0].numpy())
        return draw(chances, *arguments, **options)

    def patch(backend):
        if backend == "mlx":
            import mlx.core as mx

            draw = mx.random.categorical
            monkeypatch.setattr(mx.random, "categorical", lambda scores: mlx_draws(scores, draw))
        else:
            import torch

            draw = torch.multinomial
            monkeypatch.setattr(torch, "multinomial", lambda chances, *a, **k: torch_draws(chances, draw, *a, **k))
        return found

    return patch


@both
@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_a_token_is_drawn_from_what_the_settings_say(backend, changes, tiny_model, drawn_from):
    model, settings = load(backend, tiny_model), PLAIN.model_copy(update=changes)
    found, told = drawn_from(backend), []
    model.stream(PROMPT, settings, [], lambda token: told.append(token) or True, reference=False)
    for number, chances in enumerate(found[:2]):
        seen = PROMPT + told[:number]
        wanted = by_numpy(logits(model, seen)[-1], seen, settings)
        np.testing.assert_array_equal(chances > 0, wanted > 0)
        np.testing.assert_allclose(chances, wanted, rtol=1e-2, atol=1e-5)
