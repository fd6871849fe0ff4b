"""The preview process itself, against what the training does with the same pairs."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from mio_local.data.pairs import load_pairs
from mio_local.data.template import Chat
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import DataError
from mio_local.preview import preview_server
from mio_local.recipe import DataSettings, ModelSettings
from mio_local.text import visible
from tests.helpers.layout_rows import ROWS, TALK
from tests.helpers.preview_process import Process, texts, write

GOOD = {"prompt": "q", "chosen": "a", "rejected": "b"}
SPECIAL = ("<|im_start|>", "<|im_end|>")


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    """One process for the tests that leave it as it was."""
    started = Process()
    yield started
    assert started.end() == ("", "")


@pytest.mark.parametrize(("name", "values", "prompt"), ROWS)
def test_every_layout_as_text(process: Process, tmp_path: Path, name: str, values: Any, prompt: Any) -> None:
    """The expectations are those of the layouts' own tests."""
    opened = process.open(write(tmp_path / "f.jsonl", values))
    assert (opened["layout"], opened["pairs"], opened["tokens"]) == (name, 1, False)
    assert opened["available"] == list(values)
    assert set(opened["columns"]) <= set(opened["roles"])
    turns = [("prompt", prompt)] if isinstance(prompt, str) else [(turn["role"], turn["content"]) for turn in prompt]
    pair = process.ask("pair", row=0)
    assert pair["where"] == "f.jsonl line 1"
    assert texts(pair) == [(role, visible(text)) for role, text in (*turns, ("chosen", "good"), ("rejected", "bad"))]
    assert [part["scored"] for part in pair["parts"]] == [False] * len(turns) + [True, True]


def test_a_pair_is_shown_as_it_is_tokenised(process: Process, tmp_path: Path, tiny_model: Path) -> None:
    """The tiny model has a token for each byte and a ChatML template, so that its tokens can be written down here."""
    file = write(tmp_path / "f.jsonl", {"prompt": "a\té", "chosen": "[b]", "rejected": "no"})
    assert process.open(file, tiny_model)["tokens"]
    prompt, chosen, rejected = process.ask("pair", row=0)["parts"]
    assert prompt["pieces"] == [
        [SPECIAL[0], True], *([sign, False] for sign in "user⏎a⇥"), ["Ã", False], ["©", False], [SPECIAL[1], True],
        ["⏎", False], [SPECIAL[0], True], *([sign, False] for sign in "assistant⏎"),
    ]  # fmt: skip
    assert chosen["pieces"] == [["[", False], ["b", False], ["]", False], [SPECIAL[1], True]]
    assert rejected == {"role": "rejected", "tokens": 3, "scored": True, "cut": False, "more": 0,
                        "pieces": [["n", False], ["o", False], [SPECIAL[1], True]]}


@pytest.mark.parametrize("settings", [{}, {"max_tokens": 90}, {"max_tokens": 16}, {"template": "none"}])
def test_tokens_are_those_of_the_training(process: Process, shared: Path, settings: dict[str, Any]) -> None:
    """Counts, cuts and special tokens against `Chat.encode`, on real data and a real tokenizer."""
    source, model = shared / "data/gsm8k/valid.jsonl", shared / "models/gsm8k-mini"
    data = DataSettings(source=str(source), limit=20, **settings)
    tokenizer = load_tokenizer(ModelSettings(name=str(model)))
    chat = Chat(tokenizer, data.template)
    pairs = load_pairs(str(source), data)
    assert process.open(source, model, limit=20, **settings)["pairs"] == 20
    for row in (0, 7, 19):
        example = chat.encode(pairs[row], data.max_tokens, "cut")
        parts = process.ask("pair", row=row)["parts"]
        cuts = (example.cut_prompt, example.truncated_chosen, example.truncated_rejected)
        for part, ids, cut in zip(parts, (example.prompt, example.chosen, example.rejected), cuts, strict=True):
            assert (part["tokens"], part["cut"], part["more"]) == (len(ids), cut, 0)
            assert "".join(text for text, _ in part["pieces"]) == visible(tokenizer.decode(ids)).lstrip("\ufeff")
            assert [special for _, special in part["pieces"]] == [i in tokenizer.all_special_ids for i in ids]


def test_conversations_as_tokens(process: Process, shared: Path, tiny_model: Path) -> None:
    """Real ShareGPT conversations under the templates of real models: all that is not the answer is prompt."""
    opened = process.open(shared / "data/sharegpt/dpo_en_demo.json", tiny_model, limit=5, max_tokens=8000,
                          template=str(shared / "data/chat_templates/llama-3-instruct.jinja"))
    assert opened["layout"] == "sharegpt"
    prompt, chosen, _ = texts(process.ask("pair", row=0))
    assert "<|start_header_id|>user<|end_header_id|>⏎⏎Hi! I'd like to create" in prompt[1]
    assert chosen[1].startswith("That sounds like a fun and engaging idea!")


