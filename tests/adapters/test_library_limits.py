"""What the two libraries cannot adapt, as written down, against the libraries themselves."""

import pytest

from mio_local.adapters import library_limits
from mio_local.adapters.library_limits import refused_by_mlx, refused_by_peft


def names(*leaves):
    return [f"model.layers.{index}.mlp.{leaf}" for index in range(2) for leaf in leaves]


def test_types_are_those_that_peft_refuses_or_maps():
    pytest.importorskip("peft")
    from peft.utils import transformers_weight_conversion as conversion

    types = {pattern: {kind for kind, own in conversion._MODEL_TO_CONVERSION_PATTERN.items() if own == pattern}
             for pattern in conversion._MOE_TARGET_MODULE_MAPPING}  # fmt: skip
    assert {kind for kind in types["qwen2_moe"] if kind.islower()} == library_limits.STACKED
    assert types["mixtral"] == library_limits.STACKED_LIKE_MIXTRAL
    for kinds, leaves, _ in library_limits.BY_PEFT[1:]:
        pattern = "qwen2_moe" if kinds is library_limits.STACKED else "mixtral"
        assert leaves == conversion._MOE_TARGET_MODULE_MAPPING[pattern].keys()


@pytest.mark.parametrize("kind", [*sorted(library_limits.MAMBA), "jamba", "llama"])
def test_names_beside_a_mamba_kernel_are_those_that_peft_refuses(kind):
    pytest.importorskip("peft")
    from types import SimpleNamespace

    from peft import LoraConfig
    from peft.tuners.tuners_utils import _check_lora_target_modules_mamba

    asked = refused_by_peft(kind, names("in_proj", "out_proj", "conv1d"))
    for name in names("in_proj", "out_proj", "conv1d"):
        model = SimpleNamespace(config=SimpleNamespace(model_type=kind))
        try:
            _check_lora_target_modules_mamba(LoraConfig(), model, name.rpartition(".")[2])
        except ValueError:
            assert name in asked
        else:
            assert name not in asked


def test_types_whose_up_projection_mlx_absorbs():
    mlx_lm = pytest.importorskip("mlx_lm")
    from pathlib import Path

    folder = Path(mlx_lm.__file__).parent / "models"
    absorbing = {file.stem for file in folder.glob("*.py") if "unembed_out" in file.read_text(encoding="utf-8")}
    assert absorbing <= library_limits.ABSORBED
    assert refused_by_mlx("deepseek_v3", names("kv_b_proj", "o_proj")) == dict.fromkeys(
        names("kv_b_proj"), "mlx-lm has no such layer"
    )
    assert not refused_by_mlx("llama", names("kv_b_proj"))
