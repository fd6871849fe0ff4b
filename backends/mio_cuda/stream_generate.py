"""One answer, token by token, as transformers draws it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from mio_local.sampling import Sampling


class Telling(StoppingCriteria):
    """Tells each token, and ends where nobody wants another."""

    def __init__(self, stop: Sequence[int], told: Callable[[int], bool]) -> None:
        self.stop, self.told = set(stop), told

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> Any:
        token = int(input_ids[0, -1])
        ended = token in self.stop or not self.told(token)
        return torch.full((1,), ended, dtype=torch.bool, device=input_ids.device)


def stream(
    model: Any, device: torch.device, prompt: Sequence[int], sampling: Sampling, stop: Sequence[int],
    told: Callable[[int], bool],
) -> None:  # fmt: skip
    """`mio_local.backends.Model.stream` of the model as it is."""
    torch.manual_seed(sampling.seed)
    drawn: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    config = GenerationConfig(
        max_new_tokens=sampling.max_tokens,
        do_sample=sampling.temperature > 0,
        repetition_penalty=sampling.repetition_penalty,
        pad_token_id=0,
        use_cache=True,
        **({**drawn, "min_p": sampling.min_p} if sampling.temperature else {}),
    )
    ids = torch.tensor([list(prompt)], device=device)
    model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        generation_config=config,
        stopping_criteria=StoppingCriteriaList([Telling(stop, told)]),
    )
