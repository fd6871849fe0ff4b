"""Log-probs of chosen tokens, and their gradient, from logits of 16 bits without a float32 copy of them.

For logits z and target y of a row: log p_y = z_y - logsumexp(z), and d(-log p_y)/dz = softmax(z) - onehot(y). The
logits are read twice and the gradient is written once, in the logits' own type; sums are float32, in registers.
"""

import functools
from typing import Any

import torch
import triton
import triton.language as tl

BLOCK = 4096  # logits of a row in registers at a time
TOLERANCE = 4.0  # by how many units in the last place the check on the device may differ from the plain path


@triton.jit
def _picked(
    logits: tl.tensor, targets: tl.tensor, logps: tl.tensor, slopes: tl.tensor, vocabulary: int, stride: int,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)  # rows times vocabulary may pass 2^31
    logits += row * stride
    lanes = tl.arange(0, BLOCK)
    top = tl.full((BLOCK,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, vocabulary, BLOCK):
        at = first + lanes
        z = tl.load(logits + at, mask=at < vocabulary, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(top, z)
        base = tl.where(higher == float("-inf"), 0.0, higher)  # of nothing but masked logits so far
        total = total * tl.exp(top - base) + tl.exp(z - base)
        top = higher
    highest = tl.max(top, 0)
    logsumexp = highest + tl.log(tl.sum(total * tl.exp(top - highest), 0))
    target = tl.load(targets + row)
    tl.store(logps + row, tl.load(logits + target).to(tl.float32) - logsumexp)
    slopes += row * vocabulary
    for first in range(0, vocabulary, BLOCK):
        at = first + lanes
        z = tl.load(logits + at, mask=at < vocabulary, other=0.0).to(tl.float32)
        p = tl.exp(z - logsumexp)
        slope = tl.where(at == target, p - 1, p)  # before it is rounded: of a p near 1 nothing would be left
        tl.store(slopes + at, slope, mask=at < vocabulary)


def picked_logps(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log p of each row's target, (T,) float32, of logits (T, V), and its gradient times -1, softmax minus one-hot,
    (T, V) in the logits' type."""
    logits = logits if logits.stride(-1) == 1 else logits.contiguous()
    logps = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    slopes = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    given: Any = (logits, targets.contiguous(), logps, slopes, logits.shape[-1], logits.stride(0), BLOCK)
    _picked[len(logits),](*given)
    return logps, slopes


@functools.cache
def agrees(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernel compiles for the device and gives there what PyTorch's own operations do, within rounding."""
    draws = torch.Generator(device).manual_seed(0)
    logits = (8 * torch.randn(8, 3 * BLOCK + 5, generator=draws, device=device)).to(dtype)
    targets = torch.arange(len(logits), device=device) * (3 * BLOCK // 7)  # the last of them in the cut block
    try:
        logps, slopes = picked_logps(logits, targets)
    except Exception:  # whatever a compiler meets, the plain path works
        return False
    logs = torch.log_softmax(logits.double(), -1)
    wanted = logs.gather(-1, targets[:, None])[:, 0]
    slope = logs.exp().scatter_add(-1, targets[:, None], -torch.ones_like(wanted)[:, None])
    off = [((found.double() - exact).abs() / exact.abs().clamp_min(1e-2)).max() / torch.finfo(found.dtype).eps
           for found, exact in ((logps, wanted), (slopes, slope))]  # fmt: skip
    return all(bool(one < TOLERANCE) for one in off)
