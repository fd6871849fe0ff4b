"""Damaged inputs of every kind end in one line, or work: no traceback, no other exit code, not for long, not in memory.

    MIO_LOCAL_FUZZ=20000 pytest tests/faults/test_fuzz.py -m slow -n 2 -s
"""

import bz2
import gzip
import json
import lzma
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from mio_local.backends import installed
from tests.faults.mutate import mutated
from tests.helpers.backends import need_library
from tests.helpers.tiny_model import CHATML

ROOT = Path(__file__).resolve().parents[2]
MOST_MEMORY = 2 << 30  # bytes
BLOCK = 100  # cases of a test
TOTAL = int(os.environ.get("MIO_LOCAL_FUZZ", "2000"))
SHARES = {"data": 0.4, "recipe": 0.1, "model": 0.15, "adapter": 0.1, "template": 0.05, "run": 0.2}
BLOCKS = [(kind, block) for kind, share in SHARES.items() for block in range(max(1, round(TOTAL * share / BLOCK)))]


@dataclass
class Corpus:
    """What is damaged, and the process that meets it."""

    folder: Path
    backend: str
    worker: subprocess.Popen[str] | None = None

    def run(self, words: list[Any]) -> dict[str, Any]:
        """The worker's answer; where it dies, that is the answer."""
        if self.worker is None:
            environ = os.environ | {
                "MIO_LOCAL_RUNS": str(self.folder / "case/runs"), "MIO_LOCAL_CACHE": str(self.folder / "cache"),
                "MIO_LOCAL_PRELOAD": "0", "HF_HUB_OFFLINE": "1", "TMPDIR": str(self.folder),
            }  # fmt: skip
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.fuzz_worker", self.backend], text=True, cwd=ROOT, env=environ,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        assert self.worker.stdin
        assert self.worker.stdout
        self.worker.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        self.worker.stdin.flush()
        while line := self.worker.stdout.readline():
            if line.startswith('{"code"'):  # a library's thread may print to it
                return json.loads(line)
        code = self.worker.wait()
        self.close()
        return {"code": code, "said": "the process died", "seconds": 0, "peak": 0}


    def close(self) -> None:
        """End the process."""
        if self.worker:
            self.worker.kill()
            self.worker.communicate()
        self.worker = None


def write_formats(folder: Path, pairs: Path) -> None:
    rows = [json.loads(line) for line in pairs.read_text(encoding="utf-8").splitlines()]
    text = pairs.read_bytes()
    table = pyarrow.Table.from_pylist(rows)
    folder.mkdir()
    cells = [",".join(f'"{cell}"' for cell in row.values()) for row in rows]
    csv = "\n".join(["prompt,chosen,rejected", *cells]).encode()
    turns = [{key: [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[key]}]
              for key in ("chosen", "rejected")} for row in rows]  # fmt: skip
    for name, content in {
        "a.jsonl": text, "a.json": json.dumps(rows).encode(), "a.csv": csv, "a.tsv": csv.replace(b",", b"\t"),
        "a.jsonl.gz": gzip.compress(text), "a.jsonl.bz2": bz2.compress(text), "a.jsonl.xz": lzma.compress(text),
        "b.jsonl": "".join(json.dumps(row) + "\n" for row in turns).encode(),
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    pyarrow.parquet.write_table(table, folder / "a.parquet")
    pyarrow.feather.write_feather(table, str(folder / "a.arrow"), compression="uncompressed")


@pytest.fixture(scope="module", params=installed())
def corpus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_pairs: Path
) -> Iterator[Corpus]:
    need_library(request.param)
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(tiny_model, folder / "model")
    shutil.copy(tiny_pairs, folder / "pairs.jsonl")
    write_formats(folder / "formats", tiny_pairs)
    (folder / "chatml.jinja").write_text(CHATML)
    (folder / "recipe.toml").write_text(
        f'[model]\nname = "{folder}/model"\n[data]\nsource = "{folder}/pairs.jsonl"\neval_fraction = 0.1\n[lora]\n'
        'rank = 2\nalpha = 4.0\ntargets = ["q_proj"]\n[loss]\nname = "mio"\nbeta = 0.1\n[train]\nsteps = 1\n'
        f'batch_size = 2\nlearning_rate = 1e-3\n[eval]\nevery = 1\nsample_tokens = 0\npairs = 4\n[backend]\n'
        f'name = "{request.param}"\ndevice = "cpu"\n'
    )
    made = Corpus(folder, request.param)
    (folder / "case").mkdir()
    ended = made.run(["train", folder / "recipe.toml", "--name", "run"])
    assert ended["code"] == 0, ended["said"]
    shutil.copytree(folder / "case/runs/run", folder / "run")
    yield made
    made.close()


