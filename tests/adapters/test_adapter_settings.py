"""What an adapter's settings say against what its files hold, and settings that came along from the other format."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mio_local.adapters.adapter import FILES, ORIGIN, read_adapter
from mio_local.adapters.claims import claimed
from mio_local.adapters.convert import write_adapter
from mio_local.adapters.merge import merge
from mio_local.cli import run
from mio_local.errors import ModelError
from mio_local.models.weights import linear_names
from tests.helpers.backends import LORA, load, start
from tests.helpers.json_edits import edit_json

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
PRESENT = [f"model.layers.{block}.{leaf}" for block in range(3)
           for leaf in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")]  # fmt: skip
Q = [name for name in PRESENT if "q_proj" in name]


@pytest.fixture
def saved(tiny_model, tmp_path):
    """An adapter on the last block of a model, in either format, by kind."""
    start("mlx", tiny_model, lora=LORA.model_copy(update={"layers": 1})).save_adapter(tmp_path / "mlx")
    write_adapter(read_adapter(tmp_path / "mlx"), "peft", tmp_path / "peft", linear_names(tiny_model))
    return {kind: tmp_path / kind for kind in FILES}


def change(folder, **values):
    edit_json(folder / "adapter_config.json", **values)


@pytest.mark.parametrize("kind", FILES)
def test_a_whole_layer_that_is_missing_is_told(kind, saved, tiny_model, tmp_path):
    file = saved[kind] / FILES[kind]
    kept = {key: value for key, value in load_file(file).items() if "up_proj" not in key and "down_proj" not in key}
    save_file(kept, file)
    message = r"lacks model\.layers\.1\.mlp\.down_proj\.lora_A and 1 more layers, which its adapter_config\.json names"
    for to in ("mlx", "peft", "merged"):
        with pytest.raises(ModelError, match=message):
            run(["export", str(saved[kind]), "--model", str(tiny_model), "--to", to, "--out", str(tmp_path / "out")])
    with pytest.raises(ModelError, match=message):
        read_adapter(saved[kind]).fitted(load("mlx", tiny_model).linear_layers())
    assert not (tmp_path / "out").exists()


def mlx(count, keys):
    return {"num_layers": count, "lora_parameters": {"rank": 4, "scale": 2.0, **({"keys": keys} if keys else {})}}


@pytest.mark.parametrize(("kind", "config", "names", "wanted"), [
    ("mlx", mlx(2, ["self_attn.q_proj"]), Q[1:], Q[1:]),
    ("mlx", mlx(-1, ["self_attn.q_proj"]), Q[1:], Q),
    ("mlx", mlx(2, None), Q[1:2], Q[1:]),  # mlx-lm's choice of kinds, of which q_proj is one
    ("mlx", mlx(3, [Q[0]]), Q[:1], Q[:1]),
    ("peft", {"target_modules": ["q_proj"]}, Q[1:], Q),
    ("peft", {"target_modules": ["q_proj"], "layers_to_transform": [0, 2]}, Q[:1], [Q[0], Q[2]]),
    ("peft", {"target_modules": ["q_proj"], "layers_to_transform": 1}, Q[1:2], Q[1:2]),
    ("peft", {"target_modules": "all-linear"}, Q[1:], Q),
    ("peft", {"target_modules": r".*\.[01]\..*q_proj"}, Q[:1], Q[:2]),
    ("peft", {"target_modules": ["q_proj"], "exclude_modules": ["0"]}, Q[1:], []),  # not asked: PEFT's own affair
])  # fmt: skip
def test_the_layers_that_settings_name(kind, config, names, wanted):
    assert claimed(kind, config, names, [*PRESENT, "vision.blocks.0.self_attn.q_proj"]) == set(wanted)


@pytest.mark.parametrize("values", [{"target_modules": 3}, {"target_modules": "("}, {"target_modules": [1], "r": None},
                                    {"layers_to_transform": "ab"}])
def test_settings_of_no_sense_are_told(saved, values):
    change(saved["peft"], **values)
    with pytest.raises(ModelError, match=r"adapter_config\.json: not an adapter's settings"):
        read_adapter(saved["peft"])


@pytest.mark.parametrize("values", [{"r": 2}, {"lora_alpha": 3.0}, {"use_dora": True}, {"lora_dropout": 0.5},
                                    {"use_rslora": True}, {"target_modules": ["q_proj"]}])
def test_settings_that_were_edited_win_over_those_that_came_along(saved, values, tiny_model, tmp_path):
    first = json.loads((saved["mlx"] / "adapter_config.json").read_text())
    change(saved["mlx"], note="theirs")
    write_adapter(read_adapter(saved["mlx"]), "peft", tmp_path / "a", linear_names(tiny_model))
    write_adapter(read_adapter(tmp_path / "a"), "mlx", tmp_path / "b", linear_names(tiny_model))
    assert json.loads((tmp_path / "b" / "adapter_config.json").read_text()) == {**first, "note": "theirs"}
    change(tmp_path / "a", **values)
    if "target_modules" in values:
        file = tmp_path / "a" / FILES["peft"]
        save_file({key: value for key, value in load_file(file).items() if "q_proj" in key}, file,
                  {"format": "pt", ORIGIN: json.dumps({**first, "note": "theirs"})})  # fmt: skip
    adapter = read_adapter(tmp_path / "a")
    if adapter.dora:
        size = {name: len(adapter.weights[f"{name}.lora_B"]) for name in adapter.names}
        adapter.weights.update({f"{name}.magnitude": np.ones(rows, np.float32) for name, rows in size.items()})
    write_adapter(adapter, "mlx", tmp_path / "c", linear_names(tiny_model))
    assert "note" not in json.loads((tmp_path / "c" / "adapter_config.json").read_text())


@pytest.mark.parametrize("text", ["[1]", "{", "3"])
def test_settings_that_came_along_damaged_are_told_by_their_file(saved, text):
    file = saved["peft"] / FILES["peft"]
    save_file(load_file(file), file, {"format": "pt", ORIGIN: text})
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors: origin_config in its metadata is no adapter's"):
        read_adapter(saved["peft"])


def test_a_layer_outside_the_blocks_is_told(saved):
    file = saved["peft"] / FILES["peft"]
    head = {f"base_model.model.lm_head.lora_{part}.weight": np.ones((4, 4), np.float32) for part in "AB"}
    save_file(head, file)
    with pytest.raises(ModelError, match="adapts lm_head; only layers inside the model's blocks are supported"):
        read_adapter(saved["peft"])


def test_stacked_experts_that_the_base_has_not_are_told(saved, tiny_model):
    adapter = read_adapter(saved["mlx"])
    name = "model.layers.1.mlp.switch_mlp.up_proj"
    adapter.weights.update({f"{name}.lora_A": np.ones((4, 2, 3), "f4"), f"{name}.lora_B": np.ones((4, 3, 2), "f4")})
    with pytest.raises(ModelError, match=rf"adapts {name}, of which .* has no weight: trained on another base"):
        merge(adapter, tiny_model, [f"{layer}.weight" for layer in linear_names(tiny_model)])


def test_quantised_experts_are_dequantised_as_mlx_computes_with_them():
    mx, nn = pytest.importorskip("mlx.core"), pytest.importorskip("mlx.nn")
    from mlx_lm.models.switch_layers import SwitchLinear

    from mio_mlx.files import dense

    model = nn.Module()
    model.experts = SwitchLinear(64, 32, 3, bias=False).to_quantized(32, 4)
    names, weights = dense(model)
    assert names == ["experts.weight"]
    x, chosen = mx.random.normal((5, 64)), [0, 1, 2, 1, 0]
    by_layer = model.experts(x[:, None, None], mx.array(chosen)[:, None])[:, 0, 0]
    by_hand = np.einsum("ti,toi->to", np.array(x), dict(weights)["experts.weight"][chosen])
    np.testing.assert_allclose(np.array(by_layer), by_hand, atol=1e-4)


@pytest.mark.parametrize(("key", "value", "told"), [
    ("init_lora_weights", "pissa_niter_16", "init_lora_weights 'pissa_niter_16' is not supported, as PEFT changes the"),
    ("init_lora_weights", "olora", "init_lora_weights 'olora' is not supported"),
    ("alora_invocation_tokens", [1, 2], "alora_invocation_tokens is not supported"),
    ("target_parameters", ["mlp.experts.gate_up_proj"], "target_parameters is not supported"),
])  # fmt: skip
def test_what_is_no_plain_lora_in_peft_is_not_taken_for_it(saved, key, value, told):
    change(saved["peft"], **{key: value})
    with pytest.raises(ModelError, match=told):
        read_adapter(saved["peft"])
    change(saved["peft"], init_lora_weights="eva", alora_invocation_tokens=None, target_parameters=None)
    read_adapter(saved["peft"])


def test_a_scalar_weight_keeps_its_shape(tmp_path):
    from mio_local.models.weights import stored_weights, write_weights

    write_weights([("beta", np.array(0.5, np.float32)), ("w", np.ones((2, 3), "f4").T)], tmp_path, 2)
    assert [(name, weight.shape) for name, weight in stored_weights(tmp_path)[1]] == [("beta", ()), ("w", (3, 2))]
