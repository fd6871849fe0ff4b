"""Runs that nobody trained: directories with events of known shape, some of them with their lock held, as if alive."""

import contextlib
import fcntl
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mio_local.recipe import Recipe, build
from mio_local.runs.directory import LIVE, Run, create

NOW = 1_795_000_000.0  # the clock of every fake


def recipe(loss: str = "mio", beta: float = 0.1, model: str = "Qwen/Qwen3-0.6B", **train: Any) -> Recipe:
    """A recipe of that objective."""
    tables = {
        "model": {"name": model}, "data": {"source": "hh-rlhf.jsonl"}, "loss": {"name": loss, "beta": beta},
        "train": {"steps": 1000, "learning_rate": 1e-5} | train, "backend": {"name": "mlx", "device": "cpu"},
    }  # fmt: skip
    return build(tables, "test")


def figures(step: int, loss: str) -> dict[str, Any]:
    """What a step or an evaluation reports: MIO's chosen answers rise to a plateau, DPO's rise and sink."""
    rise = 2.0 * (1 - math.exp(-step / 150))
    chosen = rise if loss == "mio" else rise - step / 120
    rejected = -step / 110 if loss == "mio" else -step / 55
    wave = 0.3 * math.sin(step / 3)
    margin = 0.1 * (chosen - rejected)
    return {
        "loss": (math.log(4) if loss == "mio" else math.log(2)) * math.exp(-step / 1200) + 0.02 * wave,
        "logps/chosen": -120 + chosen, "logps/rejected": -140 + rejected,
        "logps/chosen_per_token": -1.2 + chosen / 100, "logps/rejected_per_token": -1.4 + rejected / 100,
        "delta/chosen": chosen + wave, "delta/rejected": rejected + wave,
        "delta/chosen_per_token": (chosen + wave) / 100, "delta/rejected_per_token": (rejected + wave) / 100,
        "rewards/chosen": 0.1 * chosen, "rewards/rejected": 0.1 * rejected, "rewards/margins": margin,
        "rewards/accuracies": min(0.5 + step / 2500, 0.9), "mi/dv": margin / 4, "mi/js": margin / 5,
    }  # fmt: skip


def step_event(step: int, loss: str = "mio", **more: Any) -> dict[str, Any]:
    """One optimiser step of 0.5 seconds, 8 GB at most."""
    return {
        "type": "step", "step": step, "time": NOW - 3600 + step / 2, **figures(step, loss), "grad_norm": 0.83,
        "learning_rate": 9.1e-6, "epoch": step / 250, "num_tokens": 6000 * step, "perf/seconds": 0.5,
        "perf/tokens_per_second": 11_900.0, "perf/pairs_per_second": 8.0, "perf/memory_active": 7.6e9,
        "perf/memory_peak": 8.1e9, **more,
    }  # fmt: skip


def events(steps: int, loss: str = "mio", total: int = 1000, every: int = 50) -> Iterator[dict[str, Any]]:
    """The stream of a run that got as far as `steps`."""
    facts = {
        "backend": "mlx", "device": "CPU", "objective": loss, "beta": 0.1, "reduction": "sum", "layout": "preference",
        "pairs": 2000, "held_out": 100, "truncated": 24, "skipped": 0, "trainable": 4_587_520, "total_steps": total,
        "inverse_tokens": 0.011,
    }  # fmt: skip
    yield {"type": "started", "step": 0, "time": NOW - 3600, **facts}
    text = "24 of 2000 pairs (1%) have an answer cut at 1024 tokens; raise --max-tokens to keep their ends"
    yield {"type": "note", "step": 0, "time": NOW - 3600, "level": "info", "code": "truncated", "text": text}
    for step in range(0, steps + 1):
        if step:
            yield step_event(step, loss)
        if step % every == 0:
            when = NOW - 3600 + step / 2
            yield {"type": "eval", "step": step, "time": when, **figures(step, loss), "pairs": 100,
                   "delta/chosen_stderr": 0.05}  # fmt: skip
            answer = "Six hours of light, and water when the soil is dry." if step else "Basil is an herb."
            yield {
                "type": "sample", "step": step, "time": when, "prompt": "How do I keep basil alive indoors?",
                "base": "Basil is an herb.", "policy": answer,
            }  # fmt: skip
        if step and step % 100 == 0:
            path = f"checkpoints/step-{step:06d}"
            yield {"type": "checkpoint", "step": step, "time": NOW - 3600 + step / 2, "path": path}


def make_run(
    folder: Path, name: str, state: str = "done", steps: int = 1000, loss: str = "mio", total: int = 1000,
    model: str = "Qwen/Qwen3-0.6B", reason: str = "", stream: list[dict[str, Any]] | None = None, **status: Any,
) -> Run:  # fmt: skip
    """A run directory in that state. For a live state, enter `alive(run)` to hold its lock, else it reads as lost."""
    run = Run(folder / name)
    create(run, recipe(loss, model=model).dump(), {"name": name, "created": NOW - 3600, "facts": {}, "sessions": []})
    lines = list(events(steps, loss, total)) if stream is None else stream
    run.events.write_text("".join(json.dumps(event) + "\n" for event in lines), encoding="utf-8")
    shown = {key: figures(steps, loss)[key] for key in ("loss", "delta/chosen", "delta/rejected", "rewards/accuracies")}
    run.write_status(
        **{
            "state": state, "step": steps, "total_steps": total, "loss_name": loss, "model": Path(model).name,
            "data": "hh-rlhf.jsonl", "metrics": shown if steps else {}, "held_out": shown if steps else {},
            "reason": reason, "pid": 4711, **status,
        }
    )  # fmt: skip
    written = json.loads(run.status.read_text(encoding="utf-8")) | {"time": NOW - 60}
    run.status.write_text(json.dumps(written), encoding="utf-8")
    assert state not in LIVE or not run.is_locked()
    return run


@contextlib.contextmanager
def alive(run: Run) -> Iterator[Run]:
    """Hold the run's lock, as its trainer would; through a file of its own, so that it counts as another's here."""
    with run.lock.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield run


def append(run: Run, *records: dict[str, Any]) -> None:
    """Write more events, as the trainer would."""
    with run.events.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def set_status(run: Run, **values: Any) -> None:
    """Change some of status.json."""
    written = json.loads(run.status.read_text(encoding="utf-8")) | values
    beside = run.status.with_suffix(".new")
    beside.write_text(json.dumps(written), encoding="utf-8")
    beside.replace(run.status)


def requests(run: Run) -> list[str]:
    """The commands in control.jsonl."""
    return [json.loads(line)["command"] for line in run.control.read_text(encoding="utf-8").splitlines()]


def read_events(path: Path) -> list[dict[str, Any]]:
    """Every event of a file that is whole."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def stand_in_app(monkeypatch, code=0):
    """In the app's place, and in a terminal, what ends at once with this exit code; the options that it is opened
    with."""
    found = {}

    class App:
        return_code = code

        def __init__(self, folder, **options):
            found.update(options)

        def run(self):
            return ""

    monkeypatch.setattr("mio_tui.app.MioApp", App)
    monkeypatch.setenv("TERM", "xterm")
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    return found
