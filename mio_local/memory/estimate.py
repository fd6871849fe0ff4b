"""How much memory a run will take, from the model's shape and the recipe, before anything is loaded.

The parts are counted from what the backends keep alive. The peak is the largest of a few moments: the loss of a
training batch, the backward pass of its last block, the scoring of a held-out batch, and before them loading and the
comparison with the plain path. On a CPU a batch goes through in parts, so these are moments of one part. Counts of
buffers were derived from the operations and seen again in the peaks of models that differed in one size
(tests/bench/memory.py compares totals). Nothing was measured on Metal or CUDA. The savings that `recipe.speed` asks for
are taken to be those that the model allows.
"""

import math
import sys
from dataclasses import dataclass, replace

from mio_local.memory.activations import FLOAT, Plan, block, kept, kept_by_block, lighter, squares
from mio_local.models.shapes import Shape
from mio_local.objectives.optimizers import OPTIMIZERS
from mio_local.recipe import PLAIN, Recipe

GATHERED = 2  # whole blocks of a base that lies on several devices: the one in use, and the next
ADAPTER_COPIES = 3  # weights, gradient, the reference: float32 all

# Logits of the answers' tokens alone, part by part: numbers in one part, as in the backends' heads, and float32 buffers
# of a part. PyTorch: the logits and their powers. MLX: 4 to 6 were seen, as evaluation runs ahead.
PART = {"mlx": {"cpu": 2**22, "gpu": 2**25}, "cuda": {"cpu": 2**23, "gpu": 2**26}}
PART_BUFFERS = {"mlx": 5, "cuda": 2}

# All logits: float32 buffers of fed and of scored tokens x vocabulary. Of the scored, MLX: a copy and its softmax;
# PyTorch: a copy, and in logsumexp's backward its difference and exponential. Without gradient there is one less.
LOGITS = {"mlx": (1, 2), "cuda": (1, 3)}

RUNTIME = 440_000_000  # resident bytes of Python with PyTorch, transformers and PEFT on Linux, before a model is loaded
# Of what all blocks make, by checkpointing: what glibc 2.36 kept, a step being one pass, or a sum of several, where the
# first one's gradients lie among the second one's results. Seen: 0.57 to 0.85, 0.77 to 1.76; 0.58 to 0.72, 0.68 to
# 1.23; the sums with two parts of a batch side by side.
UNRETURNED = {False: (0.75, 1.1), True: (0.55, 0.85)}
MALLOC_MAPS = 32 << 20  # glibc maps larger blocks one by one and gives them back at once (DEFAULT_MMAP_THRESHOLD_MAX)


@dataclass(frozen=True)
class Buffers:
    """Numbers per token, in units of each width; `squares` are the attention scores of all heads."""

    width: float
    mlp: float
    queries: float
    keys: float
    squares: float = 0

    def bytes(self, plan: Plan) -> float:
        """Bytes per token."""
        shape = plan.shape
        inner = self.mlp * shape.mlp * shape.active
        plain = self.width * shape.width + inner + self.queries * shape.queries + self.keys * shape.keys
        return plan.temporary * (plain + self.squares * shape.heads * plan.seen)


# What one block needs for a moment, beside what is kept for the backward pass. MLX queues up to a hundred operations
# before the first has run, and an array lives until the operation that reads it is over: about a block's results.
FORWARD = {"mlx": Buffers(9, 4, 7, 7, 1), "cuda": Buffers(7, 4, 4, 2.5)}
BACKWARD = {"mlx": Buffers(8, 6, 6, 6, 1.5), "cuda": Buffers(4, 2, 1.5, 1.5)}


@dataclass(frozen=True)
class Estimate:
    """Bytes at the peak, by what they hold; parts that are zero are left out."""

    parts: tuple[tuple[str, int], ...]

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(size for _, size in self.parts)


Moment = dict[str, float]  # what is alive at one time beside the weights, bytes


