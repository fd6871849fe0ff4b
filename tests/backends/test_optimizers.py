"""Each optimiser against its own library's, step by step on the same gradients, and what it keeps."""

import numpy as np
import pytest

from mio_local.backends import resolve_backend
from mio_local.errors import BackendError, RecipeError
from mio_local.memory.activations import Plan
from mio_local.memory.estimate import adapter
from mio_local.models.shapes import read_shape
from mio_local.objectives.optimizers import OPTIMIZERS
from mio_local.recipe import Recipe, TrainSettings, build
from tests.helpers.backends import (
    LORA,
    MIO,
    backend_of,
    batch_of,
    both,
    distance,
    equal,
    examples,
    gradients,
    noisy,
    start,
    state,
    step,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
RATE, DECAY, STEPS = 1e-2, 0.1, 4
DORA = LORA.model_copy(update={"dora": True, "layers": 1, "targets": ["v_proj", "up_proj"]})
WIDE = LORA.model_copy(update={"rank": 128, "targets": ["q_proj", "up_proj"]})  # bitsandbytes: from 4,096 weights on


def settings(**values):
    return TrainSettings.model_validate({"learning_rate": RATE, "weight_decay": DECAY, "clip": 0, **values})


def taken(model, oracle):
    """Some steps of the model, and of `oracle` on the model's gradients: both as canonical weights."""
    weights = model.get_adapter()
    for _ in range(STEPS):
        batch = batch_of(examples())
        model.accumulate(batch, model.logps(batch, reference=True), MIO, 1 / batch.size)
        slopes = gradients(model)
        weights = oracle({name: slopes[name] for name in weights})
        model.apply(RATE)
    return model.get_adapter(), weights


def trained(backend, tiny_model, lora=LORA, **values):
    """A model whose B is not zero, else A would have no gradient at first."""
    model = start(backend, tiny_model, lora=lora, train=settings(**values))
    reference = model.get_adapter()
    model.set_adapter(noisy(reference), reference=False)
    return model


def by_torch(weights, make):
    """An optimiser of PyTorch's kind over the weights, as a function of the gradients."""
    import torch

    parameters = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in weights.items()}
    optimizers = make(parameters)

    def oracle(slopes):
        for name, parameter in parameters.items():
            parameter.grad = torch.tensor(slopes[name])
        for optimizer in optimizers:
            optimizer.step()
        return {name: parameter.detach().numpy().copy() for name, parameter in parameters.items()}

    return oracle


def by_mlx(weights, make, decay=0.0):
    """MLX's own over a flat tree of the weights, with the decay apart where its own is another."""
    import mlx.core as mx

    held = {name: mx.array(value) for name, value in weights.items()}
    optimizer = make()

    def oracle(slopes):
        steps = {name: mx.array(value) for name, value in slopes.items()}
        moved = optimizer.apply_gradients(steps, held)
        for name, value in moved.items():
            held[name] = value - RATE * decay * held[name]
        mx.eval(held)
        return {name: np.array(value) for name, value in held.items()}

    return oracle


def near(one, two, size):
    """Equal to `size` of what was moved."""
    assert distance(one, two) < size


@both
@pytest.mark.parametrize("lora", [LORA, DORA], ids=["lora", "dora"])
@pytest.mark.parametrize("ratio", [1.0, 16.0])
def test_lora_plus_is_pefts(backend, lora, ratio, tiny_model):
    """create_loraplus_optimizer: B, and DoRA's magnitudes, learn `ratio` times as fast as A. A ratio of 1 is AdamW."""
    torch = pytest.importorskip("torch")
    from peft.optimizers import create_loraplus_optimizer

    from mio_cuda import lora as peft_lora

    model = trained(backend, tiny_model, lora, loraplus_lr_ratio=ratio)
    twin = start("cuda", tiny_model, lora=lora)
    twin.set_adapter(model.get_adapter())
    parameters = peft_lora.trainable(twin.model)
    optimizer = create_loraplus_optimizer(twin.model, torch.optim.AdamW, lr=RATE, loraplus_lr_ratio=ratio,
                                          loraplus_weight_decay=DECAY)  # fmt: skip

    def oracle(slopes):
        for name, parameter in parameters.items():
            parameter.grad = torch.tensor(slopes[name])
        optimizer.step()
        return twin.get_adapter()

    ours, theirs = taken(model, oracle)
    near(ours, theirs, 1e-7 if backend == "cuda" else 2e-6 * ratio)
    first = noisy(start(backend, tiny_model, lora=lora).get_adapter())
    slow, fast = (max(np.abs(ours[name] - first[name]).max() for name in ours if name.endswith(leaf))
                  for leaf in ("lora_A", "lora_B"))  # fmt: skip
    assert (fast > 4 * slow) == (ratio > 1)


