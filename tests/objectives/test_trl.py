"""Our losses, step by step, against TRL's own DPOTrainer: same model, same adapter, same pairs, same AdamW."""

import json
from pathlib import Path

import numpy as np
import pytest

from mio_local.adapters.adapter import read_adapter
from mio_local.data.collate import collate
from mio_local.data.examples import Example
from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.recipe import TrainSettings
from tests.helpers.backends import BACKENDS, start, step

trl = pytest.importorskip("trl")
torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
STEPS, RATE, BETA = 6, 5e-3, 0.1
THEIRS = {"mio": "nca_pair", "dpo": "sigmoid", "ipo": "ipo", "robust": "robust"}
SMOOTHING = {"robust": 0.1}


class Recorded(trl.DPOTrainer):
    """DPOTrainer that keeps each step's loss, unrounded."""

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        self.__dict__.setdefault("losses", []).append(loss.item())
        return loss


@pytest.fixture(scope="module")
def adapter(tiny_model, tmp_path_factory) -> Path:
    """A PEFT adapter on all linear layers but the head, with a random B: the policy is not the bare base."""
    torch.manual_seed(0)
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM",
                             init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter")
    peft.get_peft_model(base, config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tiny_pairs) -> list[dict[str, str]]:
    found = [json.loads(line) for line in tiny_pairs.read_text(encoding="utf-8").splitlines()[:4]]
    # answers of different lengths, or the token means could hide a mistake
    return [row | {"chosen": row["chosen"] + " Yes." * i} for i, row in enumerate(found)]


@pytest.fixture(scope="module", params=list(THEIRS))
def reference_run(request, tiny_model, adapter, rows, tmp_path_factory):
    """(our loss name, the ids TRL trained on, its losses, its gradient norms)."""
    datasets = pytest.importorskip("datasets")
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, adapter, is_trainable=True)
    settings = trl.DPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")), max_steps=STEPS, per_device_train_batch_size=len(rows),
        learning_rate=RATE, lr_scheduler_type="constant", optim="adamw_torch", weight_decay=0.0, max_grad_norm=1.0,
        beta=BETA, label_smoothing=SMOOTHING.get(request.param, 0.0), loss_type=[THEIRS[request.param]],
        max_length=None, bf16=False, gradient_checkpointing=False,
        use_cpu=True, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = Recorded(
        model=model, args=settings, train_dataset=datasets.Dataset.from_list(rows),
        processing_class=transformers.AutoTokenizer.from_pretrained(tiny_model),
    )  # fmt: skip
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    assert [entry["loss"] for entry in logged] == pytest.approx(trainer.losses, abs=1e-4)
    return request.param, list(trainer.train_dataset), trainer.losses, [entry["grad_norm"] for entry in logged]


def test_tokens_are_the_same(reference_run, tiny_model, rows):
    """Prompt ids, and completion ids with one end-of-sequence token."""
    chat = Chat(transformers.AutoTokenizer.from_pretrained(tiny_model), "none")
    for row, theirs in zip(rows, reference_run[1], strict=True):
        ours = chat.encode(Pair(row["prompt"], row["chosen"], row["rejected"], "here"), 1024)
        assert ours.prompt == theirs["prompt_ids"]
        assert ours.chosen == theirs["chosen_ids"]
        assert ours.rejected == theirs["rejected_ids"]
        assert ours.chosen[-1] == chat.eos


@pytest.mark.parametrize("backend", BACKENDS)
def test_losses_and_first_gradient_norm(backend, reference_run, tiny_model, adapter, record_property):
    """TRL's reference is a frozen copy of the adapter it starts from, ours too."""
    name, ids, losses, norms = reference_run
    model = start(backend, tiny_model, read_adapter(adapter), train=TrainSettings(learning_rate=RATE, clip=1.0))
    found = [Example(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"], False, False, False, "here")
             for row in ids]
    batch = collate(found, range(len(found)), pad=0)
    ours = [step(model, [batch], name, BETA, RATE, SMOOTHING.get(name, 0.0)) for _ in range(STEPS)]
    deviation = np.abs(np.array([loss for loss, _ in ours]) - losses).max()
    record_property("max deviation of the loss", float(deviation))
    record_property("relative deviation of the first gradient norm", abs(ours[0][1] / norms[0] - 1))
    assert abs(losses[0] - losses[-1]) > 0.05  # it did train
    assert deviation < 1e-4
    assert ours[0][1] == pytest.approx(norms[0], rel=1e-3)
