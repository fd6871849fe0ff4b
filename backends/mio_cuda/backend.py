"""Find the device, and load a model from a folder of safetensors.

PEFT takes seconds to import: it comes with the first model, so that a mistake in the data is told before.
"""

import importlib.util
import math
import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from safetensors import safe_open
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from mio_cuda.loading.late_compile import compiling_later
from mio_cuda.optimizer import available
from mio_local.adapters.merge import ExpertPlace
from mio_local.arrays import MATRIX, rates
from mio_local.backends import Device, importing, require
from mio_local.errors import BackendError, ModelError, one_line
from mio_local.launched.rank_place import Place
from mio_local.process import check_address_space, installing, uncollected
from mio_local.recipe import ModelSettings

if TYPE_CHECKING:
    from mio_cuda.model import CudaModel
    from mio_cuda.ranks.collective import TorchCollective
    from mio_cuda.sequence_rewards import SequenceRewards

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class CudaBackend:
    """The PyTorch backend."""

    name = "cuda"
    unused = ()

    def __init__(self) -> None:
        require("peft")
        self.optimizers = available()
        self.versions = {package: version(package) for package in ("torch", "transformers", "peft")}

    def probe(self, device: str) -> Device:
        """`auto` and `gpu` want a CUDA GPU: a run that fell back to the CPU unasked would take days."""
        name = "cuda" if device in ("auto", "gpu") else device
        if name == "cpu":
            return Device("cpu", "CPU", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        if name == "mps":
            if not torch.backends.mps.is_available():
                raise BackendError("--device mps: PyTorch sees no Apple GPU on this machine; use --device cpu")
            return Device("gpu", "Apple GPU", torch.mps.recommended_max_memory())
        kind, _, index = name.partition(":")
        if kind != "cuda" or (index and not index.isdigit()):
            raise BackendError(f"--device {device}: not a device; use auto, cuda, cuda:N, mps or cpu")
        if not torch.cuda.is_available():
            raise BackendError("--backend cuda: PyTorch sees no CUDA GPU here; to train on the CPU, add --device cpu")
        number = int(index or 0)
        if number >= torch.cuda.device_count():
            raise BackendError(f"--device {device}: there are {torch.cuda.device_count()} GPUs, numbered from 0")
        properties = torch.cuda.get_device_properties(number)
        return Device("gpu", properties.name, properties.total_memory)

    def auto_dtype(self, device: str) -> str:
        """Tensor cores have bfloat16 since Ampere, compute capability 8.0."""
        place = _place(device)
        old = place.type == "cuda" and torch.cuda.get_device_capability(place) < (8, 0)
        return "float16" if old else "bfloat16"

    def matrix_rates(self, device: str, dtype: str = "float32") -> list[float]:
        place = _place(device)
        size = MATRIX if place.type == "cpu" else 4 * MATRIX
        one, two = (torch.randn(size, size, device=place).to(DTYPES[dtype]) for _ in range(2))

        def product() -> None:
            out = one @ two
            if place.type == "cuda":
                torch.cuda.synchronize(place)
            else:
                out[0, 0].item()

        return rates(2 * size**3, product)

    def limit_memory(self, device: str, size: int) -> None:
        place = _place(device)
        if place.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(min(1.0, size / self.probe(device).memory), place)

    def load(
        self, folder: Path, settings: ModelSettings, device: str, *, grad_checkpoint: bool, seed: int,
        shard: "TorchCollective | None" = None,
    ) -> "CudaModel":  # fmt: skip
        """Load the model in `folder`, in `settings.dtype`, quantised by bitsandbytes where asked. What is to be spread
        over ranks is loaded on the CPU, where its files are mapped, as no GPU may hold it."""
        check_address_space(folder)
        with importing(self.name), uncollected(), compiling_later():
            from mio_cuda.model import CudaModel

        self.probe(device)
        place = _place("cpu" if shard else device)
        auto = "float32" if place.type == "cpu" else self.auto_dtype(device)
        dtype = DTYPES[auto if settings.dtype == "auto" else settings.dtype]
        if place.type == "cuda":
            torch.cuda.set_device(place)
        transformers.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        torch.manual_seed(seed)
        try:
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=settings.trust_remote_code)
            no_dropout(config)
            _check_size(folder, config)
            model, loaded = _auto(config).from_pretrained(  # pyright: ignore[reportGeneralTypeIssues] - a pair
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=settings.trust_remote_code,
                quantization_config=_quantization(settings, dtype),
                device_map={"": place} if place.type == "cuda" or _quantised(settings, config) else None,
                ignore_mismatched_sizes=True,  # so that they are reported below, and not in a table on stderr
                output_loading_info=True,
            )
        except ModelError:
            raise
        except Exception as error:  # transformers raises whatever a strange config makes it meet
            raise ModelError(_explain(folder, error)) from error
        _check_complete(folder, loaded)
        if place.type == "mps" and not _quantised(settings, config):
            torch.nn.Module.to(model, place)
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                # else bitsandbytes rounds the scales to bfloat16 in evaluation: policy would not equal reference
                module.support_avx512bf16_for_cpu = False
        if shard:
            from mio_cuda.ranks.sharded_model import ShardedModel

            return ShardedModel(model, shard, grad_checkpoint=grad_checkpoint)
        return CudaModel(model, place, grad_checkpoint=grad_checkpoint)

    def reward_model(self, folder: Path) -> "SequenceRewards":
        """The reward model in `folder`, on a GPU of CUDA's or Apple's, else on the CPU. Raises ModelError."""
        from mio_cuda.sequence_rewards import SequenceRewards

        check_address_space(folder)
        name = "cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return SequenceRewards(folder, torch.device(name), torch.float32 if name == "cpu" else "auto")

    def join(self, place: Place, device: str) -> "tuple[TorchCollective, str]":
        from mio_cuda.ranks.collective import TorchCollective

        if device.startswith("cuda:") and device != "cuda:0":
            raise BackendError(f"--device {device}: the ranks take the GPUs from the first on; choose them by "
                               "CUDA_VISIBLE_DEVICES")  # fmt: skip
        own = f"cuda:{place.local}" if _place(device).type == "cuda" else device
        self.probe(own)
        return TorchCollective(place, _place(own)), own

    def layer_names(self, folder: Path, settings: ModelSettings) -> list[str]:
        with importing(self.name):
            from mio_cuda.linears import linear_layers

        trust = settings.trust_remote_code
        try:
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust)
            with torch.device("meta"):
                model = _auto(config).from_config(config, trust_remote_code=trust)
            return linear_layers(model)
        except Exception as error:  # as in `load`
            raise ModelError(_explain(folder, error)) from error

    def loader(self, folder: Path) -> str:
        return _auto(transformers.AutoConfig.from_pretrained(folder)).__name__

    def logits(
        self, folder: Path, settings: ModelSettings, device: str, ids: Sequence[int], adapter: Path | None
    ) -> np.ndarray:
        model = self.load(folder, settings, device, grad_checkpoint=False, seed=0)
        from mio_cuda import files

        try:
            return files.logits(model.model, model.device, ids, adapter)
        except Exception as error:  # PEFT's own, of what it does not take
            raise ModelError(f"{adapter or folder}: {type(error).__name__}: {one_line(error)} (PEFT)") from error

    def dense(
        self, folder: Path, settings: ModelSettings, device: str
    ) -> tuple[list[str], Iterator[tuple[str, np.ndarray]]]:
        model = self.load(folder, settings, device, grad_checkpoint=False, seed=0).model
        from mio_cuda import files

        return files.dense(model)

    def expert_places(self, folder: Path, settings: ModelSettings, layers: Sequence[str]) -> list[ExpertPlace]:
        raise ModelError(f"{layers[0]}: a stack of experts, which no adapter of PEFT's is on here")

    def quantize(self, folder: Path, bits: int, device: str) -> None:
        settings = ModelSettings.model_validate({"quantize": bits})
        model = self.load(folder, settings, device, grad_checkpoint=False, seed=0).model
        for file in folder.glob("*.safetensors*"):
            file.unlink()
        model.save_pretrained(str(folder), safe_serialization=True)


