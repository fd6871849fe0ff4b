"""Layers, ranks and alphas by regular expressions, as PEFT means them."""

import shlex

import numpy as np
import pytest

from mio_local.adapters.adapter import choose_layers, draw_adapter, read_adapter
from mio_local.adapters.convert import evening, write_adapter
from mio_local.adapters.merge import merge
from mio_local.adapters.terms import check_patterns, rank_of, scale_of
from mio_local.arguments import parser
from mio_local.chat.multi_adapter import load_voices
from mio_local.errors import RecipeError
from mio_local.flags import recipe_from, words
from mio_local.memory.activations import Plan
from mio_local.memory.estimate import adapter
from mio_local.models.shapes import read_shape
from mio_local.models.weights import linear_names, stored_weights
from mio_local.recipe import LoraSettings, Recipe, build
from tests.helpers.backends import (
    BACKENDS,
    LORA,
    batch_of,
    both,
    distance,
    examples,
    load,
    logits,
    move,
    noisy,
    start,
    step,
)
from tests.helpers.rounding import same_logits

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
IDS = list(range(5, 30))
# scales of thirds and of roots: no division by mlx-lm's one is exact
ODD = LORA.model_copy(update={"rank_pattern": {r"1\.mlp\..*": 7, "q_proj": 3}, "alpha_pattern": {"v_proj": 3.5}})
MANY = {"lora": ODD, "rank-stabilised": ODD.model_copy(update={"rslora": True}),
        "dora": ODD.model_copy(update={"dora": True})}  # fmt: skip
LAYERS = [f"model.layers.{block}.{leaf}" for block in range(12)
          for leaf in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")]  # fmt: skip


@pytest.fixture(scope="module")
def base(tiny_model):
    """The tiny model in PEFT's own hands, afresh with each call."""
    transformers = pytest.importorskip("transformers")
    return lambda: transformers.AutoModelForCausalLM.from_pretrained(tiny_model)


@pytest.mark.parametrize("patterns", [
    {"q_proj": 2, ".*mlp.*": 6},
    {"layers.1.self_attn.q_proj": 2, "q_proj": 3},
    {"q_proj": 3, "layers.1.self_attn.q_proj": 2},  # the second never counts
    {r"^model\.layers\.0.*": 5, "proj": 7, "o_pro": 8},
    {"(q|k)_proj": 2, r"\d\.mlp\.(up|down)_proj": 9},
])  # fmt: skip
@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning")  # of "proj"
def test_ranks_and_scales_are_pefts(base, tiny_model, patterns, rslora):
    peft = pytest.importorskip("peft")
    alphas = {name: value + 0.5 for name, value in reversed(patterns.items())}
    settings = LoraSettings(rank=4, alpha=6, rslora=rslora, rank_pattern=patterns, alpha_pattern=alphas)
    made = peft.get_peft_model(base(), peft.LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=6, use_rslora=rslora, target_modules="all-linear",
        rank_pattern=patterns, alpha_pattern=alphas))  # fmt: skip
    modules = dict(made.get_base_model().named_modules())
    names = linear_names(tiny_model)
    assert [rank_of(settings, name) for name in names] == [modules[name].r["default"] for name in names]
    assert [scale_of(settings, name) for name in names] == [modules[name].scaling["default"] for name in names]


@pytest.mark.parametrize("target", [r".*\.(q|v)_proj", r"model\.layers\.1\..*_proj", r".*(self_attn|mlp)\.(o|up)_proj"])
def test_the_layers_of_a_regular_expression_are_pefts(base, tiny_model, target):
    peft = pytest.importorskip("peft")
    made = peft.get_peft_model(base(), peft.LoraConfig(task_type="CAUSAL_LM", target_modules=target))
    ours = choose_layers(linear_names(tiny_model), LoraSettings(targets=[target]))
    assert sorted(ours) == sorted(made.base_model.targeted_module_names)


