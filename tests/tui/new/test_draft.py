"""A recipe being edited: judged by the recipe's own rules, saved, and written as a command line."""

import shlex
import tomllib
from pathlib import Path

import pytest

from mio_local.arguments import parser
from mio_local.errors import RecipeError
from mio_local.flags import as_text, recipe_from
from mio_local.recipe import Recipe, build, read_toml
from mio_tui.new.draft import KEYS, Draft, parsed, recipe_file

HOSTILE = "a b'c\"d\\e [/INST] [red] \x1b[31m ü🙂 \u202e $HOME `x`\nnext"


def trained(command: str) -> Recipe:
    """The recipe that `mio-local` makes of a command line."""
    program, *words = shlex.split(command)
    assert program == "mio-local"
    return recipe_from(parser("train").parse_args(words))


def filled(**values: object) -> Draft:
    draft = Draft({"model": {"name": "org/model"}, "data": {"source": "pairs.jsonl"}})
    for key, value in values.items():
        draft.set(key.replace("__", "."), value)
    return draft


@pytest.mark.parametrize("key", KEYS)
def test_every_default_is_read_back_from_its_text(key: str) -> None:
    default = KEYS[key].default
    text = as_text(default)
    resolved = key == "loss.reduction"  # `auto` is parsed into MIO's published form
    assert text == "" or resolved or parsed(key, text) == ((default,), "")
    draft = Draft()
    draft.set(key, text)
    assert not draft.values
    assert draft.recipe() == Recipe()


@pytest.mark.parametrize(("objective", "form"), [("mio", "sum"), ("ipo", "mean"), ("sft", "mean")])
def test_auto_is_the_published_form_of_the_objective_that_is_chosen(objective: str, form: str) -> None:
    draft = filled(loss__name=objective, loss__reduction="mean" if form == "sum" else "sum")
    draft.set("loss.reduction", "auto")
    assert draft.text("loss.reduction") == "auto"
    assert draft.recipe().loss.reduction == form
    assert "--reduction" not in draft.commands()[0]
    assert "reduction" not in draft.toml()
    draft.take_toml(f'[loss]\nname = "{objective}"\nreduction = "auto"\n')
    assert draft.recipe().loss.reduction == form


@pytest.mark.parametrize(
    ("key", "typed", "reason"),
    [
        ("loss.beta", "x", "x: input should be a valid number"),
        ("loss.beta", "-1", "-1: input should be greater than 0"),
        ("loss.beta", "nan", "finite"),
        ("train.steps", "1.5", "valid integer"),
        ("lora.dropout", "1", "less than 1"),
        ("model.quantize", "3", "input should be 0, 4 or 8"),
        ("model.dtype", "f32", "'float32'"),
        ("lora.dora", "maybe", "valid boolean"),
        ("lora.targets", " , ", "at least 1 item"),
        ("data.columns", "chosen", "write it as role=column"),
        ("loss.name", "dpoo", "nearest: dpo"),
        ("train.seed", "99999999999", "less than 2147483648"),
    ],
)
def test_a_wrong_value_is_told_in_the_words_of_the_command_line(key: str, typed: str, reason: str) -> None:
    draft = filled(**{key.replace(".", "__"): typed})
    message = draft.error(key)
    assert reason in message
    assert "--set" not in message
    assert draft.errors() == {key: message}
    with pytest.raises(RecipeError):
        draft.recipe()
    with pytest.raises(RecipeError) as told:
        recipe_from(parser("train").parse_args(["train", "--set", f"{key}={typed}"]))
    assert message in str(told.value)


def test_what_is_empty_or_the_default_is_not_kept() -> None:
    draft = filled(loss__beta="0.2", train__steps="7")
    assert set(draft.values) == {"model.name", "data.source", "loss.beta", "train.steps"}
    assert draft.set("loss.beta", "0.10")
    assert draft.set("train.steps", "")
    assert not draft.set("train.steps", "0")
    assert set(draft.values) == {"model.name", "data.source"}


def test_only_an_edit_counts_as_one() -> None:
    draft = Draft({"loss": {"beta": 0.3}}, "copy")
    assert not draft.touched
    draft.set("loss.beta", "0.3")
    assert draft.touched  # typed text in place of a number


