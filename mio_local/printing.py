"""What the command line prints: no markup is read from any text, and a pipe gets plain lines."""

import json
import os
import shlex
import sys
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mio_local.process import as_typed, program
from mio_local.progress import Report
from mio_local.runs import fields
from mio_local.runs.directory import Run, called
from mio_local.runs.events import Event, is_number
from mio_local.runs.fields import figure
from mio_local.runs.summary import Verdict, accuracy
from mio_local.text import visible, visible_line

SIGNS = {"info": "·", "warning": "!", "error": "✗"}
MARKS = {"good": "✓", "unknown": "·", "warning": "!", "bad": "✗"}  # of a verdict's level


def console() -> Console:
    """Standard output, with markup, emoji codes and highlighting off."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


def error_console() -> Console:
    """Standard error, likewise: for what is not the answer."""
    return Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)


def table(title: str, columns: list[str]) -> Table:
    """An unruled table: the first column to the left, figures to the right."""
    made = Table(title=Text(visible(title)), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(Text(column), justify="left" if number == 0 else "right")
    return made


def row(made: Table, *cells: str) -> None:
    """Add cells as text, never as markup, each on one line."""
    made.add_row(*(Text(visible_line(cell)) for cell in cells))


@contextmanager
def preparing(out: Console) -> Generator[Report]:
    """A spinner, or a bar where the work has a count, for what happens before the first step; with
    MIO_LOCAL_PROGRESS=json lines of JSON on standard error, which the app reads."""
    if os.environ.get("MIO_LOCAL_PROGRESS") == "json":
        yield in_json
        return
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        console=out, transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task("starting", total=None)
        last = ""

        def report(what: str, done: int, total: int) -> None:
            nonlocal last
            progress.update(task, description=what, completed=done, total=total or None)
            if not out.is_terminal and what != last:
                out.print(f"{what} …")
            last = what

        yield report


def in_json(what: str, done: int, total: int) -> None:
    """Tell how far work is, for a program that reads it."""
    print(json.dumps({"doing": what, "done": done, "total": total}), file=sys.stderr, flush=True)


def follow(events: Iterator[Event], total: int, out: Console, label: str = "") -> list[Event]:
    """Show a run's events as they come; returns the evals, tasks, notes and the last event."""
    kept: list[Event] = []
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=8), MofNCompleteColumn(),
        TextColumn("{task.fields[live]}", markup=False), TimeRemainingColumn(), console=out,
    ) as progress:  # fmt: skip
        name = label or "training"
        task = progress.add_task(name, total=total, live="")
        for event in events:
            if event.type == "step":
                progress.update(task, description=name, completed=event.step, live=live(event.values))
                continue
            if event.type == "progress":
                doing = event.values
                words = f"{doing.get('what', '')} {doing.get('done', '')}/{doing.get('total', '')}"
                progress.update(task, description=visible_line(words))
                continue
            kept.append(event)
            progress.update(task, description=name)
            if event.type == "eval":
                progress.console.print(eval_line(event, total))
            elif event.type == "note":
                progress.console.print(note_line(event.values))
            elif event.type == "control" and event.values.get("command") == "stop":
                progress.console.print("stopping after this step; saving a checkpoint")
            elif event.type == "task":
                progress.console.print(f"{event.step:>5}/{total} {task_line(event.values)}")
            elif event.type == "text":
                progress.console.print(f"{event.step:>5}/{total} {text_line(event.values)}")
            elif event.type == "round":
                progress.console.print(f"{event.step:>5}/{total} {round_line(event.values)}")
            elif event.type == "reward":
                progress.console.print(f"{event.step:>5}/{total} {reward_line(event.values)}")
    return kept


def live(values: dict[str, Any]) -> str:
    """The figures beside the bar, within 80 columns: loss, and the change of the chosen and rejected log-prob."""
    return (
        f"loss {figure(values.get('loss'), '.3f')} chosen {figure(values.get('delta/chosen'), '+.1f')} "
        f"rejected {figure(values.get('delta/rejected'), '+.1f')}"
    )


def eval_line(event: Event, total: int) -> str:
    """One held-out evaluation. Differences are nats per answer against the reference."""
    v = event.values
    return (
        f"{event.step:>5}/{total} held out: loss {figure(v.get('loss'), '.4f')} "
        f"chosen {figure(v.get('delta/chosen'), '+.3f')} rejected {figure(v.get('delta/rejected'), '+.3f')} "
        f"accuracy {figure(accuracy(v), '.3f')}"
    )


def task_line(values: dict[str, Any]) -> str:
    """One round of task questions."""
    of = visible_line(f"{values.get('correct', '—')} of {values.get('questions', '—')}")
    return f"greedy task accuracy {figure(values.get('accuracy'), '.3f')} ({of})"


def text_line(values: dict[str, Any]) -> str:
    """The perplexity of plain text, against the base's; its log's change in nats a token."""
    v = values
    return (
        f"perplexity of plain text {figure(v.get('perplexity'), '.5g')}, of the base {figure(v.get('base'), '.5g')}: "
        f"log {figure(v.get('change'), '+.4f')} ± {figure(v.get('change_stderr'), '.4f')}"
    )


