"""Shapes of published models whose config.json does not say all sizes as they are."""

from mio_local.models.shapes import shape_from_config
from tests.commands.published import PUBLISHED


def test_gemma_3s_config_leaves_out_what_its_kind_has():
    config, size = PUBLISHED["mlx-community/gemma-3-4b-it-4bit"]
    shape = shape_from_config(config, size)
    assert (shape.vocabulary, shape.heads, shape.kv_heads, shape.head_dim) == (262208, 8, 4, 256)
    assert shape_from_config({**config["text_config"], "vocab_size": 7}, size).vocabulary == 7


def test_lfm2s_inner_width_is_two_thirds_of_the_one_it_tells():
    """As transformers builds it, 1,170,340,608 weights."""
    config, size = PUBLISHED["LiquidAI/LFM2.5-1.2B-Instruct"]
    shape = shape_from_config(config, size)
    assert (shape.mlp, shape.gated, shape.light) == (8192, True, 10)
    odd = {**config, "intermediate_size": 10752, "block_multiple_of": 1000}
    assert shape_from_config(odd, size).mlp == 8000
