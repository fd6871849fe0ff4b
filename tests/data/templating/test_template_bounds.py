"""A template is a stranger's program: whatever it does ends in one line that names it, soon, and without gigabytes."""

import json
import resource
import subprocess
import sys
import time

import pytest

from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.data.templating import bounds
from mio_local.errors import DataError
from tests.helpers.byte_tokenizer import build
from tests.helpers.some import fast

TURNS = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
LOOP, ENDED = "{% for i in range(99999) %}", "{% endfor %}"
LONG = LOOP * 3 + ENDED * 3
HOSTILE = {
    "{{ 'a' * 3000000000 }}": "memory",
    "{{ 'a' * 30000000000000 }}": "memory",
    "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}": "memory",
    "{{ 'a' * 20000000 }}": "10,000,000 characters",
    LONG: "within 5 s",
    "{{ 1/0 }}": "the chat template fails: division by zero",
    "{{ (1.5)**100000 }}": "the chat template fails",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "the chat template fails",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}": "the chat template fails",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}": "the chat template",
    "{% if %}": "not a Jinja template",
}


@pytest.mark.parametrize("text", fast(HOSTILE, HOSTILE.keys() - {LONG}), ids=lambda text: text[:30])
def test_it_ends_in_one_line(tmp_path, text):
    file = tmp_path / "t.jinja"
    file.write_text(text + TURNS, encoding="utf-8")
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError) as caught:
        Chat(build(), str(file))
    assert HOSTILE[text] in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert time.monotonic() - began < 100  # on a busy machine; the trial itself is bounded by its CPU
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_what_only_some_text_sets_off_is_ended_too(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "SECONDS", 1)
    file = tmp_path / "t.jinja"
    file.write_text("{% if 'bomb' in messages[0]['content'] %}" + LONG + "{% endif %}" + TURNS, encoding="utf-8")
    chat = Chat(build(), str(file))
    assert chat.encode(Pair("the cat?", "yes", "no", "row 1"), 100).prompt
    with pytest.raises(DataError, match="row 2: the chat template does not end"):
        chat.encode(Pair("a bomb?", "yes", "no", "row 2"), 100)
    assert chat.encode(Pair("the cat?", "yes", "no", "row 3"), 100).prompt


@pytest.mark.slow
def test_the_command_says_it_in_one_line(tmp_path, tiny_model):
    pairs, file = tmp_path / "p.jsonl", tmp_path / "t.jinja"
    pairs.write_text(json.dumps({"prompt": "q", "chosen": "a", "rejected": "b"}) + "\n")
    file.write_text("{{ 'a' * 3000000000 }}" + TURNS)
    words = ["data", "check", pairs, "--model", tiny_model, "--template", file]
    ended = subprocess.run([sys.executable, "-m", "mio_local.cli", *map(str, words)], capture_output=True, text=True,
                           check=False)  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == (
        f"mio-local: --template {file}: it takes more than 1 GB of memory; use another with --template FILE.jinja\n"
    )
