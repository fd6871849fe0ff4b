"""Two trainers on MLX, each run by an interpreter of an environment that has it: mlx-lm-lora and unsloth-zoo."""

import argparse
import os
import platform
import tempfile
from typing import Any

import numpy as np

from tests.bench.tuners import work as shared
from tests.bench.tuners.work import ALPHA, BETA, CLIP, RANK, RATE, SEED, SIDES, Stopwatch, Work

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def begin(model: Any) -> None:
    """Give every adapted layer its first A. Raises ValueError where no layer, or B of one, is as it should be."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    found = dict(tree_flatten(model.trainable_parameters()))
    layers = [name.removesuffix(".lora_a") for name in found if name.endswith(".lora_a")]
    if not layers or len(found) != 2 * len(layers) or any(mx.any(found[f"{name}.lora_b"]).item() for name in layers):
        raise ValueError(f"not plain adapters of zero effect: {sorted(found)[:4]}")
    shapes = {name: found[f"{name}.lora_a"].shape for name in layers}
    drawn = {name: shared.first_a(name, rank, width) for name, (width, rank) in shapes.items()}
    model.load_weights([(f"{name}.lora_a", mx.array(a.T)) for name, a in drawn.items()], strict=False)
    mx.eval(model.parameters())


def measure_mlx_lm_lora(work: Work) -> dict[str, Any]:
    """Its DPO, with a second model as the reference, computed in every step: it has no other way. Its own order, sorted
    by the chosen answer and drawn with replacement, is replaced by the work's, the padding of a batch is its own. Its
    step has the making of the batch in it, and no clipping. `peak` is what MLX counts, `model` one model with adapter.

    It sets the wired memory limit of Metal to what `mlx.core.device_info` advises, a key that no CPU has. It gets one
    from here, 0; the limit itself is one that MLX ignores without Metal.
    """
    import mlx.core as mx
    import mlx.optimizers

    if work.device == "cpu":
        mx.set_default_device(mx.cpu)
        told = {"max_recommended_working_set_size": 0} | mx.device_info()
        mx.device_info = lambda: told

    from mlx_lm.tuner.callbacks import TrainingCallback
    from mlx_lm_lora.train import load_reference_model
    from mlx_lm_lora.trainer import dpo_trainer
    from mlx_lm_lora.utils import from_pretrained

    watch = Stopwatch()
    losses: list[float] = []
    sizes: list[tuple[int, int]] = []
    make_batches = dpo_trainer.iterate_dpo_batches

    class Clock(TrainingCallback):
        """The end of each step, and its loss."""

        def on_train_loss_report(self, train_info: dict) -> None:
            watch.end()
            losses.append(float(train_info["train_loss"]))

    groups = [
        [{side: pair.ids["prompt"] + pair.ids[side] for side in SIDES}
         | {f"{side}_prompt_length": len(pair.ids["prompt"]) for side in SIDES} for pair in group]
        for group in shared.batches(work)
    ]  # fmt: skip

    def in_turn(*, batch_size: int, max_seq_length: int, **_: Any):
        """Its batch of the next step's pairs, with which its step begins."""
        watch.begin()
        group = groups[len(sizes)]
        found = next(make_batches(group, batch_size, max_seq_length))
        real = sum(len(row[side]) for row in group for side in SIDES)
        sizes.append((real, sum(side.size for side in found[:2])))
        yield found

    dpo_trainer.iterate_dpo_batches = in_turn
    lora = {"rank": RANK, "dropout": 0.0, "scale": ALPHA / RANK, "num_layers": -1}
    with tempfile.TemporaryDirectory() as place:
        model, _, adapter = from_pretrained(str(work.folder), new_adapter_path=place, lora_config=lora)
        begin(model)
        held = mx.get_active_memory()
        reference = load_reference_model(argparse.Namespace(model=str(work.folder), reference_model_path=None))
        settings = dpo_trainer.DPOTrainingArgs(batch_size=work.batch, iters=work.all_steps, steps_per_report=1,
                                               max_seq_length=work.longest, adapter_file=str(adapter), beta=BETA)
        adamw = mlx.optimizers.AdamW(learning_rate=RATE, weight_decay=0.0, bias_correction=True)
        dpo_trainer.train_dpo(model, reference, adamw, groups, args=settings, training_callback=Clock())
    return shared.report(work, "mlx-lm-lora", watch, losses, sizes, Stopwatch(),
                         peak=mx.get_peak_memory(), model=held)


