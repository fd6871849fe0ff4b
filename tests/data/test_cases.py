"""Conversations that went wrong once, each with the tokens that are right."""

import pytest

from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.recipe import DataSettings
from tests.helpers.templates import mistral, published, published_file, tokenizer_for

FILES = published()
MISTRAL = mistral("'</s>'")
AFTER_THINK = (  # as DeepSeek's, which writes an answer from behind its thought on
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}{% endif %}"
    "{% if m.role == 'assistant' %}<｜Assistant｜>{{ m.content.split('</think>') | last }}<｜end▁of▁sentence｜>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
)
OPENS_THOUGHT = (  # as Nemotron 3's: a thought, if an empty one, begins each answer
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and '</think>' not in m.content %}"
    "<think></think>{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
BESIDE = (  # as Qwen3's
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n"
    "{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASKED = [{"role": "user", "content": "What is 3 plus 4?"}]


def told(tmp_path, template, prompt, chosen, rejected, **settings):
    """(texts of prompt, chosen and rejected; kinds of lost text; the text that answers are generated from)."""
    text = FILES[template].read_text("utf-8") if template in FILES else template
    file = tmp_path / "t.jinja"
    file.write_text(text, "utf-8")
    chat = Chat(tokenizer_for(text), str(file), 0.0, settings=DataSettings(**settings))
    pair = Pair(prompt, chosen, rejected, "row 1")
    example = chat.encode(pair, 1000)
    opened = chat.generation_prompt(prompt)
    *texts, before = (chat.tokenizer.decode(ids) for ids in (example.prompt, example.chosen, example.rejected, opened))
    return texts, chat.lost(pair), before


def thought(steps, text="It is 7."):
    return f"<think>\n{steps}\n</think>\n\n{text}"


def beside(steps, text="It is 7."):
    return [{"role": "assistant", "content": text, "reasoning_content": steps}]


@pytest.mark.parametrize("earlier", [[], [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]])
def test_a_system_message_that_stands_in_the_last_turn(tmp_path, earlier):
    pirate = [{"role": "system", "content": "Answer as a pirate."}, *earlier, *ASKED]
    texts, lost, before = told(tmp_path, MISTRAL, pirate, "It is 7.", "It is 8.")
    first = "[INST] Hi[/INST] Ho</s>" if earlier else ""
    assert texts[0] == f"<s>{first}[INST] Answer as a pirate.\n\nWhat is 3 plus 4?[/INST]"
    assert texts[1:] == [" It is 7.</s>", " It is 8.</s>"]
    assert (lost, before) == ([], texts[0])


NEMOTRONS = ["nemotron_3_nano", "nemotron_3_super", "nemotron_3_ultra", "nemotron_3_5_lightning", "qwen3_5_think"]


@pytest.mark.parametrize("name", ["", *NEMOTRONS])
def test_thoughts_go_on_from_a_prompt_that_opens_one(tmp_path, name):
    template = published_file(name) if name else OPENS_THOUGHT
    texts, lost, _ = told(tmp_path, template, ASKED, thought("right"), thought("wrong"))
    assert texts[0].endswith("What is 3 plus 4?<|im_end|>\n<|im_start|>assistant\n<think>\n")
    assert texts[1:] == [f"{steps}\n</think>\n\nIt is 7.<|im_end|>" for steps in ("right", "wrong")]
    assert lost == []


@pytest.mark.parametrize("name", ["", "deepseek_r1_distill"])
@pytest.mark.parametrize("given", [thought, beside])
def test_thoughts_that_the_template_strips_are_put_back_and_told(tmp_path, name, given):
    template = published_file(name) if name else AFTER_THINK
    texts, lost, _ = told(tmp_path, template, ASKED, given("right"), given("wrong"))
    assert texts[0] == "<s><｜User｜>What is 3 plus 4?<｜Assistant｜><think>\n"
    assert texts[1:] == [f"{steps}\n</think>\n\nIt is 7.<｜end▁of▁sentence｜>" for steps in ("right", "wrong")]
    assert lost == ["thought that the template strips"]


QWEN3 = "<think>\n$\n</think>\n\nIt is 7.<|im_end|>"
PLACES = {
    BESIDE: QWEN3, "qwen3": QWEN3, CHATML: QWEN3, "chatml": QWEN3,
    "gptoss": "<|channel|>analysis<|message|>$<|end|><|start|>assistant<|channel|>final<|message|>It is 7.<|return|>",
    "glm4moe": "\n<think>$</think>\nIt is 7.<|im_end|>",  # which ends no answer itself
}  # fmt: skip


@pytest.mark.parametrize("template", PLACES)
@pytest.mark.parametrize("given", [thought, beside])
def test_thoughts_beside_the_text_and_inside_it_become_the_same_tokens(tmp_path, template, given):
    found = template if " " in template else published_file(template)
    texts, lost, before = told(tmp_path, found, ASKED, given("right"), given("wrong"))
    assert texts[1:] == [PLACES[template].replace("$", steps) for steps in ("right", "wrong")]
    assert (lost, before) == ([], texts[0])
