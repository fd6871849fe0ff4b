"""What a model answers, and how likely it finds given answers."""

import inspect
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from mio_cuda.head import Head, log_probs
from mio_local.data.loglikelihood import Fed
from mio_local.sampling import Draws, Told

SEGMENT = 32  # tokens that are drawn before answers that ended are taken out of the batch


def generate(
    model: Any, device: torch.device, prompts: Sequence[Sequence[int]], max_tokens: int, stop: Sequence[int],
    temperature: float, seed: int, *, ends: bool,
) -> list[list[int]]:  # fmt: skip
    """As `Model.generate`, of the adapter that is set."""
    config = GenerationConfig(
        max_new_tokens=max_tokens, do_sample=False, eos_token_id=list(stop), pad_token_id=0, use_cache=True
    )
    if temperature:  # from the whole distribution: transformers would keep the 50 likeliest tokens
        config.update(do_sample=True, temperature=temperature, top_k=0, top_p=1.0)
    longest = max(len(prompt) for prompt in prompts)
    # padded on the left, so that every answer begins at the same column
    rows = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    seen = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    with torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=bool(temperature)):
        if temperature:
            torch.manual_seed(seed)
        out = model.generate(
            input_ids=torch.tensor(rows, device=device),
            attention_mask=torch.tensor(seen, device=device),
            generation_config=config,
        )
    return [_answer(row, stop, ends=ends) for row in out[:, longest:].tolist()]


def _answer(row: list[int], stop: Sequence[int], *, ends: bool) -> list[int]:
    answer = list(itertools.takewhile(lambda token: token not in stop, row))
    return row[: len(answer) + 1] if ends else answer


class Temperatures(LogitsProcessor):
    """A temperature for each row."""

    def __init__(self, of_rows: Sequence[float], device: torch.device) -> None:
        self.greedy = torch.tensor([one == 0 for one in of_rows], device=device)[:, None]
        self.divisor = torch.tensor([one or 1.0 for one in of_rows], device=device)[:, None]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        best = scores.argmax(-1, keepdim=True)
        likeliest = torch.full_like(scores, -torch.inf).scatter(-1, best, 0.0)
        return torch.where(self.greedy, likeliest, scores / self.divisor)


def draw(
    model: Any, device: torch.device, prompts: Sequence[Sequence[int]], draws: Draws, stop: Sequence[int], told: Told
) -> list[list[list[int]]]:
    """As `Model.draw`, of the adapter that is set."""
    answers: list[list[list[int]]] = [[[] for _ in range(draws.answers)] for _ in prompts]
    places = draws.places([len(prompt) for prompt in prompts])
    tokens = 0
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(draws.seed)
        for first in range(0, len(places), draws.rows):
            some = places[first : first + draws.rows]
            for done, drawn in _together(model, device, prompts, some, draws, stop, answers):
                tokens += drawn
                told(first + done, tokens)
    return answers


def _together(
    model: Any, device: torch.device, prompts: Sequence[Sequence[int]], places: list[tuple[int, int]], draws: Draws,
    stop: Sequence[int], answers: list[list[list[int]]],
) -> Iterator[tuple[int, int]]:  # fmt: skip
    """Draw the answers at these places side by side, a segment at a time: how many are done, and tokens drawn."""
    asked = list(dict.fromkeys(prompt for prompt, _ in places))
    longest = max(len(prompts[prompt]) for prompt in asked)
    # padded on the left, so that every answer begins at the same column
    ids = torch.tensor([[0] * (longest - len(prompts[one])) + list(prompts[one]) for one in asked], device=device)
    mask = torch.tensor([[0] * (longest - len(prompts[one])) + [1] * len(prompts[one]) for one in asked], device=device)
    rows = torch.tensor([asked.index(prompt) for prompt, _ in places], device=device)
    cache = _prefilled(model, ids, mask, rows)
    ids, mask, count = ids[rows], mask[rows], len(places)
    segment = SEGMENT if cache else draws.max_tokens
    while places:
        left = draws.max_tokens - (ids.shape[1] - longest)
        config = GenerationConfig(
            max_new_tokens=min(segment, left), do_sample=True, temperature=1.0, top_k=0, top_p=draws.top_p,
            eos_token_id=list(stop), pad_token_id=0, use_cache=True, return_dict_in_generate=True,
        )  # fmt: skip
        each = Temperatures([draws.temperature(answer) for _, answer in places], device)
        out = model.generate(
            input_ids=ids, attention_mask=mask, past_key_values=cache, generation_config=config,
            logits_processor=LogitsProcessorList([each]),
        )  # fmt: skip
        fresh = out.sequences[:, ids.shape[1] :].tolist()
        cut = left <= segment
        going, drawn = [], 0
        for row, ((prompt, answer), new) in enumerate(zip(places, fresh, strict=True)):
            new = _answer(new, stop, ends=True)
            answers[prompt][answer] += new
            drawn += len(new)
            if not cut and new[-1] not in stop:
                going.append(row)
        kept = torch.tensor(going, device=device, dtype=torch.long)
        ids, cache = out.sequences[kept], out.past_key_values
        mask = torch.nn.functional.pad(mask[kept], (0, ids.shape[1] - mask.shape[1]), value=1)
        if len(going) < len(places) and going:
            cache = _selected(cache, kept)
        places = [places[row] for row in going]
        yield count - len(places), drawn


def _prefilled(model: Any, ids: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor) -> Any:
    """The cache of the prompts but for their last tokens, once for each of `rows`; None where there is none to copy."""
    if ids.shape[1] < 2:
        return None
    seen = mask[:, :-1]
    places = (seen.cumsum(-1) - 1).clamp(min=0)
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model  # no adapter is needed to draw
    forward = inspect.signature(bare.forward).parameters
    few = {"logits_to_keep": 1} if "logits_to_keep" in forward else {}
    out = model(input_ids=ids[:, :-1], attention_mask=seen, position_ids=places, use_cache=True, **few)
    return _selected(out.past_key_values, rows)


def _selected(cache: Any, rows: torch.Tensor) -> Any:
    """Those rows of a cache, some of them several times; None where the library cannot do that: of recurrent layers."""
    if not all(hasattr(layer, "batch_select_indices") for layer in getattr(cache, "layers", [None])):
        return None
    cache.batch_select_indices(rows)
    return cache


@torch.no_grad()
def score(head: Head, device: torch.device, fed: Fed) -> tuple[np.ndarray, np.ndarray]:
    """log p of the targets, float32, and the likeliest tokens: the head sees the positions that predict them alone."""
    inputs, where, targets = (
        torch.from_numpy(array.astype(np.int64)).to(device) for array in (fed.inputs, fed.where, fed.targets)
    )
    hidden = head.hidden(input_ids=inputs).flatten(0, 1).index_select(0, where)
    logps, best = [], []
    for part in head.parts(len(where)):
        logits = head.logits(hidden[part])
        logps.append(log_probs(logits, targets[part]))
        best.append(logits.argmax(-1))
    return torch.cat(logps).cpu().numpy(), torch.cat(best).cpu().numpy()
