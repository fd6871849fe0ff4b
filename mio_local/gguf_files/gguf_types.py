"""In which type each tensor of a GGUF file is stored, and which of llama.cpp's types are made here.

The gguf package is asked what it can quantise; what it cannot is llama-quantize's. Matrices that cannot be cut into
blocks keep the type of the weights. Norms and vectors are float32, as llama.cpp wants them, and the output, or the
embedding that is one, has at least 8 bits: llama.cpp gives it 6 where the others have fewer, of a kind that the package
reads and does not make (src/llama-quant.cpp of llama.cpp).
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from mio_local.errors import BackendError, RecipeError, nearest
from mio_local.process import installing

AUTO = "auto"  # the weights' own type
PLAIN = ("F32", "F16", "BF16")  # types without blocks, and those that weights come in
OUTPUT = "Q8_0"
SLICE = 1 << 24  # numbers that are in float32 at a time


def package() -> Any:
    """The gguf package. Raises BackendError where it is missing."""
    try:
        import gguf
    except ImportError:
        raise BackendError(f"gguf is not installed; {installing('export')}") from None
    return gguf


@cache
def file_types() -> dict[str, int]:
    """By the name of a kind of file, as f16, q8_0 or q4_k_m, GGUF's number for it."""
    named = {kind.name.partition("_")[2].lower(): int(kind) for kind in package().LlamaFileType if "_" in kind.name}
    return {name: number for name, number in named.items() if name}


@cache
def made_here() -> tuple[str, ...]:
    """The kinds of file whose type of tensor the gguf package quantises."""
    gguf = package()
    return tuple(name for name in file_types() if name.upper() in gguf.GGMLQuantizationType.__members__
                 and _quantises(gguf, gguf.GGMLQuantizationType[name.upper()]))  # fmt: skip


def _quantises(gguf: Any, kind: Any) -> bool:
    try:
        gguf.quantize(np.zeros((1, gguf.GGML_QUANT_SIZES[kind][0]), np.float32), kind)
    except NotImplementedError:
        return False
    return True


def check_kind(kind: str, flag: str) -> None:
    """Raise RecipeError for a kind of file that llama.cpp does not have."""
    known = [AUTO, *file_types()]
    if kind not in known:
        here = ", ".join(sorted(made_here()))
        raise RecipeError(f"{flag} {kind}: no such type{nearest(kind, known)}; there are auto, {here}, and with "
                          "llama.cpp's llama-quantize q6_k, q5_k_m, q4_k_m and others")  # fmt: skip


def is_norm(name: str) -> bool:
    """Whether a tensor is a norm's weight."""
    return name.endswith("_norm.weight")


def type_of(kind: str, name: str, shape: tuple[int, ...], stored: str, *, tied: bool) -> str:
    """The type of a tensor in a file of `kind`: F32, BF16, Q8_0, ... `stored`: that of the weights. `tied`: whether the
    embedding is the output too."""
    if len(shape) < 2 or is_norm(name):
        return "F32"
    if kind == AUTO:
        return stored
    wanted = kind.upper()
    if wanted in PLAIN:
        return wanted
    if name == ("token_embd.weight" if tied else "output.weight"):
        wanted = OUTPUT
    return wanted if shape[-1] % block(wanted) == 0 else stored


def block(kind: str) -> int:
    """Numbers of a row that are quantised together; 1 where each is alone."""
    gguf = package()
    return gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][0]


def packed_shape(shape: tuple[int, ...], kind: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype in which the gguf package hands out a tensor of `shape`: bytes for blocks."""
    if kind in ("F32", "F16"):
        return shape, np.dtype(np.float32 if kind == "F32" else np.float16)
    gguf = package()
    return gguf.quant_shape_to_byte_shape(shape, gguf.GGMLQuantizationType[kind]), np.dtype(np.uint8)


def slices(weight: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Copies of a weight in float32, SLICE numbers at a time or one row: the rows, and what they hold."""
    if weight.ndim < 2:
        yield slice(None), weight.astype(np.float32)
        return
    step = max(1, SLICE // max(1, weight[0].size))
    for start in range(0, len(weight), step):
        rows = slice(start, start + step)
        yield rows, np.array(weight[rows], np.float32, order="C")


def quantised(values: np.ndarray, kind: str) -> np.ndarray:
    """Float32 values as a GGUF file holds them in this type."""
    gguf = package()
    return gguf.quantize(values, gguf.GGMLQuantizationType[kind])


def rounded(values: np.ndarray, kind: str) -> np.ndarray:
    """Float32 values after the way into this type and back."""
    import ml_dtypes

    if kind in PLAIN:  # by another library than the one that wrote them
        kinds = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
        return values.astype(kinds[kind]).astype(np.float32)
    gguf = package()
    return gguf.dequantize(quantised(values, kind), gguf.GGMLQuantizationType[kind])
