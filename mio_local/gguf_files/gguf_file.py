"""A folder of weights as one GGUF file for llama.cpp, and the file read back against that folder.

Matrices keep the type of the weights unless another is asked for: what is trained here in float32 is not rounded
unseen, while llama.cpp's converter makes float16 of it. A tensor is read, turned and quantised at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.errors import ModelError
from mio_local.gguf_files.gguf_config import Plan, read_plan
from mio_local.gguf_files.gguf_tokenizer import Vocabulary, read_vocabulary
from mio_local.gguf_files.gguf_types import (
    AUTO,
    PLAIN,
    file_types,
    is_norm,
    package,
    packed_shape,
    quantised,
    rounded,
    slices,
    type_of,
)
from mio_local.models.weights import stored_shapes, stored_weights
from mio_local.progress import Report, silent

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


def layout(folder: Path) -> Layout:
    """The layout for the model in `folder`. Raises ModelError for what llama.cpp cannot hold, BackendError without the
    gguf package."""
    package()
    plan = read_plan(folder)
    sizes = {name: shape for name, shape, _ in stored_shapes(folder)}
    rows = next((shape[0] for name, shape in sizes.items() if name.endswith("embed_tokens.weight")), 0)
    return Layout(plan, read_vocabulary(folder, rows or plan.values["vocab_size"]))


def write_gguf(made: Layout, folder: Path, file: Path, kind: str, title: str, report: Report = silent) -> None:
    """Write the weights in `folder` to `file`; `kind` is auto or one that is made here. Raises ModelError."""
    gguf = package()
    plan, places = made.plan, _places(made.plan, folder, kind)
    writer = gguf.GGUFWriter(None, plan.family.name)  # it names the architecture
    matrices = [place.kind for place in places.values() if len(place.shape) > 1 and not is_norm(place.name)]
    most = max(set(matrices), key=matrices.count).lower() if kind == AUTO else kind
    for key, value in (metadata(made, title) | {"general.file_type": file_types()[most]}).items():
        add_value(writer, key, value)
    for name, tensor in plan.tensors.items():
        writer.add_tensor_info(name, tensor.shape, tensor.dtype, tensor.nbytes)
    for place in places.values():
        shape, dtype = packed_shape(place.shape, place.kind)
        size = int(np.prod(shape)) * dtype.itemsize
        writer.add_tensor_info(place.name, shape, dtype, size, gguf.GGMLQuantizationType[place.kind])
    writer.write_header_to_file(file)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    try:
        for tensor in plan.tensors.values():
            writer.write_tensor_data(tensor)
        for done, (place, weight) in enumerate(_ordered(places, folder), 1):
            writer.write_tensor_data(_packed(plan, place, turned(plan, place.name, weight)))
            report("writing GGUF", done, len(places))
    finally:
        writer.close()


def _packed(plan: Plan, place: Place, weight: np.ndarray) -> np.ndarray:
    """A weight that is turned, as the file holds it."""
    shape, dtype = packed_shape(place.shape, place.kind)
    data = np.empty(shape, dtype)
    for rows, values in slices(weight):
        if place.kind == "F16" and (largest := np.abs(values).max()) > np.finfo(np.float16).max:
            raise ModelError(f"{place.name} has {largest:.3g}, which float16 cannot hold; add --quantize bf16")
        if shift := plan.shift(place.name):
            values += np.float32(shift)
        data[rows] = quantised(values, place.kind)
    return data


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


def add_value(writer: Any, key: str, value: Any) -> None:
    """Add metadata of the type that GGUF has for it."""
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
        if not allowed or stored not in PLAIN:
            raise ModelError(f"{folder}: llama.cpp has no place for {name} ({stored}) in a {plan.family.name} model")
        found[name] = Place(place, shape, type_of(kind, place, shape, stored, tied=plan.tied))
    return found


def _ordered(places: dict[str, Place], folder: Path) -> Iterator[tuple[Place, np.ndarray]]:
    for name, weight in stored_weights(folder)[1]:
        if name in places:
            yield places[name], weight


def turned(plan: Plan, name: str, weight: np.ndarray) -> np.ndarray:
    """A weight with its rows as llama.cpp has them: those of queries and keys in pairs of neighbours."""
    if heads := plan.heads(name):
        halves = weight.reshape(heads, 2, -1, *weight.shape[1:])
        return halves.swapaxes(1, 2).reshape(weight.shape)
    return weight


def unturned(plan: Plan, name: str, rows: np.ndarray) -> np.ndarray:
    """The way back from `turned`, written on its own: row 2 i + s of a head was row i of half s."""
    if heads := plan.heads(name):
        width = len(rows) // heads
        return rows[[head * width + 2 * i + s for head in range(heads) for s in (0, 1) for i in range(width // 2)]]
    return rows


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
    places = _places(plan, folder, AUTO)
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
        off, shift = 0.0, plan.shift(place.name)
        data = unturned(plan, place.name, tensor.data.reshape(packed_shape(place.shape, tensor.tensor_type.name)[0]))
        for rows, part in slices(weight):
            back = gguf.dequantize(data[rows], tensor.tensor_type) - np.float32(shift)
            off = max(off, float(np.abs(back - rounded(part, tensor.tensor_type.name)).max()))
        if not off <= (ONE if shift else 0):
            raise ModelError(f"{file.name}: not published: {place.name} differs from the merged weight by {off:.2g}")
        report("reading it back", done, len(places))
    return len(found)


def _rounded(said: Any, value: Any) -> bool:
    """Whether a number, or a list of them, is what float32 makes of `value`."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, float) and said is not None and np.allclose(said, np.asarray(value, np.float32), 0, 0)


def _short(value: Any) -> str:
    return str(value) if len(str(value)) < 40 else f"{str(value)[:39]}…"
