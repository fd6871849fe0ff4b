"""Adapters: chosen, drawn, saved as the ecosystem's own, and read back by it and by the other backend."""


import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mio_local.adapters.adapter import Slot, choose_layers, draw_adapter, inherit, read_adapter
from mio_local.adapters.terms import kept, scale_of
from mio_local.errors import ModelError, RecipeError
from mio_local.recipe import PLAIN, LoraSettings, Recipe, SpeedSettings
from tests.helpers.backends import (
    BACKENDS,
    LORA,
    TRAIN,
    backend_of,
    batch_of,
    both,
    distance,
    equal,
    examples,
    load,
    logits,
    noisy,
    start,
    step,
)
from tests.helpers.json_edits import edit_json
from tests.helpers.rounding import same_logits

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
KINDS = {
    "all": LORA,
    "last block": LORA.model_copy(update={"layers": 1}),
    "targets": LORA.model_copy(update={"targets": ["q_proj", "mlp.down_proj"]}),
    "dora": LORA.model_copy(update={"dora": True, "layers": 1, "targets": ["v_proj", "up_proj"]}),
    "rank-stabilised": LORA.model_copy(update={"rslora": True, "rank": 3, "alpha": 5.0}),
    # 2, 4 and 1 are the scales, by which mlx-lm's one is divided without rounding
    "patterns": LORA.model_copy(
        update={"rank_pattern": {"q_proj": 2, r"1\.mlp\..*": 8}, "alpha_pattern": {"v_proj": 16.0}}
    ),
    "one name": LORA.model_copy(update={"rank": 3, "alpha": 5.0, "targets": ["o_proj"]}),
}
IDS = list(range(5, 30))


@pytest.fixture(scope="module", params=[(backend, kind) for backend in BACKENDS for kind in KINDS], ids="-".join)
def trained(request, tiny_model, tmp_path_factory):
    """A model after three steps, and the folder with its adapter."""
    backend, kind = request.param
    model = start(backend, tiny_model, lora=KINDS[kind])
    for _ in range(3):
        step(model, [batch_of(examples())])
    folder = tmp_path_factory.mktemp("adapter")
    model.save_adapter(folder)
    return backend, KINDS[kind], model, folder


def by_its_own_library(backend, model, adapter):
    """The model with the adapter, as a user without mio-local loads it."""
    if backend == "mlx":
        from mlx_lm import load as mlx_load

        return mlx_load(str(model), adapter_path=str(adapter))[0]
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), adapter)


def test_its_own_library_loads_it(trained, tiny_model):
    """mlx_lm.load(adapter_path=...) and PeftModel.from_pretrained give the logits of the model in memory."""
    backend, _, model, folder = trained
    loaded = by_its_own_library(backend, tiny_model, folder)
    same_logits(logits(loaded, IDS), logits(model, IDS))
    assert np.abs(logits(model, IDS) - logits(load(backend, tiny_model), IDS)).max() > 1e-2  # it is not the bare base


def test_read_back_to_the_bit(trained):
    _, settings, model, folder = trained
    saved = read_adapter(folder)
    assert kept(saved) == kept(settings)
    assert equal(saved.weights, model.get_adapter())


@both
def test_either_backend_starts_from_it(backend, trained, tiny_model, record_property):
    _, _, model, folder = trained
    other = start(backend, tiny_model, read_adapter(folder))
    record_property("deviation", float(np.abs(logits(other, IDS) - logits(model, IDS)).max()))
    np.testing.assert_allclose(logits(other, IDS), logits(model, IDS), atol=1e-4)
    assert equal(other.get_adapter(), read_adapter(folder).weights)


@both
def test_a_continued_adapter_is_saved_again(backend, trained, tiny_model, tmp_path):
    """Names in a file are sorted, a model's are not: the copy must name the same layers."""
    _, _, _, folder = trained
    again = start(backend, tiny_model, read_adapter(folder))
    again.save_adapter(tmp_path)
    assert equal(read_adapter(tmp_path).weights, read_adapter(folder).weights)