def _place(device: str) -> torch.device:
    """The device that PyTorch is to use for one of the recipe's names."""
    return torch.device("cuda:0" if device in ("auto", "gpu", "cuda") else device)


def _auto(config: Any) -> Any:
    """The class of transformers that loads such a model for text: a causal one, else one that takes pictures too."""
    kind = config.model_type
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return transformers.AutoModelForImageTextToText
    return transformers.AutoModelForCausalLM


def _quantised(settings: ModelSettings, config: Any) -> bool:
    """Whether the weights are quantised, while loading or already: such a model is placed as it is read."""
    return bool(settings.quantize or getattr(config, "quantization_config", None))


def _check_size(folder: Path, config: Any) -> None:
    """Raise ModelError where the config describes far more weights than the files hold: they would be drawn at random,
    or fill the memory first."""
    if getattr(config, "quantization_config", None) or getattr(config, "auto_map", None):
        return
    with torch.device("meta"):
        wanted = sum(p.numel() for p in _auto(config).from_config(config).parameters())
    held = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(str(file), "pt") as tensors:
            held += sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    if wanted > 1.5 * held + 1e6:
        raise ModelError(f"{folder}: config.json describes {wanted:,} weights, the files hold {held:,}: not its config")


def _check_complete(folder: Path, loaded: dict[str, Any]) -> None:
    """Raise ModelError for tensors that transformers did not find, as it fills those with random numbers."""
    if missing := sorted(loaded["missing_keys"]):
        raise ModelError(f"{folder}: the weights are incomplete: {len(missing)} tensors missing, as {missing[0]}")
    if wrong := sorted(loaded["mismatched_keys"]):
        name, found, needed = wrong[0]
        raise ModelError(f"{folder}: {name} has shape {tuple(found)}, config.json asks for {tuple(needed)}")


def no_dropout(config: Any) -> None:
    """Turn the base model's own dropout and noise off: policy and reference must differ by the adapter alone."""
    for key, value in vars(config).items():
        if isinstance(value, float) and ("dropout" in key or key.endswith("pdrop") or "jitter" in key):
            setattr(config, key, 0.0)
        elif isinstance(value, transformers.PretrainedConfig):
            no_dropout(value)


def _quantization(settings: ModelSettings, compute: torch.dtype) -> Any:
    if not settings.quantize:
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise BackendError(
            f"--quantize {settings.quantize}: bitsandbytes is not installed; {installing('cuda')}"
        ) from None
    if settings.quantize == 8:
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )


def _explain(folder: Path, error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return f"{folder}: this model needs Python code from its repository; if you trust it, add --trust-remote-code"
    return f"{folder}: transformers cannot load it: {type(error).__name__}: {one_line(error)}"