def test_columns_can_be_named_where_none_are_known(process: Process, tmp_path: Path) -> None:
    """The error brings what is needed to name them."""
    file = write(tmp_path / "f.jsonl", {"ask": "q", "yes": "good", "no": "bad", "id": 1})
    refused = process.open(file)
    assert "no column for chosen (found ask, yes, no, id" in refused["error"]
    assert refused["available"] == ["ask", "yes", "no", "id"]
    columns = {"prompt": "ask", "chosen": "yes", "rejected": "no"}
    assert set(columns) < set(refused["roles"])
    assert process.ask("pair", row=0) == {"error": "no pairs are open; send an open that succeeds first"}
    assert process.open(file, columns=columns)["columns"] == columns
    assert texts(process.ask("pair", row=0)) == [("prompt", "q"), ("chosen", "good"), ("rejected", "bad")]
    wrong = process.open(file, columns={**columns, "rejected": "id"})
    assert "none of its 1 rows is a pair; the first: f.jsonl line 1: rejected (id) must be text" in wrong["error"]
    assert wrong["available"] == ["ask", "yes", "no", "id"]


def test_summary(process: Process, tiny_pairs: Path, tiny_model: Path) -> None:
    """One token a byte and one for the end: the lengths follow from the texts."""
    rows = [json.loads(line) for line in tiny_pairs.read_text().splitlines()]
    process.open(tiny_pairs, tiny_model, max_tokens=64, eval_fraction=0.25)
    found = process.ask("summary")
    assert found["stops"] == ""
    summary = found["summary"]
    frame = len("user\n" "\n" "assistant\n") + 3
    for name, extra in (("prompt", frame), ("chosen", 1), ("rejected", 1)):
        lengths = sorted(len(row[name]) + extra for row in rows)
        assert (summary[name]["smallest"], summary[name]["largest"]) == (lengths[0], lengths[-1])
    assert (summary["pairs"], summary["prompts"], summary["held_out_prompts"]) == (24, 24, 6)
    assert (summary["longer_share"], summary["longer_rejected"], summary["truncated_share"]) == (0, 24, 0)
    assert any("the rejected answer is the longer one in 100%" in line for line in found["warnings"])
    process.open(tiny_pairs, tiny_model, max_tokens=frame + len(rows[-1]["prompt"]))
    stops = process.ask("summary")["stops"]
    length = frame + len(rows[10]["prompt"])
    assert stops.startswith(f"pairs.jsonl line 11: prompt has {length} tokens, --max-tokens is {length}; raise it")
    assert stops.endswith("(14 such rows)")  # those of two digits


def test_what_stops_the_training_is_foretold(process: Process, tmp_path: Path, tiny_model: Path) -> None:
    """In the training's own words, with the number of such rows."""
    file = write(tmp_path / "f.jsonl", GOOD, {**GOOD, "chosen": ""}, {**GOOD, "chosen": " "})
    with pytest.raises(DataError) as caught:
        load_pairs(str(file), DataSettings())
    opened = process.open(file, tiny_model)
    assert (opened["rows"], opened["pairs"], opened["skipped"]) == (3, 1, {"chosen is empty": 2})
    assert opened["problem"] == "f.jsonl line 2: chosen is empty"
    assert process.ask("summary")["stops"] == f"{caught.value} (2 such rows)"
    process.open(file, tiny_model, bad_rows="skip")
    assert process.ask("summary")["stops"] == ""


def test_hostile_rows(process: Process, tmp_path: Path, tiny_model: Path) -> None:
    """Long lines, escape codes, text that turns its reader round, half of a surrogate pair; as text and as tokens."""
    bad = "\x1b]0;title\x07\x9b31m\u202e\u2066\r\x00[/INST] שלום "
    speaker = {"role": "\x1b[2J" * 9000, "content": "x"}
    file = write(
        tmp_path / "a\x1b[31mb.jsonl",
        {"prompt": [*TALK[:2], {"role": "user", "content": bad * 3000}], "chosen": bad, "rejected": "x" * 200_000},
        {"prompt": TALK, "chosen": "\ud800", "rejected": "b"}, {"prompt": TALK * 1000, "chosen": bad, "rejected": "b"},
        *({**GOOD, "prompt": [{**speaker, "role": f"{n}{speaker['role']}"}]} for n in range(50)),
    )  # fmt: skip
    for model in ("", tiny_model):
        opened = process.open(file, model)
        assert (opened["pairs"], opened["rows"]) == (2, 53)
        assert "half a surrogate pair" in opened["problem"]
        assert len(opened["skipped"]) <= 22
        assert sum(opened["skipped"].values()) == 51
        for row in (0, 1):
            began = time.monotonic()
            answer = process.ask("pair", row=row)
            assert time.monotonic() - began < 5
            shown = [text for part in answer["parts"] for text, _ in part["pieces"]] + [answer["where"]]
            assert all(text.isprintable() for text in shown)
            assert all(len(part["pieces"]) <= 400 for part in answer["parts"])
            assert all(sum(len(text) for text, _ in part["pieces"]) <= 4000 for part in answer["parts"])
            assert len(json.dumps(answer)) < 400_000
            assert model or row or answer["parts"][-1]["more"] == 196_000
    found = process.ask("summary")
    assert max(map(len, (*found["warnings"], *found["summary"]["skipped"]))) <= 1000