def test_a_pattern_beside_names_and_the_last_blocks():
    chosen = choose_layers(LAYERS, LoraSettings(targets=["up_proj", r".*\.1\d\.self_attn\.q.*"], layers=3))
    assert chosen == [name for name in LAYERS[-9:] if "up_proj" in name or name.endswith(("10.self_attn.q_proj",
                                                                                          "11.self_attn.q_proj"))]


@pytest.mark.parametrize("target", [r".*self_atn.*", "q_proj|v_proj", r"layers\.1\..*"])
def test_a_pattern_of_no_layer_is_told_with_the_models_own(target):
    """It is for the whole name, as PEFT's is."""
    with pytest.raises(RecipeError) as caught:
        choose_layers(LAYERS, LoraSettings(targets=[target]))
    assert str(caught.value) == (f"--targets {target}: no linear layer matches; there are q_proj, up_proj, v_proj, "
                                 "as model.layers.0.self_attn.q_proj")  # fmt: skip


@pytest.mark.parametrize(("patterns", "message"), [
    ({"q_prj": 2}, r"lora\.rank_pattern: q_prj: matches no adapted layer; there are q_proj, up_proj, v_proj, as model"),
    ({"q_proj": 2, r"1\.self_attn\.q_proj": 3},
     r"1\\\.self_attn\\\.q_proj: all it matches, as model\.layers\.1\.self_attn\.q_proj, goes by a pattern before it, "
     r"q_proj; put it first"),
])  # fmt: skip
def test_a_rank_that_no_layer_has_is_told(patterns, message):
    with pytest.raises(RecipeError, match=message):
        check_patterns(LoraSettings(rank_pattern=patterns), LAYERS)
    if len(patterns) > 1:
        check_patterns(LoraSettings(rank_pattern=dict(reversed(patterns.items()))), LAYERS)


@pytest.mark.parametrize(("values", "message"), [
    ({"targets": ["(q_proj"]}, r"lora\.targets = .*\(q_proj is no regular expression \(missing \)"),
    ({"rank_pattern": {"*q": 2}}, r"lora\.rank_pattern = .*\*q is no regular expression \(nothing to repeat"),
    ({"rank_pattern": {"q_proj": 0}}, r"q_proj has 0; it must be above 0"),
    ({"alpha_pattern": {"q_proj": -1.5}}, r"q_proj has -1\.5; it must be above 0"),
])  # fmt: skip
def test_patterns_of_no_sense_are_told(values, message):
    with pytest.raises(RecipeError, match=message):
        build({"lora": values}, "recipe.toml")


def test_on_a_command_line_and_in_a_file(tmp_path):
    """Commas and equals signs inside a pattern are its own."""
    typed = [
        "train", "--targets", r"up_proj,.*layers\.\d{1,2}\.self_attn\.[q,v]_proj",
        "--set", r"lora.rank_pattern=q_proj=2,(?=.*mlp.*)\d{1,2}.*=8", "--set", "lora.alpha_pattern=v_proj=3.5",
    ]  # fmt: skip
    recipe = recipe_from(parser("train").parse_args(typed))
    assert recipe.lora.targets == ["up_proj", r".*layers\.\d{1,2}\.self_attn\.[q,v]_proj"]
    assert recipe.lora.rank_pattern == {"q_proj": 2, r"(?=.*mlp.*)\d{1,2}.*": 8}
    assert recipe.lora.alpha_pattern == {"v_proj": 3.5}
    assert recipe_from(parser("train").parse_args(["train", *shlex.split(shlex.join(words(recipe)))])) == recipe
    file = tmp_path / "recipe.toml"
    file.write_text(recipe.dump(), encoding="utf-8")
    again = recipe_from(parser("train").parse_args(["train", str(file)]))
    assert again == recipe
    assert list(again.lora.rank_pattern) == list(recipe.lora.rank_pattern)  # the first that matches counts
    assert build({"lora": {"targets": ".*q_proj"}}, "recipe.toml").lora.targets == [".*q_proj"]  # as PEFT's


