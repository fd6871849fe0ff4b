"""How much memory a run will take, from the model's shape and the recipe, before anything is loaded.

The parts are counted from what the backends keep alive. The peak is the largest of a few moments: the loss of a
training batch, the backward pass of its last block, the scoring of a held-out batch, and loading. Counts of buffers
were derived from the operations and seen again in the peaks of models that differed in one size (tests/bench/memory.py
compares totals). Nothing was measured on Metal or CUDA.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from mio_local.arrays import PAD_MULTIPLE
from mio_local.recipe import Recipe
from mio_local.shapes import BYTES, Shape

ADAPTER_COPIES = 5  # weights, gradient, AdamW's two moments, the reference: float32 all
FLOAT = 4  # bytes: the adapter, what is multiplied with it, and the logits that are scored

# Float32 buffers of rows x length x vocabulary.
# MLX: the logits and their softmax, then the softmax and the scattered gradient. The third is often taken before the
# first is given back, as evaluation runs ahead: 2 to 3 were seen, with checkpointing always 2.
# PyTorch: the logits, and in logsumexp's backward their difference, its exponential and the product.
LOGITS = {"mlx": 2.5, "cuda": 4.0}
LOGITS_CHECKPOINTED = {"mlx": 2.0, "cuda": 4.0}
LOGITS_SCORED = {"mlx": 1.0, "cuda": 2.0}  # without gradient

RUNTIME = 440_000_000  # resident bytes of Python with PyTorch, transformers and PEFT on Linux, before a model is loaded
UNRETURNED = 0.85  # of what all blocks make, checkpointed or not: 0.65 to 1.1 was seen with glibc 2.36
MALLOC_MAPS = 32 << 20  # glibc maps larger blocks one by one and gives them back at once (DEFAULT_MMAP_THRESHOLD_MAX)


@dataclass(frozen=True)
class Buffers:
    """Float32 numbers per token, in units of each width; `squares` are rows x heads x length x length."""

    width: float
    mlp: float
    queries: float
    keys: float
    squares: float = 0

    def bytes(self, shape: Shape, length: int) -> float:
        """Bytes per token."""
        inner = self.mlp * shape.mlp * shape.active
        plain = self.width * shape.width + inner + self.queries * shape.queries + self.keys * shape.keys
        return FLOAT * (plain + self.squares * shape.heads * length)


# What one block needs for a moment, beside what is kept for the backward pass. MLX queues up to a hundred operations
# before the first has run, and an array lives until the operation that reads it is over: about a block's results.
FORWARD = {"mlx": Buffers(9, 4, 7, 7, 1), "cuda": Buffers(7, 4, 4, 2.5)}
BACKWARD = {"mlx": Buffers(8, 6, 6, 6, 1.5), "cuda": Buffers(4, 2, 1.5, 1.5)}


INPUT_OF = {
    "self_attn.k_proj": "self_attn.q_proj", "self_attn.v_proj": "self_attn.q_proj", "mlp.up_proj": "mlp.gate_proj",
}  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """Bytes at the peak, by what they hold; parts that are zero are left out."""

    parts: tuple[tuple[str, int], ...]

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(size for _, size in self.parts)


Moment = dict[str, float]  # what is alive at one time beside the weights, bytes


@dataclass(frozen=True)
class Plan:
    """A run, as far as its memory goes; `length` is that of its longest rows, padding included."""

    shape: Shape
    recipe: Recipe
    backend: str
    kind: str
    length: int

    @property
    def dtype(self) -> str:
        """Type of the weights that are not quantised."""
        given = self.recipe.model.dtype
        if given != "auto":
            return given
        return "float32" if self.kind == "cpu" else self.shape.stored_dtype

    @property
    def activation(self) -> int:
        """Bytes of a number that one layer hands to the next."""
        return BYTES[self.dtype]

    @property
    def batch(self) -> int:
        """Tokens of a training batch, padding included: chosen and rejected rows."""
        return 2 * self.recipe.train.batch_size * self.length

    @property
    def scored(self) -> int:
        """Tokens of a held-out batch."""
        return 2 * (self.recipe.eval.batch_size or self.recipe.train.batch_size) * self.length

    @property
    def adapted(self) -> Mapping[str, tuple[int, int]]:
        """Widths of the adapted layers of one block; of all, where the targets go by other names than Llama's."""
        targets, linears = self.recipe.lora.targets, self.shape.linears
        chosen = {name: linears[name] for name in linears if any(f".{name}".endswith(f".{to}") for to in targets)}
        return chosen or linears

    @property
    def adapted_blocks(self) -> int:
        """Blocks that carry an adapter: the ones before them keep nothing for the backward pass."""
        return min(self.recipe.lora.layers or self.shape.blocks, self.shape.blocks)


