"""`mio-local plot RUN...`: the curves as PNG or SVG."""

import argparse
import os
from pathlib import Path

from mio_local import printing
from mio_local.errors import RecipeError, RunError
from mio_local.reports.plotting import draw
from mio_local.runs import directory, history
from mio_local.runs.directory import runs_folder


def main(arguments: argparse.Namespace) -> int:
    """Draw the runs, overlaid where there are several."""
    folder = runs_folder(arguments.runs)
    histories = [history.read(directory.find(folder, name)) for name in arguments.run]
    for one in histories:
        if not one.of("step") and not one.of("eval"):
            raise RunError(f"run {one.run.name} has no figures yet; nothing to draw")
    out = Path(os.path.expanduser(arguments.out)) if arguments.out else histories[0].run.path / "curves.png"
    if out.suffix not in (".png", ".svg"):
        raise RecipeError(f"--out {arguments.out}: the file's name must end in .png or .svg")
    if not out.parent.is_dir():
        raise RecipeError(f"--out {arguments.out}: no folder {out.parent}")
    printer = printing.console()
    with printing.preparing(printer) as report:
        report("drawing", 0, 0)
        try:
            draw(histories, out)
        except OSError as error:
            raise RecipeError(f"--out {out}: cannot be written: {error.strerror or error}") from None
    printer.print(f"curves: {out}")
    return 0
