"""Steps of one process and of two ranks that share the base, by hand: FOLDER, and JSON of what to change. Prints JSON
of both. A process of its own, as ranks take a machine's cores and their libraries meet once."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mio_cuda import CudaBackend
from mio_local.adapters.adapter import choose_layers, draw_adapter
from mio_local.process import most_resident
from mio_local.ranks.leader import load_on_ranks
from mio_local.recipe import Recipe, build
from mio_local.sampling import Draws
from tests.helpers.backends import MIO, batch_of, examples, noisy


def anonymous() -> int:
    """Bytes that this process holds and that are no file's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


class Held:
    """Bytes of base tensors: at rest, and the most during passes, gathered blocks included."""

    def __init__(self, model: Any) -> None:
        import torch

        self.base = model.model.get_base_model()
        self.adapter = {id(parameter) for parameter in model.parameters.values()}
        self.states = [module._get_fsdp_state() for module in self.base.modules() if hasattr(module, "_get_fsdp_state")]
        self.rest = self.most = self.now()
        self.resident = anonymous()

        def look(*_: Any) -> None:
            self.most, self.resident = max(self.most, self.now()), max(self.resident, anonymous())

        def both(_: Any, __: Any, out: Any) -> None:
            look()
            if isinstance(out, torch.Tensor) and out.requires_grad:
                out.register_hook(look)

        for block in self.base.base_model.layers:
            block.post_attention_layernorm.register_forward_hook(both)

    def _tensors(self) -> Iterator[Any]:
        for parameter in self.base.parameters():
            if id(parameter) not in self.adapter:
                yield parameter._local_tensor if hasattr(parameter, "_local_tensor") else parameter.detach()
        for state in self.states:
            for group in state._fsdp_param_groups:
                for one in group.fsdp_params:
                    yield one._sharded_param_data
                    yield from one.all_gather_outputs
                if group._all_gather_result is not None:
                    yield group._all_gather_result.all_gather_output

    def now(self) -> int:
        """Now."""
        found = [tensor.untyped_storage() for tensor in self._tensors()]
        return sum({storage.data_ptr(): storage.nbytes() for storage in found}.values())


def steps(model: Any, recipe: Recipe, count: int, *, lean: bool) -> dict[str, Any]:
    """`count` steps, of which every second has one pair alone, and what the model answers after them."""
    names = choose_layers(model.linear_layers(), recipe.lora)
    slots = model.add_lora(recipe.lora, recipe.train, names)
    fresh = draw_adapter(slots, 0)
    model.set_adapter(fresh)
    model.set_adapter(noisy(fresh), reference=False)
    held = Held(getattr(model, "own", model))
    refused = model.use(recipe.speed)
    found: dict[str, Any] = {"refused": refused, "losses": [], "norms": [], "logps": []}
    pairs = examples(7)
    for number in range(count):
        for some in ([0, 1, 2], [3, 4]) if number % 2 else ([5],):
            batch = batch_of(pairs, some, shared=recipe.speed.share_prompt and "share_prompt" not in refused)
            reference = model.logps(batch, reference=True)
            found["losses"].append(model.accumulate(batch, reference, MIO, 0.25).loss)
            found["logps"].append(model.logps(batch, reference=False).tolist())
        found["norms"].append(model.apply(1e-2))
    found["held"] = [held.rest, held.most]
    found["anonymous"] = [held.resident, most_resident()]
    if lean:
        return found
    prompts = [one.prompt for one in pairs[:3]]
    found["answers"] = model.generate(prompts, 3, [], reference=False)
    found["sampled"] = model.generate(prompts, 3, [], reference=True, temperature=1.0, seed=3)
    found["drawn"] = model.draw(prompts, Draws(2, max_tokens=3), [2], lambda *_: None, reference=False)
    scores = model.score([(one.prompt, one.chosen) for one in pairs[:3]], reference=False)
    found["scores"] = [score for score, _ in scores]
    found["logits"] = np.asarray(model.logits(prompts[0])).tolist()
    with TemporaryDirectory() as folder:
        model.save_adapter(Path(folder) / "adapter")
        model.save_state(Path(folder))
        model.restore_state(Path(folder))
    found["adapter"] = {name: value.tolist() for name, value in model.get_adapter().items()}
    return found


def main(folder: Path, changes: dict[str, Any]) -> None:
    """Both, or what `only` names."""
    only, count = changes.pop("only", ""), changes.pop("steps", 10)
    recipe = build({
        "lora": {"rank": 4, "alpha": 8, "layers": 2}, "backend": {"name": "cuda", "device": "cpu", "devices": 2},
        "model": {"name": str(folder)},
    } | changes, "test")  # fmt: skip
    found: dict[str, Any] = {}
    if only != "shard":
        alone = CudaBackend().load(
            folder, recipe.model, "cpu", grad_checkpoint=recipe.train.grad_checkpoint, seed=0
        )  # fmt: skip
        found["alone"] = steps(alone, recipe, count, lean=bool(only))
    if only != "alone":
        settings = recipe.backend.model_copy(update={"shard": True})
        shared = load_on_ranks(CudaBackend(), recipe.model_copy(update={"backend": settings}), folder, 0)
        found["shard"] = steps(shared, recipe, count, lean=bool(only))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
