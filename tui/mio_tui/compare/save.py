"""Writing a comparison to files: where, under which name, and by whom."""

import asyncio
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mio_local.errors import RunError
from mio_local.runs.history import History
from mio_local.text import visible_line
from mio_tui.dialogs import Answer, Ask

LONGEST = 120  # characters of a file's name, without its suffix
PLOT_SECONDS = 120
KINDS = {"csv": ("csv",), "png": ("png",), "both": ("csv", "png")}
ANSWERS = (
    Answer("c", "csv", "CSV: every figure of every step and evaluation"),
    Answer("p", "png", "PNG: the curves"),
    Answer("b", "both", "Both"),
)


def question(out: Path) -> Ask:
    """Which of `KINDS` to write."""
    return Ask("Export", f"{out.name} in {out.parent}", ANSWERS)


def target(runs: Path, histories: Sequence[History]) -> Path:
    """The files' path without a suffix: in the folder in which the app runs, else in the runs folder."""
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        here = runs
    writable = os.access(here, os.W_OK | os.X_OK)
    return (here if writable else runs) / stem([history.run.name for history in histories])


def stem(names: Sequence[str]) -> str:
    """`compare-A-B`, long names shortened, each character one that any file system takes."""
    each = (LONGEST - len("compare")) // max(len(names), 1) - 1
    safe = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:each].strip("-.") or "run" for name in names]
    return "-".join(["compare", *safe])


async def export(histories: Sequence[History], kinds: Sequence[str], out: Path) -> list[Path]:
    """Write `out` with each suffix of `kinds`, csv or png; the files' paths. Raises RunError with one line."""
    written: list[Path] = []
    for kind in kinds:
        file = out.with_name(f"{out.name}.{kind}")
        if kind == "csv":
            await _write_csv(histories, file)
        else:
            await _draw_png(histories, file)
        written.append(file)
    return written


async def _write_csv(histories: Sequence[History], file: Path) -> None:
    from mio_local.reports.csv_table import write_csv

    try:
        await asyncio.to_thread(write_csv, histories, file)
    except OSError as error:
        raise RunError(f"{file}: cannot be written: {error.strerror or error}") from None


async def _draw_png(histories: Sequence[History], file: Path) -> None:
    """In a process of its own: matplotlib takes a second to load."""
    paths = [str(history.run.path.absolute()) for history in histories]
    process = await asyncio.create_subprocess_exec(
        # -P: no module is imported from the folder in which the app happens to run
        sys.executable, "-P", "-m", "mio_local.cli", "plot", *paths, "--out", str(file),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, errors = await asyncio.wait_for(process.communicate(), PLOT_SECONDS)
    except TimeoutError:
        raise RunError(f"{file.name}: the picture took longer than {PLOT_SECONDS} s; nothing was written") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines()
        reason = lines[-1].removeprefix("mio-local: ") if lines else f"drawing ended with {process.returncode}"
        raise RunError(visible_line(f"{file.name}: {reason}", 300))
