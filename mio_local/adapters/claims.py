"""The layers that an adapter's settings say it is on, which its file must then hold."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mio_local.adapters.counterparts import ONE_EXPERT
from mio_local.models.weights import BLOCK

STACK = re.compile(r"(^|\.)(switch_mlp|experts)\.(?!\d)")  # in the name of a layer that stacks experts


def claimed(kind: str, config: Mapping[str, Any], names: Sequence[str], present: Sequence[str]) -> set[str]:
    """The layers of `present` that a config of mlx-lm's or PEFT's says are adapted, beside `names`, which are. Where it
    leaves their kinds to the library, whose choice differs between its releases, they are those of `names`."""
    stems = {match["stem"] for name in names if (match := BLOCK.match(name))}
    inside = [match for name in present if (match := BLOCK.match(name)) and match["stem"] in stems]
    if not any(map(ONE_EXPERT.search, names)):  # files hold experts one by one, which both libraries stack
        inside = [match for match in inside if not ONE_EXPERT.search(match["leaf"])]
    own = {match["leaf"] for name in names if (match := BLOCK.match(name))}
    if kind == "mlx":
        count, keys = config.get("num_layers") or 0, (config.get("lora_parameters") or {}).get("keys")
        first = 1 + max((int(match["index"]) for match in inside), default=0) - count if int(count) > 0 else 0
        wanted = own if keys is None else set(keys)
        return {m.string for m in inside if m.string in wanted or (int(m["index"]) >= first and m["leaf"] in wanted)}
    targets, numbers = config.get("target_modules"), config.get("layers_to_transform")
    if not targets or config.get("exclude_modules") or config.get("layers_pattern"):
        return set()
    if targets == "all-linear":
        hits = [match for match in inside if match["leaf"] in own]
    elif isinstance(targets, str):
        hits = [match for match in inside if re.fullmatch(targets, match.string)]
    else:  # PEFT knows no stacked experts, which mlx-lm has below these names
        hits = [match for match in inside if not STACK.search(match["leaf"])
                and any(f".{match.string}".endswith(f".{target}") for target in targets)]  # fmt: skip
    wanted = [numbers] if isinstance(numbers, int) else numbers
    return {match.string for match in hits if wanted is None or int(match["index"]) in wanted}