def round_line(values: dict[str, Any]) -> str:
    """What a round has made."""
    v = values
    count = visible_line(f"{v.get('round', '—')} of {v.get('rounds', '—')}")
    right = f", right {figure(v['pass@1'], '.1%')}, one of k {figure(v.get('pass@k'), '.1%')}" if "pass@1" in v else ""
    return (
        f"round {count}: {figure(v.get('pairs'), '.0f')} to train on from {figure(v.get('answers'), '.0f')} answers; "
        f"reward {figure(v.get('reward/mean'), '.3f')} ± {figure(v.get('reward/std'), '.3f')}{right}, "
        f"{figure(v.get('answer_tokens'), '.0f')} tokens, KL {figure(v.get('kl'), '+.2f')} nats"
    )


def reward_line(values: dict[str, Any]) -> str:
    """Greedy answers to held-out prompts, by the judge."""
    v = values
    return (
        f"held out: reward of greedy answers {figure(v.get('reward/held_out'), '.3f')} ± "
        f"{figure(v.get('reward/held_out_stderr'), '.3f')} ({figure(v.get('prompts'), '.0f')} prompts)"
    )


def benchmarks(title: str, records: list[dict[str, Any]]) -> list[Table]:
    """Tables of `benchmark` events, one for each data beside the run's held-out pairs."""
    sources = dict.fromkeys(str(record.get("data") or "") for record in records)
    return [_benchmarks(f"{title}; on {source}" if source else title, [
        record for record in records if str(record.get("data") or "") == source
    ]) for source in sources]  # fmt: skip


def _benchmarks(title: str, records: list[dict[str, Any]]) -> Table:
    """A figure in each row, with its 95 % interval, or with its standard error."""
    made = table(title, ["benchmark", "metric", "of", "step", "value", "95 %, or ±", "n"])
    for record in records:
        low, high, error = (record.get(key) for key in ("low", "high", "stderr"))
        sure = "—"
        if is_number(low) or is_number(high):
            sure = f"[{figure(low, '.3f')}, {figure(high, '.3f')}]"
        elif is_number(error):
            sure = f"± {figure(error, '.4f')}" + ("*" if record.get("paired") is False else "")
        form = "+.4f" if record.get("of") == "difference" else ".4f"
        row(
            made, str(record.get("name", "—")), str(record.get("metric", "—")), str(record.get("of", "—")),
            str(record.get("step", "—")), figure(record.get("value"), form), sure, str(record.get("count", "—")),
        )  # fmt: skip
    return made


def note_line(values: dict[str, Any]) -> str:
    """A note of the trainer's."""
    return f"{SIGNS.get(str(values.get('level')), '·')} {visible_line(str(values.get('text', '')))}"


def verdict_line(found: Verdict) -> str:
    """A verdict with its mark, its commands as they can be typed."""
    return f"{MARKS[found.level]} {as_typed(found.line)}"


def tracked_lines(tracked: object, codes: Iterable[object]) -> list[str]:
    """Where a run's tracker shows it, and what went wrong there unless a note said so; `codes` are those of its notes.
    `tracked` is what status.json says."""
    said = fields.table(tracked)
    by, where, trouble = (visible_line(fields.text(said.get(key))) for key in ("by", "where", "trouble"))
    told = not trouble or "track" in codes
    return [f"{by}: {where}"] * bool(where) + [f"! {by}: {trouble}"] * (not told)


def ways(run: Run) -> list[str]:
    """The commands that deal with a run in the background."""
    pause = [] if run.read_status()["waits"] else ["pause"]
    return [f"mio-local {command} {called(run)}" for command in ("attach", *pause, "stop")]


def size(amount: int) -> str:
    """Bytes as people say them: 1.2 GB, 380 MB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= scale:
            return f"{amount / scale:.{1 if amount < 10 * scale else 0}f} {unit}"
    return f"{amount} B"


def in_python(library: str, loader: str, place: Path) -> str:
    """The shell command that loads what is at `place`; nothing of the path is run by it."""
    code = f"from {library} import {loader} as M; M.from_pretrained({json.dumps(str(place), ensure_ascii=False)})"
    return f"python -c {visible(shlex.quote(code))}"


def with_peft(model: str, base: Path | str, place: Path) -> str:
    """The shell command that loads PEFT's adapter at `place`, whose base is loaded by transformers' class `model`."""
    if model in ("", "AutoModelForCausalLM"):
        return in_python("peft", "AutoPeftModelForCausalLM", place)
    paths = (json.dumps(str(path), ensure_ascii=False) for path in (base, place))
    code = f"from transformers import {model} as M; from peft import PeftModel as P; "
    code += "P.from_pretrained(M.from_pretrained({}), {})".format(*paths)
    return f"python -c {visible(shlex.quote(code))}"


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Lines of columns as wide as what is in them; those numbered in `right` are set to the right."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        padded: list[str] = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - cell_len(cell))
            padded.append(gap + cell if place in right else cell + gap)
        lines.append("  ".join(padded).rstrip())
    return lines


def next_steps(out: Console, *commands: str) -> None:
    """What to type next: each program as it can be called in this shell."""
    parts = (command.partition(" ") for command in commands)
    out.print("next:", *(f"\n  {visible(program(name))}{gap}{rest}" for name, gap, rest in parts), sep="")
