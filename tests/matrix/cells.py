"""One architecture on one backend, as a user goes through it: train, resume, and every export. A cell is `ok`, or the
one line that the user is told."""

import contextlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mio_local.cli import run
from mio_local.errors import MioError
from tests.helpers.json_edits import edit_json

EXPORTS = ("peft", "mlx", "merged", "gguf")
COLUMNS = ("train", "losses", "resume", *EXPORTS)
STEPS = 4
PAIRS = [
    {"prompt": f"{a} + {b} =", "chosen": f" {a + b}, as {a} and {b} make {a + b}.", "rejected": f" {a * b}."}
    for a in range(2, 6) for b in range(3, 5)
]  # fmt: skip


@dataclass
class Row:
    """What came out: `said` by column, the losses of the steps, and what the start told of the exports, by format."""

    said: dict[str, str] = field(default_factory=dict[str, str])
    losses: list[float] = field(default_factory=list[float])
    told: dict[str, str] = field(default_factory=dict[str, str])

    def faults(self) -> list[str]:
        """Cells that are neither right nor told before training. A traceback is never right."""
        known = {"train", *self.told}
        return [f"{column}: {text}" for column, text in self.said.items()
                if text != "ok" and (text.startswith("traceback") or column not in known)]  # fmt: skip


def walk(model: Path, backend: str, folder: Path, *more: str) -> Row:
    """Go through it in `folder`."""
    folder.mkdir(parents=True)
    data = folder / "pairs.jsonl"
    data.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS), encoding="utf-8")
    row, runs = Row(), folder / "runs"
    row.said["train"] = _typed([
        "train", "--model", model, "--data", data, "--backend", backend, "--device", "cpu", "--runs", runs, "--name",
        "m", "--steps", STEPS, "--batch-size", 2, "--rank", 4, "--learning-rate", "1e-2", "--save-every", 2, "--set",
        "train.keep=9", "--set", "eval.sample_tokens=0", *more,
    ])  # fmt: skip
    if row.said["train"] != "ok":
        return row
    row.losses = [event["loss"] for event in _events(runs / "m") if event["type"] == "step"]
    notes = [event["text"] for event in _events(runs / "m") if event.get("code") == "adapter"]
    row.told = {to: note for to in EXPORTS for note in notes if f"--to {to}" in note}
    row.said["resume"] = _resumed(runs)
    for to in EXPORTS:
        row.said[to] = _typed(["export", "--runs", runs, "m", "--to", to])
    return row


def _resumed(runs: Path) -> str:
    """The same run once more from its half: it must end in the same adapter, to the bit."""
    shutil.copytree(runs / "m", runs / "again", symlinks=True)
    shutil.rmtree(runs / "again" / "adapter")
    shutil.rmtree(runs / "again" / "checkpoints" / f"step-{STEPS:06}")
    edit_json(runs / "again" / "status.json", state="stopped")
    said = _typed(["resume", "--runs", runs, "again", "--from", f"step-{STEPS // 2:06}"])
    if said != "ok":
        return said
    one, two = (next((runs / name / "adapter").glob("*.safetensors")).read_bytes() for name in ("m", "again"))
    return "ok" if one == two else "another adapter than without the stop"


def _events(run_folder: Path) -> Iterator[dict]:
    return map(json.loads, (run_folder / "events.jsonl").read_text(encoding="utf-8").splitlines())


def _typed(words: Sequence[object]) -> str:
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            run([str(word) for word in words])
        return "ok"
    except MioError as error:
        return f"{error}"
    except Exception as error:
        return f"traceback {type(error).__name__}: {error}"