def damage(rng: random.Random, place: Path) -> str:
    """Damage a file, or one or two of a folder."""
    files = [place] if place.is_file() else [file for file in sorted(place.rglob("*")) if file.is_file()]
    hit = rng.sample([file for file in files if file.stat().st_size], rng.choice((1, 1, 2)) if len(files) > 1 else 1)
    for file in hit:
        file.write_bytes(mutated(rng, file.read_bytes()))
    return ", ".join(file.name for file in hit)


def words_of(kind: str, rng: random.Random, corpus: Corpus, case: Path) -> list[Any]:
    """Lay a damaged input out in `case`; the command that meets it."""
    at = corpus.folder
    recipe, model, pairs = at / "recipe.toml", at / "model", at / "pairs.jsonl"

    def copy(source: Path, name: str = "") -> Path:
        place = case / (name or source.name)
        shutil.copytree(source, place) if source.is_dir() else shutil.copy(source, place)
        damage(rng, place)
        return place

    match kind:
        case "data":
            file = copy(rng.choice(sorted((at / "formats").iterdir())))
            return ["data", "check", file, *rng.choice(([], ["--model", model]))]
        case "recipe":
            return ["train", copy(recipe), "--name", "r"]
        case "model":
            made = copy(model)
            first = rng.choice((["train", recipe, "--name", "r"], ["data", "check", pairs]))
            return [*first, "--model", made]
        case "adapter":
            made = copy(at / "run/adapter")
            to = rng.choice(("peft", "mlx", "merged"))
            return ["export", made, "--to", to, "--model", model, "--out", case / "out"]
        case "template":
            return ["data", "check", pairs, "--model", model, "--template", copy(at / "chatml.jinja")]
        case _:
            (case / "runs").mkdir()
            copy(at / "run", "runs/run")
            return rng.choice((["show", "run"], ["runs"], ["report", "run"], ["export", "run", "--to", "mlx"],
                               ["resume", "run"], ["check", "run"]))  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "block"), BLOCKS)
def test_damaged_inputs_end_in_one_line(corpus: Corpus, kind: str, block: int) -> None:
    check_block(corpus, kind, block * BLOCK, BLOCK)


@pytest.mark.parametrize("corpus", ["mlx"], indirect=True)  # the slow test has both
@pytest.mark.parametrize("kind", SHARES)
def test_some_damaged_inputs_end_in_one_line(corpus: Corpus, kind: str) -> None:
    check_block(corpus, kind, -8, 8)


def check_block(corpus: Corpus, kind: str, first: int, count: int) -> None:
    codes: dict[Any, int] = {}
    failed: list[str] = []
    case = corpus.folder / "case"
    slowest, peak = 0.0, 0
    for number in range(first, first + count):
        shutil.rmtree(case, ignore_errors=True)
        case.mkdir()
        words = words_of(kind, random.Random(f"{kind} {number}"), corpus, case)
        ended = corpus.run(words)
        codes[ended["code"]] = codes.get(ended["code"], 0) + 1
        slowest, peak = max(slowest, ended["seconds"]), max(peak, ended["peak"])
        lines = [line for line in ended["said"].splitlines() if line.startswith("mio-local: ")]
        if ended["code"] not in (0, 1, 2) or (ended["code"] == 2 and len(lines) != 1) or "Traceback" in ended["said"]:
            failed.append(f"{kind} {number}: {' '.join(map(str, words))}: {ended['code']}: {ended['said'][-1500:]}")
    print(f"\n{corpus.backend} {kind} {first}: {codes}, at most {slowest} s and {peak >> 20} MiB")
    assert not failed, f"{len(failed)} of {count}; the first three:\n" + "\n\n".join(failed[:3])
    assert slowest < 20
    assert peak < MOST_MEMORY


