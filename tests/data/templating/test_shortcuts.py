"""What is done for many pairs at once is what is done for each by itself."""

import re

import pytest

from mio_local.data.template import Chat
from mio_local.data.templating import insertion, literal
from tests.helpers.byte_tokenizer import build
from tests.helpers.templates import CHATML, pair, written


@pytest.fixture
def tokenizer():
    return build()


@pytest.mark.parametrize("shortcut", ["framing", "tokens"])
def test_a_shortcut_that_proves_wrong_late_is_gone_back_on(tokenizer, tmp_path, monkeypatch, shortcut):
    """All pairs are then as those of one that is encoded by itself, the ones before it too, in a file as in memory."""
    monkeypatch.setattr(insertion, "CHECKED", 0)
    monkeypatch.setattr(insertion, "EVERY", 150)
    template = CHATML
    if shortcut == "framing":  # a template that is taken for one that writes contents as they are
        template = CHATML.replace("m['content']", "m['content'] | replace('yes', 'no, yes')")
        monkeypatch.setattr(literal, "FILTERS", literal.FILTERS | {"replace"})
    pairs = [pair(f"the cat {n}?", f"yes {n}", "no") for n in range(300)]
    chat = Chat(tokenizer, written(tmp_path, template))
    if shortcut == "tokens":
        monkeypatch.setattr(chat._batches, "_added", re.compile("istant"))  # no token, which what precedes it shares
        monkeypatch.setattr(tokenizer, "convert_tokens_to_ids", lambda name: tokenizer(name)["input_ids"][1])
    plain = Chat(tokenizer, written(tmp_path, template))
    plain._framing.misled = True
    expected = [plain.encode(each, 100) for each in pairs]
    for file in (None, tmp_path / "tokens.bin", tmp_path / "tokens.bin"):
        assert chat.encode_all(pairs, 100, file=file).examples == expected
    assert chat._framing.misled or chat._batches.misled


def test_each_answer_is_ended_by_itself(tokenizer, tmp_path):
    """Where a template ends the one and not the other, as some end no call of a tool."""
    ends = "{% if not m['tool_calls'] %}<|im_end|>\n{% endif %}"
    template = CHATML.replace("<|im_end|>\n", "{{ m['tool_calls'] | tojson if m['tool_calls'] }}" + ends, 1)
    call = {"type": "function", "function": {"name": "look", "arguments": {"at": "mat"}}}
    answers = [[{"role": "assistant", "content": "", "tool_calls": [call]}], "yes"]
    for chosen, rejected in (answers, answers[::-1]):
        chat = Chat(tokenizer, written(tmp_path, template))
        example = chat.encode(pair(chosen=chosen, rejected=rejected), 1000)
        assert [ids[-1] for ids in (example.chosen, example.rejected)] == [chat.eos, chat.eos]
        assert chat.end_ids.isdisjoint([*example.chosen[:-1], *example.rejected[:-1]])