def estimate(shape: Shape, recipe: Recipe, longest: int, backend: str, kind: str) -> Estimate:
    """The peak of a run on a device of `kind` (gpu or cpu), whose longest prompt and answer have `longest` tokens.

    For PyTorch on a CPU it is the resident memory of the process, else what is allocated on the device.
    """
    length = math.ceil(max(longest - 1, 1) / PAD_MULTIPLE) * PAD_MULTIPLE
    plan = Plan(shape, recipe, backend, kind, length)
    moments = (at_the_loss(plan), in_a_block(plan), at_scoring(plan))
    on_process = backend == "cuda" and kind == "cpu"
    after = {"adapter": adapter(plan), **max(moments, key=lambda moment: sum(moment.values()))}
    if on_process and sys.platform.startswith("linux"):
        after["allocator"] = unreturned(plan)
    before = {"loading": loading(plan)}
    peak = max(after, before, key=lambda moment: sum(moment.values()))
    parts = {"weights": weights(plan), **peak, "runtime": RUNTIME if on_process else 0}
    return Estimate(tuple((name, round(size)) for name, size in parts.items() if size))


def weights(plan: Plan) -> float:
    """Bytes of the frozen base."""
    shape, size, bits = plan.shape, plan.activation, plan.recipe.model.quantize
    if shape.bits:
        return shape.stored_bytes
    if not bits:
        return shape.parameters * size
    if plan.backend == "mlx":  # every matrix, the embedding too; a scale and a bias for each group of a row
        group = 64 if all(wide % 64 == 0 for wide, _ in shape.linears.values()) else 32
        return shape.parameters * (bits / 8 + 2 * size / group)
    # bitsandbytes leaves embedding and head alone; 4-bit has a scale of 8 bits for each 64 weights
    return shape.embedding * size + (shape.parameters - shape.embedding) * (bits / 8 + (1 / 64 if bits == 4 else 0))


def adapter(plan: Plan) -> float:
    """Bytes of the adapter with its gradient, its optimiser and the reference's copy of it."""
    lora, shape = plan.recipe.lora, plan.shape
    trainable = 0
    for name, (wide, high) in plan.adapted.items():
        one = lora.rank * (wide + high) + (high if lora.dora else 0)
        # MLX stacks the experts into one layer that is adapted; PyTorch's stacks are no linear layers
        stacked = shape.experts if plan.backend == "mlx" else 0
        trainable += one * (stacked if shape.experts > 1 and name.startswith("mlp") else 1)
    pending = 1 if plan.backend == "mlx" and plan.recipe.train.accumulate > 1 else 0
    return FLOAT * trainable * plan.adapted_blocks * (ADAPTER_COPIES + pending)


def kept_by_block(plan: Plan) -> list[tuple[float, int]]:
    """What one block keeps for its backward pass: (buffers, bytes of each, per token) by kind of buffer."""
    shape, size = plan.shape, plan.activation
    mlx, inner = plan.backend == "mlx", plan.shape.mlp * plan.shape.active
    norm = size if mlx else FLOAT  # transformers normalises in float32
    kept: list[tuple[float, int]] = [
        (2, shape.width * norm),  # the input of both norms
        (1, shape.queries * size),
        (2, shape.keys * size),
        (4 if mlx else 3, inner * size),  # gate, its silu, up; MLX keeps the sigmoid too
    ]
    if squares(plan):
        kept.append((1, shape.heads * plan.length * size))  # the attention's weights
    elif "self_attn.o_proj" not in plan.adapted or not shares(plan):
        kept.append((1, shape.queries * size))  # the flash kernel wants its result again
    return kept + _adapter_buffers(plan)


def shares(plan: Plan) -> bool:
    """Whether adapters keep their input itself, and not a copy of each one's own."""
    return plan.activation == FLOAT and not plan.recipe.lora.dropout


