"""DIL's BCE and KTO against the code of TRL's own trainers, which are given the log-probs of answers."""

from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from mio_local.objectives.losses import objective
from tests.helpers.namespaces import grade

trl = pytest.importorskip("trl")
torch = pytest.importorskip("torch")

pytestmark = pytest.mark.slow  # TRL takes its time to import
TOKENS = 3  # of each answer, after a prompt of one
MASK = torch.tensor([0, 1, 1, 1])


def told(logps):
    """A model that has said answers of these token log-probs (rows, TOKENS)."""
    rows = torch.zeros_like(logps)
    return lambda **_: SimpleNamespace(log_probs=logps, entropy=rows, mean_logits=rows, is_top1=rows.bool())


def given(trainer, beta, **more):
    """A trainer that is only asked for its loss."""
    made = object.__new__(trainer)
    same = lambda x: x  # noqa: E731
    made.__dict__.update(
        model=torch.nn.Identity(), beta=beta, aux_loss_enabled=False, precompute_ref_logps=True, _total_train_tokens=0,
        _tp_size=1, accelerator=SimpleNamespace(device="cpu", gather=same, gather_for_metrics=same),
        _metrics=defaultdict(lambda: defaultdict(list)), **more,
    )  # fmt: skip
    return made


def rows_of(count, **more):
    mask = MASK.expand(count, -1)
    return {"input_ids": mask, "attention_mask": torch.ones_like(mask), "completion_mask": mask, **more}


def drawn(*shape):
    return torch.tensor(np.random.default_rng(0).normal(-2, 1, shape))


def test_dil_bce_is_bco_pair_at_beta_1_on_token_means():
    """TRL sums an answer's tokens, so it is given a third of each, the reference's mean likewise."""
    pairs = 5
    tokens, reference = drawn(2 * pairs, TOKENS).requires_grad_(), drawn(2, pairs) * 0.3
    trainer = given(trl.DPOTrainer, 1.0, ld_alpha=None, f_divergence_type="reverse_kl", loss_types=["bco_pair"],
                    loss_weights=[1.0], use_weighting=False, label_smoothing=0.0)  # fmt: skip
    inputs = rows_of(2 * pairs, ref_chosen_logps=reference[0], ref_rejected_logps=reference[1])
    theirs = trainer._compute_loss(told(tokens / TOKENS), inputs, False)
    theirs.backward()
    sums, count = tokens.detach().numpy().sum(1), np.full(pairs, float(TOKENS))
    fields = [sums[:pairs], sums[pairs:], *(TOKENS * reference.numpy()), count, count]
    value, chosen, rejected = grade("numpy", objective("dil-bce", 0.1, "mean"), fields)
    assert value.mean() == pytest.approx(theirs.item(), rel=1e-6)
    slopes = np.concatenate([chosen, rejected]) / pairs
    np.testing.assert_allclose(slopes, tokens.grad.numpy()[:, 0], atol=1e-7)


@pytest.mark.parametrize("mismatched", [2.5, -2.5])
def test_kto_is_trls(mismatched):
    """Answers each by itself; z0 by TRL from the log-ratios of mismatched answers, by us given: never below 0."""
    labels = torch.tensor([True, False, True, True, False])
    count, beta = len(labels), 0.2
    tokens, reference = drawn(count, TOKENS).requires_grad_(), drawn(count) * 3
    other = drawn(count, TOKENS) - 0.5
    kl = torch.full((count,), mismatched) + torch.linspace(-1, 1, count)  # of mean `mismatched`
    trainer = given(trl.KTOTrainer, beta, loss_type="kto", calculate_KL=True, desirable_weight=1.0,
                    undesirable_weight=1.0)  # fmt: skip
    trainer._compute_kl_logps = lambda model, batch: other.sum(1)
    inputs = rows_of(count, label=labels, ref_logps=reference, ref_KL_logps=other.sum(1) - kl)
    theirs = trainer._compute_loss(told(tokens), inputs, False)
    theirs.backward()
    sums, good = tokens.detach().numpy().sum(1), labels.numpy()
    fields = [sums * good, sums * ~good, reference.numpy() * good, reference.numpy() * ~good, TOKENS * good,
              TOKENS * ~good]  # fmt: skip
    goal = objective("kto", beta, "sum", divergence=max(0.0, mismatched))
    value, chosen, rejected = grade("numpy", goal, fields)
    assert value.mean() == pytest.approx(theirs.item(), rel=1e-6)
    np.testing.assert_allclose((chosen + rejected) / count, tokens.grad.numpy()[:, 0], atol=1e-7)
