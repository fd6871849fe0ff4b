"""Chat templates as Go templates: what Ollama would render is what transformers renders."""

import pytest

from mio_local.data.template import Chat
from mio_local.data.templating.rendering import Renderer
from mio_local.export.apps.go_template import frames_of
from mio_local.recipe import DataSettings
from tests.export.modelfile import rendered
from tests.helpers.templates import mistral, published, tokenizer_for, written

WORDS = {"system": "Speak {{ plainly }}.\nAlways \"so\".", "user": "How many\nlegs, <b>?",
         "assistant": "Four & \\ two."}  # fmt: skip
TALKS = [["user"], ["user", "assistant", "user"], ["user", "assistant"] * 3 + ["user"]]
NEEDED = ("chatml", "gemma-it", "llama-3-instruct", "mistral-instruct", "qwen2.5-instruct")
FAMILIES = (*NEEDED, "phi3", "qwen3", "gemma3", "gemma4_v5", "deepseekv3", "lfm2", "cohere2", "glm4moe", "llama3_1")
DATED = ("gptoss", "llama3_2")


def talk(roles):
    return [{"role": role, "content": f"{WORDS[role]} {number}"} for number, role in enumerate(roles)]


def chat_with(text, tmp_path, **settings):
    path = written(tmp_path, text)
    return Chat(tokenizer_for(text), path, settings=DataSettings(template=path, **settings))


def check(chat):
    """Ollama's rendering of every talk that transformers renders; the start token is left to Ollama's tokenizer."""
    frames, reason = frames_of(chat)
    assert frames, reason
    bos = chat.tokenizer.bos_token
    template, renderer = frames.in_go(bos), Renderer(chat.tokenizer, chat.template, chat.settings.template_args)
    for roles in [*TALKS, *(["system", *roles] for roles in TALKS if frames.system)]:
        wanted = renderer.render(talk(roles), generate=True, where="")
        assert rendered(template, talk(roles)) == wanted.removeprefix(bos), roles
    return frames


@pytest.mark.parametrize("name", [name for name in FAMILIES if name in published()])
def test_templates_of_the_families(name, tmp_path):
    check(chat_with(published()[name].read_text(), tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(published().keys() - {*FAMILIES}))
def test_all_published_templates(name, tmp_path):
    chat = chat_with(published()[name].read_text(), tmp_path)
    if frames_of(chat)[1] == "it prints the day":
        pytest.skip("it prints the day")
    check(chat)


@pytest.mark.parametrize("name", [name for name in DATED if name in published()])
def test_a_template_that_prints_the_day_is_left_to_the_gguf(name, tmp_path):
    assert frames_of(chat_with(published()[name].read_text(), tmp_path)) == (None, "it prints the day")


def test_a_system_message_in_the_last_question_has_no_frame(tmp_path):
    """Mistral's later templates: the message moves as the conversation goes on."""
    frames, reason = frames_of(chat_with(mistral("eos_token"), tmp_path))
    assert (frames, reason) == (None, "it frames messages by more than their role")


def test_a_template_that_numbers_its_messages_has_no_frame(tmp_path):
    text = "{% for m in messages %}{{ loop.index }}: {{ m['content'] }}<|im_end|>{% endfor %}"
    assert frames_of(chat_with(text, tmp_path))[0] is None


def test_a_template_that_refuses_a_system_message(tmp_path):
    text = ("{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
            "<start_of_turn>{{ m['role'] }}\n{{ m['content'] }}<end_of_turn>\n{% endfor %}"
            "{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}")  # fmt: skip
    frames = check(chat_with(text, tmp_path))
    assert frames.system is None


def test_braces_and_a_templates_own_arguments(tmp_path):
    text = ("{% for m in messages %}{{ '{{' }}{{ m['role'] }}}}{{ m['content'] }}<|im_end|>{% endfor %}"
            "{% if add_generation_prompt %}{{ '{{assistant}}' }}{% if not think %}<think></think>{% endif %}"
            "{% endif %}")  # fmt: skip
    assert check(chat_with(text, tmp_path)).answer.endswith("<think></think>")
    assert not check(chat_with(text, tmp_path, template_args={"think": True})).answer.endswith("</think>")