def test_a_recipe_file_holds_what_differs_and_reads_back_equal(tmp_path: Path) -> None:
    draft = filled(loss__beta="0.3", lora__targets="q_proj, v_proj", data__system=HOSTILE, lora__dora="true")
    draft.set("data.columns", {"chosen": "good, better", "rejected": " x=y "})
    draft.save(tmp_path / "mine.toml")
    tables = tomllib.loads((tmp_path / "mine.toml").read_text(encoding="utf-8"))
    assert {section: set(table) for section, table in tables.items()} == {
        "model": {"name"}, "data": {"source", "system", "columns"}, "lora": {"targets", "dora"}, "loss": {"beta"},
    }  # fmt: skip
    again = Draft()
    again.load(tmp_path / "mine.toml")
    assert again.recipe() == draft.recipe()
    assert build(read_toml(tmp_path / "mine.toml"), "test") == draft.recipe()
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.toml"]


def test_a_saved_recipe_finds_its_files_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "pairs.jsonl").touch()
    monkeypatch.chdir(tmp_path / "here")
    filled().save(tmp_path / "there" / "a.toml")
    monkeypatch.chdir(tmp_path)
    draft = Draft()
    draft.load(Path("there/a.toml"))
    assert draft.recipe().data.source == str(tmp_path / "here" / "pairs.jsonl")
    assert draft.recipe().model.name == "org/model"


def test_a_recipe_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[loss]\nbeta = 0.5\n")
    with pytest.raises(RecipeError, match="cannot be written: No such file"):
        filled().save(tmp_path / "missing" / "a.toml")
    with pytest.raises(RecipeError, match="greater than 0"):
        filled(loss__beta="-1").save(file)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RecipeError, match=r"a\.toml: cannot be written: No space left"):
        filled().save(file)
    assert file.read_text() == "[loss]\nbeta = 0.5\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_typed_file_gets_its_ending() -> None:
    assert recipe_file(" mine ") == Path("mine.toml")
    assert recipe_file("~/a.recipe") == Path.home() / "a.recipe"


@pytest.mark.parametrize("text", ["beta = ", "[loss]\nbeta = -1", "[loss]\nbet = 1", "[los]\nbeta = 1", "loss = 3"])
def test_text_that_is_no_recipe_changes_nothing(text: str) -> None:
    draft = filled(loss__beta="0.3")
    before = dict(draft.values)
    with pytest.raises(RecipeError) as error:
        draft.take_toml(text)
    assert "\n" not in str(error.value)
    assert draft.values == before


def test_both_stays_while_the_text_trains_mio(tmp_path: Path) -> None:
    draft = filled(loss__beta="0.3")
    draft.both = True
    draft.take_toml(draft.toml().replace("0.3", "0.4"))
    assert [recipe.loss.beta for recipe in draft.recipes()] == [0.4, 0.2]
    draft.save(tmp_path / "half.toml")
    assert draft.touched  # the other half is not in the file
    draft.take_toml(draft.toml() + 'name = "ipo"\n')
    assert not draft.both
    draft.save(tmp_path / "whole.toml")
    assert not draft.touched


def test_the_text_of_a_wrong_draft_can_be_edited() -> None:
    draft = filled(loss__beta="x", train__steps="3")
    draft.take_toml(draft.toml().replace('"x"', "0.25"))
    assert (draft.recipe().loss.beta, draft.recipe().train.steps) == (0.25, 3)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"loss.name": "ipo", "loss.beta": "0.3", "train.learning_rate": "2e-4", "lora.dora": "true"},
        {"train.grad_checkpoint": "true", "model.quantize": "4", "lora.targets": "q_proj,v_proj"},
        {"data.columns": "chosen=good,rejected=bad", "data.limit": "100", "eval.metric": "rewards/margins"},
        {"data.system": HOSTILE, "data.split": "", "eval.sample_prompt": "-- x = y"},
        {"model.name": "-odd name", "data.source": "~/my pairs.jsonl", "loss.reduction": "mean"},
        {"train.adam_eps": "1e-6", "train.keep": "5", "backend.device": "cpu", "train.epochs": "0.5"},
    ],
)
def test_the_command_line_trains_the_same_recipe(values: dict[str, str]) -> None:
    draft = filled()
    for key, value in values.items():
        draft.set(key, value)
    [command] = draft.commands()
    assert trained(command) == draft.recipe()


