"""RLOO against TRL's own RLOOTrainer: the same samples of a small model, the same rewards, an adapter as policy."""

import numpy as np
import pytest

from mio_local.objectives.losses import objective, pair_logps
from tests.helpers.namespaces import SPACES, grade

trl = pytest.importorskip("trl")
torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
datasets = pytest.importorskip("datasets")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]
PROMPTS, SAMPLES, BETA = 3, 4, 0.3


class Given(trl.RLOOTrainer):
    """RLOOTrainer whose samples and rewards are given."""

    def _generate(self, prompts):
        return self.given_prompts, self.given_answers, ["" for _ in prompts]

    def _calculate_rewards(self, *_):
        return torch.tensor(self.given_rewards)[:, None]


@pytest.fixture(scope="module")
def scored(tiny_model, tmp_path_factory):
    """What TRL makes of twelve samples, four a prompt, of 1 to 9 tokens: its own batch, the gradient of its loss by the
    log-prob of each, the reference's log-probs, the tokens, the rewards."""
    torch.manual_seed(0)
    rng, count = np.random.default_rng(0), PROMPTS * SAMPLES
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM",
                             init_lora_weights=False)  # fmt: skip
    settings = trl.RLOOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")), per_device_train_batch_size=count, num_generations=SAMPLES,
        beta=BETA, max_completion_length=9, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[],
    )  # fmt: skip
    trainer = Given(
        model=base, args=settings, peft_config=config, reward_funcs=lambda completions, **_: [0.0] * len(completions),
        train_dataset=datasets.Dataset.from_list([{"prompt": "p"}] * PROMPTS),
        processing_class=transformers.AutoTokenizer.from_pretrained(tiny_model),
    )  # fmt: skip
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)  # or the policy would be its reference
    prompts = [rng.integers(3, 250, 3 + number).tolist() for number in range(PROMPTS) for _ in range(SAMPLES)]
    trainer.given_prompts, trainer.given_rewards = prompts, rng.normal(0, 1, count).tolist()
    trainer.given_answers = [rng.integers(3, 250, n).tolist() for n in rng.integers(1, 10, count)]
    batch = trainer._generate_and_score_completions([{"prompt": "p"}] * count)

    lengths, found = batch["completion_mask"].sum(1).numpy(), []
    plain = trainer._get_per_token_logps_and_entropies

    def kept(*args, **kwargs):
        logps, *more = plain(*args, **kwargs)
        found.append(logps.detach().requires_grad_())
        return found[-1], *more

    trainer._get_per_token_logps_and_entropies = kept
    trainer.compute_loss(trainer.model, batch).backward()
    with torch.no_grad(), trainer.model.disable_adapter():
        reference = plain(trainer.model, *_rows(batch))[0]
    reference = (reference * batch["completion_mask"]).sum(1).numpy()
    slopes = found[0].grad[:, 0].numpy()  # the first token's: all of an answer have it
    return batch, slopes, reference, lengths, np.array(trainer.given_rewards)


def _rows(batch):
    ids, mask = (torch.cat([batch[f"prompt_{part}"], batch[f"completion_{part}"]], 1) for part in ("ids", "mask"))
    return ids, mask, batch["completion_ids"].size(1)


def by_answer(values):
    """TRL's rows, prompt by prompt, as ours: all first samples, then all second ones, and so on."""
    return np.ascontiguousarray(np.asarray(values).reshape(PROMPTS, SAMPLES).T)


@pytest.mark.parametrize("space", SPACES)
def test_loss_and_gradient(scored, space):
    """The loss is -A log pi, TRL's a ratio to what was drawn, whose slope it has: -A_i / count at each log-prob."""
    batch, slopes, reference, lengths, rewards = scored
    policy, advantages = batch["old_logps"].numpy(), batch["advantages"].numpy()
    assert np.abs(policy - reference).max() > 0.05
    rows = [by_answer(each).ravel() for each in (policy, reference, lengths)]
    p = pair_logps(*rows, PROMPTS, by_answer(rewards))
    fields = [p.chosen, p.rejected, p.ref_chosen, p.ref_rejected, p.chosen_tokens, p.rejected_tokens, p.rewards]
    value, chosen, rejected = grade(space, objective("rloo", BETA, "sum"), fields)
    ours = np.concatenate([chosen[None], rejected])  # of each group's mean over its samples
    np.testing.assert_allclose(-SAMPLES * ours, by_answer(advantages), atol=1e-4)
    np.testing.assert_allclose(ours / PROMPTS, by_answer(slopes), atol=1e-4)
    assert value.mean() == pytest.approx(-(advantages * policy).mean(), abs=1e-4)
