"""The recipe model, its file, its flags, and the recipes that ship."""

import re
import tomllib
from pathlib import Path

import pytest

from mio_local.arguments import parser
from mio_local.commands import train as train_command
from mio_local.errors import RecipeError
from mio_local.flags import recipe_from
from mio_local.memory.estimate import estimate
from mio_local.models.shapes import shape_from_config
from mio_local.objectives.losses import LOSSES
from mio_local.recipe import Recipe, build, keys, read_toml
from mio_local.shipped import recipes
from tests.commands.published import PUBLISHED

TOLD = re.compile(
    r"Memory, estimated by the app and not run here: ([\d.]+) GB for the longest pairs \([^)]*\), "
    r"([\d.]+) GB for prompts of 180 tokens and answers of 300\."
)
MACHINE = re.compile(r"(?P<kind>mac|gpu)-(?P<size>\d+)gb")
METAL = 2 / 3  # share of a small Mac's memory that Metal lets a program use; of a large one's it is three quarters
ROOM = 0.9  # of what a machine has: drivers and other programs take some of it

PROMISED_FLAGS = (
    "--backend", "--device", "--model", "--data", "--eval-data", "--loss", "--steps", "--epochs", "--batch-size",
    "--accumulate", "--learning-rate", "--beta", "--reduction", "--rank", "--alpha", "--layers", "--max-tokens",
    "--dtype", "--quantize", "--seed", "--init-adapter", "--eval-every", "--save-every", "--columns", "--template",
)  # fmt: skip


def parse(*argv: str) -> Recipe:
    """The recipe that `mio-local train ARGV` would run."""
    return recipe_from(parser("train").parse_args(["train", *argv]))


@pytest.mark.parametrize("flag", PROMISED_FLAGS)
def test_every_promised_flag_sets_a_recipe_key(flag: str) -> None:
    """Scripts rely on these names."""
    assert flag in {(field.json_schema_extra or {}).get("flag") for field in keys().values()}


def test_a_dumped_recipe_reads_back_equal(tmp_path: Path) -> None:
    """The frozen recipe reproduces the run, whatever was set."""
    recipe = parse(
        "--model", "m", "--data", "d.jsonl", "--columns", "prompt=q,chosen=a", "--targets", "q_proj,v_proj", "--dora",
        "--beta", "0.25", "--quantize", "4bit", "--set", "data.system=Be \"brief\" [/INST]", "--learning-rate", "3e-4",
    )  # fmt: skip
    file = tmp_path / "recipe.toml"
    file.write_text(recipe.dump())
    assert build(read_toml(file), str(file)) == recipe
    assert set(tomllib.loads(recipe.dump())) == set(Recipe.model_fields)


def test_flags_lie_over_the_file_and_set_over_the_flags(tmp_path: Path) -> None:
    """File, then flags, then --set."""
    file = tmp_path / "r.toml"
    file.write_text("[loss]\nbeta = 0.5\nname = 'dpo'\n[train]\nsteps = 7\n")
    recipe = parse(str(file), "--beta", "0.3", "--set", "train.steps=9")
    assert (recipe.loss.name, recipe.loss.beta, recipe.train.steps) == ("dpo", 0.3, 9)


def test_a_path_in_a_recipe_is_found_beside_the_recipe(tmp_path: Path) -> None:
    """A recipe and its data move together."""
    (tmp_path / "pairs.jsonl").touch()
    file = tmp_path / "r.toml"
    file.write_text('[data]\nsource = "pairs.jsonl"\n[model]\nname = "hub/name"\n')
    recipe = parse(str(file))
    assert recipe.data.source == str(tmp_path / "pairs.jsonl")
    assert recipe.model.name == "hub/name"


@pytest.mark.parametrize("name", LOSSES)
def test_reduction_defaults_to_the_published_form(name: str) -> None:
    """`auto` is resolved when the recipe is read, so that the frozen recipe says which one it was."""
    assert parse("--loss", name).loss.reduction == LOSSES[name].reduction
    assert parse("--loss", name, "--reduction", "mean").loss.reduction == "mean"


