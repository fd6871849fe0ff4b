"""The layers that an adapter is on, as mlx-lm and PEFT say it: shortly where that is exact, else by full names."""

from collections.abc import Sequence
from typing import Any

from mio_local.adapters.terms import Terms, evened
from mio_local.models.weights import BLOCK


def mlx_layers(names: Sequence[str], present: Sequence[str]) -> tuple[int, list[str]]:
    """mlx-lm's `num_layers` and `keys` for `names`, of the linear layers `present`: the last N blocks and names inside
    a block, or full names."""
    found = [match for name in names if (match := BLOCK.match(name))]
    inside = [match for name in present if (match := BLOCK.match(name)) and match["stem"] == found[0]["stem"]]
    blocks = 1 + max((int(match["index"]) for match in [*found, *inside]), default=0)
    count, leaves = len({match["index"] for match in found}), {match["leaf"] for match in found}
    last = {m.string for m in inside if int(m["index"]) >= blocks - count and m["leaf"] in leaves}
    return (count, sorted(leaves)) if last == set(names) else (blocks, list(names))


def mlx_config(settings: Terms, names: Sequence[str], present: Sequence[str]) -> dict[str, Any]:
    """What `mlx_lm.load(adapter_path=...)` needs to put an adapter of these settings on `names`."""
    blocks, keys = mlx_layers(names, present)
    rank, scale = evened(settings, names)
    return {
        "fine_tune_type": "dora" if settings.dora else "lora",
        "num_layers": blocks,
        "lora_parameters": {
            "rank": rank,
            "scale": scale,
            "dropout": settings.dropout,
            "keys": keys,
        },
    }


def peft_layers(names: Sequence[str], present: Sequence[str], modules: Sequence[str] = ()) -> dict[str, Any]:
    """PEFT's `target_modules` for `names`, of the linear layers `present`: last parts of names where they say just
    these, with block numbers where needed. `modules`: names of whatever else PEFT would look at."""
    leaves = sorted({name.rpartition(".")[2] for name in names})
    by_leaf = [name for name in present if name.rpartition(".")[2] in leaves]
    if len({*by_leaf, *(name for name in modules if name.rpartition(".")[2] in leaves)}) > len(by_leaf):
        return {"target_modules": list(names)}
    if set(by_leaf) == set(names):
        return {"target_modules": leaves}
    blocks = sorted({int(match["index"]) for name in names if (match := BLOCK.match(name))})
    inside = {name for name in by_leaf if (match := BLOCK.match(name)) and int(match["index"]) in blocks}
    return {"target_modules": leaves, "layers_to_transform": blocks} if inside == set(names) else {
        "target_modules": list(names)
    }