@both
def test_lion_is_mlxs_and_bitsandbytes(backend, tiny_model):
    """Two other implementations, on the same gradients."""
    pytest.importorskip("mlx.core")
    import mlx.optimizers as optim

    model = trained(backend, tiny_model, optimizer="lion", optimizer_args={"beta2": 0.95})
    ours, theirs = taken(model, by_mlx(model.get_adapter(), lambda: optim.Lion(RATE, [0.9, 0.95], DECAY)))
    near(ours, theirs, 1e-6)
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model = trained(backend, tiny_model, optimizer="lion", optimizer_args={"beta2": 0.95})
    ours, theirs = taken(model, by_torch(model.get_adapter(), lambda p: [bitsandbytes.optim.Lion(
        list(p.values()), lr=RATE, betas=(0.9, 0.95), weight_decay=DECAY)]))  # fmt: skip
    near(ours, theirs, 1e-6)


@both
@pytest.mark.parametrize("lora", [LORA, DORA], ids=["lora", "dora"])
def test_muon_is_its_librarys(backend, lora, tiny_model):
    """PyTorch's to the bit. MLX's own where matrices lie as PyTorch's do: its step goes by rows over columns, and
    mlx-lm's lie the other way. DoRA's magnitudes, which are no matrices, have AdamW."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    model = trained(backend, tiny_model, lora, optimizer="muon", optimizer_args={"momentum": 0.9})
    first = model.get_adapter()
    flat = {name: value for name, value in first.items() if value.ndim == 1}
    assert bool(flat) == lora.dora

    def of_torch(parameters):
        matrices = [p for p in parameters.values() if p.ndim == 2]
        rest = [p for p in parameters.values() if p.ndim == 1]
        adam = [torch.optim.AdamW(rest, lr=RATE, weight_decay=DECAY)] if rest else []
        return [torch.optim.Muon(matrices, lr=RATE, weight_decay=DECAY, momentum=0.9), *adam]

    if backend == "cuda":
        ours, theirs = taken(model, by_torch(first, of_torch))
        assert equal(ours, theirs)
        return
    import mlx.optimizers as optim

    matrices = {name: value for name, value in first.items() if value.ndim == 2}
    muon = by_mlx(matrices, lambda: optim.Muon(RATE, 0.9, weight_decay=0), DECAY)
    adam = by_mlx(flat, lambda: optim.AdamW(RATE, weight_decay=DECAY, bias_correction=True))
    ours, theirs = taken(model, lambda slopes: muon({name: slopes[name] for name in matrices}) | (
        adam({name: slopes[name] for name in flat}) if flat else {}))  # fmt: skip
    near(ours, theirs, 1e-5)
    in_torch = taken(trained(backend, tiny_model, lora, optimizer="muon", optimizer_args={"momentum": 0.9}),
                     by_torch(first, of_torch))  # fmt: skip
    # PyTorch orthogonalises in bfloat16, of which steps of RATE * sqrt(rows / columns) differ by about a hundredth
    near(*in_torch, 0.1 * RATE * STEPS)


def test_muon_takes_stacked_experts_one_by_one():
    """(experts, out, rank): each matrix as if it were alone."""
    mx = pytest.importorskip("mlx.core")
    from mio_mlx.optimizer import Muon

    rng = np.random.default_rng(0)
    weights, slopes = (mx.array(rng.normal(0, 1, (3, 12, 4)).astype(np.float32)) for _ in range(2))
    together = Muon(RATE, 0.9, DECAY).apply_gradients({"b": slopes}, {"b": weights})["b"]
    for number in range(3):  # a plain layer's lies transposed
        alone = Muon(RATE, 0.9, DECAY).apply_gradients({"b": slopes[number].T}, {"b": weights[number].T})["b"]
        np.testing.assert_allclose(np.array(together[number]), np.array(alone.T), atol=1e-5)


def test_eight_bit_adamw_is_bitsandbytes(tiny_model):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model = trained("cuda", tiny_model, WIDE, optimizer="adamw_8bit", adam_beta2=0.99)
    ours, theirs = taken(model, by_torch(model.get_adapter(), lambda p: [bitsandbytes.optim.AdamW8bit(
        list(p.values()), lr=RATE, betas=(0.9, 0.99), weight_decay=DECAY)]))  # fmt: skip
    assert equal(ours, theirs)
    plain, _ = taken(trained("cuda", tiny_model, WIDE, adam_beta2=0.99), lambda slopes: slopes)
    assert 1e-5 < distance(ours, plain) < STEPS * RATE / 2  # near to it, as rounded to a byte


KINDS = [*(("mlx", name) for name in OPTIMIZERS if name != "adamw_8bit"), *(("cuda", name) for name in OPTIMIZERS)]


@pytest.mark.parametrize(("backend", "name"), KINDS)
def test_what_is_kept_goes_on_to_the_bit(backend, name, tiny_model, tmp_path):
    """A model that takes the state back steps as the one that gave it: with LoRA+ and DoRA, so of several parts."""
    lora = WIDE.model_copy(update={"dora": True})
    values = {"optimizer": name, "loraplus_lr_ratio": 4}
    one, two = (trained(backend, tiny_model, lora, **values) for _ in range(2))
    for _ in range(2):
        step(one, [batch_of(examples())])
    two.restore_state(state(one, tmp_path / "state"))
    for model in (one, two):
        for _ in range(2):
            step(model, [batch_of(examples(seed=3))])
    assert equal(one.get_adapter(), two.get_adapter())
    assert not equal(one.get_adapter(), trained(backend, tiny_model, lora, **values).get_adapter())


@pytest.mark.parametrize(("backend", "name"), KINDS)
def test_the_memory_estimate_counts_what_is_kept(backend, name, tiny_model):
    """Bytes of the state itself, for each weight, and the estimate's difference from plain AdamW."""
    model = trained(backend, tiny_model, WIDE, optimizer=name)
    step(model, [batch_of(examples())])
    weights = sum(value.size for value in model.get_adapter().values())
    if backend == "cuda":
        held = {key: value for key, value in model.optimizer.tensors().items() if not key.startswith(("step", "qmap"))}
        kept = sum(value.nbytes for value in held.values())
    else:
        from mio_mlx import lora

        kept = sum(value.nbytes for _, value in lora.leaves(model.optimizer.state) if value.ndim)
    assert kept / weights == pytest.approx(OPTIMIZERS[name].kept, rel=0.01)
    recipes = [Recipe(lora=WIDE, train=settings(optimizer=each)) for each in ("adamw", name)]
    found = [adapter(Plan(read_shape(tiny_model), recipe, backend, "gpu", 64, 32)) for recipe in recipes]
    assert found[0] - found[1] == pytest.approx(weights * (8 - OPTIMIZERS[name].kept))


