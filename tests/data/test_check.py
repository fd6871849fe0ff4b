import io
import json

import pytest
from rich.console import Console

from mio_local.commands.data_commands.data_check import check, tokens_line, visible
from mio_local.data.check import Lengths, summarise, warnings
from mio_local.data.examples import Example
from mio_local.data.pairs import Pair, Pairs
from mio_local.data.reading.wanted import Wanted
from mio_local.data.stored.collected import Collected
from mio_local.data.stored.encoded import Encoded
from mio_local.data.template import Chat
from mio_local.errors import DataError
from mio_local.recipe import DataSettings, ModelSettings


def summary(pairs, examples=(), skipped=None):
    chat = object.__new__(Chat)
    chat.mode, chat.end_ids = "text", {0}
    made = Pairs(pairs, "text", {}, len(pairs), skipped or {})
    return summarise(made, encoded(examples), pairs[:1], chat)


def encoded(examples=()):
    made = Collected({0})
    for number, each in enumerate(examples):
        made.add(each, number)
    return Encoded(made.examples(str))


def example(chosen, rejected, truncated=False):
    return Example([1, 2], chosen, rejected, truncated, False, False, "here")


def test_counts():
    pairs = [Pair("p", "a", "b", "1"), Pair("p", "b", "a", "2"), Pair("q ", "x", "x", "3"), Pair("p", "a", "b", "4")]
    found = summary(pairs, [example([5, 0], [0]), example([5, 5, 0], [0], True), example([0], [5, 0, 0])])
    assert (found.pairs, found.prompts, found.held_out_pairs, found.held_out_prompts) == (4, 2, 1, 1)
    assert (found.duplicates, found.identical, found.contradictory) == (1, 1, 3)
    assert (found.longer_chosen, found.longer_rejected, found.extra_tokens) == (2, 1, pytest.approx(1 / 3))
    assert (found.truncated, found.truncated_share) == (1, pytest.approx(1 / 3))
    assert found.chosen == Lengths(1, 2, 3, 3)
    assert (found.special_in_answers, found.joined_words) == (1, 3)
    assert (found.longest, summary(pairs).longest) == (2 + 3, 0)


def test_the_longest_row_is_of_one_pair():
    long_prompt = Example([1] * 9, [5, 0], [0], False, False, False, "here")
    long_answer = Example([1], [0], [5] * 7, False, False, False, "there")
    assert summary([Pair("p", "a", "b", "1")], [long_prompt, long_answer]).longest == 11


def test_warnings_say_what_to_do():
    pairs = [Pair("p", "a", "b", "1"), Pair("p", "b", "a", "2"), Pair("p", "x", "x", "3")]
    lines = warnings(summary(pairs, [example([5, 0], [0], True)], {"chosen is empty": 2}), 64)
    assert "2 of 3 rows are left out: 2 chosen is empty" in lines
    for words in ("cut at 64 tokens", "one text as chosen", "turned round", "length alone", "run into", "--eval-data"):
        assert any(words in line for line in lines), words


def test_quiet_when_nothing_is_wrong():
    pairs = [Pair(f"p{i}\n", "a", "b", "1") for i in range(4)]
    assert warnings(summary(pairs, [example([5, 0], [0]), example([0], [5, 0])]), 64) == []


def test_nothing_in_a_text_is_markup_or_a_control_code():
    assert visible("a\nb\t\x1b[31m[red]\u202e") == "a⏎b⇥\\u{1b}[31m[red]\\u{202e}"
    line = tokens_line(["[bold]", " x", "\n"], [5, 6, 0], {0}, True)
    assert line.plain == "  [[bold]][ x][⏎]"
    assert tokens_line(["a"], [5, 6], set(), False).plain == "  │a│ … 1 more"


def printed(source, model, settings, **options):
    out = io.StringIO()
    console = Console(file=out, width=200, markup=False, emoji=False, highlight=False)
    try:
        check(str(source), model, settings, console=console, **options)
    finally:
        printed.text = out.getvalue()
    return printed.text


def test_check_without_a_model(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"prompt": "[red]q\n", "chosen": "a\x1b[0m", "rejected": "b"}))
    text = printed(file, ModelSettings(), DataSettings())
    assert "layout   text (prompt, chosen, rejected: text)" in text
    assert "[red]q⏎" in text
    assert "\x1b" not in text
    assert "next:" in text
    with pytest.raises(DataError, match="--row 2: there are pairs 1 to 1"):
        check(str(file), ModelSettings(), DataSettings(), 1)


def test_check_shows_all_before_it_stops(tmp_path):
    file = tmp_path / "a.jsonl"
    rows = [{"prompt": "q", "chosen": chosen, "rejected": "b"} for chosen in ("a", "", " ")]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(DataError) as caught:
        printed(file, ModelSettings(), DataSettings())
    assert str(caught.value) == (
        "a.jsonl line 2: chosen is empty; repair it, or --set data.bad_rows=skip (2 such rows)"
    )
    assert "1 pairs from 3 rows" in printed.text


def test_check_on_real_data(shared):
    model = ModelSettings(name=str(shared / "models/gsm8k-mini"))
    settings = DataSettings(max_tokens=512, limit=50)
    text = printed(shared / "data/gsm8k/valid.jsonl", model, settings)
    assert "│<|bos|>│Question│:│" in text
    assert "⏎│Answer│:│⏎│" in text
    assert "[<|eos|>]" in text
    assert "50 pairs over" in text
    assert text.rstrip().endswith("--max-tokens 512 --set data.limit=50")
    with pytest.raises(DataError, match="--max-tokens is 64"):
        printed(shared / "data/gsm8k/valid.jsonl", model, settings.model_copy(update={"max_tokens": 64}))
    assert "answers cut" in printed.text


