"""A trained run as files for other programs: they compute what the app computes, or nothing is there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mio_local.adapters.adapter import read_adapter
from mio_local.adapters.merge import merge
from mio_local.cli import run
from mio_local.errors import MioError, ModelError, RunError
from mio_local.evaluation.loading import of_run
from mio_local.models import weights
from mio_local.models.weights import stored_weights
from mio_local.runs.directory import Run
from tests.helpers.backends import BACKENDS, LORA, backend_of, load, logits, mlx_and_slow_cuda, move, noisy, start
from tests.helpers.exporting import by_library, train
from tests.helpers.families import FAMILIES, write_family
from tests.helpers.rounding import same_logits
from tests.helpers.some import fast
from tests.helpers.tiny_model import write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
IDS = list(range(5, 30))
WIDE = 64  # a multiple of the quantised groups


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("wide") / "wide-llama", width=WIDE)


@pytest.fixture(scope="module", params=BACKENDS)
def trained(request, wide_model, tiny_pairs, tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), wide_model, tiny_pairs, request.param)


def export(trained, *words):
    return run(["export", str(trained.path), *map(str, words)])


def merged(adapter, base, place):
    return run(["export", str(adapter), "--model", str(base), "--to", "merged", "--out", str(place)])


def ours(trained):
    source = of_run(trained)
    return logits(source.load(source.open()), IDS)


@pytest.mark.parametrize(("to", "library"), [("peft", "cuda"), ("mlx", "mlx")])
def test_an_adapter_for_either_library(trained, to, library, wide_model, capsys):
    assert export(trained, "--to", to) == 0
    out = capsys.readouterr().out
    assert "its logits equal the app's to " in out
    assert {"peft": "AutoPeftModelForCausalLM", "mlx": "mlx_lm.generate"}[to] in out
    place = trained.path / "exports" / to
    same_logits(logits(by_library(library, wide_model, place), IDS), ours(trained))
    assert np.abs(ours(trained) - logits(by_library(library, wide_model), IDS)).max() > 1e-2


def test_a_merged_model_gives_the_apps_logits_in_both_libraries(trained, wide_model, capsys):
    assert export(trained, "--to", "merged") == 0
    place = trained.path / "exports" / "merged"
    for library in BACKENDS:
        same_logits(logits(by_library(library, place), IDS), ours(trained))
    assert {file.name for file in wide_model.iterdir()} == {file.name for file in place.iterdir()}
    assert "mlx_lm.generate --model" in capsys.readouterr().out


def test_nothing_is_overwritten(trained, tmp_path, capsys):
    place = tmp_path / "there"
    place.mkdir()
    (place / "mine").touch()
    with pytest.raises(RunError, match=r"there: is there already, and is left alone; name another place with --out"):
        export(trained, "--to", "merged", "--out", place)
    assert [file.name for file in tmp_path.rglob("*")] == ["there", "mine"]


def test_what_fails_on_the_way_leaves_nothing(trained, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        export(trained, "--to", "merged", "--out", tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_an_export_that_computes_something_else_is_not_published(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("mio_local.adapters.merge.Merge.layer", lambda self, layer, weight, turned: weight)
    with pytest.raises(ModelError, match="not published: its logits differ from the app's by"):
        export(trained, "--to", "merged", "--out", tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_base_that_changed_is_told(wide_model, tiny_pairs, tmp_path):
    base = shutil.copytree(wide_model, tmp_path / "base")
    trained = train(tmp_path / "runs", base, tiny_pairs, "cuda")
    shutil.rmtree(base)
    write_tiny_model(base, width=WIDE, blocks=3)
    with pytest.raises(RunError, match=r"run t: the weights in .*base are not those it was trained on"):
        export(trained, "--to", "merged")
    shutil.rmtree(base)
    with pytest.raises(ModelError, match=r"model\.name was .*base, which is not here; say where it is now"):
        export(trained, "--to", "merged")


def test_an_adapter_of_another_base_is_told(trained, tiny_model, tmp_path):
    for base in (tiny_model, write_tiny_model(tmp_path / "one", WIDE, blocks=1)):
        with pytest.raises(ModelError, match="another base"):
            merged(trained.adapter, base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_tensor_is_told(trained, wide_model, tmp_path):
    folder = shutil.copytree(trained.adapter, tmp_path / "adapter")
    file = next(folder.glob("*.safetensors"))
    tensors = load_file(file)
    lost = sorted(tensors)[0]
    save_file({key: value for key, value in tensors.items() if key != lost}, file)
    with pytest.raises(ModelError, match=f"{file.name} is not what was written"):
        run(["export", str(folder), "--model", str(wide_model), "--to", "mlx", "--out", str(tmp_path / "out")])
    (folder / "digests.json").unlink()  # as from elsewhere
    for to in ("merged", "mlx", "peft"):
        with pytest.raises(ModelError, match=r"lacks model\.layers\.0\..*\.lora_A"):
            run(["export", str(folder), "--model", str(wide_model), "--to", to, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["--to", "onnx"], ["--to", "mergd"], ["--to", "mlx", "--quantize", "4"],
                                   ["--to", "merged", "--quantize", "5"], ["--to", "mlx", "--checkpoint", "step-9"]])
def test_what_there_is_not_is_refused(trained, words):
    with pytest.raises(MioError, match=r"--to|--quantize|no checkpoint step-9 .*; there are .*final"):
        export(trained, *words)


def test_a_run_without_an_adapter_is_told(trained, tmp_path):
    empty = shutil.copytree(trained.path, tmp_path / "empty")
    for folder in ("adapter", "checkpoints"):
        shutil.rmtree(empty / folder)
    with pytest.raises(RunError, match="run empty: has no adapter yet"):
        export(Run(empty), "--to", "mlx")


def test_a_checkpoint_of_ones_choice(trained, tmp_path):
    step = trained.saved()[-1]
    assert export(trained, "--to", "peft", "--checkpoint", step.name, "--out", tmp_path / "out") == 0
    assert read_adapter(tmp_path / "out").weights.keys() == read_adapter(step / "adapter").weights.keys()


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("name", fast(FAMILIES, ["llama3", "gemma3", "lfm2"]))
@pytest.mark.parametrize("backend", BACKENDS)
def test_merged_weights_of_every_family(backend, name, dora, tmp_path):
    base = write_family(tmp_path / "base", name, backend)
    model = start(backend, base, lora=LORA.model_copy(update={"dora": dora}))
    move(model, noisy(model.get_adapter()))
    model.save_adapter(tmp_path / "adapter")
    names, stored = stored_weights(base)
    together = merge(read_adapter(tmp_path / "adapter"), base, names).weights(stored)
    out = shutil.copytree(base, tmp_path / "out", ignore=shutil.ignore_patterns("*.safetensors"))
    weights.write_weights(together, out, len(names))
    again = load(backend, out)
    same_logits(logits(again, IDS), logits(model, IDS))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_16_bits_keep_their_type(trained, wide_model, dtype, tmp_path):
    import ml_dtypes

    kind = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}[dtype]
    base = shutil.copytree(wide_model, tmp_path / "base")
    stored = load_file(base / "model.safetensors")
    save_file({key: value.astype(kind) for key, value in stored.items()}, base / "model.safetensors", {"format": "pt"})
    place = tmp_path / "out"
    assert merged(trained.adapter, base, place) == 0
    saved, found = read_adapter(trained.adapter), load_file(place / "model.safetensors")
    assert {value.dtype for value in found.values()} == {np.dtype(kind)}
    name = "model.layers.1.mlp.up_proj"
    delta = saved.alpha / saved.rank * saved.weights[f"{name}.lora_B"] @ saved.weights[f"{name}.lora_A"]
    wanted = stored[f"{name}.weight"].astype(kind).astype(np.float64) + delta
    np.testing.assert_array_equal(found[f"{name}.weight"], wanted.astype(np.float32).astype(kind))


def test_large_models_are_cut_into_files_with_an_index(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD", 40_000)
    place = tmp_path / "out"
    assert export(trained, "--to", "merged", "--out", place) == 0
    files = sorted(file.name for file in place.glob("*.safetensors"))
    assert len(files) > 3
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    index = json.loads((place / weights.INDEX).read_text())["weight_map"]
    assert {name: file for file in files for name in load_file(place / file)} == index
    again = tmp_path / "again"  # and such a model is a base like any other
    assert merged(trained.adapter, place, again) == 0


@pytest.mark.parametrize("bits", [4, 8])
@mlx_and_slow_cuda
def test_a_quantised_base_is_dequantised(backend, bits, wide_model, tiny_pairs, tmp_path):
    """The merged model computes what the app computes, which is not what the unquantised base would give."""
    if backend == "cuda":
        pytest.importorskip("bitsandbytes")
    trained = train(tmp_path / "runs", wide_model, tiny_pairs, backend, "q", "--quantize", str(bits))
    assert export(trained, "--to", "merged") == 0
    place = trained.path / "exports" / "merged"
    tolerance = 0.5 if (backend, bits) == ("cuda", 8) else 1e-4  # bitsandbytes rounds activations to 8 bits as well
    for library in BACKENDS:
        np.testing.assert_allclose(logits(by_library(library, place), IDS), ours(trained), atol=tolerance)
    assert "quantization" not in (place / "config.json").read_text()


@mlx_and_slow_cuda
def test_an_adapter_of_a_quantised_base_for_either_library(backend, wide_model, tiny_pairs, tmp_path, capsys):
    """Each library quantises in its own way, so the check is on the plain base, on which the adapter is the same."""
    if backend == "cuda":
        pytest.importorskip("bitsandbytes")
    trained = train(tmp_path / "runs", wide_model, tiny_pairs, backend, "q", "--quantize", "4")
    for to in ("peft", "mlx"):
        assert export(trained, "--to", to) == 0
        assert "its logits equal the app's to " in capsys.readouterr().out
    own, other = (trained.path / "exports" / to for to in ("mlx", "peft"))
    found = [logits(by_library(kind, wide_model, place), IDS) for kind, place in (("mlx", own), ("cuda", other))]
    same_logits(*found)


@mlx_and_slow_cuda
def test_a_merged_model_is_quantised_again_on_request(backend, wide_model, tiny_pairs, tmp_path, capsys):
    if backend == "cuda":
        pytest.importorskip("bitsandbytes")
    trained = train(tmp_path / "runs", wide_model, tiny_pairs, backend, "q", "--quantize", "4")
    assert export(trained, "--to", "merged", "--quantize", "4") == 0
    place = trained.path / "exports" / "merged-4bit"
    assert "quantization" in (place / "config.json").read_text()
    size = sum(file.stat().st_size for file in place.glob("*.safetensors"))
    assert size < 0.5 * (wide_model / "model.safetensors").stat().st_size
    found = logits(by_library(backend, place), IDS)
    assert np.corrcoef(found.ravel(), ours(trained).ravel())[0, 1] > 0.9


@pytest.mark.slow
def test_an_mlx_quantised_base(wide_model, tiny_pairs, tmp_path, capsys):
    """A base that is quantised in its files, as those of the mlx-community."""
    backend_of("mlx")
    from mio_mlx.files import write_quantised

    base = shutil.copytree(wide_model, tmp_path / "base")
    write_quantised(base, 4)
    trained = train(tmp_path / "runs", base, tiny_pairs, "mlx")
    assert export(trained, "--to", "mlx") == 0
    assert export(trained, "--to", "merged") == 0
    merged = trained.path / "exports" / "merged"
    for library in BACKENDS:
        np.testing.assert_allclose(logits(by_library(library, merged), IDS), ours(trained), atol=1e-4)
    assert export(trained, "--to", "peft") == 0
    assert "is quantised, which only its own library loads" in capsys.readouterr().out
    theirs = read_adapter(trained.path / "exports" / "peft").weights
    assert all(np.array_equal(value, theirs[key]) for key, value in read_adapter(trained.adapter).weights.items())


def test_a_folder_that_is_no_run_and_no_adapter(tmp_path):
    with pytest.raises(MioError, match="no run "):
        run(["export", str(Path(tmp_path)), "--to", "mlx", "--runs", str(tmp_path / "runs")])
