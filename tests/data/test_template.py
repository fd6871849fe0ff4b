import json

import pytest

from mio_local.data.examples import CUT_CHOSEN, CUT_PROMPT, CUT_REJECTED
from mio_local.data.pairs import load_pairs
from mio_local.data.template import Chat
from mio_local.data.templating.cutting import LongPrompt
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import DataError, HubError, ModelError
from mio_local.recipe import DataSettings, ModelSettings
from tests.helpers.byte_tokenizer import build
from tests.helpers.templates import CHATML, pair, written

THINK = CHATML.removesuffix("{% endif %}") + "<think>\n{% endif %}"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
DROPS_SYSTEM = "{% set messages = messages[1:] if messages[0]['role'] == 'system' else messages %}"
PLAIN = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
PLAIN += "{% if add_generation_prompt %}assistant:{% endif %}"
MODELS = ("gsm8k-mini", "llama-shapes", "stories260k")
TEMPLATES = ("chatml", "gemma-it", "llama-3-instruct", "mistral-instruct", "qwen2.5-instruct")
TALK = [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}, {"role": "user", "content": "q2"}]


@pytest.fixture(scope="module")
def tokenizer():
    return build()


def check(tokenizer, chat, example):
    """What must hold for every example."""
    bos = tokenizer.bos_token_id
    for answer, cut in ((example.chosen, example.truncated_chosen), (example.rejected, example.truncated_rejected)):
        ids = example.prompt + answer
        if bos is not None:
            assert ids[0] == bos
            assert ids.count(bos) == 1
        assert answer
        assert cut or answer[-1] in chat.end_ids
        assert cut or chat.end_ids.isdisjoint(answer[:-1])


def test_chatml_scores_answer_and_end_of_turn_and_no_newline(tokenizer, tmp_path):
    chat = Chat(tokenizer, written(tmp_path, CHATML))
    example = chat.encode(pair(), 100)
    assert tokenizer.decode(example.prompt) == "<s><|im_start|>user\nthe cat?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(example.chosen) == "yes<|im_end|>"
    assert tokenizer.decode(example.rejected) == "no<|im_end|>"
    assert chat.generation_prompt("the cat?") == example.prompt
    check(tokenizer, chat, example)


