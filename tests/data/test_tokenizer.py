"""Tokenizers whose settings are strange: one line while they load, and not in the middle of the pairs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mio_local.data.template import Chat
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import ModelError
from mio_local.recipe import ModelSettings


def changed(tiny_model: Path, folder: Path, **settings: Any) -> ModelSettings:
    model = shutil.copytree(tiny_model, folder / "model")
    file = model / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return ModelSettings(name=str(model))


@pytest.mark.parametrize("longest", [[2048], {"a": 1}, "2048"])
def test_a_setting_of_another_type_is_told_while_it_loads(tiny_model: Path, tmp_path: Path, longest: Any) -> None:
    model = changed(tiny_model, tmp_path, model_max_length=longest)
    with pytest.raises(ModelError, match="the tokenizer cannot be loaded") as caught:
        load_tokenizer(model)
    assert "\n" not in str(caught.value)


def test_templates_by_name_of_which_there_is_none_are_no_template(tiny_model: Path, tmp_path: Path) -> None:
    model = changed(tiny_model, tmp_path, chat_template=[])
    assert Chat(load_tokenizer(model), "auto").template is None
