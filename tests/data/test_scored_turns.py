"""data.score=all: the scored tokens are each assistant turn's text with its end token, written out by hand."""

import pytest

from mio_local.data.collate import collate
from mio_local.data.pairs import Pair
from mio_local.data.template import Chat
from mio_local.recipe import DataSettings
from tests.helpers.templates import mistral, published, published_file, tokenizer_for

# what is scored of an earlier turn with the text $, and of the last one
TURNS = {
    "mistral": (" $<|endoftext|>", " $<|endoftext|>"),
    "chatml": ("$<|im_end|>", "$<|im_end|>"),
    "qwen2_5": ("$<|im_end|>", "$<|im_end|>"),
    "qwen3": ("$<|im_end|>", "<think>\n\n</think>\n\n$<|im_end|>"),
    "llama3": ("$<|eot_id|>", "$<|eot_id|>"),
    "gemma": ("$<end_of_turn>", "$<end_of_turn>"),
    "gemma3": ("$<end_of_turn>", "$<end_of_turn>"),
    "phi3": ("$<|end|>", "$<|end|>"),
    "cohere2": ("$<|END_RESPONSE|><|END_OF_TURN_TOKEN|>", "$<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"),
}
TALK = [("user", "hello you"), ("assistant", "hi there"), ("user", "and?"), ("assistant", "hi there"), ("user", "so?")]
PROMPT = [{"role": role, "content": text} for role, text in TALK]
LATER = [{"role": "assistant", "content": "first yes"}, {"role": "user", "content": "sure?"},
         {"role": "assistant", "content": "yes"}]  # fmt: skip


@pytest.fixture
def chat_of(tmp_path):
    def chat(name, score="all"):
        file = tmp_path / "mistral.jinja"
        if name == "mistral":
            file.write_text(mistral("eos_token"), "utf-8")
        else:
            file = published()[published_file(name)]
        return Chat(tokenizer_for(file.read_text("utf-8")), str(file), 0.0, settings=DataSettings(score=score))

    return chat


def scored(chat, example, rejected):
    """The texts of the scored stretches of prompt and answer."""
    answer = example.rejected if rejected else example.chosen
    spans = example.scored or ((), ((0, len(example.chosen)),), ((0, len(example.rejected)),))
    return [
        chat.tokenizer.decode(ids[start:stop], clean_up_tokenization_spaces=False)
        for ids, found in ((example.prompt, spans[0]), (answer, spans[2 if rejected else 1]))
        for start, stop in found
    ]


def marks(example, rejected):
    """(row, which of its tokens are scored) of one answer."""
    answer = example.rejected if rejected else example.chosen
    _, *sides = example.scored
    prompt, side = [False] * len(example.prompt), [False] * len(answer)
    for flags, spans in ((prompt, example.scored[0]), (side, sides[rejected])):
        for start, stop in spans:
            flags[start:stop] = [True] * (stop - start)
    return example.prompt + answer, prompt + side


@pytest.mark.parametrize("name", TURNS)
def test_every_turn_of_the_assistant_is_scored_with_its_end(chat_of, name):
    chat, (earlier, last) = chat_of(name), TURNS[name]
    example = chat.encode(Pair(PROMPT, "It is 7.", "It is 8.", "row 1"), 10_000)
    before = [earlier.replace("$", "hi there")] * 2
    assert scored(chat, example, False) == [*before, last.replace("$", "It is 7.")]
    assert scored(chat, example, True) == [*before, last.replace("$", "It is 8.")]


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("score", ["last", "all"])
def test_of_an_answer_in_several_turns_the_last_or_all(chat_of, name, score):
    chat, (earlier, last) = chat_of(name, score), TURNS[name]
    example = chat.encode(Pair(PROMPT[:1], LATER, "no", "row 1"), 10_000)
    turns = [earlier.replace("$", "first yes"), last.replace("$", "yes")]
    assert scored(chat, example, False) == (turns if score == "all" else turns[1:])
    assert scored(chat, example, True) == [last.replace("$", "no")]


@pytest.mark.parametrize("name", ["mistral", "llama3"])
def test_a_cut_prompt_keeps_the_marks_of_the_tokens_that_stay(chat_of, name):
    """And a batch predicts those tokens, each once, and no other."""
    chat = chat_of(name)
    pair = Pair(PROMPT, "It is 7, or so, as it seems.", "8.", "row 1")
    whole = chat.encode(pair, 10_000)
    bos = int(whole.prompt[0] == chat.bos)
    for limit in range(8, len(whole.prompt) + 1):
        example = chat.encode(pair, limit, "cut")
        batches = [collate([example], [0], 0, shared=shared) for shared in (False, True)]
        gone = len(whole.prompt) - len(example.prompt)
        for rejected in (False, True):
            ids, flags = marks(whole, rejected)
            kept = len(example.prompt) + len(example.rejected if rejected else example.chosen)
            ids, flags = ids[:bos] + ids[gone + bos :][: kept - bos], flags[:bos] + flags[gone + bos :][: kept - bos]
            assert (ids, flags) == marks(example, rejected)
            wanted = [token for place, token in enumerate(ids) if flags[place] and place]
            for batch in batches:
                assert batch.targets[batch.mask[int(rejected)] > 0].tolist() == wanted


def test_a_turn_with_a_call_is_scored_and_the_tool_is_not(chat_of):
    called = {"role": "assistant", "content": "", "tool_calls": [
        {"type": "function", "function": {"name": "rain", "arguments": {"town": "Ghent"}}}]}  # fmt: skip
    told = {"role": "tool", "content": "9 mm", "name": "rain"}
    answer = [called, told, {"role": "assistant", "content": "It rains."}]
    tools = [{"type": "function", "function": {"name": "rain", "parameters": {"type": "object", "properties": {}}}}]
    chat = chat_of("qwen3")
    example = chat.encode(Pair(PROMPT[:1], answer, "no", "row 1", tools), 10_000)
    assert scored(chat, example, False) == [
        '<tool_call>\n{"name": "rain", "arguments": {"town": "Ghent"}}\n</tool_call><|im_end|>',
        "<think>\n\n</think>\n\nIt rains.<|im_end|>",
    ]
