"""Answers: what each library itself would say, from several adapters of one base, stopped and drawn as asked."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mio_local.adapters.adapter import read_adapter
from mio_local.chat.conversation import Talker, gather, open_talker
from mio_local.chat.feedback import save_pair, undo
from mio_local.chat.multi_adapter import load_voices, unique
from mio_local.chat.start import BASE, ChatStart
from mio_local.cli import run
from mio_local.data.pairs import load_pairs
from mio_local.data.template import Chat
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import DataError, MioError, ModelError, RunError
from mio_local.recipe import DataSettings, ModelSettings, Recipe, read_toml
from mio_local.runs.directory import Run
from mio_local.sampling import Sampling
from tests.helpers.backends import BACKENDS, LORA, both, load, logits, move, noisy, start
from tests.helpers.exporting import by_library, train
from tests.helpers.rounding import same_logits

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
GREEDY = Sampling(temperature=0, max_tokens=24)
IDS = list(range(5, 30))
ASK = [{"role": "user", "content": "What is 3 + 4?"}]
KINDS = {"small": LORA.model_copy(update={"rank": 2, "alpha": 3.0, "targets": ["q_proj"]}), "large": LORA}


def saved_as(folder, backend, base, lora, seed):
    """An adapter on disk that has an effect."""
    model = start(backend, base, lora=lora)
    move(model, noisy(model.get_adapter(), 0.3, seed))
    model.save_adapter(folder)
    return read_adapter(folder)


@pytest.fixture(scope="module", params=BACKENDS)
def opened(request, tiny_model, tmp_path_factory):
    """A base with two adapters of different rank, scale and layers on it."""
    folder = tmp_path_factory.mktemp("voices")
    found = {
        name: saved_as(folder / name, request.param, tiny_model, lora, seed)
        for seed, (name, lora) in enumerate(KINDS.items(), 1)
    }
    voices = load_voices(load(request.param, tiny_model), found)
    chat = Chat(load_tokenizer(ModelSettings(name=str(tiny_model))))
    return request.param, Talker(voices, chat), folder


def said(talker, voice, sampling=GREEDY):
    pieces = []
    ending = talker.answer(ASK, voice, sampling, lambda piece: pieces.append(piece) or True)
    assert "".join(pieces) == ending.text
    return ending


def greedy(model, prompt, count, stop):
    """The likeliest next token by the library's own forward pass, again and again."""
    ids = list(prompt)
    for _ in range(count):
        token = int(logits(model, ids)[-1].argmax())
        if token in stop:
            break
        ids.append(token)
    return ids[len(prompt) :]


@pytest.mark.parametrize("voice", ["small", "large", BASE])
def test_each_voice_says_what_its_own_library_says(opened, voice, tiny_model):
    backend, talker, folder = opened
    alone = by_library(backend, tiny_model, None if voice == BASE else folder / voice)
    prompt = talker.chat.generation_prompt(ASK)
    wanted = greedy(alone, prompt, GREEDY.max_tokens, talker.chat.end_ids)
    found = said(talker, voice)
    assert found.text == talker.chat.tokenizer.decode(wanted, skip_special_tokens=True)
    assert found.tokens == len(wanted)


def test_the_adapters_do_not_mix(opened):
    _, talker, _ = opened
    first = [said(talker, voice).text for voice in ("small", "large", BASE)]
    assert [said(talker, voice).text for voice in ("small", "large", BASE)] == first
    assert len(set(first)) == 3


def test_logits_of_an_adapter_made_wider_are_its_own(opened, tiny_model):
    backend, talker, folder = opened
    talker.loaded.take("small")
    talker._voice = "small"
    theirs = logits(by_library(backend, tiny_model, folder / "small"), IDS)
    same_logits(logits(talker.loaded.model, IDS), theirs)


def test_a_seed_draws_the_same_answer_again(opened):
    _, talker, _ = opened
    warm = Sampling(temperature=1.0, max_tokens=20, seed=3)
    first = said(talker, "large", warm)
    assert said(talker, "large", warm).text == first.text
    others = {said(talker, "large", warm.model_copy(update={"seed": seed})).text for seed in range(4, 8)}
    assert others - {first.text}


def test_low_temperatures_and_small_sets_are_greedy(opened):
    _, talker, _ = opened
    for changes in ({"temperature": 1.0, "top_k": 1}, {"temperature": 1e-4}, {"temperature": 1.0, "min_p": 1.0}):
        assert said(talker, "large", GREEDY.model_copy(update=changes)).text == said(talker, "large").text


