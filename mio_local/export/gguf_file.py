"""A folder of weights as one GGUF file for llama.cpp, and the file read back against that folder.

Matrices keep the type of the weights unless another is asked for: what is trained here in float32 is not rounded
unseen, while llama.cpp's converter makes float16 of it. Norms and biases are float32, as llama.cpp wants them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.errors import BackendError, ModelError
from mio_local.export.gguf_config import Plan, read_plan
from mio_local.export.gguf_tokenizer import Vocabulary, read_vocabulary
from mio_local.models.weights import stored_shapes, stored_weights
from mio_local.process import installing
from mio_local.progress import Report, silent

KINDS = ("auto", "f32", "f16", "bf16")
FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}  # GGUF's numbers: all float32; all but vectors float16, bfloat16
ONE = 1e-6  # what is left of a Gemma norm after adding and taking away one in float32
SKIPPED = (".rotary_emb.inv_freq",)  # tables that old files carry and every library computes


@dataclass(frozen=True)
class Layout:
    """All that is known of a GGUF file before a weight is read."""

    plan: Plan
    vocabulary: Vocabulary

    @property
    def notes(self) -> tuple[str, ...]:
        """What llama.cpp does otherwise, a line each."""
        return self.plan.notes + self.vocabulary.notes


@dataclass(frozen=True)
class Place:
    """A weight's place in the file: its name there, its shape and its type."""

    name: str
    shape: tuple[int, ...]
    kind: str


def package() -> Any:
    """The gguf package. Raises BackendError where it is missing."""
    try:
        import gguf
    except ImportError:
        raise BackendError(f"gguf is not installed; {installing('export')}") from None
    return gguf


def layout(folder: Path) -> Layout:
    """The layout for the model in `folder`. Raises ModelError for what llama.cpp cannot hold, BackendError without the
    gguf package."""
    package()
    plan = read_plan(folder)
    sizes = {name: shape for name, shape, _ in stored_shapes(folder)}
    rows = next((shape[0] for name, shape in sizes.items() if name.endswith("embed_tokens.weight")), 0)
    return Layout(plan, read_vocabulary(folder, rows or plan.values["vocab_size"]))


def write_gguf(made: Layout, folder: Path, file: Path, kind: str, title: str, report: Report = silent) -> None:
    """Write the weights in `folder` to `file`; `kind` is one of KINDS. Raises ModelError."""
    gguf = package()
    plan, places = made.plan, _places(made.plan, folder, kind)
    writer = gguf.GGUFWriter(None, plan.family.name)  # it names the architecture
    matrices = [place.kind for place in places.values() if len(place.shape) > 1 and not _is_norm(place.name)]
    values = metadata(made, title) | {"general.file_type": FILE_TYPES[max(set(matrices), key=matrices.count)]}
    for key, value in values.items():
        _add(writer, key, value)
    for name, tensor in plan.tensors.items():
        writer.add_tensor_info(name, tensor.shape, tensor.dtype, tensor.nbytes)
    for place in places.values():
        size = int(np.prod(place.shape)) * (4 if place.kind == "F32" else 2)
        kinds = np.float32 if place.kind == "F32" else np.float16
        writer.add_tensor_info(place.name, place.shape, np.dtype(kinds), size, gguf.GGMLQuantizationType[place.kind])
    writer.write_header_to_file(file)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    try:
        for tensor in plan.tensors.values():
            writer.write_tensor_data(tensor)
        for done, (place, weight) in enumerate(_ordered(places, folder), 1):
            weight = _turned(plan, place.name, weight)
            if place.kind == "F16" and (largest := np.abs(weight).max()) > np.finfo(np.float16).max:
                raise ModelError(f"{place.name} has {largest:.3g}, which float16 cannot hold; add --gguf-type bf16")
            data = gguf.quantize(np.ascontiguousarray(weight), gguf.GGMLQuantizationType[place.kind])
            writer.write_tensor_data(data)
            report("writing GGUF", done, len(places))
    finally:
        writer.close()


def metadata(made: Layout, title: str) -> dict[str, Any]:
    """Every key of the file and its value, but general.architecture and general.file_type."""
    name = made.plan.family.name
    return {
        "general.type": "model",
        "general.name": title,
        "general.quantization_version": 2,  # of the formats that llama-quantize makes; it asks for it
        **{f"{name}.{key}": value for key, value in made.plan.values.items()},
        **made.vocabulary.values,
    }


def _add(writer: Any, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)


