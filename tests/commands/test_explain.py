"""`mio-local help`: commands and settings, in words that are the recipe's own."""

import re
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.arguments import parser
from mio_local.errors import RecipeError
from mio_local.flags import as_text, flag_words
from mio_local.recipe import Recipe, keys
from mio_local.reports import glossary
from mio_local.runs.summary import KINDS


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.run(["help", *words]) == 0
    return capsys.readouterr().out


def test_every_setting_has_its_line_with_default_help_and_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe a key is a line, so that grep finds it; the tables stand in their order, a blank line between."""
    tables = told(capsys, "settings").split("\n\n")[: len(Recipe.model_fields)]
    for section, text in zip(Recipe.model_fields, tables, strict=True):
        known = {key: field for key, field in keys().items() if key.startswith(f"{section}.")}
        assert [line.split()[0] for line in text.splitlines()] == list(known)
        for line, (key, field) in zip(text.splitlines(), known.items(), strict=True):
            words = " ".join(f"{key} {as_text(field.default)} {field.description}".split())
            assert " ".join(line.split()).startswith(words)
            flag = flag_words(key, "x")[0]
            assert line.endswith(f"({flag})") == (flag != "--set"), line


def test_a_key_that_is_new_appears_by_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written twice."""
    new = Recipe.model_fields["loss"].annotation.model_fields["beta"]
    monkeypatch.setattr("mio_local.commands.explain.keys", lambda: {**keys(), "loss.gamma": new})
    assert re.search(r"^loss\.gamma +0\.1 ", told(capsys, "settings"), re.M)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("loss.beta", ["loss.beta: strength", "0.1", "a number, above 0", "--beta VALUE", "beta = ... under [loss]"]),
        ("beta", ["loss.beta: strength"]),
        ("eval-every", ["eval.every: steps", "a whole number, 0 or more"]),
        ("schedule", ["train.schedule: decay", "constant, linear or cosine"]),
        ("dora", ["--dora or --no-dora", "true or false"]),
        ("adam_eps", ["1e-08", "--set train.adam_eps=VALUE"]),
        ("data.source", ["default  empty", "text"]),
        ("lora.targets", ["all-linear", '["a", "b", "c"]']),
        ("batch_size", ["train.batch_size", "eval.batch_size"]),
        ("loss", ["loss.name", "loss.beta", "loss.reduction"]),
    ],
)
def test_a_setting_is_found_by_what_a_user_may_call_it(
    words: str, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(capsys, words)
    assert [each for each in shown if each not in text] == []


@pytest.mark.parametrize("command", parser().commands)
def test_a_command_is_explained_as_its_own_help_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run([command, "--help"])
    expected = capsys.readouterr().out
    assert told(capsys, command) == expected


def test_without_a_subject_it_is_the_help_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run(["--help"])
    expected = capsys.readouterr().out
    assert told(capsys) == expected


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("loss.bta", "loss.beta"), ("bta", "beta"), ("settigns", "settings"), ("traim", "train"), ("marign", "margin"),
     ("[?]", "")],
)
def test_a_wrong_name_ends_in_one_line_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(RecipeError) as raised:
        cli.run(["help", wrong])
    hint = f" (nearest: {near})" if near else ""
    assert str(raised.value) == (
        f"help {wrong}: no command, setting or word{hint}; mio-local help settings lists the settings; words: "
        + ", ".join(("verdict", *glossary.WORDS))
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("margin", ["Δ of the chosen answer less Δ of the rejected one", "nats"]),
        ("MI", ["mutual information"]),
        ("mi/js", ["3 ln 2 - 1.5 ln 3 = 0.432 nats"]),
        ("nats", ["ln 2"]),
        ("log-prob", ["logarithm of the probability"]),
        ("KL", ["nat a token", "mio-local eval"]),
        ("held out", ["not trained on"]),
        ("at chance", ["0.5 lies in the accuracy's 95 % interval"]),
        ("beta", ["ln 2 / beta", "loss.beta: strength"]),  # the word before the setting
        ("verdict", [*KINDS, "nat a token"]),
        ("words", ["js", "perplexity", "mio-local help verdict"]),
    ],
)
def test_a_word_of_the_screens_is_explained(words: str, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, *words.split())
    assert [each for each in shown if each not in text] == []


def test_every_verdict_and_every_word_of_the_readme_is_explained() -> None:
    assert set(glossary.KIND_WORDS) == set(KINDS)
    table = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8").partition("| word |")[2]
    words = re.findall(r"^\| ([^|-][^|]*?) \|", table.partition("\n\n")[0], re.MULTILINE)
    assert len(words) > 8
    each = [word for entry in words for word in re.split(r"[, ()]+", entry) if word] if words else []
    assert [word for word in each if not glossary.known(word) and word not in ("held", "out", "task")] == []
