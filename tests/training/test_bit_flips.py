"""A flipped bit in what a run wrote is told, or changes nothing: none is trained on in silence."""

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.backends import installed
from mio_local.errors import MioError, RunError
from mio_local.recipe import build
from mio_local.runs.directory import Run
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.reopen import reopen
from tests.helpers.backends import need_library
from tests.helpers.fakes import read_events

STEPS, CUT = 6, 4  # of the run, and where it is left
Left = tuple[Path, Path, dict[str, bytes]]


def tables(model: Path, pairs: Path, backend: str) -> dict[str, object]:
    return {
        "model": {"name": str(model)}, "data": {"source": str(pairs), "eval_fraction": 0.2},
        "lora": {"rank": 2, "alpha": 4, "layers": 1, "targets": ["q_proj"]},
        "train": {"steps": STEPS, "batch_size": 4, "learning_rate": 1e-2, "save_every": 2},
        "eval": {"every": 2, "sample_tokens": 0}, "backend": {"name": backend, "device": "cpu"},
    }  # fmt: skip


def adapter_of(run: Run) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.adapter.glob("*.safetensors")}


@pytest.fixture(scope="module", params=installed())
def left(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_pairs: Path
) -> Iterator[Left]:
    """A run that was left at step 4, the cache as it was then, and the weights that an undisturbed run ends with."""
    need_library(request.param)
    folder = tmp_path_factory.mktemp("flips")
    before = os.environ["MIO_LOCAL_CACHE"]
    os.environ["MIO_LOCAL_CACHE"] = str(folder / "cache")
    recipe = build(tables(tiny_model, tiny_pairs, request.param), "test")
    list(train(whole := start(recipe, folder, "whole")))
    job = start(recipe, folder, "left")
    for event in (events := train(job)):
        if event.type == "step" and event.step == CUT + 1:
            break
    events.close()
    yield job.run.path, folder / "cache", adapter_of(whole.run)
    os.environ["MIO_LOCAL_CACHE"] = before


def copied(left: Left, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Path]:
    run = Run(shutil.copytree(left[0], folder / "left"))
    cache = shutil.copytree(left[1], folder / "cache")
    monkeypatch.setenv("MIO_LOCAL_CACHE", str(cache))
    return run, cache


def flip(file: Path, rng: random.Random) -> str:
    content, bit = bytearray(file.read_bytes()), rng.randrange(8 * file.stat().st_size)
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    return f"bit {bit} of {file}"


@pytest.mark.parametrize("flips", [12, pytest.param(250, marks=pytest.mark.slow)])
def test_a_bit_of_any_file_is_told_or_harmless(
    left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flips: int
) -> None:
    """In the line that a resume ends in, or by a note of the run; harmless is: the same adapter to the bit."""
    rng, counts = random.Random(7), {"told": 0, "harmless": 0, "told in lines": 0}
    for number in range(flips):
        run, cache = copied(left, tmp_path / str(number), monkeypatch)
        files = [file for place in (run.path, cache) for file in sorted(place.rglob("*"))
                 if file.is_file() and file.stat().st_size]  # fmt: skip
        what = flip(rng.choice(files), rng)
        try:
            list(train(reopen(run)))
        except MioError as error:
            counts["told" if "\n" not in str(error) else "told in lines"] += 1
        else:
            # computed again in another batch, a reference's value may be rounded otherwise
            noted = any(event.get("code") == "cache" for event in read_events(run.events))
            assert noted or adapter_of(run) == left[2], what
            counts["told" if noted else "harmless"] += 1
        shutil.rmtree(tmp_path / str(number))
    print(counts)
    assert counts["told"]
    assert counts["harmless"]
    assert not counts["told in lines"]


@pytest.mark.parametrize("name", ["state.safetensors", "trainer.json", "adapter/adapter_config.json", "digests.json"])
def test_a_damaged_checkpoint_names_the_one_before_it_which_is_gone_on_from(
    left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run, _ = copied(left, tmp_path, monkeypatch)
    last = run.saved()[-1]
    flip(last / name, random.Random(1))
    with pytest.raises(RunError, match=rf"{last.name}: damaged checkpoint: .*{name}.*--from step-000002"):
        reopen(run)
    assert last.exists()
    list(train(reopen(run, start="step-000002")))
    assert adapter_of(run) == left[2]
    assert [folder.name.partition("-0")[0] for folder in run.checkpoints.glob("damaged-*")] == ["damaged-step"]


def test_changed_events_are_gone_on_from_by_force_alone(
    left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = copied(left, tmp_path, monkeypatch)
    events = run.events.read_text(encoding="utf-8")
    run.events.write_text(events.replace('"step": 1,', '"step": 7,', 1), encoding="utf-8")
    with pytest.raises(RunError, match=r"events.jsonl: not what was written up to step 4; .*--force"):
        reopen(run)
    list(train(reopen(run, forced=True)))
    assert adapter_of(run) == left[2]


def test_a_recipe_that_was_edited_is_not_trained_on(
    left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = copied(left, tmp_path, monkeypatch)
    run.recipe.write_text(run.recipe.read_text().replace("learning_rate = 0.01", "learning_rate = 0.02"))
    with pytest.raises(RunError, match=r"recipe.toml: not what the run was made with; .* mio-local train"):
        reopen(run)


def test_a_reference_that_was_damaged_is_computed_again_and_told(
    left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, cache = copied(left, tmp_path, monkeypatch)
    (store,) = (cache / "reference").iterdir()
    content = bytearray(store.read_bytes())
    content[19] ^= 0x40  # an exponent's bit: -33 in place of -0.3
    store.write_bytes(content)
    list(train(reopen(run)))
    assert adapter_of(run) == left[2]
    assert [event["code"] for event in read_events(run.events) if event.get("code") == "cache"] == ["cache"]


def test_check_reads_all_of_a_run(
    left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = copied(left, tmp_path, monkeypatch)
    assert cli.run(["check", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert all(f"✓ {part}" in said for part in ("settings", "step-000002", "step-000004", "base model", "pairs"))
    flip(run.saved()[0] / "state.safetensors", random.Random(2))
    with pytest.raises(RunError, match=r"1 of \d parts are not what was written: step-000002"):
        cli.run(["check", str(run.path)])
    assert "✗ step-000002: " in capsys.readouterr().out


def test_a_run_without_digests_goes_on(left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an earlier version wrote it."""
    run, _ = copied(left, tmp_path, monkeypatch)
    for file in run.path.rglob("digests.json"):
        file.unlink()
    for folder in run.saved():
        progress = json.loads((folder / "trainer.json").read_text())
        del progress["events_digest"]
        (folder / "trainer.json").write_text(json.dumps(progress))
    info = json.loads(run.info.read_text())
    run.info.write_text(json.dumps({key: info[key] for key in info if key not in ("digest", "recipe_digest")}))
    list(train(reopen(run)))
    assert adapter_of(run) == left[2]


def test_opening_costs_little(left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mio_local.training import checkpoint

    run, _ = copied(left, tmp_path, monkeypatch)
    began = time.process_time()
    checkpoint.choose(run)
    assert time.process_time() - began < 0.2
