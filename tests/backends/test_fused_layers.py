"""Norms and rotary embeddings in fewer operations, against transformers' own and PyTorch's derivative of them."""

import importlib

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from mio_cuda.layers.norm import norms  # noqa: E402
from mio_cuda.layers.rotary import rotated, rotating, turning  # noqa: E402

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2**-6}  # beside values of some units


def module_of(kind):
    return importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")


def slopes(function, given, grad):
    given = [one.clone().requires_grad_() for one in given]
    out = function(*given)
    return out, torch.autograd.grad(out, given, grad)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("kind", "name"), [("llama", "LlamaRMSNorm"), ("qwen3", "Qwen3RMSNorm"),
                                            ("gemma2", "Gemma2RMSNorm"), ("gemma4", "Gemma4RMSNorm")])  # fmt: skip
def test_a_norm_is_its_models(kind, name, dtype):
    torch.manual_seed(0)
    own = getattr(module_of(kind), name)(48).to(dtype)
    with torch.no_grad():
        own.weight.normal_()
    own.requires_grad_(False)
    ((found, forward),) = norms(torch.nn.ModuleList([own]))
    assert found is own
    x, grad = torch.randn(3, 5, 48).to(dtype), torch.randn(3, 5, 48).to(dtype)
    for one, other in zip(slopes(forward, [x], grad), slopes(own, [x], grad), strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_what_computes_something_else_stays_as_it_is():
    class GatedRMSNorm(torch.nn.Module):
        variance_epsilon = 1e-6

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(8))

        def forward(self, x):
            return torch.sigmoid(x) * self.weight

    assert norms(torch.nn.ModuleList([GatedRMSNorm(), torch.nn.LayerNorm(8)])) == []


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_rotation_is_its_models(dtype):
    """With sines that differ between the halves, as embeddings of several axes may have them."""
    torch.manual_seed(0)
    own = module_of("llama").apply_rotary_pos_emb
    q, k = torch.randn(2, 4, 5, 8).to(dtype), torch.randn(2, 2, 5, 8).to(dtype)
    cos, sin = (torch.randn(2, 5, 8).to(dtype) for _ in range(2))
    for place, x in enumerate((q, k)):
        found, expected = (
            slopes(lambda one, way=way: way(*(one if other is x else other for other in (q, k)), cos, sin)[place], [x],  # noqa: B023
                   torch.ones_like(x)) for way in (rotated, own)
        )  # fmt: skip
        torch.testing.assert_close(found, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_models_functions_are_theirs_again_afterwards():
    llama = module_of("llama")
    own = llama.apply_rotary_pos_emb
    places = rotating(torch.nn.ModuleList([llama.LlamaRMSNorm(8)]))
    assert places == [llama]
    with turning(places):
        assert llama.apply_rotary_pos_emb is not own
        narrow = torch.randn(1, 1, 3, 4), torch.randn(1, 1, 3, 4), torch.ones(1, 3, 4), torch.zeros(1, 3, 4)
        assert torch.equal(llama.apply_rotary_pos_emb(*narrow)[0], narrow[0])
    assert llama.apply_rotary_pos_emb is own