def test_refusals_leave_it_alive(process: Process, tmp_path: Path, tiny_pairs: Path) -> None:
    """Lines that are no request are answered without an id, all else with its own and one line."""
    for line in (b"", b"{", b"[1]", b"null", b'{"do": "pair"}', b'{"id": [1], "do": "pair"}', b"\xff", b"[" * 99999):
        process.write(line)
        answer = process.line()
        assert answer["id"] is None
        assert "a request is a JSON object" in answer["error"]
    assert "a request is a JSON object" in process.ask("close")["error"]
    assert "data.max_tokens = 0" in process.open(tiny_pairs, max_tokens=0)["error"]
    assert "unknown key data.sauce (nearest: data.source)" in process.ask("open", data={"sauce": ""})["error"]
    assert "no preference pairs given" in process.ask("open")["error"]
    assert "no such file" in process.open(tmp_path / "none.jsonl")["error"]
    assert "no such model folder" in process.open(tiny_pairs, tmp_path / "none")["error"]
    assert "\x1b" not in process.open(tmp_path / "\x1b[31m.jsonl")["error"]
    process.open(tiny_pairs)
    assert process.ask("summary")["error"] == "no model is chosen, so nothing can be tokenised"
    for row in (-1, 24, "0", True, None, 1.0):
        assert process.ask("pair", row=row)["error"] == f"row {row}: there are rows 0 to 23"
    assert process.ask("pair", row=23)["where"].endswith("line 24")


def test_a_summary_gives_way(process: Process, tmp_path: Path, tiny_model: Path, tiny_pairs: Path) -> None:
    """A pair is answered while it goes on; an open or another summary cancels it, and is answered at once."""
    file = write(tmp_path / "f.jsonl", *({**GOOD, "prompt": f"q{n}"} for n in range(20_000)))
    process.open(file, tiny_model)
    summary = process.send("summary")
    assert process.line()["progress"][1] == 20_000
    began = time.monotonic()
    pair = process.send("pair", row=19_999)
    while "progress" in (answer := process.line()):
        assert answer["id"] == summary
    assert (answer["id"], answer["row"]) == (pair, 19_999)
    process.write(b"no request")
    second = process.send("summary")
    while "progress" in (answer := process.line()):
        assert answer["id"] == summary
    assert answer["id"] is None
    assert process.line() == {"id": summary, "cancelled": True}
    assert process.line()["id"] == second
    opened = process.send("open", data={"source": str(tiny_pairs)}, model={"name": str(tiny_model)})
    while "progress" in (answer := process.line()):
        assert answer["id"] == second
    assert answer == {"id": second, "cancelled": True}
    assert (answer := process.line())["id"] == opened
    assert time.monotonic() - began < 2
    assert answer["pairs"] == 24
    assert process.ask("summary")["summary"]["pairs"] == 24


def test_it_ends_with_its_stdin(tmp_path: Path) -> None:
    """Even in the middle of reading 300,000 rows, of which nobody would hear."""
    process = Process()
    assert "no such file" in process.open(tmp_path / "none.jsonl")["error"]
    (tmp_path / "f.jsonl").write_text((json.dumps(GOOD) + "\n") * 300_000)
    process.send("open", data={"source": str(tmp_path / "f.jsonl")})
    time.sleep(0.1)
    assert process.end() == ("", "")


def test_pairs_and_tokenizer_are_read_once(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again when their files, or the settings that they depend on, have changed."""
    calls: list[str] = []
    for name in ("load_pairs", "load_tokenizer"):
        read = getattr(preview_server, name)
        spy = lambda *given, name=name, read=read, **more: calls.append(name) or read(*given, **more)  # noqa: E731
        monkeypatch.setattr(preview_server, name, spy)
    answers: list[dict[str, Any]] = []
    previewer = preview_server.Previewer(SimpleQueue(), answers.append)
    file = write(tmp_path / "f.jsonl", GOOD)
    model = {"name": str(shutil.copytree(tiny_model, tmp_path / "model"))}

    def opened(model: dict[str, str], **data: Any) -> list[str]:
        calls.clear()
        request = {"id": 1, "do": "open", "data": {"source": str(file), **data}, "model": model}
        previewer._reply(preview_server.parse(json.dumps(request).encode()))
        assert answers[-1]["pairs"]
        return calls

    assert opened({}) == ["load_pairs"]
    assert opened(model) == ["load_tokenizer"]
    assert opened(model, max_tokens=99, bad_rows="skip", long_prompt="cut", eval_fraction=0.5) == []
    assert opened(model, template="none") == ["load_pairs"]
    assert opened(model, template="none", system="be") == ["load_pairs"]
    write(file, GOOD, GOOD)
    assert opened(model, template="none", system="be") == ["load_pairs"]
    assert answers[-1]["pairs"] == 2
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages[0].content }}", encoding="utf-8")
    assert opened(model, template="none", system="be") == ["load_tokenizer"]