def test_conversation_keeps_every_turn(tokenizer, tmp_path):
    chat = Chat(tokenizer, written(tmp_path, CHATML))
    text = tokenizer.decode(chat.encode(pair([{"role": "system", "content": "be"}, *TALK]), 100).prompt)
    assert text == "<s>" + "".join(
        f"<|im_start|>{role}\n{said}<|im_end|>\n"
        for role, said in (("system", "be"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"))
    ) + "<|im_start|>assistant\n"


@pytest.mark.parametrize("bos", ["", "{{ bos_token }}", "{{ bos_token }}{{ bos_token }}", "\n  {{ bos_token }}"])
def test_one_bos_however_the_template_writes_it(tokenizer, tmp_path, bos):
    chat = Chat(tokenizer, written(tmp_path, bos + CHATML))
    check(tokenizer, chat, chat.encode(pair(), 100))


def test_no_bos_where_the_tokenizer_has_none(tmp_path):
    tokenizer = build(bos=False)
    example = Chat(tokenizer, written(tmp_path, CHATML)).encode(pair(), 100)
    assert tokenizer.decode(example.prompt).startswith("<|im_start|>user")


def test_generation_opening_that_the_full_text_lacks(tokenizer, tmp_path):
    chat = Chat(tokenizer, written(tmp_path, THINK))
    example = chat.encode(pair(), 100)
    assert tokenizer.decode(example.prompt).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(example.chosen) == "yes<|im_end|>"
    assert chat.generation_prompt("the cat?") == example.prompt


@pytest.mark.parametrize("rule", [NO_SYSTEM, DROPS_SYSTEM])
def test_system_message_joins_the_first_user_turn_where_the_template_has_no_place(tokenizer, tmp_path, rule):
    chat = Chat(tokenizer, written(tmp_path, rule + CHATML))
    text = tokenizer.decode(chat.encode(pair([{"role": "system", "content": "be"}, *TALK]), 100).prompt)
    assert text.startswith("<s><|im_start|>user\nbe\n\nq1<|im_end|>")


def test_template_without_an_end_token_gets_eos(tokenizer, tmp_path):
    chat = Chat(tokenizer, written(tmp_path, PLAIN))
    example = chat.encode(pair(chosen="yes  "), 100)
    assert tokenizer.decode(example.prompt) == "<s>user: the cat?\nassistant:"
    assert tokenizer.decode(example.chosen) == " yes  <|im_end|>"
    check(tokenizer, chat, example)


def test_text_pairs_are_joined_as_they_are(tokenizer):
    chat = Chat(tokenizer)
    assert chat.mode == "text"
    example = chat.encode(pair("the cat", " sat", " ran"), 100)
    assert tokenizer.decode(example.prompt) == "<s>the cat"
    assert tokenizer.decode(example.chosen) == " sat<|im_end|>"
    check(tokenizer, chat, example)


@pytest.mark.parametrize("template", ["text", "chat"])
def test_end_that_the_data_has_already_is_not_doubled(tokenizer, tmp_path, template):
    chat = Chat(tokenizer, "none" if template == "text" else written(tmp_path, CHATML))
    check(tokenizer, chat, chat.encode(pair(chosen="yes<|im_end|>"), 100))


@pytest.mark.parametrize("sentencepiece", [False, True])
@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected"),
    [("the c", "at sat", "at"), ("the ", "cat", " cat"), ("a\n", "\nmat", "mat"), ("w", "as 🙂", "é"), ("é", "é", "w")],
)
def test_tokens_that_merge_across_the_border(sentencepiece, prompt, chosen, rejected):
    tokenizer = build(sentencepiece=sentencepiece)
    chat = Chat(tokenizer, "none")
    example = chat.encode(pair(prompt, chosen, rejected), 100)
    for answer, text in ((example.chosen, chosen), (example.rejected, rejected)):
        assert tokenizer.decode((example.prompt + answer)[1:-1]) == tokenizer.decode(
            tokenizer(prompt + text, add_special_tokens=False)["input_ids"]
        )
    assert example.prompt[1:] == tokenizer(prompt, add_special_tokens=False)["input_ids"]
    check(tokenizer, chat, example)


def test_truncation_keeps_an_answer_token_and_is_flagged(tokenizer):
    chat = Chat(tokenizer, "none")
    whole = chat.encode(pair("the cat", " sat on a mat and it was good", " ran"), 100)
    room = len(whole.prompt) + 1
    example = chat.encode(pair("the cat", " sat on a mat and it was good", " ran"), room)
    assert example.prompt == whole.prompt
    assert (example.chosen, example.truncated_chosen) == (whole.chosen[:1], True)
    assert (example.rejected, example.truncated_rejected) == (whole.rejected[:1], True)
    fits = chat.encode(pair("the cat", " sat on a mat and it was good", " ran"), len(whole.prompt + whole.chosen))
    assert fits == whole


def test_long_prompt(tokenizer):
    chat = Chat(tokenizer, "none")
    long = pair("the cat sat on a mat and it was good. " * 9, "yes no yes no", "no")
    count = len(chat.generation_prompt(long.prompt))
    with pytest.raises(LongPrompt) as caught:
        chat.encode(long, 16)
    assert str(caught.value) == (
        f"train.jsonl line 3: prompt has {count} tokens, --max-tokens is 16; raise it, or --set data.long_prompt=skip"
    )
    example = chat.encode(long, 16, "cut")
    whole = chat.encode(long, 1000)
    assert example.cut_prompt
    assert example.prompt[0] == tokenizer.bos_token_id
    assert example.prompt[1:] == whole.prompt[len(whole.prompt) - len(example.prompt) + 1 :]
    assert len(example.prompt) + len(example.chosen) <= 16
    assert len(example.chosen) >= min(8, len(whole.chosen))
    encoded = chat.encode_all([long, pair()], 16, "skip")
    assert [example.where for example in encoded.examples] == ["train.jsonl line 3"]
    assert encoded.skipped == {"prompt is too long": 1}


def test_encode_all_counts_and_reports(tokenizer):
    calls = []
    pairs = [pair("the cat", " sat on a mat and it was good", " ran")] * 150
    made = Chat(tokenizer, "none").encode_all(pairs, 8, progress=lambda *call: calls.append(call))
    assert calls == [(100, 150), (150, 150)]
    assert [made.examples.count(flag) for flag in (CUT_CHOSEN, CUT_REJECTED, CUT_PROMPT)] == [150, 0, 0]


def test_conversation_without_template(tokenizer):
    chat = Chat(tokenizer)
    with pytest.raises(DataError, match=r"line 3: a conversation of 3 messages needs a chat template.*--template"):
        chat.encode(pair(TALK), 100)
    assert chat.encode(pair([TALK[0]]), 100) == chat.encode(pair("q1"), 100)


def test_template_faults(tokenizer, tmp_path):
    with pytest.raises(DataError, match=r"--template nope\.jinja: no such file"):
        Chat(tokenizer, "nope.jinja")
    with pytest.raises(DataError, match="not a Jinja template: line 2"):
        Chat(tokenizer, written(tmp_path, "\n{% if %}"))
    with pytest.raises(DataError, match="leaves the assistant's answer out"):
        Chat(tokenizer, written(tmp_path, "{{ messages[0]['content'] }}"))
    alternate = "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    alternate += "{{ raise_exception('Roles must alternate') }}{% endif %}{% endfor %}"
    chat = Chat(tokenizer, written(tmp_path, alternate + CHATML))
    twice = pair([TALK[0], TALK[2]])
    with pytest.raises(DataError, match=r"train\.jsonl line 3: the chat template refuses this conversation: Roles"):
        chat.encode(twice, 100)
    assert chat.encode_all([twice], 100, bad_rows="skip").skipped == {"the chat template does not take it": 1}


def test_tokenizer_without_end_token():
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        Chat(build(eos=None), "none")


def test_load_tokenizer_faults(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, message in (("", "--model"), (str(tmp_path), "no tokenizer in this folder"), ("./none", "no such model")):
        with pytest.raises(ModelError, match=message):
            load_tokenizer(ModelSettings(name=name))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="the tokenizer cannot be loaded") as caught:
        load_tokenizer(ModelSettings(name=str(tmp_path)))
    assert "\n" not in str(caught.value)
    code = {"auto_map": {"AutoTokenizer": ["t.T", None]}, "tokenizer_class": "T"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(code))
    with pytest.raises(ModelError, match="--trust-remote-code"):
        load_tokenizer(ModelSettings(name=str(tmp_path)))


def test_load_tokenizer_of_the_hub(monkeypatch):
    transformers = pytest.importorskip("transformers")

    def unreachable(*args, **options):
        raise OSError("We couldn't connect to 'https://huggingface.co'\nCheck your connection")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", unreachable)
    with pytest.raises(HubError, match="the hub is unreachable"):
        load_tokenizer(ModelSettings(name="org/name"))


def test_save_and_load_round_trip(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    chat = Chat(load_tokenizer(ModelSettings(name=str(tmp_path))), "none")
    assert chat.encode(pair(), 100) == Chat(tokenizer, "none").encode(pair(), 100)


@pytest.fixture(scope="module")
def conversations(shared):
    settings = DataSettings(limit=25)
    return [
        *load_pairs(str(shared / "data/sharegpt/dpo_en_demo.json"), settings),
        *load_pairs(str(shared / "data/gsm8k/valid.jsonl"), settings),
    ]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("template", ["auto", *TEMPLATES])
def test_real_templates_and_tokenizers(shared, conversations, model, template):
    tokenizer = load_tokenizer(ModelSettings(name=str(shared / "models" / model)))
    if template == "auto" and not tokenizer.chat_template:
        pytest.skip(f"{model} has no chat template")
    path = template if template == "auto" else str(shared / f"data/chat_templates/{template}.jinja")
    chat = Chat(tokenizer, path)
    encoded = chat.encode_all(conversations, 8192)
    assert (len(encoded.examples), encoded.skipped) == (50, {})
    for example, each in zip(encoded.examples, conversations, strict=True):
        check(tokenizer, chat, example)
        assert chat.generation_prompt(each.prompt) == example.prompt
        for answer, text in ((example.chosen, each.chosen), (example.rejected, each.rejected)):
            assert text.strip() in tokenizer.decode(answer, clean_up_tokenization_spaces=False)
            rendered = tokenizer.decode(example.prompt + answer, clean_up_tokenization_spaces=False)
            assert text.strip() not in rendered.removesuffix(tokenizer.decode(answer))[-len(text) :]
