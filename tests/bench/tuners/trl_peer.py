"""TRL's DPOTrainer, run by the app's own interpreter."""

import tempfile
from typing import Any

from tests.bench.tuners import work as shared
from tests.bench.tuners.work import ALPHA, BETA, CLIP, RANK, RATE, SEED, THREADS, Stopwatch, Work

INSIDE = "base_model.model."  # what PEFT puts before a layer's name


def measure_trl(work: Work) -> dict[str, Any]:
    """With the loss nca_pair, and PEFT. The reference is the model without the adapter, in every step, or with `cached`
    in a pass while the trainer is made. Rows are padded to the longest of the batch. Memory is the process's: `model`
    and `peak` include libraries.

    The trainer puts the adapter on the model; `model` is measured before it does, and the adapter's size added.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    torch.set_num_threads(THREADS)
    watch, passed = Stopwatch(), Stopwatch()
    losses: list[float] = []
    sizes: list[tuple[int, int]] = []

    class Clock(TrainerCallback):
        """Each step's time: forward, backward and update; and its loss."""

        def on_step_begin(self, args, state, control, **kwargs) -> None:
            watch.begin()

        def on_step_end(self, args, state, control, **kwargs) -> None:
            watch.end()

        def on_log(self, args, state, control, logs=None, **kwargs) -> None:
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))

    class Trainer(DPOTrainer):
        """With the work's tokens for its own, and a clock at its pass of the reference."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, *words: Any, **settings: Any) -> Any:
            passed.begin()
            found = super()._precompute_ref_logps(*words, **settings)
            passed.end()
            return found

    rows = [{f"{key}_ids": ids for key, ids in pair.ids.items()} for group in shared.batches(work) for pair in group]
    tokenizer = AutoTokenizer.from_pretrained(work.folder)
    on_cpu = work.device == "cpu"
    model = AutoModelForCausalLM.from_pretrained(work.folder, dtype=torch.float32 if on_cpu else torch.bfloat16)
    for values in model.parameters():
        values.sum()  # weights are mapped from the file, and resident once read
    held = shared.resident("VmRSS")
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as place:
        settings = DPOConfig(
            output_dir=place, max_steps=work.all_steps, per_device_train_batch_size=work.batch, learning_rate=RATE,
            lr_scheduler_type="constant", max_grad_norm=CLIP, beta=BETA, loss_type=["nca_pair"],
            max_length=work.longest, precompute_ref_log_probs=work.cached, train_sampling_strategy="sequential",
            bf16=not on_cpu, fp16=False, gradient_checkpointing=False, use_cpu=on_cpu, dataloader_num_workers=0,
            logging_steps=1, report_to="none", save_strategy="no", disable_tqdm=True, seed=SEED,
        )  # fmt: skip
        trainer = Trainer(model=model, args=settings, train_dataset=Dataset.from_list(rows),
                          processing_class=tokenizer, peft_config=lora, callbacks=[Clock()])
        for name, values in trainer.model.named_parameters():
            if ".lora_A." in name:
                layer = name.removeprefix(INSIDE).split(".lora_A.")[0]
                values.data.copy_(torch.from_numpy(shared.first_a(layer, *values.shape)))
        collate = trainer.data_collator

        def counted(examples: list[dict]) -> dict:
            """Its batch."""
            found = collate(examples)
            sizes.append((int(found["attention_mask"].sum()), found["input_ids"].numel()))
            return found

        trainer.data_collator = counted
        trainer.train()
    held += sum(values.nbytes for values in trainer.model.parameters() if values.requires_grad)
    peak = shared.resident("VmHWM") if on_cpu else torch.cuda.max_memory_reserved()
    return shared.report(work, "trl", watch, losses, sizes, passed, peak=peak, model=held)
