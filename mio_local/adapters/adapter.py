"""LoRA adapters as numpy arrays: which layers get one, their first weights, and reading one from disk.

Canonical names are `<module>.lora_A` (rank, in), `<module>.lora_B` (out, rank) and, with DoRA, `<module>.magnitude`
(out,), where <module> is the layer's full name in the model: `model.layers.0.self_attn.q_proj`. Layers that stack
experts carry the expert axis in front. Each backend maps them to its library's own.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mio_local.adapters.claims import claimed
from mio_local.adapters.counterparts import NOT_TEXT, canonical, counterparts, renamed_like
from mio_local.adapters.targets import matched, there_are
from mio_local.adapters.terms import apart, evened, kept, mlx_terms, patterns_for, peft_terms
from mio_local.errors import ModelError, RecipeError, nearest, one_line
from mio_local.learning import is_pattern
from mio_local.models.tensors import open_tensors
from mio_local.models.weights import BLOCK
from mio_local.recipe import LoraSettings, Recipe
from mio_local.storage.digests import fault_of
from mio_local.storage.json_files import parse, read_json

Adapter = dict[str, np.ndarray]

FILES = {"mlx": "adapters.safetensors", "peft": "adapter_model.safetensors"}
MLX = {"lora_A": "lora_a", "lora_B": "lora_b", "magnitude": "m"}  # the canonical leaves in either format
PEFT = {"lora_A": "lora_A.weight", "lora_B": "lora_B.weight", "magnitude": "lora_magnitude_vector"}
# settings of PEFT's that add something else than alpha / rank * B A to a layer, or add it at some tokens alone
OTHER_SUMS = ("alora_invocation_tokens", "arrow_config", "kasa_config", "lora_bias", "monteclora_config",
              "target_parameters", "trainable_token_indices", "use_bdlora", "use_qalora", "velora_config")  # fmt: skip
CHANGE_BASE = ("pissa", "olora")
ORIGIN = "origin_config"  # the key in a safetensors file's metadata for the settings in the other format


@dataclass(frozen=True)
class Slot:
    """One adapted layer: its name, and the shapes of A and B. `fan_in` is the input width."""

    name: str
    a: tuple[int, ...]
    b: tuple[int, ...]
    fan_in: int


def choose_layers(
    names: Sequence[str], settings: LoraSettings, left_out: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """The linear layers of `names` that the settings adapt: the last `layers` blocks, by `targets`. all-linear is what
    is not `left_out` (by name, why); that is adapted where a target names it and it is one of `names`.

    Raises RecipeError for a target that matches no layer, and ModelError where the model has no linear layer at all.
    """
    blocks = [(match, name) for name in names if (match := BLOCK.match(name)) and not NOT_TEXT.search(name)]
    if not blocks:
        raise ModelError("the model has no linear layers inside numbered blocks, so nothing can be adapted")
    count = 1 + max(int(match["index"]) for match, _ in blocks)
    first = count - settings.layers if settings.layers else 0
    inside = [(match["leaf"], name) for match, name in blocks if int(match["index"]) >= first]
    if settings.targets == ["all-linear"]:
        return [name for _, name in inside if name not in left_out]
    chosen: dict[str, None] = {}
    for target in settings.targets:
        hits = matched(target, inside)
        if not hits:
            leaves = sorted({leaf.rpartition(".")[2] for leaf, _ in inside})
            refused = [why for name, why in left_out.items() if f".{name}".endswith(f".{target}")]
            near = "" if is_pattern(target) else nearest(target, leaves)
            reason = refused[0] if refused else f"no linear layer matches{near}"
            raise RecipeError(f"--targets {target}: {reason}; {there_are(inside)}")
        chosen.update(dict.fromkeys(hits))
    return [name for name in names if name in chosen]


def draw_adapter(slots: Sequence[Slot], seed: int) -> Adapter:
    """First weights: A uniform in ±1/sqrt(in) (as PEFT and mlx-lm draw it), B zero. Each layer has a stream of its own,
    by its number and its name inside the block, so every backend and every choice of layers starts from the same
    numbers."""
    adapter: Adapter = {}
    for slot in slots:
        rng = np.random.default_rng([seed, zlib.crc32(canonical(slot.name).encode())])
        bound = slot.fan_in**-0.5
        adapter[f"{slot.name}.lora_A"] = rng.uniform(-bound, bound, slot.a).astype(np.float32)
        adapter[f"{slot.name}.lora_B"] = np.zeros(slot.b, np.float32)
    return adapter


@dataclass(frozen=True)
class SavedAdapter:
    """An adapter from disk, and the LoRA settings it was trained with. `kind`: mlx or peft. `stored`: the dtype of each
    tensor in the file. `config`: its adapter_config.json. `origin`: that of the other format, where it was converted
    from there and still says the same."""

    folder: Path
    weights: Adapter
    rank: int
    alpha: float
    dora: bool
    dropout: float = 0.0
    kind: str = ""
    stored: Mapping[str, np.dtype] = field(default_factory=dict[str, np.dtype])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    origin: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rslora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict[str, int])
    alpha_pattern: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def settings(self) -> LoraSettings:
        """What a model is told that takes it."""
        return LoraSettings(**kept(self))

    @property
    def base(self) -> str:
        """The model it is for, where it says so."""
        return str(self.config.get("base_model_name_or_path") or self.config.get("model") or "")

    @property
    def names(self) -> list[str]:
        """The layers it adapts, in the file's order."""
        return list(dict.fromkeys(key.rpartition(".")[0] for key in self.weights))

    def check_whole(self) -> None:
        """Raise ModelError where one of a layer's tensors is missing."""
        for layer in self.names:
            for leaf in ("lora_A", "lora_B", *["magnitude"] * self.dora):
                if f"{layer}.{leaf}" not in self.weights:
                    raise ModelError(f"{self.folder}: lacks {layer}.{leaf}")

    def fitted(self, present: Sequence[str]) -> "SavedAdapter":
        """The adapter with its layers called as a model calls them, whose linear layers are `present`. Raises
        ModelError where it adapts one that is not among those, or lacks one."""
        found = counterparts(self.names, present)
        if unknown := [name for name in self.names if name not in found]:
            raise ModelError(
                f"{self.folder}: adapts {unknown[0]}, which is no linear layer of this model: trained on another base?"
            )
        self.check_claimed(present)
        return self.renamed(found)

    def renamed(self, names: Mapping[str, str]) -> "SavedAdapter":
        """The adapter with other names for its layers."""

        def told(key: str) -> str:
            layer, _, leaf = key.rpartition(".")
            return f"{names[layer]}.{leaf}"

        return replace(self, weights={told(key): value for key, value in self.weights.items()},
                       stored={told(key): kind for key, kind in self.stored.items()},
                       **patterns_for(self, names))  # fmt: skip

    def check_claimed(self, present: Sequence[str]) -> None:
        """Raise ModelError where it lacks one of the model's linear layers that its settings say it adapts."""
        known = renamed_like(self.names, present)
        if missing := sorted(claimed(self.kind, self.config, self.names, known) - set(self.names)):
            more = f" and {len(missing) - 1} more layers" if len(missing) > 1 else ""
            raise ModelError(f"{self.folder}: lacks {missing[0]}.lora_A{more}, which its adapter_config.json names")

    def check_shapes(self, slots: Sequence[Slot]) -> None:
        """Raise ModelError for a tensor that is missing, or of another shape than the model's layer needs."""
        self.check_whole()
        for slot in slots:
            for key, needed in ((f"{slot.name}.lora_A", slot.a), (f"{slot.name}.lora_B", slot.b)):
                if (shape := self.weights[key].shape) != needed:
                    raise ModelError(
                        f"{self.folder}: {key} has shape {shape}, this model's layer needs {needed}: another base?"
                    )


