"""Find the device, and load a model from a folder of safetensors.

mlx-lm takes seconds to import (transformers, and PyTorch where that is installed): it comes with the first model, so
that a mistake in the data is told before.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map_with_path

from mio_local.adapters.merge import ExpertPlace
from mio_local.arrays import MATRIX, rates
from mio_local.backends import Device, importing, require
from mio_local.errors import BackendError, ModelError, one_line
from mio_local.launched.rank_place import Place
from mio_local.models.locate import read_config
from mio_local.process import check_address_space
from mio_local.recipe import ModelSettings
from mio_mlx.optimizer import AVAILABLE

if TYPE_CHECKING:
    from mio_mlx.model import MlxModel
    from mio_mlx.ranks.collective import MlxCollective

FASTER = 1.2  # times: what float16 must be faster than bfloat16 to be taken, as its range is small
CACHED = 0.1  # share of the memory that MLX may keep for reuse: its own bound is nearly all
DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}


class MlxBackend:
    """The MLX backend."""

    name = "mlx"
    unused = ("torch",)
    optimizers = AVAILABLE

    def __init__(self) -> None:
        require("transformers", "mlx_lm")
        self.versions = {package: version(package) for package in ("mlx", "mlx-lm")}

    def probe(self, device: str) -> Device:
        """`auto` is MLX's own choice: the GPU where there is one."""
        has_gpu = mx.metal.is_available() or mx.cuda.is_available()
        kind = {"auto": "gpu" if has_gpu else "cpu", "gpu": "gpu", "cpu": "cpu"}.get(device)
        if kind is None:
            if device.startswith("cuda") and mx.cuda.is_available():
                kind = "gpu"
            else:
                raise BackendError(f"--device {device}: MLX knows gpu and cpu here; use --device auto")
        if kind == "gpu" and not has_gpu:
            raise BackendError(f"--device {device}: MLX sees no GPU on this machine; use --device cpu")
        info: dict[str, Any] = dict(mx.device_info()) if kind == "gpu" else {}
        # what Metal lets a GPU use of the memory that it shares
        size = info.get("max_recommended_working_set_size") or info.get("memory_size", 0)
        return Device(kind, str(info.get("device_name", "CPU")), int(size))

    def auto_dtype(self, device: str) -> str:
        """By what products take here: an Apple GPU may compute in bfloat16 by way of float32."""
        half, brain = (max(self.matrix_rates(device, dtype)) for dtype in ("float16", "bfloat16"))
        return "float16" if half > FASTER * brain else "bfloat16"

    def matrix_rates(self, device: str, dtype: str = "float32") -> list[float]:
        place = mx.Device(mx.cpu if self.probe(device).kind == "cpu" else mx.gpu)
        with mx.stream(place):
            size = MATRIX if place == mx.Device(mx.cpu) else 4 * MATRIX
            one, two = (mx.random.normal((size, size)).astype(DTYPES[dtype]) for _ in range(2))
            mx.eval(one, two)
            return rates(2 * size**3, lambda: mx.eval(one @ two))

    def limit_memory(self, device: str, size: int) -> None:
        mx.set_memory_limit(size)  # what is cached for reuse counts too, and is given back first

    def load(
        self, folder: Path, settings: ModelSettings, device: str, *, grad_checkpoint: bool, seed: int,
        shard: Any = None,
    ) -> "MlxModel":  # fmt: skip
        """Load, cast and, where asked, quantise the model in `folder`. Raises BackendError for `shard`."""
        if shard:
            raise BackendError("mlx has no way to spread a base over several devices")
        check_address_space(folder)
        with importing(self.name):
            from mlx_lm.utils import maybe_set_recommended_wired_limit

            from mio_mlx.files import quantised
            from mio_mlx.model import MlxModel

        kind = self.probe(device).kind
        mx.set_default_device(mx.Device(mx.gpu if kind == "gpu" else mx.cpu))
        if kind == "gpu":
            maybe_set_recommended_wired_limit()
            mx.set_cache_limit(round(CACHED * self.probe(device).memory))
        mx.random.seed(seed)
        model, config = _described(folder, settings)
        dtype = settings.dtype
        if dtype == "auto":
            dtype = self.auto_dtype(device) if kind == "gpu" else "float32"
        _cast(model, DTYPES[dtype])
        if settings.quantize and "quantization" not in config:
            try:
                model, config = quantised(model, config, settings.quantize)
            except Exception as error:  # of a shape that its groups do not divide
                raise ModelError(f"--quantize {settings.quantize}: {_explain(folder, error)}") from error
        mx.eval(model.parameters())
        return MlxModel(model, grad_checkpoint=grad_checkpoint)

    def join(self, place: Place, device: str) -> "tuple[MlxCollective, str]":
        from mio_mlx.ranks.collective import MlxCollective

        if place.local_size > 1 and self.probe(device).kind == "gpu":
            raise BackendError(f"{place.local_size} ranks on one machine, and MLX has one GPU there; name other "
                               "machines by --hosts, or add --device cpu")  # fmt: skip
        return MlxCollective(place), device

    def layer_names(self, folder: Path, settings: ModelSettings) -> list[str]:
        with importing(self.name):
            from mio_mlx.linears import linear_layers

            return linear_layers(_described(folder, settings)[0])

    def loader(self, folder: Path) -> str:
        return ""

    def logits(
        self, folder: Path, settings: ModelSettings, device: str, ids: Sequence[int], adapter: Path | None
    ) -> np.ndarray:
        from mio_mlx import files

        model = self.load(folder, settings, device, grad_checkpoint=False, seed=0).model
        try:
            return files.logits(model, ids, adapter)
        except Exception as error:  # mlx-lm's own, of what it does not take
            raise ModelError(f"{adapter or folder}: {type(error).__name__}: {one_line(error)} (mlx-lm)") from error

    def dense(
        self, folder: Path, settings: ModelSettings, device: str
    ) -> tuple[list[str], Iterator[tuple[str, np.ndarray]]]:
        from mio_mlx import files

        return files.dense(self.load(folder, settings, device, grad_checkpoint=False, seed=0).model)

    def expert_places(self, folder: Path, settings: ModelSettings, layers: Sequence[str]) -> list[ExpertPlace]:
        from mio_mlx import files

        return files.expert_places(_described(folder, settings)[0], folder, layers)

    def quantize(self, folder: Path, bits: int, device: str) -> None:
        from mio_mlx import files

        self.probe(device)
        files.write_quantised(folder, bits)