def test_the_command_line_names_the_run_and_the_folder() -> None:
    draft = filled()
    draft.name = "mine"
    [command] = draft.commands("/tmp/some runs")
    arguments = parser("train").parse_args(shlex.split(command)[1:])
    assert (arguments.name, arguments.runs) == ("mine", "/tmp/some runs")


@pytest.mark.parametrize("column", ["a,b", " a", ""])
def test_what_no_flag_can_say_has_no_command_line(column: str) -> None:
    draft = filled()
    draft.set("data.columns", {"chosen": column or "x", "rejected": column})
    assert draft.recipe().data.columns["rejected"] == column
    assert draft.commands() == [] or trained(draft.commands()[0]) == draft.recipe()
    assert bool(draft.commands()) == (column == "")


def test_both_train_mio_and_dpo_at_half_its_beta() -> None:
    draft = filled(loss__beta="0.3")
    draft.both, draft.name = True, "pair"
    mio, dpo = draft.recipes()
    assert (mio.loss.name, mio.loss.beta, dpo.loss.name, dpo.loss.beta) == ("mio", 0.3, "dpo", 0.15)
    assert mio.model_copy(update={"loss": None}) == dpo.model_copy(update={"loss": None})
    commands = draft.commands()
    assert [trained(command) for command in commands] == [mio, dpo]
    names = [parser("train").parse_args(shlex.split(command)[1:]).name for command in commands]
    assert names == ["pair-mio", "pair-dpo"]


def test_a_copied_run_takes_the_published_form_of_another_objective(tmp_path: Path) -> None:
    frozen = build({"loss": {"name": "mio"}}, "test").dump()
    draft = Draft(tomllib.loads(frozen))
    assert draft.values == {}
    draft.set("loss.name", "ipo")
    assert draft.recipe().loss.reduction == "mean"
    kept = Draft(tomllib.loads(build({"loss": {"name": "mio", "reduction": "mean"}}, "test").dump()))
    assert kept.recipe().loss.reduction == "mean"


def test_another_model_and_another_source_bring_their_own() -> None:
    draft = filled(model__revision="abc", data__columns="chosen=good", data__split="test")
    draft.choose_model("org/model")
    draft.choose_source("pairs.jsonl")
    assert draft.recipe().model.revision == "abc"
    assert draft.recipe().data.columns == {"chosen": "good"}
    draft.choose_model("org/other")
    draft.choose_source("other.jsonl")
    recipe = draft.recipe()
    assert (recipe.model.revision, recipe.data.columns, recipe.data.split) == ("", {}, "train")


def test_tables_that_are_no_recipe_are_refused() -> None:
    with pytest.raises(RecipeError, match="unknown key"):
        Draft({"loss": {"gamma": 1}})


def test_what_one_key_takes_may_depend_on_another() -> None:
    """Label smoothing is for some objectives: it is judged beside the one that is chosen, whichever comes first."""
    draft = Draft()
    draft.set("loss.label_smoothing", "0.1")
    assert draft.errors() == {"loss.label_smoothing": "0.1: mio has no form for wrong labels; use --loss dpo or "
                                                      "--loss robust"}  # fmt: skip
    with pytest.raises(RecipeError, match="mio has no form for wrong labels"):
        draft.recipe()
    draft.set("loss.name", "robust")
    assert draft.errors() == {}
    assert draft.recipe().loss.label_smoothing == draft.value("loss.label_smoothing") == 0.1
    assert draft.tables()["loss"] == {"name": "robust", "label_smoothing": 0.1}
    assert "--loss robust" in draft.commands()[0]
    assert "--label-smoothing 0.1" in draft.commands()[0]
    draft.set("loss.label_smoothing", "0.1, 0.2")
    assert draft.errors() == {}
    assert [each.loss.label_smoothing for each in draft.recipes()] == [0.1, 0.2]
    draft.both = True
    with pytest.raises(RecipeError, match="mio has no form for wrong labels"):
        draft.recipes()
