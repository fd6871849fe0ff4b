"""Every lever against the plain path: the same log-probs and gradients in float32, on models of several families."""

from types import SimpleNamespace

import numpy as np
import pytest

from mio_local.recipe import PLAIN, ModelSettings, SpeedSettings
from tests.helpers.backends import (
    BACKENDS,
    LORA,
    MIO,
    backend_of,
    batch_of,
    both,
    equal,
    forget,
    gradients,
    move,
    noisy,
    refusals,
    start,
    step,
)
from tests.helpers.families import FAMILIES, GROUPS, exact, pairs_of, write_family
from tests.helpers.some import fast

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
              pytest.mark.usefixtures("two_lanes")]  # fmt: skip
ALL = SpeedSettings()
ONE = {key: PLAIN.model_copy(update={key: True})
       for key in ("share_prompt", "answer_head", "lean_adapter", "frozen_once")}  # fmt: skip
UPPER = LORA.model_copy(update={"layers": 2})  # the blocks under them are frozen
AHEAD = np.arange(5, -5, -1, dtype=np.float32)  # the reference moved, so that no log-ratio is 0


PAIRS = pairs_of()
ANSWERS = pairs_of(1, GROUPS)


def started(backend, folder, **options):
    """A model whose policy and reference differ and whose B is not zero: every tensor gets a gradient."""
    model = start(backend, folder, **options)
    fresh = model.get_adapter()
    model.set_adapter(noisy(fresh, seed=2))
    move(model, noisy(fresh))
    return model


def passed(model, batch, dropout=False):
    """log ref, log pi, and the gradient of the mean loss, in the order of a training step."""
    reference = model.logps(batch, reference=True)
    policy = model.logps(batch, reference=False)
    scored = model.accumulate(batch, reference + np.resize(AHEAD, len(reference)), MIO, 1 / batch.size)
    if not dropout:
        np.testing.assert_allclose(scored.logps, policy, rtol=1e-6, atol=1e-5)
    gradient = gradients(model)
    forget(model)
    return SimpleNamespace(logps=np.concatenate([reference, policy, scored.logps]), gradient=gradient)


def same(got, plain, record):
    """Equal to 1e-5: log-probs to that and a millionth of their size, as a sum of 160 nats is exact to 1.5e-5;
    gradients beside the largest entry of their tensor."""
    record("log-probs", float(np.abs(got.logps - plain.logps).max()))
    np.testing.assert_allclose(got.logps, plain.logps, rtol=1e-6, atol=1e-5)
    assert got.gradient.keys() == plain.gradient.keys()
    sizes = {name: np.abs(value).max() for name, value in plain.gradient.items()}
    apart = {name: float(np.abs(got.gradient[name] - plain.gradient[name]).max() / sizes[name]) for name in sizes}
    record("gradients", max(apart.values()))
    assert min(sizes.values()) > 1e-4
    assert max(apart.values()) < 1e-5, max(apart, key=apart.__getitem__)


def beside_plain(model, record, refused=()):
    """The model with all levers beside itself without; `refused` are those that it may not have."""
    plain = passed(model, batch_of(PAIRS))
    reasons = refusals(model, ALL)
    assert (set(reasons), all(reasons.values())) == (set(refused), True)
    same(passed(model, batch_of(PAIRS, shared=model.speed.share_prompt)), plain, record)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folder of a family's tiny model, written once for each library."""
    known = {}

    def folder(name, backend):
        backend_of(backend)
        if (name, backend) not in known:
            known[name, backend] = write_family(tmp_path_factory.mktemp(f"{name}-{backend}"), name, backend)
        return known[name, backend]

    return folder


SETUPS = [(backend, name, checkpoint) for backend in BACKENDS for name in FAMILIES for checkpoint in (False, True)]
AT_ONCE = [(backend, name, checkpoint) for backend in BACKENDS
           for name, checkpoint in (("llama3", False), ("gemma3", True), ("lfm2", False))]  # fmt: skip


@pytest.fixture(scope="module", params=fast(SETUPS, AT_ONCE), ids=lambda p: f"{p[0]}-{p[1]}{'-checkpoint' * p[2]}")
def setup(request, folders):
    """One loaded model, and what its plain path gives before any lever was on."""
    backend, name, checkpoint = request.param
    model = started(backend, folders(name, backend), lora=UPPER, checkpoint=checkpoint)
    return SimpleNamespace(name=name, model=model, plain=passed(model, batch_of(PAIRS)))


