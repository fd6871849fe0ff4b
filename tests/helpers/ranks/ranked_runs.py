"""Runs on several ranks, by the command, and what they must have in common with one process's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.backends import installed
from mio_local.recipe import build
from mio_local.runs.directory import Run
from tests.helpers.fakes import read_events
from tests.helpers.ranks.rank_processes import check_gone, session_of

LOSS = {"rtol": 0, "atol": 1e-6}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}  # sums of hundreds of nats in float32, and their differences
OF_TIES = ("rewards/accuracies", "length/")  # shares of pairs above 0, where policy and reference are equal to rounding


def quickest() -> list[str]:
    """The backend that begins soonest, for what does not depend on the library: a rank imports it, and so does the
    next."""
    return [name for name in ("mlx", "cuda") if name in installed()][:1]


def tables(model: Path, pairs: Path, backend: str, **train: Any) -> dict[str, Any]:
    """Mixed lengths, accumulation, dropout, evaluation and samples; the reference's log-probs are not kept, as another
    run would find them."""
    return {
        "model": {"name": str(model)},
        "data": {"source": str(pairs), "eval_fraction": 0.2},
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
        "train": {"steps": 20, "batch_size": 3, "accumulate": 2, "learning_rate": 1e-3, "save_every": 3} | train,
        "eval": {"every": 4, "sample_tokens": 8},
        "speed": {"reference_cache": False},
        "backend": {"name": backend, "device": "cpu"},
    }


def mixed_pairs(file: Path) -> Path:
    """24 pairs of lengths from a few to a hundred tokens."""
    rows = [
        {
            "prompt": f"What is {n}" + " and more" * (n % 7) + "?", "chosen": "x" * (1 + n * n % 23),
            "rejected": f"no {n}" * (1 + n % 5),
        }
        for n in range(24)
    ]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def command(*words: object) -> list[str]:
    """The command line of `mio-local` in a process of its own."""
    return [sys.executable, "-P", "-m", "mio_local", *map(str, words)]


def begun(
    folder: Path, name: str, recipe: dict[str, Any], *words: object, launcher: tuple[str, ...] = ()
) -> "subprocess.Popen[str]":  # fmt: skip
    """The process that trains a run by this recipe."""
    file = folder / f"{name}.toml"
    file.write_text(build(recipe, "test").dump(), encoding="utf-8")
    line = command("train", file, "--runs", folder / "runs", "--name", name, *words)
    return opened([*launcher, *(line[2:] if launcher else line)], folder)


def opened(line: list[str], folder: Path) -> "subprocess.Popen[str]":
    """A process in a session of its own, as in a terminal of its own; what it keeps for later runs is in the folder."""
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"MIO_LOCAL_CACHE": str(folder / "cache")},
    )  # fmt: skip


def trained(folder: Path, name: str, recipe: dict[str, Any], *words: object, launcher: tuple[str, ...] = ()) -> Run:
    """The run, once that process is through, and no other of it is left."""
    process = begun(folder, name, recipe, *words, launcher=launcher)
    said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    check_gone(session_of(process))
    return Run(folder / "runs" / name)


def resumed(run: Run, *words: object) -> None:
    """Go on with a run to its end."""
    line = command("resume", run.name, "--runs", run.path.parent, *words)
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done


def check_same_curve(run: Run, other: Run, near: dict[str, float] = LOSS) -> None:
    """The same events, and figures that are equal to rounding; losses by `near`."""
    found = [read_events(each.events) for each in (run, other)]
    events, others = ([event for event in each if event["type"] != "control"] for each in found)
    assert [event["type"] for event in events] == [event["type"] for event in others]
    for event, same in zip(events, others, strict=True):
        for key, value in event.items():
            if isinstance(value, float) and not key.startswith(("time", "perf/", *OF_TIES)):
                by = near if key == "loss" else CLOSE
                np.testing.assert_allclose(same[key], value, **by, err_msg=f"{event['step']} {key}")
            elif key in ("text", "answer", "num_tokens", "pairs"):
                assert same[key] == value