@both
def test_an_adapter_on_the_first_block_alone(backend, tiny_model, tmp_path):
    """No "last N blocks" describes it; the saved file must still load where it belongs."""
    full = noisy(start(backend, tiny_model).get_adapter())
    first = {name: value for name, value in full.items() if name.startswith("model.layers.0.self_attn.q_proj")}
    model = load(backend, tiny_model)
    model.add_lora(LORA, TRAIN, ["model.layers.0.self_attn.q_proj"])
    model.set_adapter(first)
    model.save_adapter(tmp_path)
    loaded = by_its_own_library(backend, tiny_model, tmp_path)
    same_logits(logits(loaded, IDS), logits(model, IDS))


@both
def test_the_reference_is_the_adapter_the_run_starts_from(backend, trained, tiny_model):
    """Step 0: policy = reference = the initial adapter, so the loss is ln 4; the bare base scores otherwise. After a
    step the reference still is the initial adapter."""
    _, _, before, folder = trained
    batch = batch_of(examples(seed=9))
    model = start(backend, tiny_model, read_adapter(folder))
    reference = model.logps(batch, reference=True)
    assert np.array_equal(reference, model.logps(batch, reference=False))
    np.testing.assert_allclose(reference, before.logps(batch, reference=False), atol=1e-4)
    bare = start(backend, tiny_model).logps(batch, reference=True)
    assert np.abs(reference - bare).max() > 0.1
    assert step(model, [batch])[0] == pytest.approx(1.3862943611, abs=1e-6)
    assert np.array_equal(model.logps(batch, reference=True), reference)
    assert not np.array_equal(model.logps(batch, reference=False), reference)


@both
def test_tensors_that_do_not_fit_are_refused(backend, tiny_model):
    model = start(backend, tiny_model)
    good = model.get_adapter()
    key = "model.layers.1.mlp.up_proj.lora_B"
    with pytest.raises(ModelError, match=r"lacks 1 tensors of the model"):
        model.set_adapter({name: value for name, value in good.items() if name != key})
    with pytest.raises(ModelError, match=rf"{key} has shape \(64, 5\)"):
        model.set_adapter(good | {key: np.zeros((64, 5), np.float32)})
    with pytest.raises(ModelError, match=r"layers\.7\.mlp\.up_proj\.lora_B fits no layer of this model"):
        model.set_adapter(good | {"model.layers.7.mlp.up_proj.lora_B": good[key]})
    assert equal(model.get_adapter(), good)


def test_backends_start_from_the_same_weights(tiny_model):
    """A uniform in ±1/sqrt(in), B zero; the same names, shapes and numbers."""
    one, two = (start(backend, tiny_model).get_adapter() for backend in BACKENDS)
    assert len(one) == 2 * 2 * 7
    assert equal(one, two)


def test_a_stream_per_layer():
    """Fewer layers keep their numbers; another seed changes them; A fills ±1/sqrt(16) and B is zero."""
    slots = [Slot(f"m.{i}.q", (4, 16), (8, 4), 16) for i in range(50)]
    every, few = draw_adapter(slots, 0), draw_adapter(slots[3:5], 0)
    assert all(np.array_equal(every[name], value) for name, value in few.items())
    a = np.stack([every[f"m.{i}.q.lora_A"] for i in range(50)])
    assert 0.24 < np.abs(a).max() <= 0.25
    assert abs(a.mean()) < 0.01
    assert len({value.tobytes() for value in a}) == 50
    assert not any(value.any() for name, value in every.items() if name.endswith("lora_B"))
    assert not np.array_equal(draw_adapter(slots[:1], 1)["m.0.q.lora_A"], a[0])


LAYERS = [f"model.layers.{i}.{leaf}" for i in range(12) for leaf in ("self_attn.q_proj", "mlp.up_proj")]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, LAYERS),
        ({"layers": 2}, LAYERS[-4:]),
        ({"layers": 99}, LAYERS),
        ({"targets": ["q_proj"]}, LAYERS[::2]),
        ({"targets": ["mlp.up_proj", "q_proj"], "layers": 1}, LAYERS[-2:]),
    ],
)
def test_chosen_layers(settings, expected):
    """Blocks are counted as numbers (10 after 9), and the order is the model's."""
    assert choose_layers(LAYERS, LoraSettings(**settings)) == expected


def test_chosen_layers_leave_the_picture_side_and_the_head_alone():
    names = ["vision_tower.layers.30.q_proj", "lm_head", *LAYERS]
    assert choose_layers(names, LoraSettings(layers=12)) == LAYERS


