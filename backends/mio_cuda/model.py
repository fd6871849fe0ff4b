"""One transformers model with a PEFT adapter: score, differentiate, step, generate, save and restore."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig

from mio_cuda import generation, linears, lora, lora_forward, stream_generate
from mio_cuda.cpu_microbatches import Lanes, changing
from mio_cuda.frozen_blocks import Below
from mio_cuda.head import Head
from mio_cuda.layers.fused_layers import FusedLayers
from mio_cuda.layers.keyed_dropout import ROW_SEEDS, key_dropouts
from mio_cuda.lora_forward import Factors
from mio_cuda.optimizer import Updates
from mio_cuda.placed import Placed, place
from mio_cuda.ranks.collective import TorchCollective
from mio_cuda.shared_prompt import ROWS, SharedPrompt
from mio_cuda.xp import XP
from mio_local.adapters.adapter import Adapter, Slot
from mio_local.arrays import ALL, CPU_TOKENS, Scored, sequence_logps, token_logps
from mio_local.backends import Memory
from mio_local.data.collate import Batch, joined
from mio_local.data.loglikelihood import Row, Score, scores
from mio_local.objectives.losses import Objective, pair_logps
from mio_local.process import most_resident
from mio_local.recipe import PLAIN, LoraSettings, SpeedSettings, TrainSettings
from mio_local.sampling import Draws, Sampling, Told

OPTIMIZER = "optimizer."  # before the names of what it keeps, in a checkpoint


class CudaModel:
    """`mio_local.backends.Model` over transformers and PEFT."""

    collected = False  # whether each pass waits for the other ranks', so that none goes beside another

    def __init__(self, model: Any, device: torch.device, *, grad_checkpoint: bool) -> None:
        self.model = model
        self.device = device
        self.grad_checkpoint = grad_checkpoint
        self.speed = PLAIN
        self.collective: TorchCollective | None = None
        self.most = CPU_TOKENS if device.type == "cpu" else ALL
        self.dtype: torch.dtype = model.dtype
        self.half = self.dtype in (torch.bfloat16, torch.float16)
        self.model.generation_config = GenerationConfig()  # the model's own may penalise repetition
        self.factors = Factors([], {}, self.dtype)  # of no adapter yet
        self.model.eval()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def share(self, collective: TorchCollective) -> None:
        self.collective = collective

    def linear_layers(self) -> list[str]:
        return linears.linear_layers(self.model)

    def left_out(self) -> dict[str, str]:
        return linears.left_out(self.model)

    def add_lora(self, settings: LoraSettings, train: TrainSettings, names: Sequence[str]) -> list[Slot]:
        self.model = lora.add_lora(self.model, settings, names)
        self.patterns = {key: dict(getattr(settings, key)) for key in ("rank_pattern", "alpha_pattern")}
        if self.grad_checkpoint:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.model.config.use_cache = not self.grad_checkpoint
        self.model.eval()
        self.clip, self.seed, self.steps = train.clip, train.seed, 0
        self.drops = key_dropouts(self.model)
        self.parameters = lora.trainable(self.model)
        self.int8 = [module for module in self.model.modules() if hasattr(module, "init_8bit_state")]
        base = self.model.get_base_model()
        # side by side, the activations of several parts would be alive, and with dropout their masks
        single = self.device.type != "cpu" or settings.dropout > 0 or self.grad_checkpoint
        self.lanes = Lanes(single=single or self.collected or changing(base))
        self.head, self.fused = Head(base, self.device, self.lanes.count), FusedLayers(base)
        self.sharing, self.below = SharedPrompt(base), Below(base, names)
        self._spread(base)
        self.optimizer = Updates(train, self.parameters)
        self.lean = lora_forward.lean_layers(self.model)
        self.factors = Factors(self.lean, self.parameters, self.dtype)
        self.modules = [module for module in self.model.modules() if module not in self.int8]
        return lora.slots(self.model, names)

    def _spread(self, base: Any) -> None:
        """Where ranks have the base in common, leave each its share; before anything is kept beside the parameters."""

    def use(self, speed: SpeedSettings) -> dict[str, str]:
        refused = speed.refused({
            "share_prompt": self.sharing.refusal,
            "lean_adapter": "" if self.lean else "only LoRA on linear layers has a lean form",
            "fused_layers": self.fused.refusal,
            "frozen_once": self.below.refusal,
        })  # fmt: skip
        self.speed = speed.without(refused)
        self.factors.switch(on=self.speed.lean_adapter)
        self.fused.switch(on=self.speed.fused_layers)
        self.head.switch(self.device, on=self.speed.fused_layers)
        return refused

    def set_adapter(self, adapter: Adapter, *, reference: bool = True) -> None:
        lora.set_adapter(self.model, adapter)
        if reference:
            self.reference = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def get_adapter(self) -> Adapter:
        return lora.get_adapter(self.model)

    def save_adapter(self, folder: Path) -> None:
        lora.save_adapter(self.model, self.patterns, folder)

    def _parts(self, batch: Batch) -> list[Batch]:
        return batch.split(self.most // self.lanes.count)

    def _turns(self, batch: Batch) -> tuple[list[Batch], int]:
        """Parts of a batch to go through the model; those from that number on are there for other ranks' sake."""
        parts = self._parts(batch)
        return parts, len(parts)

    @contextmanager
    def _at(self, number: int, placed: Placed, seeds: Sequence[tuple[int, int]] = ()) -> Generator[None]:
        """The calling thread works on that part of a batch till its blocks need no recomputation."""
        with self.below.part.put(number), ROWS.put(placed.rows), ROW_SEEDS.put(seeds):
            yield

    @contextmanager
    def _scoring(self, batch: Batch) -> Generator[None]:
        """The model is switched over for the batch, backward pass included."""
        with self.sharing.over(batch), self.fused.scoring():
            yield

    def _score(self, batch: Batch, placed: Placed) -> torch.Tensor:
        # rows are padded on the right and attention is causal, so no attention mask is needed
        fed = {"input_ids": placed.inputs, **(self.sharing.fed(placed.rows) if placed.rows else {})}
        if self.speed.answer_head:
            counts = batch.tokens.reshape(batch.answers, -1).sum(1).astype(int).tolist()
            found = self.head.answer_logps(self.head.hidden(**fed), placed.where, placed.targets, counts)
        else:
            logits = self.model(**fed, use_cache=False).logits.float()
            found = token_logps(XP, logits.flatten(0, 1).index_select(0, placed.where), placed.targets)
        return sequence_logps(found, placed.mask)

    def accumulate(self, batch: Batch, reference: np.ndarray, objective: Objective, scale: float) -> Scored:
        parts, count = self._turns(batch)
        first = np.cumsum([0, *(part.size for part in parts[:count])])
        references = reference.reshape(batch.answers, -1)
        self.factors.renew()
        leaves = self.factors.leaves

        def work(number: int) -> tuple[torch.Tensor, Sequence[torch.Tensor | None]]:
            part, n, start = parts[number], parts[number].size, first[min(number, count - 1)]
            placed = place(part, references[:, start : start + n].flatten(), self.device)
            with self._at(number, placed, part.seeds(self.seed, self.steps) if self.drops else []):
                logps = self._score(part, placed)
                pairs = pair_logps(logps, placed.reference, placed.tokens, n, placed.rewards)
                loss = objective(XP, pairs).sum()
                slopes = torch.autograd.grad(loss * scale, leaves, allow_unused=True)
            return torch.cat([loss.detach().reshape(1), logps.detach()]), slopes

        told = [torch.empty(0)] * count
        with self._training(), self._scoring(batch), self.below.replaying(batch):
            for number, (figures, slopes) in self.lanes.each(parts, work):
                if number < count:
                    told[number] = figures
                    self.optimizer.add(slopes)
        # read once, as each time the host waits for the GPU
        read = np.split(torch.cat(told).cpu().numpy(), np.cumsum([len(one) for one in told])[:-1])
        return Scored(float(sum(float(one[0]) for one in read)), joined([one[1:] for one in read], batch.answers))

    def rehearse(self, batch: Batch, objective: Objective) -> Scored:
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices):
                return self.accumulate(batch, self.logps(batch, reference=True), objective, 0.0)
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def _training(self) -> Generator[None]:
        """The adapter's dropout on, the base's being off, and recomputation."""
        self._train(True)
        try:
            yield
        finally:
            self._train(False)
            self.below.forget()

    def _train(self, on: bool) -> None:
        """All modules but those of 8 bits: on a CPU, bitsandbytes rounds differently in training, and policy would not
        equal reference. By a list, as `Module.train` takes 26 of 387 ms of a step of 28 blocks (counted on a CPU)."""
        for module in self.modules:
            module.training = on

    def apply(self, learning_rate: float) -> float:
        gradients = self.optimizer.gradients(self.collective)
        total = torch.nn.utils.get_total_norm(gradients)
        norm = float(total)
        if np.isfinite(norm):
            if self.clip:
                torch.nn.utils.clip_grads_with_norm_(list(self.parameters.values()), self.clip, total)
            self.optimizer.step(learning_rate)
            self.steps += 1
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    @torch.no_grad()
    def logps(self, batch: Batch, *, reference: bool) -> np.ndarray:
        with ExitStack() as contexts:
            contexts.enter_context(self._adapter(reference, alike=False))
            if reference and self.speed.frozen_once:
                contexts.enter_context(self.below.recording(batch))
            contexts.enter_context(self._scoring(batch))
            parts, count = self._turns(batch)

            def work(number: int) -> np.ndarray:
                placed = place(parts[number], None, self.device)
                with self._at(number, placed):
                    return self._score(parts[number], placed).cpu().numpy()

            found = dict(self.lanes.each(parts, work))
            return joined([found[number] for number in range(count)], batch.answers)

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, stop: Sequence[int], *, reference: bool,
        temperature: float = 0.0, seed: int = 0, ends: bool = False,
    ) -> list[list[int]]:  # fmt: skip
        with self._adapter(reference):
            return generation.generate(
                self.model, self.device, prompts, max_tokens, stop, temperature, seed, ends=ends
            )

    @torch.no_grad()
    def draw(
        self, prompts: Sequence[Sequence[int]], draws: Draws, stop: Sequence[int], told: Told, *, reference: bool
    ) -> list[list[list[int]]]:
        with self._adapter(reference):
            return generation.draw(self.model, self.device, prompts, draws, stop, told)

    def score(self, rows: Sequence[Row], *, reference: bool) -> list[Score]:
        with self._adapter(reference):
            return scores(rows, self.most, lambda fed: generation.score(self.head, self.device, fed))

    @torch.no_grad()
    def stream(
        self, prompt: Sequence[int], sampling: Sampling, stop: Sequence[int], told: Callable[[int], bool],
        *, reference: bool,
    ) -> None:  # fmt: skip
        with self._adapter(reference):
            stream_generate.stream(self.model, self.device, prompt, sampling, stop, told)

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> np.ndarray:
        with self._adapter(reference=False):
            return self.model(input_ids=torch.tensor([list(ids)], device=self.device)).logits[0].float().cpu().numpy()

    def release(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def save_state(self, folder: Path) -> None:
        tensors = {f"adapter.{name}": p.detach().contiguous() for name, p in self.parameters.items()}
        tensors |= {f"reference.{name}": value.contiguous() for name, value in self.reference.items()}
        tensors |= {f"{OPTIMIZER}{key}": value for key, value in self.optimizer.tensors().items()}
        tensors["rng.cpu"], tensors["rng.steps"] = torch.get_rng_state(), torch.tensor(self.steps)
        if self.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        save_file({key: value.cpu() for key, value in tensors.items()}, folder / "state.safetensors")

    def restore_state(self, folder: Path) -> None:
        tensors = load_file(folder / "state.safetensors")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"adapter.{name}"])
                self.reference[name].copy_(tensors[f"reference.{name}"])
        kept = {key.removeprefix(OPTIMIZER): value for key, value in tensors.items() if key.startswith(OPTIMIZER)}
        self.optimizer.restore(kept)
        torch.set_rng_state(tensors["rng.cpu"])
        self.steps = int(tensors.get("rng.steps", 0))  # of a run begun before: its dropout went by no step
        if self.device.type == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)

    def memory(self) -> Memory:
        if self.device.type == "cuda":
            # what PyTorch holds of the GPU, pieces between tensors included: others cannot have it
            return Memory(torch.cuda.memory_reserved(self.device), torch.cuda.max_memory_reserved(self.device))
        if self.device.type == "mps":
            return Memory(torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory())
        return Memory(*[most_resident()] * 2)

    def _adapter(self, reference: bool, *, alike: bool = True) -> AbstractContextManager[None]:
        """With `reference`, the adapter as it was first set stands in for the trained one. `alike`: where ranks have
        the base in common, each asks for the same meanwhile."""
        return self.factors.holding(list(self.reference.values()) if reference else None)
