"""Speed and memory of two other preference tuners, each in a process of its own, on the same model and pairs.

    python tests/bench/peers.py [--size 27m] [--vocab 32000]    # both, on a random model; needs ../shared
    python tests/bench/peers.py --folder FOLDER                 # both, on the model in FOLDER
    python tests/bench/peers.py measure NAME FOLDER             # one, in this process: a line of JSON, the last one

Options: --batch pairs, --tokens of a conversation at most, --steps timed after WARM_UP others. NAME is `mlx-lm-lora`
(DPO, run by MIO_PEERS_PYTHON, an interpreter of an environment that has it) or `trl` (nca_pair, run by this one). LoRA
on every linear layer but the head, AdamW, float32, on the CPU with THREADS threads, without gradient checkpointing.
Both get the same pairs, and each makes tokens and batches of them in its own way: `tokens` and `padded` are the mean of
a step without and with padding, prompts and both answers. mlx-lm-lora sorts the pairs by length and draws batches with
replacement, and its step has the making of the batch in it. A peak is that of the longest batch drawn.

mlx-lm-lora sets the wired memory limit of Metal to what `mlx.core.device_info` advises, a key that no CPU has. It gets
one from here, 0; the limit itself is one that MLX ignores without Metal.
"""

import argparse
import importlib.metadata
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
PEERS = ("mlx-lm-lora", "trl")
WARM_UP = 2
THREADS = 2
RANK, ALPHA = 8, 16
LONGEST = 1024  # tokens of a conversation of made pairs, its template included
MADE = {"prompt": 180, "chosen": 300, "rejected": 300}
RATE = 1e-5
BETA = 0.1
SEED = 0


