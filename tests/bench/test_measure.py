"""The work that a step needs, against the weights that transformers' own modules have."""

import pytest

from mio_local.bench.measure import needed
from mio_local.data.examples import Example
from mio_local.models.shapes import read_shape, shape_from_config
from mio_local.recipe import LoraSettings

SIZES = {"vocab_size": 3000, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4,
         "num_attention_heads": 4}  # fmt: skip
EXPERTS = {"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 48, "head_dim": 16}
KINDS = {
    "llama": ({}, True), "gpt2": ({"n_inner": 256, "n_positions": 64}, False), "gpt_neox": ({}, False),
    "phi": ({}, False), "starcoder2": ({}, False), "qwen3_moe": (EXPERTS, True),
}  # fmt: skip


def test_a_group_needs_its_prompt_once():
    """What a further answer adds to a prompt is the same whichever it is, and less than a pair of its own."""
    shape = shape_from_config({"model_type": "llama", **SIZES}, 4, "float32")
    answers = [[1] * n for n in (5, 9, 4, 9)]

    def work(*chosen):
        first, second, *others = (answers[n] for n in chosen)
        example = Example([1] * 20, first, second, False, False, False, "", others=tuple(others))
        return needed(shape, LoraSettings(), [example])

    assert work(0, 1, 2, 3) - work(0, 1, 2) == pytest.approx(work(0, 2, 1) - work(0, 2))
    assert work(0, 1, 2, 3) < 0.75 * (work(0, 1) + work(0, 2) + work(0, 3))


def met(net, config):
    """Weights of linear layers in the blocks that a token meets: of the experts, which transformers stacks, a part."""
    torch = pytest.importorskip("torch")
    from transformers.pytorch_utils import Conv1D

    share = config.num_experts_per_tok / config.num_experts if hasattr(config, "num_experts") else 1
    found = 0.0
    for name, module in net.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not net.get_output_embeddings():
            found += module.weight.numel()
        found += sum(share * own.numel() for own in module.parameters(recurse=False) if name.endswith(".experts"))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_token_meets_the_weights_that_the_library_has(kind, tmp_path):
    """The growth by a token of a prompt: forward and backward pass of each weight. From the model's files, and from
    its config and size alone, as of one that is on the hub."""
    transformers = pytest.importorskip("transformers")
    more, gated = KINDS[kind]
    config = transformers.AutoConfig.for_model(kind, **SIZES, **more)
    net = transformers.AutoModelForCausalLM.from_config(config)
    net.save_pretrained(tmp_path)
    shape = read_shape(tmp_path)
    stored = 4 * sum(parameter.numel() for parameter in net.parameters())
    assert shape.gated == shape_from_config(config.to_dict(), stored, "float32").gated == gated

    def work(prompt):
        return needed(shape, LoraSettings(rank=1, layers=1), [Example([1] * prompt, [1], [1], False, False, False, "")])

    # forward pass through four blocks, the backward pass through one; attention's share of a token is below a hundredth
    weights = (work(2) - work(1)) / (2 * (1 + 1 / 4))
    assert weights == pytest.approx(met(net, config), rel=0.03)
