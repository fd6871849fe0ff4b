"""A run that is killed, or stopped, and resumed writes what it would have written: to the bit, on both backends."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mio_local.backends import installed
from mio_local.data.template import Chat
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import RunError
from mio_local.recipe import ModelSettings, build
from mio_local.runs.control import request
from mio_local.runs.directory import Run
from mio_local.training.loop import train
from mio_local.training.prepare import start
from mio_local.training.reopen import reopen
from tests.helpers.backends import need_library
from tests.helpers.fakes import read_events
from tests.helpers.some import fast

CLOCKS = ("time", "perf/")


def recipe_tables(model: Path, pairs: Path, backend: str) -> dict[str, Any]:
    """Dropout and accumulation on, so that random state and order matter; a checkpoint every third step."""
    return {
        "model": {"name": str(model)},
        "data": {"source": str(pairs), "eval_fraction": 0.2},
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
        "train": {"steps": 14, "batch_size": 2, "accumulate": 2, "learning_rate": 1e-3, "save_every": 3},
        "eval": {"every": 4, "sample_tokens": 8},
        "backend": {"name": backend, "device": "cpu"},
    }


def repeatable(run: Run) -> list[dict[str, Any]]:
    """The run's events without what depends on the clock."""
    return [
        {key: value for key, value in event.items() if not key.startswith(CLOCKS)} for event in read_events(run.events)
    ]


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(params=fast(installed(), ["cuda"]))
def backend(request: pytest.FixtureRequest) -> str:
    """Each registered backend."""
    need_library(request.param)
    return str(request.param)


def run_through(folder: Path, name: str, tables: dict[str, Any]) -> Run:
    """A run that nothing disturbs."""
    job = start(build(tables, "test"), folder, name)
    list(train(job))
    return job.run


@pytest.mark.slow
@pytest.mark.parametrize("seen", [9, *(pytest.param(after, marks=pytest.mark.slow) for after in (1, 16, 22))])
def test_a_run_that_dies_after_any_event_goes_on_to_the_bit(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str, seen: int
) -> None:
    """Dying is leaving the loop for good after `seen` events: nothing is flushed, saved or told."""
    tables = recipe_tables(tiny_model, tiny_pairs, backend)
    straight = run_through(tmp_path, "straight", tables)
    job = start(build(tables, "test"), tmp_path, "broken")
    events = train(job)
    for _ in range(seen):
        next(events)
    events.close()
    assert len(repeatable(job.run)) < len(repeatable(straight))
    job = reopen(job.run)
    list(train(job))
    assert repeatable(job.run) == repeatable(straight)
    assert files(job.run.adapter) == files(straight.adapter)


@pytest.mark.slow
def test_a_torn_last_event_is_cut_off(tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str) -> None:
    """A kill in the middle of a write leaves half a line; resuming writes that event again, whole."""
    tables = recipe_tables(tiny_model, tiny_pairs, backend)
    straight = run_through(tmp_path, "straight", tables)
    job = start(build(tables, "test"), tmp_path, "torn")
    events = train(job)
    for _ in range(12):
        next(events)
    events.close()
    with job.run.events.open("ab") as file:
        file.write(b'{"type": "step", "step": 99, "lo')
    list(train(reopen(job.run)))
    assert repeatable(job.run) == repeatable(straight)


@pytest.mark.slow
def test_a_stop_finishes_the_step_saves_and_can_be_resumed(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str
) -> None:
    """A stop request is acknowledged, checkpoint and adapter are there, and resuming ends as if unstopped."""
    tables = recipe_tables(tiny_model, tiny_pairs, backend)
    straight = run_through(tmp_path, "straight", tables)
    job = start(build(tables, "test"), tmp_path, "stopped")
    asked = ""
    kinds: list[str] = []
    for event in train(job):
        kinds.append(event.type)
        if event.type == "step" and event.step == 5 and not asked:
            asked = request(job.run.control, "stop")
    assert kinds[-3:] == ["control", "checkpoint", "finished"]
    assert job.run.read_status()["state"] == "stopped"
    assert job.progress.step == 5
    assert (job.run.adapter / "adapter_config.json").exists()
    list(train(reopen(job.run)))
    steps = [event for event in repeatable(job.run) if event["type"] in ("step", "eval")]
    assert steps == [event for event in repeatable(straight) if event["type"] in ("step", "eval")]
    assert files(job.run.adapter) == files(straight.adapter)
    with pytest.raises(RunError, match="is done"):
        reopen(job.run)