def _places(plan: Plan, folder: Path, kind: str) -> dict[str, Place]:
    """Where each weight of the folder goes. Raises ModelError for one that llama.cpp has no place for."""
    gguf = package()
    arch = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[plan.family.name]
    names = gguf.get_tensor_name_map(arch, plan.blocks)
    found: dict[str, Place] = {}
    for name, shape, stored in stored_shapes(folder):
        place = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if name.endswith(SKIPPED) or (plan.tied and place == "output.weight"):
            continue
        allowed = place and (place.endswith(".weight") or place.rsplit(".", 2)[-2] in plan.family.biases)
        if not allowed or stored not in FILE_TYPES:
            raise ModelError(f"{folder}: llama.cpp has no place for {name} ({stored}) in a {plan.family.name} model")
        small = len(shape) < 2 or _is_norm(place)
        found[name] = Place(place, shape, "F32" if small else stored if kind == "auto" else kind.upper())
    return found


def _is_norm(name: str) -> bool:
    return name.endswith("_norm.weight")


def _ordered(places: dict[str, Place], folder: Path) -> Iterator[tuple[Place, np.ndarray]]:
    for name, weight in stored_weights(folder)[1]:
        if name in places:
            yield places[name], weight


def _turned(plan: Plan, name: str, weight: np.ndarray) -> np.ndarray:
    """A weight in float32 as llama.cpp computes with it: rows of queries and keys in pairs of neighbours, Gemma's norms
    with their one."""
    weight = weight.astype(np.float32)
    if heads := plan.heads(name):
        halves = weight.reshape(heads, 2, -1, *weight.shape[1:])
        return halves.swapaxes(1, 2).reshape(weight.shape)
    return weight + np.float32(1) if plan.family.shifted and _is_norm(name) else weight


def _unturned(plan: Plan, name: str, weight: np.ndarray) -> np.ndarray:
    """The way back from `_turned`, written on its own: row 2 i + s of a head was row i of half s."""
    if heads := plan.heads(name):
        width = len(weight) // heads
        rows = [head * width + 2 * i + s for head in range(heads) for s in (0, 1) for i in range(width // 2)]
        return weight[rows]
    return weight - np.float32(1) if plan.family.shifted and _is_norm(name) else weight


def check_gguf(made: Layout, folder: Path, file: Path, values: dict[str, Any], report: Report = silent) -> int:
    """Compare `file` with the weights in `folder`, and its metadata with `values`. Returns the number of tensors.
    Raises ModelError for the first that differs by more than the rounding of the type that it is stored in."""
    gguf, plan = package(), made.plan
    reader = gguf.GGUFReader(file)
    found = {tensor.name: tensor for tensor in reader.tensors}
    wanted = {"general.architecture": plan.family.name, **values}
    for key, value in wanted.items():
        field = reader.get_field(key)
        said = None if field is None else field.contents()
        if said != value and not _rounded(said, value):
            raise ModelError(f"{file.name}: not published: {key} is {_short(said)}, and should be {_short(value)}")
    places = _places(plan, folder, "auto")
    extra = found.keys() - {place.name for place in places.values()} - plan.tensors.keys()
    if extra:
        raise ModelError(f"{file.name}: not published: it has {min(extra)}, of which the model knows nothing")
    for name, tensor in plan.tensors.items():
        if name not in found or not np.array_equal(found[name].data, tensor):
            raise ModelError(f"{file.name}: not published: its {name} is another")
    for done, (place, weight) in enumerate(_ordered(places, folder), 1):
        tensor = found.get(place.name)
        if tensor is None or tuple(map(int, reversed(tensor.shape))) != place.shape:
            raise ModelError(f"{file.name}: not published: it lacks {place.name}, or has it in another shape")
        back = _unturned(plan, place.name, gguf.dequantize(tensor.data, tensor.tensor_type).reshape(place.shape))
        off = float(np.abs(back - _as_stored(weight, tensor.tensor_type.name)).max())
        if not off <= (ONE if plan.family.shifted and _is_norm(place.name) else 0):
            raise ModelError(f"{file.name}: not published: {place.name} differs from the merged weight by {off:.2g}")
        report("reading it back", done, len(places))
    return len(found)


def _as_stored(weight: np.ndarray, kind: str) -> np.ndarray:
    """A weight rounded to the type that the file has it in, as float32."""
    import ml_dtypes

    kinds = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
    return weight.astype(np.float32).astype(kinds[kind]).astype(np.float32)


def _rounded(said: Any, value: Any) -> bool:
    """Whether a number, or a list of them, is what float32 makes of `value`."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, float) and said is not None and np.allclose(said, np.asarray(value, np.float32), 0, 0)


def _short(value: Any) -> str:
    return str(value) if len(str(value)) < 40 else f"{str(value)[:39]}…"
