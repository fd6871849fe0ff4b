"""What an adapter can become, tried before it is trained: by names and shapes alone, no weight is read.

merged, peft and mlx need every adapted layer under another name: in the base's files, in the other library's model;
gguf needs a model that llama.cpp has. A run that could not be exported is told of it while other `--targets` cost
nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mio_local.adapters.counterparts import counterparts
from mio_local.adapters.library_limits import EXPERTS, refused_by_peft
from mio_local.backends import load_backend
from mio_local.errors import BackendError, ModelError, one_line
from mio_local.gguf_files.gguf_convert import no_gguf
from mio_local.models.locate import quantised, read_config
from mio_local.models.weights import linear_names
from mio_local.recipe import Recipe


def closed(recipe: Recipe, place: Path, names: Sequence[str], left_out: Mapping[str, str]) -> dict[str, str]:
    """By format that an adapter on the layers `names` of the base in `place` cannot become, why; as far as this machine
    can tell. `left_out` is `Model.left_out`."""
    if quantised(place):
        return {}  # its files name other layers, and only its own library loads it
    stacked = [name for name in names if left_out.get(name) == EXPERTS]
    plain = [name for name in names if left_out.get(name) != EXPERTS]
    inside = counterparts(plain, linear_names(place))
    reasons: dict[str, str] = {}
    if lost := [name for name in plain if name not in inside]:
        reasons["merged"] = f"the base's files have no weight of {lost[0]}"
    if recipe.backend.name == "mlx":
        refused = refused_by_peft(str(read_config(place)["model_type"]), names)
        if why := (stacked and f"{stacked[0]} is a stack of experts") or (refused and next(iter(refused.values()))):
            reasons["peft"] = str(why)
        elif lost:
            reasons["peft"] = f"transformers has no layer {lost[0]}"
    else:
        try:
            there = counterparts(names, load_backend("mlx").layer_names(place, recipe.model))
            if lost := [name for name in names if name not in there]:
                reasons["mlx"] = f"mlx-lm has no layer {lost[0]}"
        except ModelError as error:
            reasons["mlx"] = one_line(error, 200)
        except BackendError:  # not on this machine: nobody can tell
            pass
    if why := no_gguf(place):
        reasons["gguf"] = why
    return reasons


def exit_lines(
    recipe: Recipe, reasons: Mapping[str, str], names: Sequence[str], left_out: Mapping[str, str]
) -> list[tuple[str, str]]:
    """What to tell at the start, each with its level: the formats that are closed, and what all-linear does not
    adapt."""
    refused = {name.rpartition(".")[2] for name in names if name in left_out}
    others = sorted({name.rpartition(".")[2] for name in names} - refused)
    advice = {"peft": f"; it can with --targets {','.join(others)}"} if others else {}
    lines = [
        # of many models there is no GGUF
        ("info" if to == "gguf" else "warning", f"this adapter cannot be exported --to {to}: {why}{advice.get(to, '')}")
        for to, why in reasons.items()
    ]
    if recipe.lora.targets == ["all-linear"] and (counts := Counter(left_out.values())):
        kinds = "; ".join(f"{count} x {why}" for why, count in counts.items())
        lines.append(("info", f"all-linear leaves out {sum(counts.values())} layers ({kinds})"))
    return lines