def test_changed_data_is_refused(tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str) -> None:
    """Exactness needs the tokens the run began with."""
    pairs = tmp_path / "pairs.jsonl"
    shutil.copy(tiny_pairs, pairs)
    events = train(job := start(build(recipe_tables(tiny_model, pairs, backend), "test"), tmp_path, "moved"))
    next(events)
    events.close()
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    rows[3]["chosen"] += " Indeed."
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunError, match="changed since it began"):
        reopen(job.run)


def test_another_base_of_the_same_sizes_is_refused(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str
) -> None:
    """A fine-tune has files of the same sizes; a copy of the same content is the same base."""
    base = shutil.copytree(tiny_model, tmp_path / "base")
    events = train(job := start(build(recipe_tables(base, tiny_pairs, backend), "test"), tmp_path, "moved"))
    next(events)
    events.close()
    file = next(base.glob("*.safetensors"))
    whole = file.read_bytes()
    file.write_bytes(whole)
    reopen(job.run)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(RunError, match=r"run moved: the weights in .*base are not those it was trained on; restore"):
        reopen(job.run)


def test_a_run_that_began_in_another_order_is_refused(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str
) -> None:
    """Its pairs would be seen twice, or never."""
    events = train(job := start(build(recipe_tables(tiny_model, tiny_pairs, backend), "test"), tmp_path, "old"))
    next(events)
    events.close()
    info = job.run.read_info()
    del info["order"]
    job.run.write_info(info)
    with pytest.raises(RunError, match=r"run old: a version that took pairs in another order began it.*recipe\.toml"):
        reopen(job.run)


def test_a_template_that_prints_the_date_prints_the_day_the_run_began(tiny_model: Path) -> None:
    """Llama 3.2's template calls strftime_now; a run resumed the next day must see the same tokens."""
    tokenizer = load_tokenizer(ModelSettings(name=str(tiny_model)))
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}\n" + tokenizer.chat_template
    assert tokenizer.decode(Chat(tokenizer, now=0).generation_prompt("hi")).startswith("01 Jan 1970\n")


class Killed:
    """`mio-local train`, killed and resumed as a user's machine would do it."""

    def __init__(self, folder: Path, tables: dict[str, Any], rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.run = Run(folder / "killed")
        self.recipe, self.log = folder / "recipe.toml", folder / "log"
        self.recipe.write_text(build(tables, "test").dump())

    def launch(self) -> subprocess.Popen[bytes]:
        """Train, or resume what is there."""
        command = ["resume", "killed"] if self.run.exists() else ["train", str(self.recipe), "--name", "killed"]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "mio_local.cli", *command, "--runs", str(self.folder)], stdout=log, stderr=log
            )

    def kill_at_a_random_moment(self) -> bool:
        """Kill -9 some time after the process first did something new; False when it had finished before."""
        before = self.run.events.stat().st_ino, self._size()
        process = self.launch()
        started = self.rng.random() < 0.8  # one in five dies while it still loads
        deadline = time.monotonic() + (60 if started else self.rng.uniform(1, 6))
        while process.poll() is None and time.monotonic() < deadline:
            if started and (self.run.events.stat().st_ino, self._size()) != before:
                break
            time.sleep(0.002)
        time.sleep(self.rng.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        return process.returncode == -signal.SIGKILL

    def _size(self) -> int:
        return self.run.events.stat().st_size


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Children inherit it: on two busy cores, threads that wait for each other take most of the time."""
    before = {key: os.environ.get(key) for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    os.environ.update(dict.fromkeys(before, "1"))
    yield
    for key, value in before.items():
        os.environ.pop(key) if value is None else os.environ.update({key: value})


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_ten_kills_at_random_moments_change_nothing(
    tmp_path: Path, tiny_model: Path, tiny_pairs: Path, backend: str
) -> None:
    """kill -9 ten times, each followed by `mio-local resume`; then events and adapter equal an undisturbed run's."""
    tables = recipe_tables(tiny_model, tiny_pairs, backend)
    tables["train"] |= {"steps": 300}
    tables["eval"] |= {"every": 20}
    killed = Killed(tmp_path, tables, random.Random(7))
    process = killed.launch()
    while process.poll() is None and not killed.run.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kills = sum(killed.kill_at_a_random_moment() for _ in range(9)) + 1
    process = killed.launch()
    assert process.wait() == 0, killed.log.read_text()
    assert kills == 10
    assert killed.run.read_status()["state"] == "done"
    shutil.move(killed.run.path, tmp_path / "kept")
    kept = Run(tmp_path / "kept")
    process = killed.launch()
    assert process.wait() == 0, killed.log.read_text()
    assert repeatable(kept) == repeatable(killed.run)
    assert files(kept.adapter) == files(killed.run.adapter)
    assert len(kept.read_info()["sessions"]) >= 4
