"""What a training step does on a GPU, counted on PyTorch's meta device, which computes no number: kernels, the bytes
that those read and write which are no matrix product, and what float32 holds the width of a block."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PRODUCTS = {"mm", "addmm", "addmm_", "bmm", "baddbmm"}
# no kernel is started for these: they are views, or room for what comes
FREE = {"alias", "detach", "empty", "empty_like", "new_empty", "t", "_unsafe_view", "_reshape_alias"}
SIZES = {
    "8B": ("llama", {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
                     "num_key_value_heads": 8, "vocab_size": 128256}),
    "1B": ("llama", {"hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32,
                     "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256}),
    "1.7B": ("qwen3", {"hidden_size": 2048, "intermediate_size": 6144, "num_attention_heads": 16,
                       "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936}),
}  # fmt: skip
PROMPT, ANSWER, PAIRS = 180, 300, 5  # 3,900 tokens fed


@dataclass
class Work:
    """By operation: how often, and the bytes of its tensors where it is no product. `wide`: operations that give
    float32 of a block's width. `masked`: calls of attention that are not causal. `copies`: those to the device."""

    launches: Counter[str] = field(default_factory=Counter[str])
    bytes: Counter[str] = field(default_factory=Counter[str])
    wide: Counter[str] = field(default_factory=Counter[str])
    masked: int = 0
    copies: int = 0

    def less(self, other: "Work") -> "Work":
        """What this does beyond the other."""
        return Work(self.launches - other.launches, self.bytes - other.bytes, self.wide - other.wide,
                    self.masked - other.masked, self.copies - other.copies)  # fmt: skip


def step(size: str, blocks: int, *, checkpoint: bool = False) -> Work:
    """Scoring by the reference, and by the policy with gradients, of a batch of PAIRS pairs in bfloat16."""
    import torch
    import transformers
    from torch.utils._python_dispatch import TorchDispatchMode

    from mio_cuda.model import CudaModel
    from mio_cuda.placed import place
    from mio_local.adapters.adapter import choose_layers
    from mio_local.data.collate import collate
    from mio_local.data.examples import Example
    from mio_local.recipe import LoraSettings, SpeedSettings, TrainSettings

    work = Work()

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            name = func.overloadpacket.__name__
            if func.is_view or name in FREE:
                return out
            work.launches[name] += 1
            given, made = list(_tensors(args)), list(_tensors(out))
            work.copies += name == "_to_copy" and any(one.device.type == "cpu" for one in given)
            work.wide[name] += any(one.dtype == torch.float32 and one.numel() >= 3900 * width for one in made)
            if name not in PRODUCTS:
                work.bytes[name] += sum(one.numel() * one.element_size() for one in given + made)
            return out

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *given: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(*given)
            return torch.empty_like(given[0])

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> Any:
            return tuple(torch.empty_like(one) for one in ctx.saved_tensors)

    def attend(q: Any, k: Any, v: Any, attn_mask: Any = None, is_causal: bool = False, **_: Any) -> Any:
        work.masked += attn_mask is not None or not is_causal
        return Attention.apply(q, k, v)

    kind, config = SIZES[size]
    width = config["hidden_size"]
    made = transformers.AutoConfig.for_model(kind, **config, num_hidden_layers=blocks, max_position_embeddings=4096)
    made._attn_implementation = "sdpa"
    device, own = torch.device("meta"), torch.nn.functional.scaled_dot_product_attention
    with device:
        net = transformers.AutoModelForCausalLM.from_config(made, dtype=torch.bfloat16)
    model = CudaModel(net, device, grad_checkpoint=checkpoint)
    model.add_lora(LoraSettings(), TrainSettings(), choose_layers(model.linear_layers(), LoraSettings()))
    model.reference = {name: parameter.detach() for name, parameter in model.parameters.items()}
    model.use(SpeedSettings())
    ids = np.random.default_rng(0).integers(0, 1000, (PAIRS, PROMPT + 2 * ANSWER))
    parts = [(row[:PROMPT], row[PROMPT : PROMPT + ANSWER], row[PROMPT + ANSWER :]) for row in ids.tolist()]
    batch = collate([Example(*part, False, False, False, "") for part in parts], range(PAIRS), 0, shared=True)
    torch.nn.functional.scaled_dot_product_attention = attend
    try:
        with Count():
            with torch.no_grad(), model._adapter(True), model._scoring(batch):
                placed = place(batch, None, device)
                with model._at(0, placed):
                    model._score(batch, placed)
            with model._training(), model._scoring(batch):
                placed = place(batch, np.zeros(2 * PAIRS, np.float32), device)
                with model._at(0, placed):
                    torch.autograd.grad(model._score(batch, placed).sum(), model.factors.leaves)
    finally:
        torch.nn.functional.scaled_dot_product_attention = own
    return work


def _tensors(given: Any) -> Any:
    import torch

    if isinstance(given, torch.Tensor):
        yield given
    elif isinstance(given, list | tuple):
        for one in given:
            yield from _tensors(one)
