"""One mlx-lm model with an adapter: score, differentiate, step, generate, save and restore."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_map, tree_unflatten

from mio_local.adapters.adapter import Adapter, Slot
from mio_local.arrays import ALL, CPU_TOKENS, Scored, sequence_logps, token_logps
from mio_local.backends import Memory
from mio_local.data.collate import Batch, joined
from mio_local.data.loglikelihood import Row, Score, scores
from mio_local.errors import ModelError
from mio_local.objectives.losses import Objective, pair_logps
from mio_local.recipe import HAS_KERNELS, PLAIN, LoraSettings, SpeedSettings, TrainSettings
from mio_local.sampling import Draws, Sampling, Told
from mio_mlx import generation, linears, lora, lora_forward, stream_generate
from mio_mlx.cpu_microbatches import Lanes, evaluate, on_cpu
from mio_mlx.frozen_blocks import Below
from mio_mlx.head import Head
from mio_mlx.layers import activation, attention, kernels
from mio_mlx.optimizer import Updates
from mio_mlx.patching import replaced
from mio_mlx.ranks.collective import MlxCollective
from mio_mlx.recompute import Recompute, keyed_dropouts, renew
from mio_mlx.shared_prompt import SharedPrompt
from mio_mlx.xp import XP


class MlxModel:
    """`mio_local.backends.Model` over mlx-lm."""

    def __init__(self, model: Any, *, grad_checkpoint: bool) -> None:
        self.model = model
        self.recompute = Recompute(model.layers) if grad_checkpoint else None
        self.speed = PLAIN
        kinds = {value.dtype for _, value in lora.leaves(model.parameters())}
        self.half = bool(kinds & {mx.bfloat16, mx.float16})
        self.lanes = Lanes(single=grad_checkpoint)
        self.most = CPU_TOKENS if on_cpu() else ALL
        self.gradient: Any = None
        self.collective: MlxCollective | None = None
        self.reference: list[tuple[str, mx.array]] = []
        mx.reset_peak_memory()

    def share(self, collective: MlxCollective) -> None:
        self.collective = collective

    def linear_layers(self) -> list[str]:
        return linears.linear_layers(self.model)

    def left_out(self) -> dict[str, str]:
        return linears.left_out(self.model)

    def add_lora(self, settings: LoraSettings, train: TrainSettings, names: Sequence[str]) -> list[Slot]:
        if getattr(self.model, "model_type", "") == "gemma3n":  # as of mlx-lm 0.32.2: training goes without a cache
            raise ModelError("mlx-lm's gemma3n gives other logits without a cache than with one; use --backend cuda")
        self.settings = settings
        self.adapter_config, self.adapter_metadata = lora.add_lora(self.model, settings, names)
        self.clip, self.seed, self.steps = train.clip, train.seed, 0
        self.optimizer = Updates(train, self.model.trainable_parameters())
        self.model.eval()  # new layers come in training mode
        self.dropouts = keyed_dropouts(self.model)
        self.value_and_grad = nn.value_and_grad(self.model, self._objective)
        self.head, self.sharing = Head(self.model), SharedPrompt(self.model)
        self.swiglu = activation.places(self.model)
        self.below, self.lean = Below(self.model.layers, names), lora_forward.lora_layers(self.model)
        return lora.slots(self.model, names)

    def use(self, speed: SpeedSettings) -> dict[str, str]:
        refused = speed.refused({
            "share_prompt": self.sharing.refusal,
            "answer_head": self.head.refusal,
            "lean_adapter": "" if self.lean else "only LoRA on linear layers has a lean form",
            "frozen_once": self.below.refusal,
            "fused_layers": HAS_KERNELS,
        })  # fmt: skip
        self.speed = speed.without(refused)
        lora_forward.switch(self.lean, self.speed.lean_adapter)
        return refused

    def set_adapter(self, adapter: Adapter, *, reference: bool = True) -> None:
        lora.set_adapter(self.model, adapter)
        if reference:
            self.reference = lora.leaves(self.model.trainable_parameters())

    def get_adapter(self) -> Adapter:
        return lora.get_adapter(self.model)

    def save_adapter(self, folder: Path) -> None:
        lora.save_adapter(self.model, self.settings, self.adapter_config, self.adapter_metadata, folder)

    def _score(self, batch: Batch, cache: Any, streams: Sequence[mx.Stream], *, gradient: bool) -> mx.array:
        inputs, where, targets, mask = (mx.array(a) for a in (batch.inputs, batch.where, batch.targets, batch.mask))
        if self.speed.answer_head:
            found = self.head.answer_logps(inputs, cache, where, targets, streams, gradient=gradient)
        else:
            logits = self.model(inputs, cache).astype(mx.float32)
            found = token_logps(XP, logits.flatten(0, 1)[where], targets)
        return sequence_logps(found, mask)

    def _objective(
        self, batch: Batch, cache: Any, streams: Sequence[mx.Stream], reference: np.ndarray, objective: Objective,
        scale: float,
    ) -> tuple[mx.array, mx.array, mx.array]:  # fmt: skip
        logps = self._score(batch, cache, streams, gradient=True)
        ref, tokens = mx.array(reference), mx.array(batch.tokens)
        rewards = None if batch.rewards is None else mx.array(batch.rewards)
        loss = objective(XP, pair_logps(logps, ref, tokens, batch.size, rewards)).sum()
        return loss * scale, loss, logps

    def accumulate(self, batch: Batch, reference: np.ndarray, objective: Objective, scale: float) -> Scored:
        total, found, done = 0.0, [], 0
        references = reference.reshape(batch.answers, -1)
        with self._training():
            for group in self.lanes.groups(batch, self.most):
                results: list[Any] = []
                for number, part, streams in group:
                    renew(self.dropouts, part, self.seed, self.steps)
                    rows = references[:, done : done + part.size].ravel()
                    done += part.size
                    with self.below.replaying(batch, number), self._fed(part, streams) as cache:
                        results.append(self.value_and_grad(part, cache, streams, rows, objective, scale))
                evaluate(results)
                for (_, loss, logps), gradient in results:
                    known = self.gradient
                    self.gradient = gradient if known is None else tree_map(mx.add, known, gradient)
                    total += float(loss)
                    found.append(np.array(logps))
                mx.eval(self.gradient)
        return Scored(total, joined(found, batch.answers))

    def rehearse(self, batch: Batch, objective: Objective) -> Scored:
        state = np.array(mx.random.state[0])  # type: ignore[index]
        try:
            return self.accumulate(batch, self.logps(batch, reference=True), objective, 0.0)
        finally:
            self.gradient = None
            _reseed(state)

    def apply(self, learning_rate: float) -> float:
        if self.collective:
            nothing = tree_map(mx.zeros_like, self.model.trainable_parameters())
            self.gradient = self.collective.sum(nothing if self.gradient is None else self.gradient)
        squares = [mx.square(gradient).sum() for _, gradient in lora.leaves(self.gradient)]
        norm = float(mx.sqrt(mx.stack(squares).sum()))
        if np.isfinite(norm):
            if self.clip:
                factor = min(1.0, self.clip / (norm + 1e-6))
                self.gradient = tree_map(lambda g: g * factor, self.gradient)
            self.optimizer.step(self.model, self.gradient, learning_rate)
            self.steps += 1
        self.gradient = None
        return norm

    def logps(self, batch: Batch, *, reference: bool) -> np.ndarray:
        found: list[np.ndarray] = []
        with ExitStack() as contexts:
            contexts.enter_context(self._adapter(reference))
            if reference and self.speed.frozen_once:
                contexts.enter_context(self.below.recording(batch))
            for group in self.lanes.groups(batch, self.most):
                results: list[mx.array] = []
                for _, part, streams in group:
                    with self._fed(part, streams) as cache:
                        results.append(self._score(part, cache, streams, gradient=False))
                evaluate(results)
                found += map(np.array, results)
        return joined(found, batch.answers)

    @contextmanager
    def _fed(self, part: Batch, streams: Sequence[mx.Stream]) -> Generator[list[Any] | None]:
        """The caches to pass in with a part of a batch, while its operations are laid out on the first stream."""
        length = part.inputs.shape[1]
        with (
            mx.stream(streams[0]),
            attention.one_path(),
            replaced(self.swiglu, activation.NAME, lambda _: activation.swiglu),
            self.sharing.layout(part.spans, length, streams) as cache,
        ):
            yield cache

    def generate(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, stop: Sequence[int], *, reference: bool,
        temperature: float = 0.0, seed: int = 0, ends: bool = False,
    ) -> list[list[int]]:  # fmt: skip
        state = np.array(mx.random.state[0])  # type: ignore[index]
        try:
            if temperature:
                mx.random.seed(seed)
            with self._adapter(reference):
                return generation.generate(self.model, prompts, max_tokens, stop, temperature, ends=ends)
        finally:
            if temperature:
                _reseed(state)

    def draw(
        self, prompts: Sequence[Sequence[int]], draws: Draws, stop: Sequence[int], told: Told, *, reference: bool
    ) -> list[list[list[int]]]:
        state = np.array(mx.random.state[0])  # type: ignore[index]
        mx.random.seed(draws.seed)
        try:
            with self._adapter(reference):
                return generation.draw(self.model, prompts, draws, stop, told)
        finally:
            _reseed(state)

    def score(self, rows: Sequence[Row], *, reference: bool) -> list[Score]:
        with self._adapter(reference):
            return scores(rows, self.most, lambda fed: generation.score(self.model, self.head, fed))

    def stream(
        self, prompt: Sequence[int], sampling: Sampling, stop: Sequence[int], told: Callable[[int], bool],
        *, reference: bool,
    ) -> None:  # fmt: skip
        with self._adapter(reference):
            stream_generate.stream(self.model, prompt, sampling, stop, told)

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        return np.array(self.model(mx.array([list(ids)])).astype(mx.float32))[0]

    def release(self) -> None:
        mx.clear_cache()

    def save_state(self, folder: Path) -> None:
        tensors = {f"adapter.{key}": value for key, value in lora.leaves(self.model.trainable_parameters())}
        tensors |= {f"reference.{key}": value for key, value in self.reference}
        tensors |= {f"optimizer.{key}": value for key, value in lora.leaves(self.optimizer.state)}
        tensors["rng"] = mx.random.state[0]  # type: ignore[index]
        tensors["steps"] = mx.array(self.steps)
        mx.save_safetensors(str(folder / "state.safetensors"), tensors)

    def restore_state(self, folder: Path) -> None:
        tensors: dict[str, mx.array] = mx.load(str(folder / "state.safetensors"))  # type: ignore[assignment]
        parts: dict[str, list[tuple[str, mx.array]]] = {"adapter": [], "reference": [], "optimizer": []}
        for key, value in tensors.items():
            part, _, name = key.partition(".")
            if part in parts:
                parts[part].append((name, value))
        mx.eval(list(tensors.values()))  # the file may be replaced while these are lazy
        self.model.update(tree_unflatten(parts["adapter"]))
        self.reference = parts["reference"]
        self.optimizer.state = tree_unflatten(parts["optimizer"])
        self.steps = int(np.array(tensors["steps"])) if "steps" in tensors else 0  # of a run begun before
        _reseed(np.array(tensors["rng"]))

    def memory(self) -> Memory:
        return Memory(mx.get_active_memory(), mx.get_peak_memory())

    @contextmanager
    def _adapter(self, reference: bool) -> Generator[None]:
        """With `reference`, the adapter as it was first set stands in for the trained one."""
        if not reference:
            yield
            return
        policy = lora.leaves(self.model.trainable_parameters())
        self.model.update(tree_unflatten(self.reference))
        try:
            yield
        finally:
            self.model.update(tree_unflatten(policy))

    @contextmanager
    def _training(self) -> Generator[None]:
        """Adapter dropout and recomputation on; the rest of the model stays in evaluation mode."""
        for module in self.dropouts:
            module.train(True)
        if self.recompute:
            self.recompute.on = True
        try:
            with kernels.differentiable():
                yield
        finally:
            self.below.forget()
            for module in self.dropouts:
                module.train(False)
            if self.recompute:
                self.recompute.on = False


def _reseed(state: np.ndarray) -> None:
    """Set MLX's random state, two words, which cannot be assigned since mlx 0.32.1."""
    high, low = (int(word) for word in state)
    mx.random.seed((high << 32) | low)
