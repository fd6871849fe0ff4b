"""The same layer under the names of files, of transformers and of mlx-lm."""

import numpy as np
import pytest

from mio_local.adapters.adapter import Slot, draw_adapter
from mio_local.adapters.counterparts import canonical, counterparts, renamed_like

LEAVES = ("self_attn.q_proj", "mlp.up_proj")
STEMS = ["model.layers", "model.language_model.layers", "language_model.model.layers", "backbone.layers",
         "transformer.h"]  # fmt: skip


def layers(stem, count=2, leaves=LEAVES):
    return [f"{stem}.{index}.{leaf}" for index in range(count) for leaf in leaves]


@pytest.mark.parametrize("one", STEMS)
@pytest.mark.parametrize("other", STEMS)
def test_what_stands_before_the_number_does_not_matter(one, other):
    assert counterparts(layers(one), layers(other)) == dict(zip(layers(one), layers(other), strict=True))


def test_towers_of_pictures_and_later_heads_are_no_counterparts():
    beside = layers("model.visual.blocks", 4) + layers("vision_tower.encoder.layers", 4) + layers("mtp.layers", 1)
    found = counterparts(layers("model.layers"), beside + layers("model.language_model.layers"))
    assert set(found.values()) == set(layers("model.language_model.layers"))
    both = counterparts(layers("model.visual.blocks", 4), beside + layers("model.language_model.layers"))
    assert set(both.values()) == set(layers("model.visual.blocks", 4))


def test_a_layer_that_is_not_there_is_left_out():
    assert counterparts(["model.layers.0.a", "model.layers.0.b"], ["backbone.layers.0.b"]) == {
        "model.layers.0.b": "backbone.layers.0.b"
    }
    assert counterparts(["lm_head"], ["lm_head"]) == {}
    assert counterparts(["model.layers.0.a"], []) == {}


def test_projections_of_an_mlp_have_two_sets_of_names():
    """mlx-lm's sanitize of lfm2_moe: w1 gate, w2 down, w3 up."""
    ours = [f"model.layers.0.feed_forward.{leaf}" for leaf in ("gate_proj", "down_proj", "up_proj")]
    theirs = [f"model.layers.0.feed_forward.{leaf}" for leaf in ("w1", "w2", "w3")]
    assert counterparts(ours, theirs) == dict(zip(ours, theirs, strict=True))


def test_names_of_another_list_of_blocks_are_told_in_the_adapters_way():
    present = [*layers("model.language_model.layers"), "lm_head", "model.visual.blocks.0.attn.proj"]
    told = renamed_like(layers("language_model.model.layers", 1), present)
    assert told == [*layers("language_model.model.layers"), "lm_head", "model.visual.blocks.0.attn.proj"]


@pytest.mark.parametrize("stem", STEMS)
def test_the_first_adapter_is_the_same_however_the_model_is_wrapped(stem):
    def drawn(names):
        return list(draw_adapter([Slot(name, (4, 6), (6, 4), 6) for name in names], 7).values())

    assert all(map(np.array_equal, drawn(layers(stem)), drawn(layers("model.layers"))))
    assert canonical(f"{stem}.3.mlp.w1") == "model.layers.3.mlp.gate_proj"
