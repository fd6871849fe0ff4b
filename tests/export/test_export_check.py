"""What is checked before an export is published, and what is said of it."""

import json
import shutil
import signal
import subprocess
import sys
from fnmatch import fnmatch

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mio_local.adapters.merge import Merge
from mio_local.cli import run
from mio_local.data.rows import read_rows
from mio_local.data.task_questions import read_tasks
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import ModelError, RecipeError
from mio_local.export.logits_check import kept
from mio_local.models.locate import WANTED, model_folder
from mio_local.models.weights import copy_beside
from mio_local.recipe import ModelSettings
from mio_local.storage.paths import building
from tests.helpers.backends import noisy, start
from tests.helpers.tiny_model import write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
LAYER = Merge.layer


def dropped(self, layer, weight, *, turned=False):
    return weight


def halved(self, layer, weight, *, turned=False):
    return ((LAYER(self, layer, weight, turned=turned).astype("f4") + weight.astype("f4")) / 2).astype(weight.dtype)


def broken(self, layer, weight, *, turned=False):
    return np.full_like(weight, np.nan)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model in bfloat16."""
    folder = write_tiny_model(tmp_path_factory.mktemp("check") / "base", 64)
    stored = {key: value.astype(ml_dtypes.bfloat16) for key, value in load_file(folder / "model.safetensors").items()}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """Small enough for what it does to be less than the roundings that were once let through."""
    model = start("mlx", base)
    model.set_adapter(noisy(model.get_adapter(), 0.004))
    model.save_adapter(folder := tmp_path_factory.mktemp("adapter") / "small")
    return folder


def export(adapter, base, place, *words):
    words = ["export", adapter, "--model", base, "--out", place, "--to", *(words or ("merged",))]
    return run([str(word) for word in words])


@pytest.mark.parametrize("wrong", [dropped, halved])
def test_a_16_bit_model_without_its_adapter_is_not_published(adapter, base, wrong, tmp_path, monkeypatch):
    assert export(adapter, base, tmp_path / "right") == 0
    monkeypatch.setattr(Merge, "layer", wrong)
    place = tmp_path / "wrong"
    with pytest.raises(ModelError, match=rf"^{place}: not published: .* has \d+% of the adapter's effect .*--to peft"):
        export(adapter, base, place)
    assert [path.name for path in tmp_path.iterdir()] == ["right"]


def test_an_adapter_without_effect_is_published(base, tmp_path):
    start("mlx", base).save_adapter(tmp_path / "fresh")
    assert export(tmp_path / "fresh", base, tmp_path / "out") == 0


def test_an_effect_is_found_again_in_noise():
    rng = np.random.default_rng(0)
    effect, noise = rng.normal(0, 1, (32, 500)), rng.normal(0, 3, (32, 500))
    assert kept(effect, effect / 2 + noise, 0.1) == pytest.approx(0.5, abs=0.1)
    assert kept(effect, noise, 0.1) == pytest.approx(0, abs=0.1)
    assert kept(effect, 2 * noise, 0.1) == 1.0  # nobody can tell
    assert kept(effect / 1e3, 0 * noise, 0.1) == 1.0


def test_a_quantised_model_is_said_to_differ_and_to_be_its_own_librarys(adapter, base, tmp_path, monkeypatch, capsys):
    assert export(adapter, base, tmp_path / "out", "merged", "--quantize", 4) == 0
    said = capsys.readouterr().out
    assert "its logits differ from the app's by at most " in said
    assert "mlx_lm.generate" in said
    assert "transformers" not in said.split("next:")[1]
    monkeypatch.setattr(Merge, "layer", broken)
    with pytest.raises(ModelError, match="not published: its logits are not all numbers"):
        export(adapter, base, tmp_path / "new", "merged", "--quantize", 4)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("to", ["peft", "merged"])
def test_the_printed_command_runs_nothing_of_a_path(adapter, base, to, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "a $(touch pwned) `touch pwned` 'b' \"c"
    assert export(adapter, base, place, to) == 0
    command = next(line.strip() for line in capsys.readouterr().out.splitlines() if "python -c" in line)
    (tmp_path / "python").write_text('#!/bin/sh\nprintf %s "$2"')
    (tmp_path / "python").chmod(0o755)
    done = subprocess.run(f"PATH={tmp_path}:$PATH; {command}", shell=True, capture_output=True, text=True)
    assert done.stdout.endswith(f"as M; M.from_pretrained({json.dumps(str(place))})"), done.stderr
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("words", [["--out"], ["--out", "x", "--llama-cpp"], ["--out", "x", "--model"]])
def test_a_user_that_is_not_there(adapter, base, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=f"^{words[-1]} ~nouser/x: there is no such user"):
        run(["export", str(adapter), "--model", str(base), "--to", "gguf", *words, "~nouser/x"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("read", "flag"), [
    (read_rows, "--data"), (read_tasks, "eval.tasks"), (lambda name: model_folder(ModelSettings(name=name)), "--model"),
    (lambda name: load_tokenizer(ModelSettings(name=name)), "--model"),
])  # fmt: skip
def test_a_user_that_is_not_there_for_whatever_is_read(read, flag):
    with pytest.raises(RecipeError, match=f"^{flag} ~nouser/x: there is no such user; write the whole path"):
        read("~nouser/x")


def test_a_place_that_mlx_lm_takes_for_a_pattern_is_told_before_any_work(adapter, base, tmp_path):
    for to in ("merged", "gguf"):
        with pytest.raises(RecipeError, match=r"a\[1\]: mlx-lm takes .* for a pattern"):
            export(adapter, base, tmp_path / "a[1]", to)
    assert not list(tmp_path.iterdir())
    assert export(adapter, base, tmp_path / "a[1]", "mlx") == 0


def test_peft_is_told_the_whole_path_of_a_local_base(adapter, base, tmp_path, monkeypatch):
    monkeypatch.chdir(base.parent)
    assert export(adapter, base.name, tmp_path / "out", "peft") == 0
    said = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert said["base_model_name_or_path"] == str(base)


def test_what_a_killed_export_left_is_tidied_up(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead, other, alive = (tmp_path / f".{name}" for name in (f"out.{gone.pid}", f"outer.{gone.pid}", "out.1"))
    for folder in (dead, other, alive):
        folder.mkdir()
    with building(tmp_path / "out") as folder:
        (folder / "x").touch()
    assert {path.name for path in tmp_path.iterdir()} == {other.name, alive.name, "out"}


def test_one_that_is_asked_to_end_tidies_up(tmp_path):
    code = f"from mio_local.storage.paths import building\nfrom pathlib import Path\nimport time\n" \
           f"with building(Path({str(tmp_path / 'out')!r})) as it:\n print(flush=True)\n time.sleep(60)"  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert [path.name for path in tmp_path.iterdir()] == [f".out.{process.pid}"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_the_licence_of_a_base_is_downloaded_and_copied(base, tmp_path):
    assert any(fnmatch("LICENSE.txt", pattern) for pattern in WANTED)
    there = shutil.copytree(base, tmp_path / "base")
    (there / "LICENSE.txt").write_text("terms")
    (tmp_path / "out").mkdir()
    copy_beside(there, tmp_path / "out", lambda config: None)
    assert (tmp_path / "out" / "LICENSE.txt").read_text() == "terms"