def read_adapter(folder: Path) -> SavedAdapter:
    """Read an adapter in mlx-lm's or PEFT's format, or a run's. Raises ModelError naming what is missing or unknown."""
    if not (folder / "adapter_config.json").exists() and (folder / "adapter" / "adapter_config.json").exists():
        folder /= "adapter"  # a run's
    config_file = folder / "adapter_config.json"
    if not folder.exists():
        raise ModelError(f"{folder}: no such adapter folder")
    if not config_file.exists():
        raise ModelError(f"{folder}: no adapter_config.json, so this is no adapter folder")
    if fault := fault_of(folder):  # one of a run's
        raise ModelError(f"{folder}: {fault}; put that back, or take the adapter of a checkpoint: --checkpoint step-N")
    try:
        config: dict[str, Any] = read_json(config_file)
    except (OSError, ValueError) as error:
        raise ModelError(f"{config_file}: not readable JSON: {one_line(error)}") from None
    for file_name, reader in ((FILES["mlx"], _from_mlx), (FILES["peft"], _from_peft)):
        if (folder / file_name).exists():
            tensors, origin = _tensors(folder / file_name)
            if not tensors:
                raise ModelError(f"{folder / file_name}: holds no weights")
            try:
                found = reader({key: value.astype(np.float32) for key, value in tensors.items()}, config, folder)
                stored = dict(zip(found.weights, (value.dtype for value in tensors.values()), strict=True))
                found = replace(found, stored=stored, config=config)
                claimed(found.kind, config, found.names, found.names)  # raises where it names layers in no way
            except KeyError as error:
                raise ModelError(f"{config_file}: lacks {error.args[0]}") from None
            except (AttributeError, TypeError, ValueError, re.error) as error:
                raise ModelError(f"{config_file}: not an adapter's settings: {one_line(error)}") from None
            if outside := [name for name in found.names if not BLOCK.match(name)]:
                raise ModelError(f"{folder}: adapts {outside[0]}; only layers inside the model's blocks are supported")
            if not _same(found, origin):
                return found
            # mlx-lm's settings have one rank and scale, PEFT's say how they came about
            return replace(_in_terms_of(found, origin) if found.kind == "mlx" else found, origin=origin)
    if list(folder.glob("adapter_model.bin")):
        raise ModelError(f"{folder}: adapter_model.bin is a pickle, which can run code; save it as safetensors first")
    raise ModelError(f"{folder}: holds neither adapters.safetensors (mlx-lm) nor adapter_model.safetensors (PEFT)")