def test_an_answer_is_stopped_by_who_listens(opened):
    _, talker, _ = opened
    heard = []
    ending = talker.answer(ASK, "large", GREEDY, lambda piece: heard.append(piece) or len(heard) < 3)
    assert (ending.end, ending.tokens) == ("stopped", 3)
    assert said(talker, "large").end in ("cut", "ended")


def test_lora_and_dora_do_not_go_together(tiny_model, tmp_path):
    one = saved_as(tmp_path / "lora", "mlx", tiny_model, LORA, 1)
    two = saved_as(tmp_path / "dora", "mlx", tiny_model, LORA.model_copy(update={"dora": True}), 2)
    with pytest.raises(ModelError, match="LoRA and DoRA"):
        load_voices(load("mlx", tiny_model), {"one": one, "two": two})


@both
def test_two_dora_adapters(backend, tiny_model, tmp_path):
    kinds = [LORA.model_copy(update={"dora": True, "targets": [name]}) for name in ("q_proj", "up_proj")]
    found = {str(i): saved_as(tmp_path / str(i), backend, tiny_model, kind, i) for i, kind in enumerate(kinds)}
    voices = load_voices(load(backend, tiny_model), found)
    for name in found:
        voices.take(name)
        theirs = logits(by_library(backend, tiny_model, tmp_path / name), IDS)
        same_logits(logits(voices.model, IDS), theirs)


def test_an_adapter_of_another_base_is_told(tiny_model, tmp_path):
    one = saved_as(tmp_path / "one", "mlx", tiny_model, LORA, 1)
    key = next(key for key in one.weights if key.endswith("lora_B"))
    odd = replace(one, weights={**one.weights, key: np.zeros((3, LORA.rank), np.float32)})
    for adapters in ({"odd": odd}, {"one": one, "odd": odd}):
        with pytest.raises(ModelError, match="another base"):
            load_voices(load("mlx", tiny_model), adapters)


def test_names_that_are_there_twice_are_numbered():
    assert unique(["a", "b", "a", "a 1"], []) == ["a 2", "b", "a 3", "a 1"]
    assert unique(["base"], ["base"]) == ["base 1"]


def test_a_pair_that_was_saved_is_data(tmp_path):
    file = tmp_path / "deep" / "pairs.jsonl"
    talk = [{"role": "system", "content": "Be brief."}, *ASK]
    assert save_pair(file, talk, "7", "8 🦊") == (1, False)
    with file.open("a") as handle:
        answers = {key: [{"role": "assistant", "content": key}] for key in ("chosen", "rejected")}
        handle.write(json.dumps({"prompt": ASK, **answers}))  # without its newline, as after a crash
    assert save_pair(file, ASK, "seven", "eight") == (3, False)
    found = list(load_pairs(str(file), DataSettings(source=str(file))))[::2]
    assert [(pair.prompt, pair.chosen, pair.rejected) for pair in found] == [
        (talk, "7", "8 🦊"), (ASK, "seven", "eight"),
    ]  # fmt: skip


def test_a_pair_is_saved_once_and_the_last_can_be_taken_back(tmp_path):
    file = tmp_path / "pairs.jsonl"
    for answers in (("7", "8"), ("seven", "eight"), ("8", "7")):  # the last is the first turned round: another pair
        save_pair(file, ASK, *answers)
    before = file.read_bytes()
    with pytest.raises(DataError, match="this pair is there already"):
        save_pair(file, ASK, "7", "8")
    assert file.read_bytes() == before
    assert undo(file) == ("8", 2)
    assert file.read_bytes() == b"".join(before.splitlines(keepends=True)[:2])
    assert save_pair(file, ASK, "8", "7") == (3, False)
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o600
    assert [undo(file) for _ in range(3)] == [("8", 2), ("seven", 1), ("7", 0)]
    for _ in range(2):
        with pytest.raises(DataError, match="no pair is saved here"):
            undo(file)
        file.unlink(missing_ok=True)


