"""What a run feeds at once, and what its blocks keep of it for the backward pass: the parts of the memory estimate."""

from collections.abc import Mapping
from dataclasses import dataclass

from mio_local.adapters.targets import matched
from mio_local.adapters.terms import rank_of
from mio_local.arrays import ALL, CPU_TOKENS, LANES, padded
from mio_local.learning import PassSize, is_pattern
from mio_local.models.shapes import BYTES, Shape
from mio_local.process import cores, threads
from mio_local.recipe import Recipe

FLOAT = 4  # bytes: the adapter, and the logits that are scored

DELTA_CHUNK = 64  # tokens that a gated delta rule goes over at once
# What such a rule keeps for the backward pass: float32 numbers per token and head, in units of a key's width, a
# value's, a chunk's length, and a state a chunk. PyTorch: without flash-linear-attention, counted on its meta device.
RULE = {"mlx": (2, 1, 0, 1), "cuda": (8.5, 4, 5, 1)}
INPUT_OF = {
    "self_attn.k_proj": "self_attn.q_proj", "self_attn.v_proj": "self_attn.q_proj", "mlp.up_proj": "mlp.gate_proj",
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A run, as far as its memory goes; `longest` tokens are in its longest prompt and answer, `answer` in each answer
    of a group, which has `answers` of them."""

    shape: Shape
    recipe: Recipe
    backend: str
    kind: str
    longest: int
    answer: int
    answers: int = 2

    @property
    def shared(self) -> bool:
        """Whether a group is fed as one row [prompt | chosen | rejected | others], else as one for each answer."""
        return self.recipe.speed.share_prompt

    @property
    def lean(self) -> bool:
        """Whether adapters compute in the model's own type; DoRA has no such form."""
        return self.recipe.speed.lean_adapter and not self.recipe.lora.dora

    @property
    def length(self) -> int:
        """Tokens of a row, padding included. An answer's last token is not fed."""
        shared = self.longest + (self.answers - 1) * self.answer - self.answers
        return padded(max(shared if self.shared else self.longest - 1, 1))

    @property
    def spread(self) -> float:
        """Tokens that attention works on, for each that is fed: it sees a shared row as one for each answer."""
        return self.answers * self.longest / self.length if self.shared else 1

    @property
    def seen(self) -> float:
        """Attention scores of a head for each token that is fed."""
        if not self.shared:
            return self.length
        if self.backend == "cuda":
            return self.spread * self.longest
        # pieces: row by row, and each further answer by its row
        return self.longest * (self.longest + (self.answers - 1) * self.answer) / self.length

    @property
    def pair(self) -> int:
        """Tokens fed for a group, padding included."""
        return self.length * (1 if self.shared else self.answers)

    def passing(self, size: PassSize) -> int:
        """Tokens of the largest pass of that size, padding included: by tokens, shorter groups may fill it up."""
        most = size.pairs * self.pair
        return max(self.pair, min(size.tokens, most)) if size.tokens else most

    def fed(self, tokens: int) -> int:
        """Of a batch of so many tokens, those that go through the model at once: on a CPU those of the parts in all
        lanes, as `Batch.split` says."""
        most = CPU_TOKENS if self.kind == "cpu" else ALL
        return min(tokens, self.pair * self.lanes * max(1, most // self.lanes // self.pair))

    @property
    def lanes(self) -> int:
        """Parts of a batch side by side."""
        alone = self.recipe.lora.dropout or self.recipe.backend.shard
        single = self.recipe.train.grad_checkpoint or (self.backend == "cuda" and alone)
        return 1 if single or self.kind != "cpu" else min(LANES, threads() if self.backend == "cuda" else cores())

    @property
    def heads(self) -> int:
        """Parts of the logits side by side: MLX has them also where it has no lanes, PyTorch's share one's size."""
        return min(LANES, cores()) if self.backend == "mlx" and self.kind == "cpu" else 1

    @property
    def dtype(self) -> str:
        """Type of the weights that are not quantised."""
        return self.shape.dtype(self.recipe.model.dtype, self.kind)

    @property
    def activation(self) -> int:
        """Bytes of a number that one layer hands to the next."""
        return BYTES[self.dtype]

    @property
    def temporary(self) -> int:
        """Bytes of a number that a block makes and drops: PEFT's adapters and transformers' norms have float32 ones."""
        own = self.lean and (self.backend == "mlx" or self.recipe.speed.fused_layers)
        return self.activation if own else FLOAT

    @property
    def batch(self) -> int:
        """Tokens of a training batch that are fed at once."""
        return self.fed(self.passing(self.recipe.train.pass_size))

    @property
    def held(self) -> int:
        """Tokens of a held-out batch that are fed at once."""
        return self.fed(self.passing(self.recipe.held_out_pass))

    @property
    def adapted(self) -> Mapping[str, tuple[int, int]]:
        """Widths of the adapted layers of one block; of all, where the targets go by other names than Llama's. Experts
        are adapted where they are named alone."""
        linears = self.shape.linears
        if self.shape.experts > 1 and self.recipe.lora.targets == ["all-linear"]:
            return {name: widths for name, widths in linears.items() if not name.startswith("mlp")}
        chosen = {name: linears[name] for name in linears if any(leaf == name for leaf, _ in self._met)}
        return chosen or linears

    @property
    def _met(self) -> list[tuple[str, str]]:
        """The layers that the targets mean, by Llama's names: what each is called in its block, and whole."""
        lora, blocks = self.recipe.lora, range(self.shape.blocks)[-self.recipe.lora.layers :]
        every = [(name, f"model.layers.{block}.{name}") for block in blocks for name in self.shape.linears]
        met = {whole for target in lora.targets for whole in matched(target, every)}
        return [(name, whole) for name, whole in every if whole in met]

    def rank(self, name: str) -> float:
        """The rank of the adapters on a block's layer called `name`: their mean, where the blocks differ."""
        lora = self.recipe.lora
        if not lora.rank_pattern:
            return lora.rank
        ranks = [rank_of(lora, f"model.layers.{block}.{name}") for block in range(self.shape.blocks)]
        ranks = ranks[-self.adapted_blocks :]
        return sum(ranks) / len(ranks)

    @property
    def adapted_blocks(self) -> int:
        """Blocks that carry an adapter: the ones before them keep nothing for the backward pass."""
        blocks = self.shape.blocks
        if any(map(is_pattern, self.recipe.lora.targets)) and self._met:
            return blocks - min(int(whole.split(".")[2]) for _, whole in self._met)
        return min(self.recipe.lora.layers or blocks, blocks)


def kept_by_block(plan: Plan) -> list[tuple[float, float]]:
    """What one block keeps for its backward pass: (buffers, bytes of each, per token) by kind of buffer."""
    shape, size = plan.shape, plan.activation
    mlx, inner, spread = plan.backend == "mlx", plan.shape.mlp * plan.shape.active, plan.spread
    norm = size if mlx or plan.recipe.speed.fused_layers else FLOAT  # transformers normalises in float32
    kept: list[tuple[float, float]] = [
        (2, shape.width * norm),  # the input of both norms
        (1 if mlx else spread, shape.queries * size),
        (2 * spread, shape.keys * size),
        (4 if mlx else 3, inner * size),  # gate, its silu, up; MLX keeps the sigmoid too
    ]
    if squares(plan):
        kept.append((1, shape.heads * plan.seen * size))  # the attention's weights
    elif plan.shared or "self_attn.o_proj" not in plan.adapted or not shares(plan):
        kept.append((spread, shape.queries * size))  # the flash kernel wants its result again
    return kept + _adapter_buffers(plan)


def shares(plan: Plan) -> bool:
    """Whether adapters keep their input itself, and not a copy of each one's own."""
    return (plan.lean or plan.activation == FLOAT) and not plan.recipe.lora.dropout


def _adapter_buffers(plan: Plan) -> list[tuple[float, float]]:
    """Every factor A wants its input again, in float32 where it is not lean, and every B its own. DoRA scales the
    layer's result, which PEFT has in two parts."""
    lora, shape, size = plan.recipe.lora, plan.shape, plan.activation if plan.lean else FLOAT
    widths = {name: wide * (shape.active if name == "mlp.down_proj" else 1) for name, (wide, _) in plan.adapted.items()}
    kept: list[tuple[float, float]] = [(1, plan.rank(name) * size) for name in widths]
    if lora.dora:
        kept += [(1 if plan.backend == "mlx" else 2, high * FLOAT) for _, high in plan.adapted.values()]
    if shares(plan):  # q, k and v have one input, gate and up another
        inputs = {INPUT_OF.get(name, name): wide for name, wide in widths.items()}
        return kept + [(1, wide * size) for wide in inputs.values()]
    mask = size if lora.dropout else 0
    return kept + [(1, wide * (size + mask)) for wide in widths.values()]


def squares(plan: Plan) -> bool:
    """Whether attention keeps a square of length x length: MLX does for gradients, and PyTorch's kernel for CUDA in
    float32 where heads share keys."""
    shared = plan.shape.kv_heads < plan.shape.heads
    return plan.backend == "mlx" or (plan.kind == "gpu" and plan.activation == FLOAT and shared)


def kept(plan: Plan) -> float:
    """Bytes per token kept from the forward to the backward pass, by all blocks."""
    shape = plan.shape
    if plan.recipe.train.grad_checkpoint:  # PyTorch keeps the input of every block that runs, MLX of the adapted ones
        every = plan.backend == "cuda" and not plan.recipe.speed.frozen_once
        blocks = shape.blocks if every else plan.adapted_blocks
        return blocks * shape.width * plan.activation
    return plan.adapted_blocks * (block(plan) + shape.light / shape.blocks * lighter(plan))


def lighter(plan: Plan) -> float:
    """Bytes per token that a block with a gated delta rule, or a short convolution, keeps beyond one that attends."""
    heads, keys, values = plan.shape.delta
    widths = (keys, values, DELTA_CHUNK, keys * values / DELTA_CHUNK)
    rule = FLOAT * heads * sum(count * width for count, width in zip(RULE[plan.backend], widths, strict=True))
    scores = plan.shape.heads * plan.seen * plan.activation if squares(plan) else 0
    return rule * (1 if plan.backend == "mlx" else plan.spread) - scores


def block(plan: Plan) -> float:
    """Bytes per token kept by one block."""
    return sum(count * size for count, size in kept_by_block(plan))
