"""A making as it is shown: its progress, its figures and examples."""

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from mio_local import printing
from mio_local.data.messages import shown_text
from mio_local.making.make import Made, Progress
from mio_local.text import visible_line

EVERY = 30.0  # seconds between two plain lines
SHOWN = 400  # characters of each part of an example


@contextmanager
def drawing(out: Console) -> Generator[Callable[[Progress], None]]:
    """A bar on a terminal; plain lines elsewhere, or JSON for the app."""
    if os.environ.get("MIO_LOCAL_PROGRESS") == "json":
        yield lambda now: printing.in_json(_live(now), now.known + now.answers, now.total)
    elif not out.is_terminal:
        yield _in_lines(out)
    else:
        with Bar(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=12),
            MofNCompleteColumn(), TextColumn("{task.fields[live]}", markup=False), TimeRemainingColumn(),
            console=out, transient=True,
        ) as bar:  # fmt: skip
            task = bar.add_task("drawing answers", total=None, live="")

            def show(now: Progress) -> None:
                bar.update(
                    task, description=_doing(now), completed=now.known + now.answers, total=now.total, live=_speed(now)
                )

            yield show


def _in_lines(out: Console) -> Callable[[Progress], None]:
    told = 0.0

    def show(now: Progress) -> None:
        nonlocal told
        done = now.known + now.answers
        if time.monotonic() - told < EVERY and done < now.total:
            return
        told = time.monotonic()
        left = f", {timedelta(seconds=round(now.left))} left" if now.left else ""
        out.print(f"{_doing(now)}: {done:,} of {now.total:,}, {_speed(now)}{left}")

    return show


def _doing(now: Progress) -> str:
    return "judging answers" if now.judging else "drawing answers"


def _live(now: Progress) -> str:
    return f"{_doing(now)}, {speed}" if (speed := _speed(now)) else _doing(now)


def _speed(now: Progress) -> str:
    if not now.answers:
        return f"{now.tokens / now.seconds:,.0f} tokens/s" if now.seconds else ""
    return f"{now.answers / now.seconds:.1f} answers/s, {now.tokens / now.seconds:,.0f} tokens/s"


def shown(lines: Sequence[str], pictured: Sequence[str], some: Sequence[Made]) -> Iterator[str]:
    """Figures, rewards as a picture, and examples, line by line."""
    yield from map(visible_line, lines[:1])
    yield from (f"  {visible_line(line)}" for line in lines[1:])
    if pictured:
        yield "rewards"
        yield from pictured
    for made in some:
        pair, prompt = made.pairs[0], made.answered.asked.prompt
        yield f"\n{visible_line(made.answered.asked.where)}"
        for name, text in (("prompt", prompt), ("chosen", pair.chosen), ("rejected", pair.rejected)):
            yield f"  {name:<9} {visible_line(shown_text(text), SHOWN)}"
