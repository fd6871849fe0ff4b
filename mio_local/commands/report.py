"""`mio-local report RUN...`: one file with all that a run is and did, as HTML or as Markdown."""

import argparse
import os
import re
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mio_local import __version__, printing
from mio_local.errors import RecipeError, RunError
from mio_local.process import opener
from mio_local.reports import plotting, svg
from mio_local.reports.document import Document, collect
from mio_local.reports.markdown import fenced, plain, shown
from mio_local.runs import directory
from mio_local.runs.directory import runs_folder
from mio_local.runs.events import is_number
from mio_local.runs.summary import accuracy
from mio_local.storage.writing import write_atomically
from mio_local.text import visible

TEMPLATES = Path(__file__).parents[1] / "reports" / "templates"
MARKS = {
    ".html": b'<meta name="generator" content="mio-local ',
    ".md": b"<!-- mio-local ",
}  # by which a report of ours is known
MARK_WITHIN = 1000  # bytes
WIDE, NARROW, SMALL = (980, 380), (440, 330), (400, 250)
BADGES = {"yes": "✓", "partly": "~", "level": "=", "no": "↓", "diverged": "✗", "unknown": "?"}
MARKS_OF = {"good": "yes", "warning": "partly", "bad": "diverged", "unknown": "unknown"}  # of a verdict's level
WORDS = {"yes": "rose and stayed", "partly": "ended above", "level": "no change to tell", "no": "fell below",
         "diverged": "diverged", "unknown": "not known"}  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Write the report; an existing file is replaced only where it is one."""
    folder = runs_folder(arguments.runs)
    found = [directory.find(folder, name) for name in arguments.run]
    several = len({run.path.resolve() for run in found}) > 1
    here = Path("report.html") if several else found[0].path / "report.html"
    out = Path(os.path.expanduser(arguments.out)) if arguments.out else here
    _check(out, arguments.out)
    printer = printing.console()
    with printing.preparing(printer) as report:
        report("reading the runs", 0, 0)
        text = render(collect(found), out.suffix)
        try:
            write_atomically(out, text)
        except OSError as error:
            raise RunError(f"--out {out}: cannot be written: {error.strerror or error}") from None
    printer.print(f"report: {visible(str(out))}")
    by = opener()
    if out.suffix == ".html" and by:
        printing.next_steps(printer, f"{Path(by).name} {visible(shlex.quote(str(out)))}")
    elif out.suffix == ".html":
        printer.print(f"next: open {visible(out.absolute().as_uri())} in a browser")
    else:
        printing.next_steps(printer, f"less {visible(shlex.quote(str(out)))}")
    return 0


def _check(out: Path, given: str) -> None:
    """Raise where a report cannot go to `out`, or something else is there already."""
    if out.suffix not in MARKS:
        raise RecipeError(f"--out {given}: the file's name must end in .html or .md")
    if not out.parent.is_dir():
        raise RecipeError(f"--out {out}: no folder {out.parent}")
    if not os.path.lexists(out):
        return
    try:
        with out.open("rb") as file:
            start = file.read(MARK_WITHIN) if out.is_file() else b""
    except OSError:
        start = b""
    if MARKS[out.suffix] not in start or (out.suffix == ".md" and not start.startswith(MARKS[".md"])):
        raise RunError(f"{out}: exists and is no report of mio-local, so it is not replaced; choose another --out")


def render(document: Document, suffix: str) -> str:
    """The report as HTML or Markdown. Each text that comes from outside is made visible and escaped on its way out."""
    html = suffix == ".html"
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=html, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, finalize=shown if html else plain,
    )  # fmt: skip
    filters: dict[str, Any] = {
        "figure": lambda value, form: Markup(_figure(value, form, html)),
        "interval": lambda row, form: Markup(_interval(row, form, html)),
        "minus": lambda text: re.sub(r"-(?=\d)", "−", text),
        "cells": lambda row: Markup(f"| {' | '.join(str(plain(cell)) for cell in row)} |"),
        "fenced": fenced,
        "quoted": lambda text: shlex.quote(str(text)),
        "accuracy": accuracy,
        "margin": _margin,
        "level": lambda note: note["level"] if note.get("level") in ("warning", "error") else "info",
        "sign": lambda note: printing.SIGNS.get(str(note.get("level")), "·"),
    }
    environment.filters.update(filters)
    values: dict[str, Any] = {
        "document": document, "version": __version__, "words": WORDS, "badges": BADGES, "marks": MARKS_OF,
    }  # fmt: skip
    if html:
        values |= _pictures(document)
    return environment.get_template(f"report{suffix}").render(values)


def _pictures(document: Document) -> dict[str, Any]:
    """The curves, and the colours that they share with the plots."""
    histories = [part.history for part in document.parts]
    targets, labels = [part.target for part in document.parts], [part.label for part in document.parts]
    limits = svg.shared_limits(histories, targets)
    drawn = [
        {
            size: Markup(svg.likelihoods(part.history, part.target, limits, pixels, part.label))
            for size, pixels in (("wide", WIDE), ("narrow", NARROW))
        }
        for part in document.parts
    ]
    return {
        "likelihoods": drawn,
        "comparisons": [(title, Markup(svg)) for title, svg in svg.comparisons(histories, labels, SMALL)],
        "swatches": [Markup(svg.swatch(number)) for number in range(len(labels))],
        "colours": plotting,
        "drawn": any(history.of("step") or history.of("eval") for history in histories),
    }


def _figure(value: object, form: str, html: bool) -> str:
    said = printing.figure(value, form)
    return said.replace("-", "−") if html else said


def _margin(event: dict[str, Any]) -> float | None:
    chosen, rejected = event.get("delta/chosen"), event.get("delta/rejected")
    return chosen - rejected if is_number(chosen) and is_number(rejected) else None


def _interval(row: dict[str, Any], form: str, html: bool) -> str:
    """A value with its interval, or its standard error, or neither."""
    value, low, high, error = (row[key] for key in ("value", "low", "high", "stderr"))
    said = _figure(value, form, html)
    if value is None:
        return said
    if low is not None and high is not None:
        return f"{said} [{_figure(low, form, html)}, {_figure(high, form, html)}]"
    return said if error is None else f"{said} ± {_figure(error, form.removeprefix('+'), html)}"
