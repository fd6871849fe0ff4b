"""An answer's text: whole characters, no space lost, ended where the model ends, sent out as it is."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import tokenizers
from transformers import PreTrainedTokenizerFast

from mio_local.chat.conversation import Talker, Text, gather, open_talker
from mio_local.chat.multi_adapter import Voices
from mio_local.chat.start import BASE, ChatStart
from mio_local.commands.talk import spoken
from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import DataError
from mio_local.models.locate import end_ids
from mio_local.recipe import ModelSettings
from mio_local.sampling import Sampling

ASK = [{"role": "user", "content": "What is 3 + 4?"}]


class Bytes:
    """A tokenizer whose tokens are bytes."""

    def __call__(self, text, **_):
        return {"input_ids": list(text.encode())}

    def decode(self, ids, **_):
        return bytes(ids).decode("utf-8", "replace")


@pytest.mark.parametrize("text", ["plain", "día", "猫 and 🦊!", "🏳️‍🌈", "\n\n"])
def test_text_comes_in_whole_characters(text):
    found, pieces = Text(Bytes()), []
    for byte in text.encode():
        pieces.append(found.add(byte))
        assert "\ufffd" not in pieces[-1]
    assert "".join(pieces) + found.rest() == text == found.whole


def test_a_character_that_stays_cut_is_told_at_the_end():
    found = Text(Bytes())
    assert found.add("é".encode()[0]) == ""
    assert found.rest() == "\ufffd"


def words_tokenizer():
    """A tokenizer of whole words with their leading spaces, of which decoding leaves out the first, as SentencePiece's;
    and it tidies spaces before punctuation unless told not to."""
    vocabulary = {word: number for number, word in enumerate(["▁a", "▁upon", "▁time", "▁,"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="▁a"))
    made.pre_tokenizer, made.decoder = tokenizers.pre_tokenizers.Metaspace(), tokenizers.decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=made, clean_up_tokenization_spaces=True)


@pytest.mark.parametrize(("opening", "whole"), [("", " upon time ,"), (" ", "upon time ,"), ("\n", " upon time ,")])
def test_spaces_are_kept_but_those_of_the_template(opening, whole):
    found = Text(words_tokenizer(), opening)
    assert "".join(found.add(token) for token in (1, 2, 3)) + found.rest() == whole


@pytest.mark.parametrize(("text", "whole"), [("<t></t>7", "7"), ("<t>so</t>7", "<t>so</t>7"), ("<t>", "<t>")])
def test_an_empty_thought_that_the_template_writes_itself_is_no_part_of_the_answer(text, whole):
    found = Text(Bytes(), "<t></t>")
    assert "".join(found.add(byte) for byte in text.encode()) + found.rest() == whole


def test_an_answer_in_a_conversation_is_trained_on_as_it_was_generated(tiny_model, tmp_path):
    """Where the template writes the space that the model was asked to answer after."""
    (tmp_path / "t.jinja").write_text("{% for m in messages %}{{ '[' + m.content + ']' if m.role == 'user' else ' ' + "
                                      "m.content + eos_token }}{% endfor %}")  # fmt: skip
    chat = Chat(load_tokenizer(ModelSettings(name=str(tiny_model))), str(tmp_path / "t.jinja"))
    assert chat.opening == " "
    ids = chat.tokenizer(" It is 7.")["input_ids"]
    text = Text(chat.tokenizer, chat.opening)
    assert "".join(text.add(token) for token in ids) == "It is 7."
    assert chat.encode(Pair(ASK, text.whole, "8", "x"), 100).chosen == [*ids, chat.eos]


def test_answers_that_the_template_makes_the_same_are_told(tiny_model, tmp_path):
    (tmp_path / "t.jinja").write_text("{% for m in messages %}{{ m.content.split('|')[-1] + eos_token }}"
                                      "{% endfor %}")  # fmt: skip
    chat = Chat(load_tokenizer(ModelSettings(name=str(tiny_model))), str(tmp_path / "t.jinja"))
    talker = Talker(Voices(None, {}), chat)
    talker.check_pair(ASK, "a|\n7", "a|\n8")
    with pytest.raises(DataError, match="the same tokens"):
        talker.check_pair(ASK, "a|\n7", "b|\n7")


def test_an_answer_ends_where_the_models_own_settings_say(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(256))}))
    start = ChatStart([str(folder)], device="cpu")
    ending = open_talker(*gather(tmp_path, start)).answer(ASK, BASE, Sampling(), lambda _: True)
    assert (ending.tokens, ending.end) == (0, "ended")


@pytest.mark.parametrize(("written", "ids"), [
    ({"generation_config.json": '{"eos_token_id": [7, 8]}', "config.json": '{"eos_token_id": 1}'}, [7, 8]),
    ({"generation_config.json": '{"eos_token_id": 7}'}, [7]), ({"config.json": '{"eos_token_id": 1}'}, [1]),
    ({"generation_config.json": "{", "config.json": '{"eos_token_id": 1}'}, [1]), ({}, []),
    ({"generation_config.json": "{}", "config.json": '{"eos_token_id": 1}'}, []), ({"config.json": "[]"}, []),
])  # fmt: skip
def test_end_tokens_of_a_folder(written, ids, tmp_path):
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    assert end_ids(tmp_path) == ids


@pytest.mark.parametrize("terminal", [False, True])
def test_text_goes_out_as_it_is_but_for_what_steers_a_terminal(terminal, capsys, monkeypatch):
    pieces = ["a\tb\r\n", "1\u00a0000 \u3000[red] 👩\u200d👧\u00ad", "\x1b]0;x\x07 \u202e\x9b"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    talker = SimpleNamespace(answer=lambda turns, voice, sampling, told: [told(piece) for piece in pieces])
    spoken(talker, [], BASE, Sampling())
    sent = "".join(pieces)
    if terminal:
        sent = sent.translate({ord(sign): f"\\u{{{ord(sign):x}}}" for sign in "\r\x1b\x07\u202e\x9b"})
    assert capsys.readouterr().out == sent + "\n"