def _adapter_buffers(plan: Plan) -> list[tuple[float, int]]:
    """Every factor A wants its input again, in float32, and every B its own. DoRA scales the layer's result, which
    PEFT has in two parts."""
    lora, shape = plan.recipe.lora, plan.shape
    widths = {name: wide * (shape.active if name == "mlp.down_proj" else 1) for name, (wide, _) in plan.adapted.items()}
    kept: list[tuple[float, int]] = [(len(widths), lora.rank * FLOAT)]
    if lora.dora:
        kept += [(1 if plan.backend == "mlx" else 2, high * FLOAT) for _, high in plan.adapted.values()]
    if shares(plan):  # q, k and v have one input, gate and up another
        inputs = {INPUT_OF.get(name, name): wide for name, wide in widths.items()}
        return kept + [(1, wide * FLOAT) for wide in inputs.values()]
    mask = FLOAT if lora.dropout else 0
    return kept + [(1, wide * (FLOAT + mask)) for wide in widths.values()]


def squares(plan: Plan) -> bool:
    """Whether attention keeps a square of length x length: MLX does for gradients, and PyTorch's kernel for CUDA in
    float32 where heads share keys."""
    shared = plan.shape.kv_heads < plan.shape.heads
    return plan.backend == "mlx" or (plan.kind == "gpu" and plan.activation == FLOAT and shared)


def kept(plan: Plan) -> float:
    """Bytes per token kept from the forward to the backward pass, by all blocks."""
    if plan.recipe.train.grad_checkpoint:  # PyTorch keeps the input of every block, MLX of those it differentiates
        blocks = plan.adapted_blocks if plan.backend == "mlx" else plan.shape.blocks
        return blocks * plan.shape.width * plan.activation
    return plan.adapted_blocks * block(plan)


def block(plan: Plan) -> float:
    """Bytes per token kept by one block."""
    return sum(count * size for count, size in kept_by_block(plan))


def logits(plan: Plan, tokens: int, buffers: float) -> float:
    """Bytes of that many float32 buffers of tokens x vocabulary."""
    return buffers * tokens * plan.shape.vocabulary * FLOAT


def at_the_loss(plan: Plan) -> Moment:
    """The turn from the forward to the backward pass: all that is kept, and the logits."""
    checkpointed = plan.recipe.train.grad_checkpoint
    buffers = (LOGITS_CHECKPOINTED if checkpointed else LOGITS)[plan.backend]
    # PyTorch has given the blocks' temporaries back by then; MLX has not
    passing = FORWARD["mlx"].bytes(plan.shape, plan.length) if plan.backend == "mlx" else 0
    return {"activations": plan.batch * (kept(plan) + passing), "logits": logits(plan, plan.batch, buffers)}


def in_a_block(plan: Plan) -> Moment:
    """The backward pass of the last block, which is run again first where it is checkpointed."""
    again = block(plan) if plan.recipe.train.grad_checkpoint else 0
    passing = BACKWARD[plan.backend].bytes(plan.shape, plan.length)
    if squares(plan) and plan.backend == "cuda":
        passing += 2 * plan.shape.heads * plan.length * FLOAT
    return {"activations": plan.batch * (kept(plan) + again + passing) + matrices(plan)}


def at_scoring(plan: Plan) -> Moment:
    """Held-out pairs, or the reference: one forward pass without gradient."""
    passing = FORWARD[plan.backend].bytes(plan.shape, plan.length)
    buffers = LOGITS_SCORED[plan.backend]
    return {"activations": plan.scored * passing, "logits": logits(plan, plan.scored, buffers)}


def matrices(plan: Plan) -> float:
    """Copies of one base matrix: DoRA's sum with the adapter, or bitsandbytes' in full precision."""
    largest = max(wide * high for wide, high in plan.shape.linears.values())
    if plan.recipe.lora.dora:
        return 3 * largest * FLOAT
    return largest * plan.activation if plan.recipe.model.quantize and plan.backend == "cuda" else 0


def loading(plan: Plan) -> float:
    """PyTorch maps the files into memory, and on a CPU holds both while it changes the weights' type."""
    casts = plan.backend == "cuda" and plan.kind == "cpu" and plan.dtype != plan.shape.stored_dtype
    return plan.shape.stored_bytes if casts else 0


def unreturned(plan: Plan) -> float:
    """What glibc's malloc keeps from the system: a freed block is too small for the next aligned one of its own size,
    so temporaries and recomputed blocks are put behind it. None of it where every block is mapped by itself
    (MALLOC_MMAP_THRESHOLD_), which took 1.3 to 1.9 times as long."""
    small = sum(count * size for count, size in kept_by_block(plan) if plan.batch * size < MALLOC_MAPS)
    return UNRETURNED * plan.batch * plan.adapted_blocks * small
