"""Seconds from a command to its first line on a terminal, and CPU seconds, which other programs disturb less.

    python tests/bench/first_line.py [--times 3] [--pairs FILE.jsonl] [COMMAND...]

Every command of the command line is started in a pseudo-terminal, on a run of two steps of the demo's model, and ended
once a character is shown. With --pairs, a file of a million say, those that read pairs read that.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers.tui.pseudo_terminal import PtyApp

ROOT = Path(__file__).resolve().parents[2]
MODEL, PAIRS = ROOT / "recipes/demo/model", ROOT / "recipes/demo/train.jsonl"
RUN = "seen"

# of each command, its words; {data} is the file of pairs, {out} a place that is not there
ASKED = {
    "the app": [],
    "demo": ["demo"],
    "train": ["train", "--model", str(MODEL), "--data", "{data}"],
    "train, PyTorch": ["train", "--model", str(MODEL), "--data", "{data}", "--backend", "cuda"],
    "train in the background": ["train", "--model", str(MODEL), "--data", "{data}", "--steps", "1", "--detach"],
    "train in line": ["train", "--model", str(MODEL), "--data", "{data}", "--steps", "1", "--after", RUN],
    "resume": ["resume", RUN],
    "check": ["check", RUN],
    "watch": ["watch", RUN],
    "attach": ["attach", RUN],
    "pause": ["pause", RUN],
    "stop": ["stop", RUN],
    "runs": ["runs"],
    "show": ["show", RUN],
    "rename": ["rename", RUN, RUN],
    "note": ["note", RUN, "to look at"],
    "tag": ["tag", RUN, "+seen"],
    "delete": ["delete", "none"],
    "undelete": ["undelete", "none"],
    "plot": ["plot", RUN],
    "report": ["report", RUN],
    "export": ["export", RUN, "--to", "merged", "--out", "{out}"],
    "export as GGUF": ["export", RUN, "--to", "gguf", "--out", "{out}.gguf"],
    "push": ["push", RUN, "--to", "somebody/something"],
    "chat": ["chat", RUN],
    "generate": ["generate", RUN, "--prompt", "What is 2 + 2?"],
    "eval": ["eval", RUN],
    "eval, tasks": ["eval", RUN, "--tasks", "gsm8k", "--no-preference"],
    "data": ["data", "check", "{data}", "--model", str(MODEL)],
    "bench": ["bench", "--model", str(MODEL), "--data", "{data}"],
    "recipes": ["recipes"],
    "doctor": ["doctor"],
    "help": ["help", "settings"],
}


def first_line(words: list[str]) -> tuple[float, float, str]:
    """Seconds, CPU seconds, and what was shown first."""
    with PtyApp(100, 30, "-m", "mio_local.cli", *words) as app:
        at = app.wait(lambda: any(map(str.strip, app.grid.lines())), 120)
    return at - app.began, app.cpu, " ".join(" ".join(app.grid.lines()).split())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--pairs", default=str(PAIRS))
    parser.add_argument("commands", nargs="*")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["MIO_LOCAL_RUNS"] = f"{home}/runs"
        os.environ.pop("LD_PRELOAD", None)
        words = ["train", "--model", str(MODEL), "--data", str(PAIRS), "--name", RUN, "--steps", "2", "--set",
                 "eval.pairs=4", "--set", "eval.sample_tokens=0"]  # fmt: skip
        subprocess.run([sys.executable, "-m", "mio_local.cli", *words], check=True, stdout=subprocess.DEVNULL)
        print("| command | seconds | CPU seconds | shown |\n|---|---|---|---|")
        for name in given.commands or ASKED:
            asked = [word.format(data=given.pairs, out=f"{home}/out") for word in ASKED[name]]
            found = sorted(first_line(asked) for _ in range(given.times))
            spent = sorted(each[1] for each in found)
            wall, middle = found[len(found) // 2][0], spent[len(found) // 2]
            print(f"| {name} | {wall:.2f} | {middle:.2f} | {found[0][2][:70]} |", flush=True)


if __name__ == "__main__":
    main()