@pytest.mark.parametrize("lever", [*ONE, "all"])
def test_a_lever_changes_no_number(setup, lever, record_property):
    """Log-probs of policy and reference, and every entry of every gradient."""
    model, speed = setup.model, ONE.get(lever, ALL)
    assert refusals(model, speed) == {}
    same(passed(model, batch_of(PAIRS, shared=model.speed.share_prompt)), setup.plain, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("lever", [*ONE, "all"])
def test_a_lever_changes_no_number_of_a_group(setup, lever, record_property):
    model, speed = setup.model, ONE.get(lever, ALL)
    model.use(PLAIN)
    plain = passed(model, batch_of(ANSWERS))
    assert refusals(model, speed) == {}
    same(passed(model, batch_of(ANSWERS, shared=model.speed.share_prompt)), plain, record_property)


def test_levers_leave_no_trace(setup):
    """After a pass with all levers, and one that an error ended, the plain path gives what it gave, to the bit."""
    model = setup.model
    model.use(ALL)
    batch = batch_of(PAIRS, shared=model.speed.share_prompt)
    reference = model.logps(batch, reference=True)
    answers = model.generate([PAIRS[0].prompt, PAIRS[1].prompt], 8, [], reference=False)
    with pytest.raises(ZeroDivisionError):
        model.accumulate(batch, reference, lambda xp, pairs: 1 / 0, 1.0)
    assert refusals(model, PLAIN) == {}
    again = passed(model, batch_of(PAIRS))
    assert np.array_equal(again.logps, setup.plain.logps)
    assert equal(again.gradient, setup.plain.gradient)
    assert model.generate([PAIRS[0].prompt, PAIRS[1].prompt], 8, [], reference=False) == answers


EXACT = [(name, PAIRS) for name in FAMILIES]
EXACT += [("mistral", ANSWERS), *(pytest.param(name, ANSWERS, marks=pytest.mark.slow) for name in FAMILIES)]


@both
@pytest.mark.parametrize(("name", "examples"), EXACT)
def test_log_probs_equal_transformers_in_float64(backend, name, examples, folders, record_property):
    """All levers against one plain pass for each answer, unpadded. mlx-lm's Qwen 2, Qwen 3 and Gemma 2 know no sliding
    window and its Mistral one in some blocks alone: `Family.by_mlx` is what it computes."""
    model = started(backend, folders(name, backend), lora=UPPER)
    model.use(ALL)
    got = model.logps(batch_of(examples, shared=model.speed.share_prompt), reference=False)
    expected = exact(folders(name, backend), name, backend, UPPER)(examples, model.get_adapter())
    record_property("deviation", float(np.abs(got - expected).max()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


WIDE = {"sliding_window": 512}
BITES = [("qwen2", "cuda", WIDE), ("qwen3", "cuda", WIDE), ("gemma2", "cuda", WIDE), ("gemma3", "cuda", WIDE),
         ("mistral", "cuda", WIDE), ("gemma3", "mlx", WIDE), ("mistral", "mlx", WIDE),
         ("gemma2", "cuda", {"attn_logit_softcapping": 500.0}), ("gemma2", "cuda", {"final_logit_softcapping": 300.0}),
         ("llama3", "cuda", {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}})]  # fmt: skip


@pytest.mark.parametrize(("name", "backend", "change"), BITES)
def test_what_sets_a_family_apart_shows_in_its_numbers(name, backend, change, folders):
    """Window, soft caps and scaled rotary positions: without them the exact log-probs are others, so the test above
    sees whether they are kept."""
    folder = folders(name, backend)
    kept, changed = (exact(folder, name, backend, UPPER, **changes)(PAIRS, {}) for changes in ({}, change))
    assert np.abs(kept - changed).max() > 0.1


WITHOUT = [(LORA, "frozen_once"), (UPPER.model_copy(update={"dora": True}), "lean_adapter")]


@both
@pytest.mark.parametrize(("lora", "refused"), WITHOUT)
@pytest.mark.parametrize("checkpoint", [False, True])
def test_an_adapter_that_cannot_have_a_lever(backend, lora, refused, checkpoint, folders, record_property):
    """All blocks adapted, as by default, or DoRA: one lever is refused by name, the others hold."""
    model = started(backend, folders("mistral", backend), lora=lora, checkpoint=checkpoint)
    beside_plain(model, record_property, refused=[refused])


# bitsandbytes rounds each token to 8 bits before an 8-bit product: what differs by rounding comes out 1e-3 apart
@pytest.mark.parametrize(("backend", "quantize"), [("mlx", 4), ("mlx", 8), ("cuda", 4)])
def test_a_quantised_base(backend, quantize, tiny_model, record_property):
    if backend == "cuda":
        pytest.importorskip("bitsandbytes")
    settings, lora = ModelSettings(quantize=quantize), LORA.model_copy(update={"layers": 1})
    beside_plain(started(backend, tiny_model, settings=settings, lora=lora), record_property)


@both
@pytest.mark.parametrize("checkpoint", [False, True])
def test_steps_with_all_levers(backend, checkpoint, folders, record_property):
    """Three steps of two forward passes: losses, norms and greedy answers of the plain path."""
    runs = []
    for speed in (PLAIN, ALL):
        model = started(backend, folders("qwen3", backend), lora=UPPER, checkpoint=checkpoint)
        assert refusals(model, speed) == {}
        batches = [batch_of(PAIRS, part, shared=speed.share_prompt) for part in ([0, 3], [1, 2, 4])]
        steps = [step(model, batches, rate=1e-4) for _ in range(3)]
        runs.append((steps, model.generate([PAIRS[0].prompt, PAIRS[1].prompt], 8, [], reference=False)))
    record_property("losses and norms", float(np.abs(np.subtract(runs[1][0], runs[0][0])).max()))
    np.testing.assert_allclose(runs[1][0], runs[0][0], rtol=0, atol=1e-5)
    assert runs[0][1] == runs[1][1]


@both
@pytest.mark.parametrize("checkpoint", [False, True])
def test_dropout(backend, checkpoint, folders, record_property):
    """With all levers, the same seed gives the same numbers. Where rows are as without a lever, so is what is dropped:
    lean layers and heads then give the plain path's numbers."""

    def once(speed, dropout=0.2):
        lora = UPPER.model_copy(update={"dropout": dropout})
        model = started(backend, folders("llama", backend), lora=lora, checkpoint=checkpoint)
        assert refusals(model, speed) == {}
        return passed(model, batch_of(PAIRS, shared=speed.share_prompt), dropout=True)

    one, two, without = once(ALL), once(ALL), once(ALL, 0.0)
    assert np.array_equal(one.logps, two.logps) and equal(one.gradient, two.gradient)  # noqa: PT018
    assert np.abs(one.logps - without.logps).max() > 0.01
    same(once(ALL.model_copy(update={"share_prompt": False})), once(PLAIN), record_property)


def runs_of_block_0(model):
    """A list that grows by one whenever the model's first block computes."""
    seen = []
    if type(model).__name__ == "CudaModel":
        mlp = model.model.get_base_model().model.layers[0].mlp
        mlp.register_forward_hook(lambda *_: seen.append(1))
        return seen
    mlp = model.model.layers[0].mlp
    cls = type(mlp)

    def call(module, x):
        seen.append(1)
        return cls.__call__(module, x)

    mlp.__class__ = type(cls.__name__, (cls,), {"__call__": call})
    return seen


@both
def test_frozen_blocks_run_once_for_a_batch(backend, folders, record_property):
    """Reference, then policy: one run of the frozen block. A batch that is another object, or one whose result was used
    already, is computed anew; each has the plain path's gradients."""
    model = started(backend, folders("llama", backend), lora=UPPER)
    batches = [batch_of(pairs_of(seed)) for seed in (1, 2)]
    plain = [passed(model, batch) for batch in batches]
    assert refusals(model, ONE["frozen_once"]) == {}
    seen, model.most = runs_of_block_0(model), 10**6

    def trained(number, runs):
        """The policy's gradient, after so many runs of the frozen block."""
        del seen[:]
        reference = plain[number].logps[:10] + AHEAD
        logps = model.accumulate(batches[number], reference, MIO, 1 / 5).logps
        got = SimpleNamespace(logps=np.concatenate([plain[number].logps[:20], logps]), gradient=gradients(model))
        forget(model)
        assert len(seen) == runs
        same(got, plain[number], record_property)

    trained(0, runs=1)
    model.logps(batches[0], reference=True)
    trained(0, runs=0)
    trained(0, runs=1)
    model.logps(batches[0], reference=True)
    trained(1, runs=1)
    model.logps(batches[0], reference=True)
    model.logps(batches[1], reference=True)
    trained(0, runs=1)
    model.logps(batches[1], reference=True)
    model.logps(batches[0], reference=False)
    trained(1, runs=0)


@both
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("examples", [PAIRS, ANSWERS[:5]], ids=["pairs", "groups"])
def test_a_batch_in_several_parts(backend, checkpoint, examples, folders, record_property):
    """A limit of tokens that cuts five pairs into parts of two or of one: the whole batch's numbers, in its order."""
    model = started(backend, folders("mistral", backend), lora=UPPER, checkpoint=checkpoint)
    plain = passed(model, batch_of(examples))
    for speed in (PLAIN, ALL):
        assert refusals(model, speed) == {}
        batch = batch_of(examples, shared=speed.share_prompt)
        for pairs, parts in ((2, 3), (1, 5)):
            model.most = most = pairs * batch.inputs.size // batch.size
            assert len(batch.split(most)) == parts
            model.most *= model.lanes.count
            same(passed(model, batch), plain, record_property)
