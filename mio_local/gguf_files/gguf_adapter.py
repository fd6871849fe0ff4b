"""A LoRA adapter alone as a GGUF file, which llama.cpp lays over its base: `llama-cli -m BASE.gguf --lora FILE`.

llama.cpp adds alpha / rank * B A to a weight, the rank being B's width, and has one alpha for the file
(src/llama-adapter.h and llama-graph.cpp). So B has its rows as the base's file has the weight's, and carries whatever
its layer's scale differs by from that.
"""

from pathlib import Path

import numpy as np

from mio_local.adapters.adapter import SavedAdapter
from mio_local.adapters.merge import merge
from mio_local.adapters.terms import evened, scale_of
from mio_local.errors import ModelError, RecipeError
from mio_local.gguf_files.gguf_config import Plan
from mio_local.gguf_files.gguf_file import add_value, turned, unturned
from mio_local.gguf_files.gguf_types import AUTO, PLAIN, package, quantised, rounded
from mio_local.models.weights import stored_shapes
from mio_local.progress import Report, silent

KEYS = {"a": "lora_A", "b": "lora_B"}


def check_adapter(saved: SavedAdapter, kind: str) -> None:
    """Raise ModelError for an adapter that llama.cpp has no such file for, RecipeError for a type that it is not kept
    in."""
    if saved.dora:
        raise ModelError(f"{saved.folder}: a DoRA adapter scales whole rows, which llama.cpp's adapters cannot; leave "
                         "--adapter-only out, for the merged model")  # fmt: skip
    if kind != AUTO and kind.upper() not in PLAIN:
        raise RecipeError(f"--quantize {kind}: an adapter's rows are too short for blocks; take f32, f16 or bf16")


def placed(saved: SavedAdapter, plan: Plan, base: Path) -> dict[str, str]:
    """By the name of an adapted layer, that of its weight in the base's GGUF file. Raises ModelError for one that has
    none."""
    gguf = package()
    arch = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[plan.family.name]
    names = gguf.get_tensor_name_map(arch, plan.blocks)
    found: dict[str, str] = {}
    for weight, layer in merge(saved, base, [name for name, _, _ in stored_shapes(base)]).layers.items():
        place = names.get_name(weight, try_suffixes=(".weight",))
        if not place:
            raise ModelError(f"{saved.folder}: adapts {layer}, for which llama.cpp has no place in a "
                             f"{plan.family.name} model")  # fmt: skip
        found[layer] = place
    return found


def write_adapter_gguf(
    saved: SavedAdapter, plan: Plan, base: Path, file: Path, kind: str, title: str, report: Report = silent
) -> int:
    """Write `saved` to `file` in `kind`, float32 for auto, and read it back. Returns the number of tensors. Raises
    ModelError."""
    gguf = package()
    kind, places = ("F32" if kind == AUTO else kind.upper()), placed(saved, plan, base)
    common = evened(saved, saved.names)[1] * saved.rank
    alpha = float(np.float32(common or saved.rank))  # llama.cpp takes 0 for a scale of 1
    writer = gguf.GGUFWriter(file, plan.family.name)
    for key, value in {"general.type": "adapter", "general.name": title, "adapter.type": "lora"}.items():
        add_value(writer, key, value)
    writer.add_float32("adapter.lora.alpha", alpha)
    wanted: dict[str, np.ndarray] = {}
    for layer, place in places.items():
        a, b = (saved.weights[f"{layer}.{leaf}"] for leaf in KEYS.values())
        scale = np.float32(scale_of(saved, layer) / (alpha / b.shape[1]))
        wanted |= {f"{place}.lora_a": a, f"{place}.lora_b": b if scale == 1 else b * scale}
    for name, values in wanted.items():
        if kind == "F16" and (largest := np.abs(values).max()) > np.finfo(np.float16).max:
            raise ModelError(f"{name} has {largest:.3g}, which float16 cannot hold; add --quantize bf16")
        rows = turned(plan, name.rpartition(".")[0], values) if name.endswith("_b") else values
        packed = quantised(np.ascontiguousarray(rows, np.float32), kind)
        writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType[kind])
    report("writing GGUF", 0, 0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return _check(plan, file, wanted, alpha)


def _check(plan: Plan, file: Path, wanted: dict[str, np.ndarray], alpha: float) -> int:
    """See that the file read back holds the adapter. Returns the number of tensors."""
    gguf = package()
    reader = gguf.GGUFReader(file)
    found = {tensor.name: tensor for tensor in reader.tensors}
    if found.keys() != wanted.keys() or reader.get_field("adapter.lora.alpha").contents() != alpha:
        raise ModelError(f"{file.name}: not published: it holds other tensors, or another alpha, than the adapter")
    for name, values in wanted.items():
        tensor = found[name]
        back = gguf.dequantize(tensor.data, tensor.tensor_type)
        back = unturned(plan, name.rpartition(".")[0], back) if name.endswith("_b") else back
        if not np.array_equal(back, rounded(values.astype(np.float32), tensor.tensor_type.name)):
            raise ModelError(f"{file.name}: not published: its {name} is not the adapter's")
    return len(found)
