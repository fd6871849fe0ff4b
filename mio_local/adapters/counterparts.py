"""One layer under several names: Hugging Face's files, transformers' modules and mlx-lm's modules differ in what stands
before the number of the block (`model.layers`, `language_model.model.layers`, `backbone.layers`, `transformer.h`), as a
model that takes pictures wraps its text part. What is left behind that, number and name inside the block, is the same,
but for the projections of an MLP.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from mio_local.models.weights import BLOCK

# parts of a model whose blocks no text goes through: other senses, and heads that predict several tokens ahead
NOT_TEXT = re.compile(r"vision|visual|audio|image|(^|\.)mtp(\.|$)", re.IGNORECASE)
# Mixtral's names of the three projections of a gated MLP, which mlx-lm turns into Llama's in some models
LIKE_LLAMA = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
ONE_EXPERT = re.compile(r"(^|\.)experts\.\d+\.")  # in the name of a layer that is one expert's own


def canonical(name: str) -> str:
    """The layer's name as a plain decoder has it: `model.layers.3.mlp.up_proj`."""
    match = BLOCK.match(name)
    return f"model.layers.{match['index']}.{_plain(match['leaf'])}" if match else name


def _plain(leaf: str) -> str:
    parent, dot, last = leaf.rpartition(".")
    return f"{parent}{dot}{LIKE_LLAMA.get(last, last)}"


def counterparts(names: Sequence[str], candidates: Iterable[str]) -> dict[str, str]:
    """By name, the one of `candidates` that is the same layer; names without one are left out. Of several lists of
    blocks that have them, the one of the same name is taken, else one of text."""
    known: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for candidate in candidates:
        if match := BLOCK.match(candidate):
            known[match["stem"]][match["index"], _plain(match["leaf"])] = candidate
    groups: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for name in names:
        if match := BLOCK.match(name):
            groups[match["stem"]][match["index"], _plain(match["leaf"])] = name
    found: dict[str, str] = {}
    for stem, inside in groups.items():
        by_fit = sorted(
            (len(blocks.keys() & inside.keys()), other == stem, not NOT_TEXT.search(other), other)
            for other, blocks in known.items()
        )
        best = known[by_fit[-1][-1]] if by_fit else {}
        found |= {name: best[key] for key, name in inside.items() if key in best}
    return {name: found[name] for name in names if name in found}


def renamed_like(names: Sequence[str], present: Iterable[str]) -> list[str]:
    """`present`, with what stands before the block's number as `names` have it where the two name the same layers."""
    present = list(present)
    stems = {one.group("stem"): other.group("stem") for name, found in counterparts(names, present).items()
             if (one := BLOCK.match(found)) and (other := BLOCK.match(name))}  # fmt: skip
    told: list[str] = []
    for name in present:
        match = BLOCK.match(name)
        stem = stems.get(match["stem"]) if match else None
        told.append(f"{stem}.{match['index']}.{match['leaf']}" if match and stem is not None else name)
    return told