def _described(folder: Path, settings: ModelSettings) -> tuple[Any, dict[str, Any]]:
    """mlx-lm's model in `folder` and its config, no weight read yet. Raises ModelError."""
    from mlx_lm.utils import load_model

    try:
        model, config = load_model(folder, lazy=True, trust_remote_code=settings.trust_remote_code)
        model(mx.array([[0]]))  # lazy, so no work: but a strange config may be met only here
        return model, config
    except Exception as error:  # mlx-lm's models raise whatever a strange config makes them meet
        raise ModelError(_explain(folder, error)) from error


def _cast(model: Any, dtype: mx.Dtype) -> None:
    """The model's numbers in `dtype`; of 16 bits, but for those that its own file says to keep as they are."""
    whole = dtype == mx.float32
    may_cast = getattr(model, "cast_predicate", lambda _: True)

    def cast(name: str, value: mx.array) -> mx.array:
        return value.astype(dtype) if mx.issubdtype(value.dtype, mx.floating) and (whole or may_cast(name)) else value

    model.update(tree_map_with_path(cast, model.parameters()))


def _explain(folder: Path, error: Exception) -> str:
    text = one_line(error)
    if "trust_remote_code" in str(error):
        return f"{folder}: this model needs Python code from its repository; if you trust it, add --trust-remote-code"
    if "not supported" in text:
        trust = " --trust-remote-code, if you trust its Python code" if "auto_map" in read_config(folder) else ""
        return f"{folder}: {text} mlx-lm cannot load it; try --backend cuda{trust}"
    return f"{folder}: mlx-lm cannot load it: {type(error).__name__}: {text}"