def estimate(
    shape: Shape, recipe: Recipe, longest: int, backend: str, kind: str, pair: int = 0, answers: int = 2
) -> Estimate:
    """The peak of a run on a device of `kind` (gpu or cpu), whose longest prompt and answer have `longest` tokens.

    `pair` is the tokens of the longest prompt with all its `answers`; where it is 0, each answer is taken to be half a
    row, else those beside the longest to be alike. For PyTorch on a CPU it is the resident memory of the process, else
    what is allocated on the device. A backend that nobody has measured is counted as PyTorch.
    """
    backend = backend if backend in PART else "cuda"
    answer = min(math.ceil((pair - longest) / (answers - 1)) if pair > longest else longest // 2, longest)
    plan = Plan(shape, recipe, backend, kind, longest, answer, answers)
    moments = (at_the_loss(plan), in_a_block(plan), at_scoring(plan))
    on_process = backend == "cuda" and kind == "cpu"
    after = {"adapter": adapter(plan), **max(moments, key=lambda moment: sum(moment.values()))}
    if on_process and sys.platform.startswith("linux"):
        after["allocator"] = unreturned(plan)
    before = ({"loading": loading(plan)}, at_comparing(plan))
    peak = max(after, *before, key=lambda moment: sum(moment.values()))
    parts = {"weights": weights(plan), **peak, "runtime": RUNTIME if on_process else 0}
    return Estimate(tuple((name, round(size)) for name, size in parts.items() if size))


def weights(plan: Plan) -> float:
    """Bytes of the frozen base on one device: where it is spread over several, its share, and what is gathered."""
    given, shape = plan.recipe.backend, plan.shape
    if not given.shard:
        return base(plan)
    return base(plan) / given.devices + GATHERED * (shape.parameters - shape.embedding) / shape.blocks * plan.activation


def base(plan: Plan) -> float:
    """Bytes of the whole frozen base."""
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
        one = plan.rank(name) * (wide + high) + (high if lora.dora else 0)
        # MLX stacks the experts into one layer that is adapted; PyTorch's stacks are no linear layers
        stacked = shape.experts if plan.backend == "mlx" else 0
        trainable += one * (stacked if shape.experts > 1 and name.startswith("mlp") else 1)
    pending = 1 if plan.backend == "mlx" and summed(plan) else 0
    cast = plan.activation if plan.lean and plan.activation < FLOAT else 0  # a copy in the model's own type
    each = FLOAT * (ADAPTER_COPIES + pending) + OPTIMIZERS[plan.recipe.train.optimizer].kept + cast
    return trainable * plan.adapted_blocks * each


def summed(plan: Plan) -> bool:
    """Whether the gradient of a step is the sum of several passes'."""
    return plan.batch < plan.recipe.train.step_pairs * plan.pair


def logits(plan: Plan, fed: int, *, gradient: bool) -> float:
    """Bytes of the logits that are alive at once, for `fed` tokens."""
    scored = fed * plan.answers * plan.answer / plan.pair * plan.shape.vocabulary
    if plan.recipe.speed.answer_head:
        return PART_BUFFERS[plan.backend] * min(scored, plan.heads * PART[plan.backend][plan.kind]) * FLOAT
    every, some = LOGITS[plan.backend]
    return (every * fed * plan.shape.vocabulary + (some if gradient else some - 1) * scored) * FLOAT


def frozen(plan: Plan) -> float:
    """Bytes of the whole batch's hidden state over the blocks that are not adapted, kept from the reference."""
    if not plan.recipe.speed.frozen_once or plan.adapted_blocks == plan.shape.blocks:
        return 0
    return plan.passing(plan.recipe.train.pass_size) * plan.shape.width * plan.activation


def at_the_loss(plan: Plan) -> Moment:
    """The turn from the forward to the backward pass: all that is kept, and the logits."""
    # PyTorch has given the blocks' temporaries back by then; MLX has not
    passing = FORWARD["mlx"].bytes(plan) if plan.backend == "mlx" else 0
    activations = plan.batch * (kept(plan) + passing) + frozen(plan)
    return {"activations": activations, "logits": logits(plan, plan.batch, gradient=True)}


def in_a_block(plan: Plan) -> Moment:
    """The backward pass of the last block, or of a light one that keeps more; where it is checkpointed, it is run again
    first."""
    more = max(lighter(plan), 0) if plan.shape.light else 0
    again = block(plan) + more if plan.recipe.train.grad_checkpoint else 0
    passing = BACKWARD[plan.backend].bytes(plan)
    if squares(plan) and plan.backend == "cuda":
        passing += 2 * plan.shape.heads * plan.seen * FLOAT
    return {"activations": plan.batch * (kept(plan) + again + passing) + frozen(plan) + matrices(plan)}


def at_scoring(plan: Plan) -> Moment:
    """Held-out pairs, or the reference: one forward pass without gradient."""
    passing = FORWARD[plan.backend].bytes(plan)
    return {"activations": plan.held * passing, "logits": logits(plan, plan.held, gradient=False)}


def at_comparing(plan: Plan) -> Moment:
    """The start, where `settle` scores two groups without the savings; they are taken to be half as long as the
    longest, as they are short ones. Of the adapter there are its weights and the reference's. The step over one of them
    that may follow is none larger than the run's."""
    speed, half = plan.recipe.speed, (plan.longest + 1) // 2
    if not (speed.share_prompt or speed.answer_head or speed.lean_adapter):
        return {}
    plain = replace(plan, recipe=plan.recipe.model_copy(update={"speed": PLAIN}), longest=half, answer=plan.answer // 2)
    fed = plain.fed(2 * plain.pair)
    passing = fed * FORWARD[plan.backend].bytes(plain)
    copies = adapter(plain) * 2 * FLOAT / (ADAPTER_COPIES * FLOAT + OPTIMIZERS[plan.recipe.train.optimizer].kept)
    return {"adapter": copies, "activations": passing, "logits": logits(plain, fed, gradient=False)}


def matrices(plan: Plan) -> float:
    """Copies of one base matrix: DoRA's sum with the adapter, or bitsandbytes' in full precision."""
    largest = max(wide * high for wide, high in plan.shape.linears.values())
    if plan.recipe.lora.dora:
        return 3 * largest * FLOAT
    return largest * plan.activation if plan.recipe.model.quantize and plan.backend == "cuda" else 0


def loading(plan: Plan) -> float:
    """PyTorch maps the files into memory, and on a CPU holds both while it changes the weights' type, all of them
    before they are spread over ranks."""
    casts = plan.backend == "cuda" and plan.kind == "cpu" and plan.dtype != plan.shape.stored_dtype
    return plan.shape.stored_bytes + base(plan) - weights(plan) if casts else 0


def unreturned(plan: Plan) -> float:
    """What glibc's malloc keeps from the system: a freed block is too small for the next aligned one of its own size,
    so temporaries and recomputed blocks are put behind it. None of it where every block is mapped by itself
    (MALLOC_MMAP_THRESHOLD_), which took 1.3 to 1.9 times as long."""
    small = sum(count * size for count, size in kept_by_block(plan) if plan.batch * size < MALLOC_MAPS)
    share = UNRETURNED[plan.recipe.train.grad_checkpoint][summed(plan)]
    return share * plan.batch * plan.adapted_blocks * small
