"""`mio-local push RUN --to REPOSITORY`: shows what would be sent to the hub; with --yes, sends it."""

import argparse
import shlex
import tempfile
from pathlib import Path

from mio_local import printing
from mio_local.errors import RecipeError, nearest
from mio_local.evaluation.loading import of_run
from mio_local.export.model_card import Licences
from mio_local.export.upload import check_login, check_name, gather, licence_of, seen_by, send
from mio_local.runs import directory, history
from mio_local.runs.directory import runs_folder
from mio_local.text import visible
from mio_local.training.checkpoint import step_of

KINDS = ("adapter", "peft", "mlx", "merged")


def main(arguments: argparse.Namespace) -> int:
    """Push, or show what a push would send."""
    if arguments.what not in KINDS:
        raise RecipeError(f"--what {arguments.what}: no such kind{nearest(arguments.what, KINDS)}; {', '.join(KINDS)}")
    repository = arguments.to
    check_name(repository)
    if arguments.yes:
        check_login(repository)
    run = directory.find(runs_folder(arguments.runs), arguments.run)
    source, past, out = of_run(run, arguments.checkpoint), history.read(run), printing.console()
    step = step_of(run, arguments.checkpoint)
    to = source.saved.kind if arguments.what == "adapter" else arguments.what
    with tempfile.TemporaryDirectory(prefix="mio-local-push-") as place:
        folder = Path(place) / "files"
        with printing.preparing(out) as report:
            report("asking for licences", 0, 0)
            licences = Licences(
                arguments.license or licence_of(source.model.name, "model"),
                licence_of(past.recipe.data.source, "dataset"),
            )
            gather(source, past, to, repository, licences, folder, report, step)
            seen, url = seen_by(repository, private=arguments.private), ""
            if arguments.yes:
                report("sending", 0, 0)
                url = send(folder, repository, private=arguments.private, add=arguments.replace, title=run.name)
        sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
        if not arguments.yes:
            for line in (folder / "README.md").read_text(encoding="utf-8").splitlines():
                out.print(visible(line))
    table = printing.table(f"{repository}, {seen}", ["file", "bytes"])
    for name, size in sizes.items():
        printing.row(table, name, f"{size:,}")
    out.print(table)
    for what, licence in (("base", licences.base), ("data", licences.data)):
        if not licence:
            out.print(f"! the licence of the {what} is unknown; look it up before you share this")
    if arguments.yes:
        out.print(f"sent: {visible(url)}")
        return 0
    out.print("nothing was sent")
    printing.next_steps(out, f"mio-local push {printing.called(run)} {_again(arguments)} --yes")
    return 0


def _again(arguments: argparse.Namespace) -> str:
    """The flags as they were given, for a shell."""
    words = ["--to", arguments.to, "--what", arguments.what, "--checkpoint", arguments.checkpoint]
    words += ["--license", arguments.license] if arguments.license else []
    words += [f"--{flag}" for flag in ("private", "replace") if getattr(arguments, flag)]
    return visible(shlex.join(words))