def test_a_pair_turned_round_takes_the_place_of_the_last(tmp_path):
    file = tmp_path / "pairs.jsonl"
    save_pair(file, ASK, "seven", "eight")
    first = file.read_bytes()
    save_pair(file, ASK, "7", "8")
    assert save_pair(file, ASK, "8", "7") == (2, True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert undo(file) == ("8", 1)
    assert file.read_bytes() == first
    assert save_pair(file, ASK, "eight", "seven") == (1, True)


@pytest.mark.parametrize("line", [b"{", b'{"prompt": "q", "chosen": "a", "rejected": "b"}', b"[1]", b"\xff"])
def test_a_line_that_no_chat_saved_is_not_taken_back(tmp_path, line):
    file = tmp_path / "pairs.jsonl"
    save_pair(file, ASK, "7", "8")
    with file.open("ab") as handle:
        handle.write(line)
    before = file.read_bytes()
    with pytest.raises(DataError, match="the last line is no pair that a chat saved"):
        undo(file)
    assert file.read_bytes() == before
    assert save_pair(file, ASK, "seven", "eight") == (3, False)


@pytest.fixture(scope="module")
def trained(tiny_model, tiny_pairs, tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs"), tiny_model, tiny_pairs, "mlx", "t")


@pytest.mark.parametrize("who", ["adapter", "base", "both"])
def test_generate_prints_the_answer_alone(trained, who, capsys):
    words = ["generate", str(trained.path), "--prompt", "What is 3 + 4?", "--with", who, "--temperature", "0"]
    assert run([*words, "--max-tokens", "8"]) == 0
    printed = capsys.readouterr()
    assert ("── t ──" in printed.out) == (who == "both")
    assert "tokens, " in printed.err
    assert "loading" not in printed.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--temperature", "-1"], "--temperature -1: input should be greater than or equal to 0"),
        (["--with", "nobody"], "--with nobody: it is adapter, base, both"),
        (["--checkpoint", "bst"], "no checkpoint bst"),
    ],
)
def test_what_cannot_be_asked_is_told(trained, words, told):
    with pytest.raises(MioError, match=told):
        run(["generate", str(trained.path), "--prompt", "?", *words])


def test_a_run_called_base_has_a_voice(trained, tmp_path):
    shutil.copytree(trained.path, tmp_path / "base")
    base, adapters = gather(tmp_path, ChatStart(["base"], device="cpu"))
    talker = open_talker(base, adapters)
    assert talker.voices == ["base 1", BASE]
    assert said(talker, "base 1").text != said(talker, BASE).text


@pytest.mark.parametrize(("key", "value"), [("system", "Be brief."), ("template", "none")])
def test_runs_whose_conversations_differ_are_told(key, value, trained, tmp_path):
    recipe = Recipe.model_validate(read_toml(trained.recipe))
    for name, given in (("one", ""), ("two", value)):
        run = Run(shutil.copytree(trained.path, tmp_path / name))
        data = recipe.data.model_copy(update={key: given or getattr(recipe.data, key)})
        run.recipe.write_text(recipe.model_copy(update={"data": data}).dump())
    with pytest.raises(RunError, match=f"one and two: their data.{key} differs; give one by --{key}"):
        gather(tmp_path, ChatStart(["one", "two"]))
    base, _ = gather(tmp_path, ChatStart(["one", "two"], **{key: value}))
    assert getattr(base, key) == value == getattr(gather(tmp_path, ChatStart(["two"]))[0], key)


def test_a_model_and_a_run_do_not_talk_together(trained, tiny_model):
    with pytest.raises(RunError, match="is a model without an adapter; open it alone"):
        gather(trained.path.parent, ChatStart(["t", str(tiny_model)]))


def test_runs_of_different_bases_are_told(trained, tiny_pairs, tmp_path):
    from tests.helpers.tiny_model import write_tiny_model

    other = train(tmp_path, write_tiny_model(tmp_path / "other", seed=1), tiny_pairs, "mlx", "o")
    with pytest.raises(RunError, match="t and o: of different bases; open one alone"):
        run(["generate", str(trained.path), str(other.path), "--prompt", "?"])


def test_one_more_step_on_a_saved_pair(trained, tiny_model, tmp_path):
    """The loop that a chat closes: a pair, a step from the adapter that gave it, whose first loss is ln 4."""
    file = trained.path / "chat-pairs.jsonl"
    save_pair(file, ASK, "It is 7.", "It is 8.")
    words = ["train", "--model", tiny_model, "--data", file, "--init-adapter", trained.adapter, "--backend", "mlx"]
    words += ["--device", "cpu", "--steps", "1", "--runs", tmp_path, "--name", "more"]
    assert run([str(word) for word in words]) == 0
    events = [json.loads(line) for line in (tmp_path / "more" / "events.jsonl").read_text().splitlines()]
    first = next(event for event in events if event["type"] == "step")
    assert first["loss"] == pytest.approx(np.log(4), abs=1e-5)