def test_check_tells_of_a_folder_that_holds_its_own_pairs_out(tmp_path):
    for name in ("train", "valid"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": name, "chosen": "a", "rejected": "b"}))
    assert "held out the folder's split valid, whole" in printed(tmp_path, ModelSettings(), DataSettings())
    assert "held out" not in printed(tmp_path / "train.jsonl", ModelSettings(), DataSettings())


def test_check_tells_what_is_not_used_and_what_was_taken_off(tmp_path):
    row = {"prompt": "q?\n", "chosen": "q?\na", "rejected": "q?\nb", "source": "x", "note": None, "images_note": "y"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    text = printed(tmp_path / "a.jsonl", ModelSettings(), DataSettings())
    assert "  not used: source, images_note\n" in text
    assert "taken off the start of both answers of 1 pairs" in text
    ranked = {"prompt": "q", "completions": [{"response": x, "score": n} for x, n in (("a", 1), ("b", 1), ("c", 0))]}
    (tmp_path / "a.jsonl").write_text(json.dumps(ranked))
    assert "1 comparisons make no pair" in printed(tmp_path / "a.jsonl", ModelSettings(), DataSettings(ranking="all"))


def test_check_shows_calls_and_thoughts(tmp_path):
    call = {"type": "function", "function": {"name": "rain", "arguments": {}}}
    row = {"prompt": [{"role": "user", "content": "q"}], "tools": [call],
           "chosen": [{"role": "assistant", "content": None, "tool_calls": [call]}],
           "rejected": [{"role": "assistant", "content": "b", "thinking": "hm"}]}  # fmt: skip
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    text = printed(tmp_path / "a.jsonl", ModelSettings(), DataSettings())
    assert 'chosen    calls [{"type": "function"' in text
    assert "rejected  <think>hm</think>⏎b" in text
    assert 'tools     [{"type": "function"' in text


@pytest.mark.parametrize(
    ("prompt", "marked"),
    [
        ("<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n", True),
        ("<s>[INST] q [/INST]", True),
        ("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|>", True),
        ("<start_of_turn>user\nq<end_of_turn>\n", True),
        ("<|user|>\nq</s>\n<|assistant|>\n", True),
        ("<｜User｜>q<｜Assistant｜>", True),
        ([{"role": "user", "content": "### q <|im_end|>"}], True),
        ("is <s>this</s> struck through in [INSTANT] HTML?\n", False),
        ("what is |user| and <user> and [inst]?", False),
    ],
)
def test_prompts_that_a_template_has_framed_already(prompt, marked):
    pairs = [Pair(prompt, "a", "b", "1"), Pair("q\n", "a", "b", "2")]
    chat = object.__new__(Chat)
    chat.end_ids = {0}
    for mode in ("chat", "text"):
        chat.mode = mode
        found = summarise(Pairs(pairs, "text", {}, 2, {}), encoded(), [], chat)
        told = any("--template none" in line for line in warnings(found, 64))
        assert told == (marked and mode == "chat")


MADE = {"prompt": "q\n", "chosen": "a", "rejected": "d", "answers": ["a", "b", "c", "d", ""],
        "rewards": [1, 0.5, 0.25, 0, None], "judge": "x"}  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "rows", "lines"),
    [
        (Wanted(3), [MADE, {**MADE, "prompt": "r\n", "answers": ["a", "b"], "rewards": [1, 0]}],
         ["  not used: judge", "  answers  3 / 3 / 4 a group", "rejected  d", "rejected 2 c",
          "1 answers without text"]),
        (Wanted(1, "samples"), [MADE], ["  rewards  0.4375 on average, from 0 to 1", "answer 4, reward 0 d"]),
        (Wanted(1, "rewards"), [MADE], ["chosen, reward 1 a", "rejected, reward 0 d"]),
        (Wanted(1, "labels"), [{"prompt": "q\n", "completion": x, "label": x == "a"} for x in "abc"],
         ["  labels   1 good answers and 2 bad ones stand alone", "  chosen    a"]),
        (Wanted(2), [{"prompt": "q\n", "chosen": "a", "rejected": "b"}], ["no row has more than one rejected answer"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("with_model", [False, True])
def test_check_shows_groups(tmp_path, monkeypatch, shared, wanted, rows, lines, with_model):
    monkeypatch.setattr("mio_local.commands.data_commands.data_check.wanted_of", lambda loss: wanted)
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    model = ModelSettings(name=str(shared / "models/gsm8k-mini") if with_model else "")
    text = printed(file, model, DataSettings())
    for line in lines:
        name, _, said = line.rpartition(" ")
        assert line in text or (with_model and f"{name.strip()}: " in text and f"[{said}]" in text), line
    assert (f"--negatives {wanted.negatives}" in text) == (with_model and wanted.negatives > 1)


def test_lengths_leave_out_answers_that_are_not_there():
    pairs = [Pair("p", "a", "", "1"), Pair("p", "", "b", "2"), Pair("q\n", "c", "d", "3")]
    found = summary(pairs, [example([5, 0], []), example([], [6, 6, 0]), example([7, 0], [0])])
    assert (found.chosen, found.rejected) == (Lengths(2, 2, 2, 2), Lengths(1, 1, 3, 3))
    assert (found.longer_chosen, found.longer_rejected, found.extra_tokens) == (1, 0, 1.0)
    assert found.tokens_a_pair == pytest.approx((4 + 5 + 4 + 3) / 3)
    assert (*found.group_sizes, *(found.labels or ())) == (1, 1, 2, 1, 1)