def first_pairs(folder: Path, count: int, tokens: int) -> list[dict[str, str]]:
    """The first `count` pairs whose two conversations have at most `tokens` tokens each, with the model's template; of
    no such number, as many of MADE letters each, which a tokenizer of bytes takes for as many tokens."""
    if not tokens:
        rng = random.Random(SEED)
        return [{key: "".join(rng.choices("abcdefgh ", k=size)) for key, size in MADE.items()} for _ in range(count)]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    with (SHARED / "data" / "gsm8k" / "train.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            chats = [turns(row["prompt"], row[side]) for side in ("chosen", "rejected")]
            if max(len(tokenizer.apply_chat_template(chat, return_dict=False)) for chat in chats) <= tokens:
                found.append({key: row[key] for key in ("prompt", "chosen", "rejected")})
            if len(found) == count:
                return found
    raise ValueError(f"only {len(found)} pairs of at most {tokens} tokens, {count} asked for")


def turns(prompt: str, answer: str) -> list[dict[str, str]]:
    """A conversation of one question and one answer."""
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def resident(key: str) -> int:
    """A line of /proc/self/status (Linux), bytes: VmRSS is what the process holds now, VmHWM the most it ever held."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def report(name: str, seconds: list[float], sizes: list[tuple[int, int]], batch: int, memory: dict[str, int]) -> dict:
    """The result: seconds of every step, warm-up included, become a rate of the others; memory in bytes.

    `sizes` are tokens of each step without and with padding.
    """
    timed, sizes = seconds[WARM_UP:], sizes[WARM_UP:len(seconds)]
    return {
        "name": name,
        "version": importlib.metadata.version(name),
        "pairs_per_second": batch / statistics.median(timed),
        **memory,
        "steps": len(timed),
        "tokens": statistics.mean(size for size, _ in sizes),
        "padded": statistics.mean(size for _, size in sizes),
        "seconds": timed,
    }


def measure_mlx_lm_lora(folder: Path, batch: int, tokens: int, steps: int, device: str = "cpu") -> dict:
    """Its DPO, with a second model as the reference. Memory is what MLX counts; `model` is one model and its adapter.

    `resident` is the process's own peak, libraries included.
    """
    import mlx.core as mx
    import mlx.optimizers
    import numpy as np

    if device == "cpu":
        mx.set_default_device(mx.cpu)
        told = {"max_recommended_working_set_size": 0} | mx.device_info()
        mx.device_info = lambda: told

    from mlx_lm.tuner.callbacks import TrainingCallback
    from mlx_lm_lora.train import load_reference_model
    from mlx_lm_lora.trainer import dpo_trainer
    from mlx_lm_lora.trainer.datasets import CacheDataset, create_dataset
    from mlx_lm_lora.utils import from_pretrained

    pairs = first_pairs(folder, batch * (steps + WARM_UP), tokens)
    seconds: list[float] = []
    sizes: list[tuple[int, int]] = []
    make_batches = dpo_trainer.iterate_dpo_batches

    class Clock(TrainingCallback):
        """Each step's time, by the trainer's own clock."""

        def on_train_loss_report(self, train_info: dict) -> None:
            seconds.append(1 / train_info["iterations_per_second"])

    def counted_batches(**settings: Any):
        """Its batches; the id of padding is 0."""
        for found in make_batches(**settings):
            sides = [np.array(side) for side in found[:2]]
            sizes.append((sum(int(np.count_nonzero(side)) for side in sides), sum(side.size for side in sides)))
            yield found

    dpo_trainer.iterate_dpo_batches = counted_batches
    np.random.seed(SEED)  # as its command line does: it draws the batches with numpy
    mx.random.seed(SEED)
    lora = {"rank": RANK, "dropout": 0.0, "scale": ALPHA / RANK, "num_layers": -1}
    with tempfile.TemporaryDirectory() as place:
        model, tokenizer, adapter = from_pretrained(str(folder), new_adapter_path=place, lora_config=lora)
        mx.eval(model.parameters())
        held = mx.get_active_memory()
        reference = load_reference_model(argparse.Namespace(model=str(folder), reference_model_path=None))
        dataset = create_dataset(pairs, tokenizer, argparse.Namespace(train_mode="dpo"))
        settings = dpo_trainer.DPOTrainingArgs(batch_size=batch, iters=steps + WARM_UP, steps_per_report=1,
                                               max_seq_length=tokens or LONGEST, adapter_file=str(adapter), beta=BETA)
        dpo_trainer.train_dpo(model, reference, mlx.optimizers.AdamW(learning_rate=RATE), CacheDataset(dataset),
                              args=settings, training_callback=Clock())
    memory = {"peak": mx.get_peak_memory(), "model": held, "resident": resident("VmHWM")}
    return report("mlx-lm-lora", seconds, sizes, batch, memory)


def measure_trl(folder: Path, batch: int, tokens: int, steps: int, device: str = "cpu") -> dict:
    """Its DPOTrainer with the loss nca_pair, and PEFT. Memory is the process's: `model` and `peak` include libraries.

    The trainer puts the adapter on the model, which spares a second one for the reference; `model` is measured before
    it does, and the adapter's size added.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    torch.set_num_threads(THREADS)
    pairs = first_pairs(folder, batch * (steps + WARM_UP), tokens)
    seconds: list[float] = []
    sizes: list[tuple[int, int]] = []

    class Clock(TrainerCallback):
        """Each step's time: forward, backward and update."""

        def on_step_begin(self, args, state, control, **kwargs) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs) -> None:
            seconds.append(time.perf_counter() - self.began)

    conversations = [{"prompt": turns(row["prompt"], "")[:1], "chosen": turns("", row["chosen"])[1:],
                      "rejected": turns("", row["rejected"])[1:]} for row in pairs]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    on_cpu = device == "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32 if on_cpu else torch.bfloat16)
    for values in model.parameters():
        values.sum()  # weights are mapped from the file, and resident once read
    held = resident("VmRSS")
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as place:
        settings = DPOConfig(
            output_dir=place, max_steps=steps + WARM_UP, per_device_train_batch_size=batch, learning_rate=RATE,
            beta=BETA, loss_type=["nca_pair"], max_length=tokens or LONGEST, bf16=not on_cpu, fp16=False,
            gradient_checkpointing=False, use_cpu=on_cpu,
            dataloader_num_workers=0, report_to="none", save_strategy="no", disable_tqdm=True, seed=SEED,
        )  # fmt: skip
        trainer = DPOTrainer(model=model, args=settings, train_dataset=Dataset.from_list(conversations),
                             processing_class=tokenizer, peft_config=lora, callbacks=[Clock()])
        collate = trainer.data_collator

        def counted(examples: list[dict]) -> dict:
            """Its batch."""
            found = collate(examples)
            sizes.append((int(found["attention_mask"].sum()), found["input_ids"].numel()))
            return found

        trainer.data_collator = counted
        trainer.train()
    held += sum(values.nbytes for values in trainer.model.parameters() if values.requires_grad)
    peak = resident("VmHWM") if on_cpu else torch.cuda.max_memory_reserved()
    return report("trl", seconds, sizes, batch, {"peak": peak, "model": held})