@pytest.mark.parametrize("file", recipes(), ids=lambda file: file.stem)
def test_memory_that_a_recipe_tells_is_the_apps_own_estimate(file: Path) -> None:
    """Of the published model: for the longest pairs that the recipe lets be, which fit with room to spare into the
    machine that its name tells, and for usual ones."""
    recipe = build(read_toml(file), str(file))
    if not recipe.model.name or Path(recipe.model.name).exists():
        return  # any model, or one that lies beside the recipe
    assert recipe.model.name in PUBLISHED, f"{file.name}: write its model's sizes into tests/commands/published.py"
    shape, row = shape_from_config(*PUBLISHED[recipe.model.name]), recipe.data.max_tokens
    longest, usual = (
        estimate(shape, recipe, tokens, recipe.backend.name, "gpu", pair).total / 1e9
        for tokens, pair in ((row, 2 * row - 1), (480, 780))
    )
    told = TOLD.search(" ".join(line.removeprefix("#").strip() for line in file.read_text().splitlines()))
    assert told is not None, f"{file.name}: its memory is {longest:.1f} GB, {usual:.1f} GB"
    assert [float(figure) for figure in told.groups()] == pytest.approx([longest, usual], rel=0.05)
    if machine := MACHINE.fullmatch(file.stem):
        share = METAL if machine["kind"] == "mac" else 1
        assert longest < ROOM * share * int(machine["size"])


@pytest.mark.parametrize("file", recipes(), ids=lambda file: file.stem)
def test_every_shipped_recipe_reads_and_opens_with_what_it_is(file: Path) -> None:
    """Purpose, command, machine and memory stand in the header; one that never ran says so."""
    build(read_toml(file), str(file))
    header = "\n".join(line for line in file.read_text().splitlines() if line.startswith("#"))
    assert f"mio-local train {file.stem}" in header
    assert "--loss dpo" in header or "half its beta" in header
    assert ("Memory, estimated" in header and "Not run here" in header) or file.stem == "demo"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--rank", "0"], "--rank 0: .*greater than or equal to 1"),
        (["--beta", "-1"], "--beta -1: .*greater than 0"),
        (["--beta", "nan"], "--beta nan"),
        (["--loss", "dop"], r"--loss dop: no such objective \(nearest: dpo\)"),
        (["--set", "lora.rnak=4"], r"unknown key lora.rnak \(nearest: lora.rank\)"),
        (["--set", "rank"], "section.key=value"),
        (["--columns", "question"], "role=column"),
        (["--dtype", "float8"], "--dtype float8"),
        (["no-such.toml"], "no such recipe file"),
        (["mac-16g"], "nearest: mac-16gb"),
    ],
)
def test_a_wrong_flag_is_named_with_its_value(argv: list[str], words: str) -> None:
    """One line: the flag, the value, the rule."""
    with pytest.raises(RecipeError, match=words):
        parse(*argv)


def test_a_wrong_key_in_a_file_names_file_and_key(tmp_path: Path) -> None:
    """And the nearest key."""
    file = tmp_path / "r.toml"
    file.write_text("[lora]\nrnak = 4\n")
    with pytest.raises(RecipeError, match=r"r\.toml: unknown key lora\.rnak \(nearest: lora\.rank\)"):
        parse(str(file))


def test_what_can_be_no_path_is_named_with_its_key() -> None:
    """A user that is not there."""
    recipe = parse("--set", "eval.tasks=~nobody-of-that-name/tasks.jsonl")
    with pytest.raises(RecipeError, match=r"^eval\.tasks = ~nobody-of-that-name/tasks\.jsonl: no path .*; write it"):
        recipe.absolute()


def test_help_names_every_recipe_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """The flags, their defaults and their help come from the recipe."""
    with pytest.raises(SystemExit):
        parser("train").parse_args(["train", "--help"])
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in PROMISED_FLAGS)
    assert train_command.__doc__
