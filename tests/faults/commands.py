"""The commands that faults are tried on: what each is asked, what it is there to make, and how to go on with it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Made = dict[str, str]  # digests of what a command made, by name


@dataclass(frozen=True)
class Command:
    """One command. `{base}` is where model and pairs are, `{backend}` that of the fork server."""

    name: str
    argv: str
    made: Callable[[Path], Made]  # of the case's folder: what is there under its final name
    run: str = ""  # the run whose folder it works in
    few: bool = False  # one that takes long: a fault of each kind
    writes: bool = True
    cold: bool = False  # without the cache
    trains: bool = False
    on_each_backend: bool = True  # else on one: it needs none, or others do the same with it
    again: str = ""  # instead of itself, where it got so far as to make its run

    def words(self, text: str, base: Path, backend: str) -> list[str]:
        return text.format(base=base, backend=backend).split()


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def files_of(pattern: str) -> Callable[[Path], Made]:
    """All files that a pattern finds, and those below the folders that it finds."""

    def made(place: Path) -> Made:
        found = [each for one in place.glob(pattern) for each in ([one] if one.is_file() else sorted(one.rglob("*")))]
        return {str(file.relative_to(place)): digest(file) for file in found if file.is_file()}

    return made


def whole(pattern: str, end: bytes) -> Callable[[Path], Made]:
    """Files of which only the last bytes are known beforehand."""

    def made(place: Path) -> Made:
        return {str(file.relative_to(place)): str(file.read_bytes().rstrip().endswith(end))
                for file in place.glob(pattern)}  # fmt: skip

    return made


def measured(place: Path) -> Made:
    """Whether there is a benchmark among the events of the whole run."""
    file = place / "runs/whole/events.jsonl"
    lines = file.read_bytes().splitlines() if file.exists() else []
    return {"benchmark": "whole"} if any(json.loads(line)["type"] == "benchmark" for line in lines) else {}


def nothing(_: Path) -> Made:
    return {}


SETTINGS = (
    "--model {base}/model --data {base}/pairs.jsonl --steps 6 --batch-size 4 --rank 2 --alpha 4 --save-every 2 "
    "--learning-rate 0.01 --set eval.every=2 --set eval.sample_tokens=0 --backend {backend} --device cpu"
)
WEIGHTS = "adapter/*.safetensors"
COMMANDS = {
    one.name: one
    for one in (
        Command("train", f"train --name new {SETTINGS}", files_of(f"runs/new/{WEIGHTS}"), "new", cold=True,
                trains=True, again="resume new"),
        Command("resume", "resume left", files_of(f"runs/left/{WEIGHTS}"), "left", trains=True),
        Command("export-peft", "export whole --to peft", files_of("runs/whole/exports/[!.]*"), "whole"),
        Command("export-mlx", "export whole --to mlx", files_of("runs/whole/exports/[!.]*"), "whole"),
        Command("export-merged", "export whole --to merged", files_of("runs/whole/exports/[!.]*"), "whole"),
        Command("export-gguf", "export whole --to gguf", files_of("runs/whole/exports/[!.]*"), "whole"),
        Command("eval", "eval whole --samples 2 --answer-tokens 4 --device cpu",
                measured, "whole"),
        Command("demo", "demo --steps 2 --backend {backend} --device cpu",
                files_of(f"runs/demo-*/{WEIGHTS}"), "demo-mio", few=True, cold=True,
                on_each_backend=False),
        Command("data-check", "data check {base}/pairs.jsonl --model {base}/model", nothing, cold=True),
        Command("download", "data check {base}/pairs.jsonl --model org/tiny", files_of("hub/hub/models*/snapshots/*"),
                cold=True),
        Command("report", "report whole", whole("runs/whole/report.html", b"</html>"), "whole", on_each_backend=False),
        Command("plot", "plot whole", whole("runs/whole/curves.png", b"IEND\xaeB`\x82"), "whole",
                on_each_backend=False),
        Command("chat", "chat whole --max-tokens 4 --device cpu", nothing, writes=False),
        Command("generate", "generate whole --prompt Hi --max-tokens 4 --device cpu", nothing, writes=False),
        Command("check", "check whole", nothing, writes=False, on_each_backend=False),
        Command("show", "show whole", nothing, writes=False, on_each_backend=False),
        Command("runs", "runs", nothing, writes=False, on_each_backend=False),
    )
}  # fmt: skip
