"""Whom a name means, and what chat, generate and eval refuse; chat's flags where it opens the app."""

import pytest

from mio_local import cli
from mio_local.arguments import parser
from mio_local.chat.start import ChatStart
from mio_local.evaluation.loading import kind_of
from mio_local.sampling import Sampling
from tests.helpers import fakes


@pytest.fixture
def places(tmp_path, runs_home):
    """A run `t`, an adapter's folder and a model's, each with the other's name beside it."""
    fakes.make_run(runs_home, "t")
    for file in ("adapter/adapter_config.json", "model/config.json", "empty/x"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text("[]")
    return tmp_path


@pytest.mark.parametrize(("name", "kind"), [
    ("adapter", "adapter"), ("model", "model"), ("runs/t", "run"), ("t", "run"), ("org/name", "model"),
])  # fmt: skip
def test_a_name_is_one_thing(name, kind, places, runs_home, monkeypatch):
    monkeypatch.chdir(places)
    assert kind_of(runs_home, name) == kind


@pytest.mark.parametrize(("words", "told"), [
    (["generate", "nowhere"], "no run nowhere in "), (["generate", "empty"], "empty: holds no run (recipe.toml), "),
    (["eval", "/nope/run"], "/nope/run: no such folder of a run, an adapter or a model"),
    (["eval", "t", "--backend", "foo"], "--backend foo: t is a run, which keeps its library"),
    (["eval", "t", "--model", "/nope"], "--model /nope: no such folder"),
    (["generate", "model", "--model", "x"], "--model x: model is a model itself; leave it out"),
    (["generate", "adapter", "--checkpoint", "best"], "--checkpoint best: adapter is an adapter's folder"),
    (["generate", "adapter"], "adapter: holds neither adapters.safetensors"),
    (["generate", "model", "--device", "nonsense"], "--device nonsense: "),
    (["generate", "t", "--seed", 2**63], "--seed 9223372036854775808: input should be less than"),
    (["generate", "t", "--system", "a\udcff"], "--system: is not UTF-8 text"),
])  # fmt: skip
def test_mistakes(words, told, places, mistake):
    more = ["--prompt", "q"] if words[0] == "generate" else []
    assert told in mistake(*words, *more)


def test_a_question_that_is_no_text(places, mistake):
    assert "--prompt: is not UTF-8 text" in mistake("generate", "t", "--prompt", "a\udcff")


@pytest.fixture
def opened(monkeypatch):
    """What the app was opened with."""
    return fakes.stand_in_app(monkeypatch)


def test_every_flag_of_chat_reaches_the_app(places, opened):
    words = ["chat", "t", "--temperature", "0.1", "--max-tokens", "9", "--with", "base", "--system", "S", "--template"]
    assert cli.run([*words, "none", "--checkpoint", "best", "--device", "cpu"]) == 0
    assert opened["chat"] == ChatStart(
        ["t"], Sampling(temperature=0.1, max_tokens=9), "base", "S", "best", template="none", device="cpu"
    )
    others = {"runs", "command", "run", "who", "trust_remote_code"}  # the last goes to the chat's process as it is
    flags = vars(parser("chat").parse_args(["chat", "t"])).keys() - others
    assert flags == (vars(ChatStart([])) | Sampling().model_dump()).keys() - {"names", "sampling", "who"}


@pytest.mark.parametrize(("words", "told"), [
    (["--temperature", "-1"], "--temperature -1: "), (["--with", "me"], "--with me: "),
    (["u", "v"], "t u v: a chat shows 2 of"),
])  # fmt: skip
def test_nothing_is_opened_for_a_mistake(words, told, places, opened, mistake, monkeypatch):
    monkeypatch.setattr(cli, "in_terminal", lambda: True)
    assert told in mistake("chat", "t", *words)
    assert "no run nowhere in " in mistake("chat", "nowhere")
    assert not opened


def test_a_dumb_terminal_is_asked_line_by_line(places, opened, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("mio_local.commands.talk.main", lambda arguments: 7)
    assert cli.run(["chat", "t"]) == 7
    assert not opened
