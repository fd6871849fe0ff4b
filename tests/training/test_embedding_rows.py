"""Tokenizers that give ids for which the model has no row of embeddings, as one has whose model was not resized."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from mio_local.backends import installed
from mio_local.errors import ModelError
from mio_local.recipe import build
from mio_local.training.loop import train
from mio_local.training.prepare import start
from tests.helpers.backends import need_library

CHATML = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|over|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


@pytest.fixture(params=installed())
def backend(request: pytest.FixtureRequest) -> str:
    need_library(request.param)
    return str(request.param)


def tables(model: Path, pairs: Path, backend: str) -> dict[str, Any]:
    return {
        "model": {"name": str(model)}, "data": {"source": str(pairs), "eval_fraction": 0},
        "lora": {"rank": 4, "alpha": 8}, "eval": {"sample_tokens": 0},
        "train": {"steps": 3, "batch_size": 2, "learning_rate": 1e-3}, "backend": {"name": backend, "device": "cpu"},
    }  # fmt: skip


def with_tokens(model: Path, folder: Path, template: str, **special: Any) -> Path:
    """A copy of a model whose tokenizer knows more tokens than its table has rows."""
    from transformers import AutoTokenizer

    shutil.copytree(model, folder)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_special_tokens(special)
    tokenizer.chat_template = template or tokenizer.chat_template
    tokenizer.save_pretrained(folder)
    return folder


def test_tokens_without_a_row_are_told_before_any_step(tmp_path, tiny_model, tiny_pairs, backend, mistake):
    model = with_tokens(tiny_model, tmp_path / "model", CHATML, additional_special_tokens=["<|turn|>", "<|over|>"])
    told = (
        f"{tiny_pairs.name} line 1: the tokenizer gives ids up to 260, and the model has 259 rows of embeddings: none "
        "for <|turn|> (259), <|over|> (260); resize the model's embeddings, or take the tokenizer and the template "
        "that it was trained with"
    )
    with pytest.raises(ModelError) as caught:
        start(build(tables(model, tiny_pairs, backend), "test"), tmp_path / "runs", "run")
    assert str(caught.value) == told
    assert mistake("data", "check", tiny_pairs, "--model", model) == f"mio-local: {told}"


def test_a_pad_token_without_a_row_trains_the_same_adapter(tmp_path, tiny_model, tiny_pairs, backend):
    padded = with_tokens(tiny_model, tmp_path / "model", "", pad_token="[PAD]")
    made = []
    for name, model in (("plain", tiny_model), ("padded", padded)):
        job = start(build(tables(model, tiny_pairs, backend), "test"), tmp_path / "runs", name)
        assert (job.chat.tokenizer.pad_token_id, job.chat.pad) == ((258, 258) if name == "plain" else (259, 0))
        list(train(job))
        made.append({file.name: file.read_bytes() for file in job.run.path.rglob("adapter*.safetensors")})
    assert made[0]
    assert made[0] == made[1]