@both
@pytest.mark.parametrize("kind", MANY)
def test_a_trained_adapter_is_read_everywhere(backend, kind, tiny_model, tmp_path):
    """Its own library, the other one after an export, the merged weights, and a chat of several adapters."""
    model = start(backend, tiny_model, lora=MANY[kind])
    move(model, noisy(model.get_adapter()))
    step(model, [batch_of(examples())])
    model.save_adapter(tmp_path / "own")
    saved = read_adapter(tmp_path / "own")
    assert saved.settings.model_dump() | {"dropout": 0} == MANY[kind].model_dump()
    assert distance(saved.weights, model.get_adapter()) < 1e-6
    assert {rank_of(saved, name) for name in saved.names} == {3, 4, 7}
    for to in ("mlx", "peft"):
        write_adapter(saved, to, tmp_path / to, linear_names(tiny_model))
        assert distance(read_adapter(tmp_path / to).weights, saved.weights) < 1e-6
        library = {"mlx": "mlx", "peft": "cuda"}[to]
        own = pytest.importorskip("mio_mlx.files" if to == "mlx" else "mio_cuda.files")
        bare = load(library, tiny_model)
        found = own.logits(*((bare.model,) if to == "mlx" else (bare.model, bare.device)), IDS, tmp_path / to)
        same_logits(found, logits(model, IDS))
    names, weights = stored_weights(tiny_model)
    merged = dict(merge(saved, tiny_model, names).weights(weights))
    name = "model.layers.1.mlp.up_proj"
    a, b = (model.get_adapter()[f"{name}.lora_{part}"] for part in "AB")
    assert a.shape[0] == 7
    if kind != "dora":
        moved = merged[f"{name}.weight"] - dict(stored_weights(tiny_model)[1])[f"{name}.weight"]
        np.testing.assert_allclose(moved, 8 / (7**0.5 if kind != "lora" else 7) * (b @ a), atol=1e-5)
        start(backend, tiny_model).save_adapter(tmp_path / "plain")
        voices = load_voices(load(backend, tiny_model), {"a": saved, "b": read_adapter(tmp_path / "plain")})
        voices.take("a")
        same_logits(logits(voices.model, IDS), logits(model, IDS))
    again = start(backend, tiny_model, saved)
    same_logits(logits(again, IDS), logits(model, IDS))
    assert "ranks below 7 are filled up with zeros and scales are worked into the weights" in evening(saved)


def test_both_backends_train_it_alike(tiny_model):
    found = []
    for backend in BACKENDS:
        model = start(backend, tiny_model, lora=ODD)
        for _ in range(3):
            step(model, [batch_of(examples())], rate=1e-3)
        found.append(model.get_adapter())
    assert distance(*found) < 1e-4


def test_the_estimate_counts_the_adapter_that_is_made(tiny_model):
    """Its weights, eight bytes of AdamW's and twelve of the others for each."""
    lora = ODD.model_copy(update={"targets": [r".*\.(q|v)_proj", r".*\.1\.mlp\.up_proj"]})
    names = choose_layers(linear_names(tiny_model), lora)
    plan = Plan(read_shape(tiny_model), Recipe(lora=lora), "cuda", "gpu", 64, 32)
    slots = load("cuda", tiny_model).add_lora(lora, Recipe().train, names)
    made = sum(value.size for value in draw_adapter(slots, 0).values())
    assert plan.adapted_blocks == 2
    assert 20 * made <= adapter(plan) <= 20 * made * 1.4  # it has up_proj in both blocks
    first = lora.model_copy(update={"targets": [r".*\.0\.self_attn\.q_proj"]})
    assert Plan(read_shape(tiny_model), Recipe(lora=first), "cuda", "gpu", 64, 32).adapted_blocks == 2
    last = lora.model_copy(update={"targets": [r".*\.1\.self_attn\.q_proj"]})
    assert Plan(read_shape(tiny_model), Recipe(lora=last), "cuda", "gpu", 64, 32).adapted_blocks == 1
