"""The app's own steps on the peers' work, with every saving that it has."""

from typing import Any

import numpy as np

from tests.bench.tuners.work import ALPHA, BETA, CLIP, RANK, RATE, Stopwatch, Work, batches, first_a, report


def measure_app(work: Work, backend: str) -> dict[str, Any]:
    """The app on `mlx` or `cuda` (PyTorch). The reference is computed in every step, as in a first epoch, or with
    `cached` in a pass before the first. Memory is the backend's: MLX's arrays, or PyTorch's process, libraries
    included."""
    from mio_local.adapters.adapter import choose_layers
    from mio_local.data.collate import collate
    from mio_local.data.examples import Example
    from mio_local.objectives.losses import objective
    from mio_local.recipe import SpeedSettings, build

    if backend == "mlx":
        from mio_mlx import MlxBackend as Backend
    else:
        from mio_cuda import CudaBackend as Backend
    tables = {"lora": {"rank": RANK, "alpha": ALPHA}, "train": {"clip": CLIP if work.loss == "mio" else 0}}
    recipe = build(tables, "bench")
    model = Backend().load(work.folder, recipe.model, work.device, grad_checkpoint=False, seed=0)
    slots = model.add_lora(recipe.lora, recipe.train, choose_layers(model.linear_layers(), recipe.lora))
    model.set_adapter({f"{slot.name}.lora_A": first_a(slot.name, *slot.a) for slot in slots}
                      | {f"{slot.name}.lora_B": np.zeros(slot.b, np.float32) for slot in slots})
    speed = SpeedSettings()
    speed = speed.without(model.use(speed))
    groups = [[Example(pair.ids["prompt"], pair.ids["chosen"], pair.ids["rejected"], False, False, False, "")
               for pair in group] for group in batches(work)]  # fmt: skip

    def batch_of(group: list[Example]) -> Any:
        return collate(group, range(len(group)), 0, shared=speed.share_prompt)

    # transformers leaves the weights where the file is mapped: they count once they are read
    model.logps(batch_of(groups[0][:1]), reference=False)
    held, goal = model.memory().active, objective(work.loss, BETA, "sum")
    watch, passed = Stopwatch(), Stopwatch()
    known: list[np.ndarray] = []
    if work.cached:
        passed.begin()
        known = [model.logps(batch_of(group), reference=True) for group in groups]
        passed.end()
    losses, sizes = [], []
    for number, group in enumerate(groups):
        watch.begin()
        batch = batch_of(group)
        reference = known[number] if known else model.logps(batch, reference=True)
        losses.append(model.accumulate(batch, reference, goal, 1 / len(group)).loss / len(group))
        model.apply(RATE)
        watch.end()
        prompts = sum(len(example.prompt) for example in group)
        sizes.append((batch.real_tokens - prompts * speed.share_prompt, batch.inputs.size))
    return report(work, "mio-local", watch, losses, sizes, passed, peak=model.memory().peak, model=held)