def peer(name: str, folder: Path, batch: int = 4, tokens: int = 512, steps: int = 10) -> dict:
    """`measure` in a new process of the peer's own interpreter, with the BLAS that suits it."""
    sys.path[:0] = [str(ROOT)]
    from mio_local.process import fast_library

    ours = ("LD_PRELOAD", "MKL_THREADING_LAYER", "MKL_CBWR")  # what blas.preload sets for the app
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    python = sys.executable
    if name == "mlx-lm-lora":
        python = os.environ.get("MIO_PEERS_PYTHON", python)
        if library := fast_library():
            environment |= {"LD_PRELOAD": library, "OPENBLAS_NUM_THREADS": str(THREADS)}
    options = ["--batch", str(batch), "--tokens", str(tokens), "--steps", str(steps)]
    done = subprocess.run([python, __file__, "measure", name, str(folder), *options], capture_output=True, text=True,
                          env=environment)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def make_model(size: str, vocabulary: int, folder: Path) -> Path:
    """A random Llama of real shape, by the shared script."""
    script = SHARED / "models" / "llama-shapes" / "make.py"
    command = [sys.executable, str(script), str(folder / size), "--size", size, "--vocab", str(vocabulary)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / size


def main() -> None:
    """One measurement in this process, or both peers'."""
    parser = argparse.ArgumentParser(description="Speed and memory of other preference tuners.")
    parser.add_argument("words", nargs="*", metavar="measure NAME FOLDER", help="one, in this process")
    parser.add_argument("--size", default="27m", help="of the random model (default: 27m)")
    parser.add_argument("--vocab", type=int, default=32000, help="rows of its head (default: 32000)")
    parser.add_argument("--folder", type=Path, help="a model instead of a random one")
    parser.add_argument("--batch", type=int, default=4, help="pairs of a step (default: 4)")
    parser.add_argument("--tokens", type=int, default=512, help="of a conversation, at most (default: 512)")
    parser.add_argument("--steps", type=int, default=10, help="timed (default: 10)")
    parser.add_argument("--made", action="store_true", help="made pairs of a length instead of GSM8K's (one, in this)")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="of one, in this process")
    given = parser.parse_args()
    options = {"batch": given.batch, "tokens": 0 if given.made else given.tokens, "steps": given.steps}
    if given.words:
        if len(given.words) != 3 or given.words[0] != "measure" or given.words[1] not in PEERS:
            parser.error(f"measure NAME FOLDER, where NAME is one of {', '.join(PEERS)}")
        measure = measure_trl if given.words[1] == "trl" else measure_mlx_lm_lora
        print(json.dumps(measure(Path(given.words[2]), **options, device=given.device)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = given.folder or make_model(given.size, given.vocab, Path(place))
        print("peer         version  pairs/s  peak MB  model MB  tokens  padded")
        for name in PEERS:
            seen = peer(name, folder, **options)
            print(f"{name:12} {seen['version']:7} {seen['pairs_per_second']:8.2f} {seen['peak'] / 1e6:8.0f} "
                  f"{seen['model'] / 1e6:9.0f} {seen['tokens']:7.0f} {seen['padded']:7.0f}", flush=True)


if __name__ == "__main__":
    main()
