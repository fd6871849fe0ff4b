"""Runs to export, models changed before they are, and what was exported as its users load it."""

import json
import shutil

from mio_local.cli import run
from mio_local.gguf_files.gguf_file import check_gguf, layout, metadata, write_gguf
from mio_local.runs.directory import Run
from tests.helpers.backends import backend_of
from tests.helpers.json_edits import edit_json


def train(folder, model, pairs, backend, name="t", *more):
    """A run of three steps."""
    backend_of(backend)
    words = ["train", "--model", model, "--data", pairs, "--backend", backend, "--device", "cpu", "--rank", "4"]
    words += ["--runs", folder, "--name", name, "--steps", "3", "--learning-rate", "3e-2", *more]
    words += ["--set", "eval.sample_tokens=8"]
    assert run([str(word) for word in words]) == 0
    return Run(folder / name)


def by_library(library, folder, adapter=None):
    """A folder as a user without mio-local loads it."""
    if library == "mlx":
        from mlx_lm import load as mlx_load

        return mlx_load(str(folder), adapter_path=adapter and str(adapter))[0]
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    return PeftModel.from_pretrained(model, adapter) if adapter else model


def write_checked(folder, file, kind="auto"):
    """`folder` as `file`, checked as an export is."""
    made = layout(folder)
    write_gguf(made, folder, file, kind, folder.name)
    assert check_gguf(made, folder, file, metadata(made, folder.name)) > 0
    return made


def changed(folder, place, **config):
    """A copy of a model with other settings."""
    shutil.copytree(folder, place)
    edit_json(place / "config.json", **config)
    return place


def retoken(folder, place, change):
    """A copy of a model with its tokenizer.json changed."""
    shutil.copytree(folder, place)
    described = json.loads((place / "tokenizer.json").read_text())
    change(described)
    (place / "tokenizer.json").write_text(json.dumps(described))
    return place
