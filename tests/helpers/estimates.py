"""A known model's shape, and the memory estimate of recipes for it."""

from mio_local.memory.estimate import estimate
from mio_local.models.shapes import shape_from_config
from mio_local.recipe import PLAIN, build

# Llama 3.2 1B, as its config.json describes it
LLAMA = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip
# embedding; per block q and o, k and v, three of the MLP, two norms; the last norm
LLAMA_PARAMETERS = 128256 * 2048 + 16 * (2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192 + 2 * 2048) + 2048
SHAPE = shape_from_config(LLAMA, 2 * LLAMA_PARAMETERS)
WIDE = shape_from_config({**LLAMA, "torch_dtype": "float32"}, 4 * LLAMA_PARAMETERS)  # no type to change on a CPU


OFF = {f"speed__{lever}": False for lever in PLAIN.model_dump()}  # the savings of the training step


def recipe(**keys):
    """A recipe with train__batch_size=1 and the like."""
    return build({}, "test", {key.replace("__", "."): ("", value) for key, value in keys.items()})


def parts(backend="cuda", kind="gpu", longest=257, shape=SHAPE, pair=0, answers=2, **keys):
    return dict(estimate(shape, recipe(**keys), longest, backend, kind, pair, answers).parts)
