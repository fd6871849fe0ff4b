"""All that is worth knowing of a GPU, by one command, in some fifteen minutes: python tests/gpu/run.py [--out FILE]

On CUDA with PyTorch, or on a Mac with MLX. Needs nothing beside the repository: models have real shapes and random
weights. Prints Markdown for tests/bench/RESULTS.md as it goes, section by section; one that fails says why, and the
rest goes on. --cpu runs the small form of it on a CPU, which shows that it works and tells nothing of a GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "backends")]
SECTION = Path(__file__).with_name("sections.py")
LIMIT = 240  # seconds that one measurement may take
LEVERS = ("share_prompt", "answer_head", "lean_adapter", "fused_layers", "frozen_once")
Row = tuple[Any, ...]


class Suite:
    """Where the models are and what they are measured on; `small` is the form for a CPU."""

    def __init__(self, backend: str, device: str, place: Path, *, small: bool) -> None:
        self.backend, self.device, self.place, self.small = backend, device, place, small
        self.first, self.sizes = ("tiny", ["tiny", "27m"]) if small else ("1B", ["1B", "4B", "8B"])

    def ask(self, section: str, size: str, **options: Any) -> dict[str, Any]:
        """What a section says of a model. Raises RuntimeError with its last line where it fails."""
        from tests.gpu.random_model import write

        words = [section, self.backend, self.device, str(write(size, self.place)), json.dumps(options)]
        return json.loads(_last([sys.executable, "-W", "ignore", str(SECTION), *words]))

    def command(self, *words: object, fails: bool = False) -> str:
        """What a command of mio-local prints; one that `fails` should."""
        code = "import sys; from mio_local.cli import main; sys.exit(main())"
        runs = ["--runs", str(self.place / "runs")]
        done = _run([sys.executable, "-c", code, *map(str, words), *runs])
        if bool(done.returncode) != fails:
            raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])
        return (done.stderr if fails else done.stdout).strip()


def _run(words: list[str]) -> "subprocess.CompletedProcess[str]":
    where = os.pathsep.join([str(ROOT), str(ROOT / "backends"), os.environ.get("PYTHONPATH", "")])
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False,
                              env={**os.environ, "PYTHONPATH": where, "HF_HUB_OFFLINE": "1"})  # fmt: skip
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"took more than {LIMIT} s") from None


def _last(words: list[str]) -> str:
    done = _run(words)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"ended with {done.returncode}").splitlines()[-1])
    return done.stdout.strip().splitlines()[-1]


def table(heading: Row, rows: Iterator[Row]) -> Iterator[str]:
    """Lines of a table, each as soon as it is known; one that cannot be has the reason in its place."""
    yield f"| {' | '.join(map(str, heading))} |"
    yield "|" + "---|" * len(heading)
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def tried(name: str, measured: Callable[[], Row], width: int) -> Row:
    """A row, or why there is none."""
    try:
        return name, *measured()
    except RuntimeError as error:
        return name, str(error)[:120], *[""] * (width - 1)


def doctor(suite: Suite) -> Iterator[str]:
    """The machine."""
    yield "```"
    yield from suite.command("doctor").splitlines()
    yield "```"


def exactness(suite: Suite) -> Iterator[str]:
    """Losses before the first step, and what each saving changes in the log-probs, nats an answer at most."""
    for size in suite.sizes[: 1 if suite.small else 2]:
        found = suite.ask("exactness", size)
        expected = found["expected"]
        losses = ", ".join(f"{name} {value:.4f} ({expected[name]:.4f})" for name, value in found["losses"].items())
        off = ", ".join(f"{lever} {value:.2g}" for lever, value in found["off"].items())
        yield f"{size}, answers of {found['nats']:.0f} nats: {losses}; {off}"
        yield ""


def memory(suite: Suite) -> Iterator[str]:
    """The estimate against the peak."""
    long = 64 if suite.small else 1024
    cases = [(1, long, False, []), (4, long // 2, False, []), (4, long // 2, True, []), (1, 2 * long, True, []),
             (4, long // 2, False, ["answers=4"]), (1, long, False, ["plain"])]  # fmt: skip

    def rows() -> Iterator[Row]:
        for batch, length, checkpoint, settings in cases:
            def measured(given: dict[str, Any] = {"batch": batch, "length": length, "checkpoint": checkpoint,  # noqa: B006
                                                  "settings": settings}) -> Row:  # fmt: skip
                seen = suite.ask("memory", suite.first, **given)
                return (f"{seen['estimate'] / 1e6:,.0f}", f"{seen['peak'] / 1e6:,.0f}",
                        f"{seen['estimate'] / seen['peak'] - 1:+.0%}")  # fmt: skip

            words = " ".join([f"{batch} x {length}", *["checkpoint"] * checkpoint, *settings])
            yield tried(words, measured, 3)

    yield from table(("pairs x tokens", "estimate MB", "peak MB", "off by"), rows())


def kernels(suite: Suite) -> Iterator[str]:
    """What the profiler of PyTorch sees of a step, reference included."""
    if suite.backend != "cuda":
        yield "not of MLX: its profiler is Xcode's"
        return
    seen = suite.ask("kernels", suite.first)
    yield (f"{seen['launches']:,} launches, {seen['operations']:,} operations, {seen['waits']} waits of the host, "
           f"{seen['copies']} copies")  # fmt: skip
    yield ""
    rows = ((f"`{name[:70]}`", f"{took:.2f}", count) for name, took, count in seen["longest"])
    yield from table(("longest", "ms", "times"), rows)


def speed(suite: Suite) -> Iterator[str]:
    """Steps in the first epoch, reference included, and later, and each saving off."""
    steps = 4 if suite.small else 8
    cases: list[tuple[str, str, dict[str, Any]]] = [(size, "all savings", {}) for size in suite.sizes if size != "4B"]
    cases += [("4B", "in 4 bits", {"quantize": 4})] if "4B" in suite.sizes else []
    cases.insert(1, (suite.first, "plain path", {"levers": "none"}))
    for lever in LEVERS[:1] if suite.small else LEVERS[:-1]:
        cases.append((suite.first, f"without {lever}", {"levers": ",".join(one for one in LEVERS if one != lever)}))

    def rows() -> Iterator[Row]:
        for size, what, options in cases:
            def measured(size: str = size, options: dict[str, Any] = options) -> Row:
                first = suite.ask("step", size, steps=steps, reference=True, **options)
                later = suite.ask("step", size, steps=steps, **options)
                return (first["dtype"], f"{first['pairs_per_second']:.2f}", f"{later['pairs_per_second']:.2f}",
                        f"{later['peak'] / 1e9:.2f}", f"{later['rate'] / later['matrix_rate']:.0%}",
                        ", ".join(later["refused"]) or "-")  # fmt: skip

            yield tried(f"{size}, {what}", measured, 6)

    heading = ("", "type", "pairs/s, first epoch", "later", "peak GB", "of the products' rate", "refused")
    yield from table(heading, rows())


def resume(suite: Suite) -> Iterator[str]:
    """A run of six steps beside one that ends after its checkpoint of three and is taken up again."""
    off = suite.ask("resume", "tiny")["off"]
    yield f"the adapters differ by {off:.2g} at most" + (": the same bits" if off == 0 else "")


def out_of_memory(suite: Suite) -> Iterator[str]:
    """What a run says that may use too little."""
    demo = ROOT / "recipes" / "demo"
    words = ["train", "--model", demo / "model", "--data", demo / "train.jsonl", "--backend", suite.backend, "--device",
             suite.device, "--memory-limit", "10MB"]  # fmt: skip
    yield f"> {suite.command(*words, fails=True).splitlines()[-1]}"


def peers(suite: Suite) -> Iterator[str]:
    """TRL, or on a Mac mlx-lm-lora, in turn with the app on the same model, on pairs of 180 and 300 tokens: a first
    epoch, reference included, where the peer is installed."""
    from importlib.util import find_spec

    from tests.gpu.random_model import write

    name, module = ("trl", "trl") if suite.backend == "cuda" else ("mlx-lm-lora", "mlx_lm_lora")
    if not find_spec(module):
        yield f"not run: {name} is not installed"
        return

    def rows() -> Iterator[Row]:
        for size in [suite.first] if suite.small else ["1B", "8B"]:
            def measured(size: str = size) -> Row:
                place, steps = write(size, suite.place), "3" if suite.small else "8"
                words = ["measure", name, str(place), "--device", suite.device, "--steps", steps, "--made"]
                theirs = json.loads(_last([sys.executable, str(ROOT / "tests/bench/tuners/compare.py"), *words]))
                ours = suite.ask("step", size, steps=int(steps) + 2, reference=True)
                first, second = theirs["pairs_per_second"], ours["pairs_per_second"]
                return f"{first:.2f}", f"{second:.2f}", f"{second / first:.2f}"

            yield tried(size, measured, 3)

    yield from table(("", f"{name}, pairs/s", "the app", "times"), rows())


SECTIONS = (doctor, exactness, memory, kernels, speed, peers, resume, out_of_memory)


def report(suite: Suite, names: list[str]) -> Iterator[str]:
    """The sections' lines."""
    yield f"### {suite.backend} on {suite.device}, {time.strftime('%Y-%m-%d')}"
    for section in SECTIONS:
        if names and section.__name__ not in names:
            continue
        began = time.perf_counter()
        yield f"\n**{section.__name__.replace('_', ' ').capitalize()}.** {' '.join((section.__doc__ or '').split())}\n"
        try:
            yield from section(suite)
        except RuntimeError as error:
            yield f"failed: {error}"
        yield f"\n({time.perf_counter() - began:.0f} s)"


def main() -> None:
    """Print the report, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cpu", action="store_true", help="the small form, on this machine's CPU")
    parser.add_argument("--backend", choices=("cuda", "mlx"), default="mlx" if sys.platform == "darwin" else "cuda")
    parser.add_argument("--only", default="", help=f"some of {', '.join(one.__name__ for one in SECTIONS)}, by commas")
    parser.add_argument("--place", type=Path, help="a folder that keeps the models (20 GB); else a temporary one")
    parser.add_argument("--out", type=Path, help="a file for the Markdown too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = given.place or Path(temporary)
        suite = Suite(given.backend, "cpu" if given.cpu else "gpu", place, small=given.cpu)
        lines: list[str] = []
        for line in report(suite, [name for name in given.only.split(",") if name]):
            print(line, flush=True)
            lines.append(line)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