def measure_unsloth(work: Work) -> dict[str, Any]:
    """unsloth-zoo's MLXDPOTrainer with the loss nca_pair, its chunked cross-entropy on and compilation off, which on
    a CPU takes a C++ compiler minutes. One model: the reference is it without the adapter, in every step, or with
    `cached` in a pass before the first. Rows are padded to multiples of 32 tokens. Memory as of mlx-lm-lora.

    It imports where `platform` tells of an Apple computer: its Metal kernels are left alone where there is no Metal.
    """
    os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
    on_cpu = work.device == "cpu"
    if on_cpu:
        platform.system, platform.machine = (lambda: "Darwin"), (lambda: "arm64")
    import mlx.core as mx
    from transformers import TrainerCallback
    from unsloth_zoo.mlx import preference, trainer
    from unsloth_zoo.mlx.loader import FastMLXModel

    watch, passed = Stopwatch(), Stopwatch()
    losses: list[float] = []
    sizes: list[tuple[int, int]] = []
    groups = shared.batches(work)
    compute, make_batch = trainer.precompute_reference_logps, preference.FinitePreferenceBatchPlan.materialize

    class Clock(TrainerCallback):
        """Each step's time, until its loss is known."""

        def on_step_begin(self, args, state, control, **kwargs) -> None:
            watch.begin()

        def on_log(self, args, state, control, logs=None, **kwargs) -> None:
            if logs and "loss" in logs:
                watch.end()
                losses.append(float(logs["loss"]))

    def timed(*words: Any, **settings: Any) -> Any:
        """The pass of the reference."""
        passed.begin()
        found = compute(*words, **settings)
        passed.end()
        return found

    def counted(plan: Any, index: int, **settings: Any) -> Any:
        """Its batch."""
        found = make_batch(plan, index, **settings)
        sizes.append((int(np.array(found[1])[:, 1].sum()), found[0].size))
        return found

    trainer.precompute_reference_logps = timed
    preference.FinitePreferenceBatchPlan.materialize = counted
    model, tokenizer = FastMLXModel.from_pretrained(
        str(work.folder), max_seq_length=work.longest, dtype="float32" if on_cpu else None, load_in_4bit=False)
    model = FastMLXModel.get_peft_model(
        model, r=RANK, lora_alpha=ALPHA, lora_dropout=0, random_state=SEED, max_seq_length=work.longest,
        use_gradient_checkpointing=False, target_modules=LINEARS)
    begin(model)
    held = mx.get_active_memory()
    with tempfile.TemporaryDirectory() as place:
        settings = trainer.MLXDPOConfig(
            per_device_train_batch_size=work.batch, gradient_accumulation_steps=1, max_steps=work.all_steps,
            learning_rate=RATE, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=CLIP,
            beta=BETA, loss_type="nca_pair", max_seq_length=work.longest, max_length=work.longest,
            max_prompt_length=None, append_eos=False, dataset_order="sequential", gradient_checkpointing=False,
            compile=not on_cpu, precompute_ref_log_probs=work.cached, logging_steps=1, seed=SEED, output_dir=place,
            report_to="none",
        )  # fmt: skip
        trained = [pair.texts for group in groups for pair in group]
        trainer.MLXDPOTrainer(model=model, tokenizer=tokenizer, train_dataset=trained, args=settings,
                              callbacks=[Clock()]).train()
    return shared.report(work, "unsloth-zoo", watch, losses, sizes, passed,
                         peak=mx.get_peak_memory(), model=held)
