"""Run by Triton's interpreter, TRITON_INTERPRET=1: prints how far the head's kernel is from PyTorch's float64.

    TRITON_INTERPRET=1 python -m tests.gpu.interpreted

JSON, by type: the largest difference of log-probs and of the logits' gradients, in units in the value's last place, and
that of hidden states' gradients through the whole head from those by the plain path, relative to their size.
"""

import json
from types import SimpleNamespace
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mio_cuda.head import Head
from mio_cuda.kernels.picked_logps import BLOCK, agrees, picked_logps

CPU = torch.device("cpu")


def ulps(found: torch.Tensor, exact: torch.Tensor) -> float:
    size = exact.abs().clamp_min(1e-2)
    return float(((found.double() - exact).abs() / size).max() / torch.finfo(found.dtype).eps)


def kernel(dtype: torch.dtype) -> dict[str, float]:
    """Rows with a near certain target, masked logits, a first block of nothing else, and a stride above their width."""
    width = 2 * BLOCK + 77
    wide = (6 * torch.randn(6, width + 3, generator=torch.Generator().manual_seed(1))).to(dtype)
    logits, targets = wide[:, :width], torch.tensor([0, 1, BLOCK - 1, BLOCK, width - 1, 5 + BLOCK])
    logits[0, 0] = 60
    logits[4, : BLOCK + 9] = float("-inf")
    logs = torch.log_softmax(logits.double(), -1)
    wanted = logs.gather(-1, targets[:, None])
    logps, slopes = picked_logps(logits, targets)
    slope = logs.exp().scatter_add(-1, targets[:, None], -torch.ones_like(wanted))
    return {"logps": ulps(logps, wanted[:, 0]), "slopes": ulps(slopes, slope), "agrees": float(agrees(CPU, dtype))}


def head(dtype: torch.dtype) -> dict[str, float]:
    """Through a model's own head, in several parts."""
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(LlamaConfig(vocab_size=700, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                                              num_attention_heads=2)).to(dtype)  # fmt: skip
    ids, where, targets = torch.arange(60).reshape(2, 30), torch.arange(40), torch.arange(40) * 17
    found = []
    for picked in (None, picked_logps):
        own = Head(model, CPU, 1)
        own.size = 700 * 16
        if picked:
            own.picked = picked
        hidden = own.hidden(input_ids=ids).detach().requires_grad_()
        logps = own.answer_logps(hidden, where, targets, [25, 15])
        logps.sum().backward()
        found.append(SimpleNamespace(logps=logps.detach(), grad=hidden.grad))
    plain, fused = found
    size = plain.grad.float().abs().max()
    return {"head": float((plain.logps - fused.logps).abs().max()),
            "gradient": float((plain.grad.float() - fused.grad.float()).abs().max() / size)}  # fmt: skip


if __name__ == "__main__":
    types = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    print(json.dumps({name: kernel(dtype) | head(dtype) for name, dtype in types.items()}))