@pytest.mark.parametrize("target", ["q_prj", "proj", "layers.0.self_attn.q_proj.x"])
def test_a_target_that_is_not_there(target):
    with pytest.raises(RecipeError, match=rf"--targets {target}: no linear layer matches.*there are q_proj, up_proj"):
        choose_layers(LAYERS, LoraSettings(targets=[target]))


def test_a_model_without_blocks():
    with pytest.raises(ModelError, match="no linear layers inside numbered blocks"):
        choose_layers(["lm_head", "proj"], LoraSettings())


@pytest.fixture
def saved(tiny_model, tmp_path):
    """A PEFT adapter on disk; change its config with the function it comes with."""
    backend_of("cuda")
    start("cuda", tiny_model).save_adapter(tmp_path)

    def change(**values):
        edit_json(tmp_path / "adapter_config.json", **values)
        return tmp_path

    return change


def test_rank_stabilised_scale(saved):
    """rsLoRA scales by alpha / sqrt(rank) = 8 / 2 = 4; LoRA by 8 / 4."""
    assert scale_of(read_adapter(saved(use_rslora=True)), "any") == 4
    assert scale_of(read_adapter(saved(use_rslora=False)), "any") == 2


@both
def test_rank_stabilised_training_is_pefts_own(backend, tiny_model):
    """The first loss and its gradient norm with PEFT's rsLoRA in PEFT's own forward pass, B being noise; at 1 / rank
    they are others."""
    rslora = LORA.model_copy(update={"rslora": True})
    theirs = start("cuda", tiny_model, lora=rslora)
    weights = noisy(theirs.get_adapter())
    bare = start("cuda", tiny_model).get_adapter()  # the reference: no effect
    found = {}
    for name, model in (("peft", theirs), ("ours", start(backend, tiny_model, lora=rslora)),
                        ("plain", start(backend, tiny_model))):  # fmt: skip
        model.set_adapter(bare)
        model.set_adapter(weights, reference=False)
        model.use(PLAIN if name == "peft" else SpeedSettings())
        found[name] = step(model, [batch_of(examples())])
    assert found["ours"] == pytest.approx(found["peft"], rel=1e-4)
    assert found["plain"] != pytest.approx(found["peft"], rel=1e-2)


@both
def test_a_run_that_continues_keeps_the_kind_and_says_so(backend, tiny_model, tmp_path):
    settings = LORA.model_copy(update={"rslora": True, "rank": 3, "alpha": 5.0})
    start(backend, tiny_model, lora=settings).save_adapter(tmp_path)
    recipe = inherit(Recipe(), read_adapter(tmp_path))
    assert (recipe.lora.rslora, recipe.lora.rank, recipe.lora.alpha) == (True, 3, 5.0)


@pytest.mark.parametrize("change", [{"modules_to_save": ["lm_head"]}, {"peft_type": "IA3"}])
def test_kinds_of_adapter_that_are_not_read(saved, change):
    with pytest.raises(ModelError, match=r"not supported|only LORA"):
        read_adapter(saved(**change))


def test_folders_that_hold_no_adapter(saved, tmp_path):
    folder = saved()
    with pytest.raises(ModelError, match="no such adapter folder"):
        read_adapter(tmp_path / "nowhere")
    file = folder / "adapter_model.safetensors"
    save_file({**load_file(file), "lm_head.weight": np.zeros(3, np.float32)}, file)
    with pytest.raises(ModelError, match=r"lm_head\.weight is no LoRA weight"):
        read_adapter(folder)
    file.write_bytes(b"broken")
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        read_adapter(folder)
    file.rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match="a pickle, which can run code"):
        read_adapter(folder)
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(ModelError, match="holds neither"):
        read_adapter(folder)
    (folder / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="JSON"):
        read_adapter(folder)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        read_adapter(folder)


def test_trained_weights_differ_little_between_backends(tiny_model):
    """The same three steps on both; the trainer's own bar is the loss curve."""
    adapters = []
    for backend in BACKENDS:
        model = start(backend, tiny_model)
        for _ in range(3):
            step(model, [batch_of(examples())], rate=1e-3)
        adapters.append(model.get_adapter())
    assert distance(*adapters) < 1e-4