def test_one_that_is_not_here_is_told_with_those_that_are(monkeypatch):
    backend_of("mlx")
    recipe = build({"train": {"optimizer": "adamw_8bit"}, "backend": {"name": "mlx", "device": "cpu"}}, "test")
    with pytest.raises(BackendError, match=r"--optimizer adamw_8bit: the mlx backend has none here; there are adamw, "
                                           r"lion, muon"):  # fmt: skip
        resolve_backend(recipe)
    torch = pytest.importorskip("torch")
    backend_of("cuda")
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    recipe = build({"train": {"optimizer": "muon"}, "backend": {"name": "cuda", "device": "cpu"}}, "test")
    with pytest.raises(BackendError, match="muon: the cuda backend has none here; there are adamw, adamw_8bit, lion"):
        resolve_backend(recipe)


@pytest.mark.parametrize(("values", "message"), [
    ({"optimizer": "lion", "adam_beta2": 0.9}, "adam_beta2 = 0.9: lion does not read it; its own are beta1 and beta2"),
    ({"optimizer": "lion", "optimizer_args": {"momentum": 0.9}}, "lion takes no momentum; it takes beta1 and beta2"),
    ({"optimizer_args": {"beta1": 0.9}}, "adamw takes no beta1; it takes none"),
    ({"optimizer": "muon", "optimizer_args": {"momentum": 1}}, "momentum must be 0 or more, below 1"),
    ({"loraplus_lr_ratio": 0.5}, "loraplus_lr_ratio = 0.5: input should be greater than or equal to 1"),
])  # fmt: skip
def test_arguments_that_an_optimiser_does_not_take_are_told(values, message):
    with pytest.raises(RecipeError, match=message):
        build({"train": values}, "recipe.toml")
