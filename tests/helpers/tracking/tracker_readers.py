"""What a tracker has of a run, read back by its own library; and what it must have, from events.jsonl."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mio_local.runs.directory import Run
from tests.helpers.fakes import read_events

Point = tuple[str, int, float]  # name, step, value
PREFIXES = {"step": "train/", "eval": "eval/", "task": "task/"}


def points(run: Run) -> list[Point]:
    """Every figure of the run's steps, evaluations and tasks, sorted."""
    return sorted(
        (PREFIXES[event["type"]] + key, event["step"], value)
        for event in read_events(run.events) if event["type"] in PREFIXES
        for key, value in event.items() if key not in ("type", "step", "time") and value is not None
    )  # fmt: skip


def times(run: Run) -> dict[int, float]:
    """When each step was taken."""
    return {event["step"]: event["time"] for event in read_events(run.events) if event["type"] == "step"}


def in_single(found: list[Point]) -> list[Point]:
    return [(name, step, float(np.float32(value))) for name, step, value in found]


def of_tensorboard(run: Run) -> tuple[list[Point], dict[int, float]]:
    """Scalars by the accumulator that TensorBoard itself reads with; it has them in single precision."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    scalars = {name: read.Scalars(name) for name in read.Tags()["scalars"]}
    found = [(name, one.step, one.value) for name, points in scalars.items() for one in points]
    return sorted(found), {one.step: one.wall_time for one in scalars["train/loss"]}


def of_trackio(run: Run) -> tuple[list[Point], dict[int, float]]:
    """Logs of its database, in a process of its own: importing it warns."""
    code = (
        "import json, sys; from trackio.sqlite_storage import SQLiteStorage as S\n"
        "print(json.dumps(S.get_logs('mio-local', sys.argv[1])))"
    )
    logs = _asked(code, run.name)
    found = [(name, log["step"], value) for log in logs for name, value in log.items()
             if name not in ("step", "timestamp")]  # fmt: skip
    return sorted(found), {}


def of_mlflow(run: Run) -> tuple[list[Point], dict[int, float]]:
    """Histories by its client."""
    code = (
        "import json, sys, mlflow; mlflow.set_tracking_uri(sys.argv[1]); client = mlflow.MlflowClient()\n"
        "ids = [e.experiment_id for e in client.search_experiments()]\n"
        "(run,) = [r for r in client.search_runs(ids) if r.info.run_name == sys.argv[2]]\n"
        "print(json.dumps([(m.key, m.step, m.value, m.timestamp / 1000) for key in run.data.metrics\n"
        "                  for m in client.get_metric_history(run.info.run_id, key)]))"
    )
    told = _asked(code, f"sqlite:///{run.path.parent / 'mlflow.db'}", run.name)
    return sorted((name, step, value) for name, step, value, _ in told), {
        step: time for name, step, _, time in told if name == "train/loss"
    }


def of_wandb(run: Run) -> tuple[list[Point], dict[int, float]]:
    """Histories in the files that `wandb sync` sends: records in the framing of LevelDB's log, blocks of 32 KiB."""
    code = (
        "import json, sys; from wandb.proto.wandb_internal_pb2 import Record\n"
        "from tests.helpers.tracking.tracker_readers import records\n"
        "for file in sys.argv[1:]:\n"
        "    for data in records(open(file, 'rb').read()):\n"
        "        record = Record(); record.ParseFromString(data)\n"
        "        if record.WhichOneof('record_type') == 'history':\n"
        "            items = {i.key or '/'.join(i.nested_key): json.loads(i.value_json) for i in record.history.item}\n"
        "            out = [*globals().get('out', []), [record.history.step.num, items]]\n"
        "print(json.dumps(out))"
    )
    files = sorted((run.path / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda file: file.stat().st_mtime)
    found, when = list[Point](), dict[int, float]()
    for step, items in _asked(code, *map(str, files)):
        if not any(name.startswith("eval/") for name in items):  # a row has one time, that of its last event
            when[step] = items["_timestamp"]
        found += [(name, step, value) for name, value in items.items() if not name.startswith("_")]
    return sorted(found), when


def records(content: bytes) -> Iterator[bytes]:
    """The payloads of a .wandb file: a header of 7 bytes, then records, each with a checksum of 4, a length of 2 and a
    kind of 1 byte: whole, first, middle or last."""
    block, place, part = 32768, 7, b""
    while place < len(content):
        if block - place % block < 7:
            place += block - place % block
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        part = content[place + 7 : place + 7 + size] if kind in (1, 2) else part + content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            yield part


def _asked(code: str, *arguments: str) -> Any:
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *arguments], capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    return json.loads(ended.stdout.splitlines()[-1])


READERS: dict[str, Callable[[Run], tuple[list[Point], dict[int, float]]]] = {
    "trackio": of_trackio, "wandb": of_wandb, "mlflow": of_mlflow, "tensorboard": of_tensorboard
}  # fmt: skip