def _tensors(file: Path) -> tuple[Adapter, dict[str, Any]]:
    """The tensors as stored, and what settings came along from another format."""
    from safetensors import SafetensorError

    try:
        with open_tensors(file) as tensors:
            arrays = {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118 - a handle, not a dict
            origin = (tensors.metadata() or {}).get(ORIGIN, "{}")
    except (SafetensorError, OSError, TypeError) as error:
        raise ModelError(f"{file}: not a readable safetensors file: {one_line(error)}") from None
    try:
        if not isinstance(settings := parse(origin), dict):
            raise ValueError("no table")
        return arrays, settings
    except ValueError as error:
        raise ModelError(f"{file}: {ORIGIN} in its metadata is no adapter's settings: {one_line(error)}") from None


def _same(saved: SavedAdapter, origin: Mapping[str, Any]) -> bool:
    """Whether the settings that came along say what the adapter's own do: those may have been edited since."""
    try:
        theirs = _in_terms_of(saved, origin)
        claimed("peft" if saved.kind == "mlx" else "mlx", origin, saved.names, saved.names)  # raises likewise
    except (KeyError, AttributeError, TypeError, ValueError, re.error):
        return False
    (rank, scale), (their_rank, their_scale) = evened(saved, saved.names), evened(theirs, saved.names)
    near = np.allclose((their_scale, theirs.dropout), (scale, saved.dropout), rtol=1e-9, atol=0)
    return near and (their_rank, theirs.dora) == (rank, saved.dora)


def _in_terms_of(saved: SavedAdapter, origin: Mapping[str, Any]) -> SavedAdapter:
    """The adapter as the other format's settings have it. Raises ValueError where its weights are none of those."""
    if saved.kind == "mlx":
        told = replace(saved, **peft_terms(origin))
        return replace(told, weights=apart(saved.weights, told))
    return replace(saved, rslora=False, rank_pattern={}, alpha_pattern={}, **mlx_terms(origin))


def inherit(recipe: Recipe, initial: SavedAdapter) -> Recipe:
    """The recipe with rank, alpha and kind of the adapter that the run continues from."""
    return recipe.model_copy(update={"lora": recipe.lora.model_copy(update=kept(initial))})


def _from_mlx(tensors: Adapter, config: dict[str, Any], folder: Path) -> SavedAdapter:
    if config.get("fine_tune_type", "lora") == "full":
        raise ModelError(f"{folder}: holds full weights, not an adapter")
    parameters = config.get("lora_parameters", {})
    if "scale" not in parameters or "rank" not in parameters:
        raise ModelError(f"{folder}/adapter_config.json: lora_parameters must hold rank and scale")
    renamed = {theirs: leaf for leaf, theirs in MLX.items()}
    weights: Adapter = {}
    for key, value in tensors.items():
        layer, _, leaf = key.rpartition(".")
        if leaf not in renamed:
            raise ModelError(f"{folder}: {key} is no LoRA weight")
        # mlx-lm stores plain layers' factors transposed, and stacked experts' as they are
        weights[f"{layer}.{renamed[leaf]}"] = np.ascontiguousarray(value.T) if value.ndim == 2 else value
    return SavedAdapter(folder, weights, kind="mlx", **mlx_terms(config))


def _from_peft(tensors: Adapter, config: dict[str, Any], folder: Path) -> SavedAdapter:
    if str(config.get("peft_type", "LORA")).upper() != "LORA":
        raise ModelError(f"{folder}: a PEFT {config.get('peft_type')} adapter; only LORA is supported")
    for key in ("modules_to_save", "layer_replication", *OTHER_SUMS):
        if config.get(key):
            raise ModelError(f"{folder}/adapter_config.json: {key} is not supported")
    drawn = str(config.get("init_lora_weights", "")).lower()
    if drawn.startswith(CHANGE_BASE):
        raise ModelError(
            f"{folder}/adapter_config.json: init_lora_weights {drawn!r} is not supported, as PEFT changes the base too "
            "when it loads such an adapter; convert it to plain LoRA by PEFT: save_pretrained(..., "
            "path_initial_model_for_weight_conversion=...)"
        )
    weights: Adapter = {}
    for key, value in tensors.items():
        name = key.removeprefix("base_model.model.")
        for leaf, ending in PEFT.items():
            if name.endswith("." + ending):
                weights[f"{name.removesuffix('.' + ending)}.{leaf}"] = value
                break
        else:
            raise ModelError(f"{folder}: {key} is no LoRA weight")
    return SavedAdapter(folder, weights, kind="peft", **peft_terms(config))
