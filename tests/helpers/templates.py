"""Chat templates as their authors publish them, and a tokenizer that knows the markers of one."""

import copy
import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from mio_local.data.pairs import Pair
from tests.helpers.byte_tokenizer import build

SHARED = Path(__file__).resolve().parents[3] / "shared/data/chat_templates"
MARKER = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<｜[^｜\n]{1,40}｜>|<[a-z]{3,12}_of_[a-z]{3,12}>|</?s>|\[/?[A-Z_]{3,20}\]|<eos>|<bos>"
    r"|<\|[a-z_]{3,20}>|<[a-z_]{3,20}\|>"
)
ENDS = re.compile(r"<\|return\|>|<\|im_end\|>|<\|END_OF_TURN_TOKEN\|>|<｜end▁of▁sentence｜>|<\|eot(_id)?\|>"
                  r"|<end_of_(turn|utterance)>|<turn\|>|<\|end\|>|</s>")  # fmt: skip


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def written(tmp_path: Path, text: str) -> str:
    """The path of a file with a template."""
    path = tmp_path / "t.jinja"
    path.write_text(text, encoding="utf-8")
    return str(path)


def pair(
    prompt: Any = "the cat?", chosen: Any = "yes", rejected: Any = "no", where: str = "train.jsonl line 3"
) -> Pair:
    """A pair of texts that `byte_tokenizer` knows."""
    return Pair(prompt, chosen, rejected, where)


def published() -> dict[str, Path]:
    """The template files that trl ships, where it is installed, and those of the shared folder, by name."""
    trl = importlib.util.find_spec("trl")  # which is not imported: that takes seconds
    folders = [Path(place) / "chat_templates" for place in (trl and trl.submodule_search_locations) or []]
    return {file.stem: file for folder in (*folders, SHARED) for file in sorted(folder.glob("*.jinja"))}


@functools.cache
def _trained() -> Any:
    return build(bos=False)


def tokenizer_for(text: str) -> Any:
    """A byte-level tokenizer with the markers of a template as tokens.

    Its EOS is the one that ends a turn, or one of its own where the template writes `eos_token`.
    """
    tokenizer = copy.deepcopy(_trained())
    ends = ENDS.search(text)
    end = "<|endoftext|>" if "eos_token" in text else ends.group() if ends else "<|im_end|>"
    tokenizer.add_special_tokens({"additional_special_tokens": sorted({"<|im_end|>", end, *MARKER.findall(text)})})
    tokenizer.bos_token, tokenizer.eos_token = "<s>", end
    return tokenizer


def mistral(end):
    """The template of Mistral 7B v0.3, Nemo and Large 2407: the system message stands in the last turn, if it is the
    user's. `end` is the Jinja expression that ends an answer."""
    return (
        "{%- if messages[0]['role'] == 'system' -%}{%- set sys = messages[0]['content'] -%}"
        "{%- set rest = messages[1:] -%}"
        "{%- else -%}{%- set rest = messages -%}{%- endif -%}{{- bos_token -}}{%- for m in rest -%}"
        "{%- if m['role'] == 'user' -%}{%- if loop.last and sys is defined -%}"
        "{{- '[INST] ' + sys + '\n\n' + m['content'] + '[/INST]' -}}{%- else -%}"
        "{{- '[INST] ' + m['content'] + '[/INST]' -}}{%- endif -%}"
        "{%- elif m['role'] == 'assistant' -%}{{- ' ' + m['content'] + END -}}{%- endif -%}{%- endfor -%}"
    ).replace("END", end)


def published_file(name):
    """The name of a published template; the test skips where its file is not on this machine."""
    if name not in published():
        pytest.skip(f"no template {name} on this machine")
    return name
