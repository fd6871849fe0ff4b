"""A run that was copied to a machine where its base, its pairs and its other files lie elsewhere, or not at all."""

import shutil

import pytest

from mio_local.cli import run
from mio_local.errors import MioError, RecipeError
from mio_local.runs.directory import Run
from tests.helpers.backends import both
from tests.helpers.exporting import train
from tests.helpers.json_edits import edit_json
from tests.helpers.tiny_model import write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def words(*given):
    return run([str(word) for word in given])


@pytest.fixture
def there(tiny_model, tiny_pairs, tmp_path, request):
    """The folder of a run on the other machine: its base and pairs, which this one does not have."""
    place = tmp_path / "there"
    shutil.copytree(tiny_model, place / "base")
    shutil.copy(tiny_pairs, place / "pairs.jsonl")
    train(place / "runs", place / "base", place / "pairs.jsonl", request.param, "m", "--save-every", "1")
    return place


def carried(there, here):
    """Everything to another folder, and the run as if it had been stopped after two of its three steps."""
    shutil.move(there, here)
    ran = Run(here / "runs" / "m")
    whole = next(ran.adapter.glob("*.safetensors")).read_bytes()
    shutil.rmtree(ran.adapter)
    shutil.rmtree(ran.checkpoints / "step-000003")
    edit_json(ran.status, state="stopped")
    info = ran.read_info()
    info["sessions"][-1]["host"] = "elsewhere"
    ran.write_info(info)
    return ran, whole


@pytest.mark.parametrize("there", ["mlx", "cuda"], indirect=True)
def test_a_run_goes_on_where_its_base_and_pairs_are_now(there, tmp_path, capsys):
    ran, whole = carried(there, here := tmp_path / "here")
    words("show", ran.path)
    assert "elsewhere, another than this" in capsys.readouterr().out
    gone = rf"run m: model\.name was {there}/base of elsewhere, which is not here; say where it is now: --model PATH"
    for command in (["resume"], ["export", "--to", "peft"], ["eval", "--samples", "1"]):
        with pytest.raises(MioError, match=gone):
            words(command[0], ran.path, *command[1:])
    with pytest.raises(MioError, match=r"data\.source was .*/there/pairs\.jsonl of elsewhere.*--data PATH"):
        words("resume", ran.path, "--model", here / "base")
    assert words("resume", ran.path, "--data", here / "pairs.jsonl") == 0  # the base is known by now
    assert next(ran.adapter.glob("*.safetensors")).read_bytes() == whole
    assert words("export", ran.path, "--to", "merged") == 0
    assert words("check", ran.path) == 0


@pytest.mark.parametrize("there", ["mlx"], indirect=True)
def test_another_base_or_other_pairs_are_not_taken_for_them(there, tmp_path, tiny_pairs):
    ran, _ = carried(there, here := tmp_path / "here")
    before = ran.recipe.read_text()
    other = write_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(MioError, match=rf"the weights in {other} are not those it was trained on"):
        words("resume", ran.path, "--model", other)
    less = tmp_path / "less.jsonl"
    less.write_text("".join(tiny_pairs.read_text().splitlines(keepends=True)[:-2]))
    with pytest.raises(MioError, match="its data or tokenizer changed"):
        words("resume", ran.path, "--model", here / "base", "--data", less)
    with pytest.raises(RecipeError, match=r"lora\.rank=3: no place that a run may look elsewhere for; there are model"):
        words("resume", ran.path, "--set", "lora.rank=3")
    assert ran.recipe.read_text() == before


@both
def test_chat_and_export_find_the_base_by_its_new_place(backend, tiny_model, tiny_pairs, tmp_path):
    base = shutil.copytree(tiny_model, tmp_path / "base")
    ran = train(tmp_path / "runs", base, tiny_pairs, backend)
    moved = base.rename(tmp_path / "moved")
    assert words("generate", ran.path, "--prompt", "a", "--model", moved, "--max-tokens", "2") == 0
    assert words("export", ran.path, "--to", {"mlx": "peft", "cuda": "mlx"}[backend]) == 0
    assert f'name = "{moved}"' in ran.recipe.read_text()
