"""`mio-local rename`, `note`, `tag`, `delete` and `undelete`: what its user does with a run beside training it."""

import argparse

from mio_local import printing
from mio_local.arguments import MINUS
from mio_local.errors import RecipeError, RunError
from mio_local.runs import directory, trash
from mio_local.runs.directory import runs_folder
from mio_local.runs.naming import own, rename
from mio_local.runs.remarks import set_note, set_tags
from mio_local.text import visible


def main(arguments: argparse.Namespace) -> int:
    """Do what `arguments.command` says."""
    folder, out = runs_folder(arguments.runs), printing.console()
    match arguments.command:
        case "rename":
            run, behind = rename(own(folder, arguments.run), arguments.new)
            out.print(f"{visible(arguments.run)} is called {run.name} now")
            for name in behind:
                out.print(f"! {visible(name)} still calls it by the old name: its recipe or run.json is damaged")
            printing.next_steps(out, f"mio-local show {printing.called(run)}")
        case "note":
            run = own(folder, arguments.run)
            found = set_note(run, arguments.text)
            out.print(f"{visible(run.name)}: {'noted' if found.note else 'no note'}")
        case "tag":
            tag(arguments, out)
        case "delete":
            delete(arguments, out)
        case _:
            before = trash.deleted(folder)
            run = trash.undelete(folder, arguments.run)
            name = arguments.run or before[0].name
            taken = f", as {run.name}: its own name is taken" if run.name != name else ""
            out.print(f"{visible(name)} is back{visible(taken)}")
            printing.next_steps(out, f"mio-local show {printing.called(run)}")
    return 0


def tag(arguments: argparse.Namespace, out: printing.Console) -> None:
    """Put tags on, or take them away. Raises RecipeError for a word that says neither."""
    run = own(runs_folder(arguments.runs), arguments.run)
    for word in arguments.tags:
        if word[:1] not in ("+", "-", MINUS):
            raise RecipeError(f"{word}: write +{word} to put this tag on the run, or -{word} to take it away")
    add = [word[1:] for word in arguments.tags if word[0] == "+"]
    found = set_tags(run, add, [word[1:] for word in arguments.tags if word[0] != "+"])
    out.print(f"{visible(run.name)}: {' '.join(found.tags) or 'no tags'}")


def delete(arguments: argparse.Namespace, out: printing.Console) -> None:
    """Move the runs to the trash, or empty it. Raises RecipeError where neither or both are asked for."""
    folder = runs_folder(arguments.runs)
    if arguments.empty == bool(arguments.run):
        raise RecipeError("delete: name at least one RUN, or empty the trash with --empty")
    if arguments.empty:
        used = sum(trash.size(one.path) for one in trash.deleted(folder))
        gone = trash.empty(folder)
        out.print(f"deleted for good: {len(gone)} {'run' if len(gone) == 1 else 'runs'}, {printing.size(used)}")
        return
    found = list(dict.fromkeys(own(folder, name) for name in arguments.run))
    for run in found:
        used = trash.size(run.path)
        try:
            trash.delete(run)
        except RunError as error:
            if len(found) == 1:
                raise
            raise RunError(f"{error} (those before it are in the trash)") from None
        out.print(f"{visible(run.name)} is in the trash for seven days, {printing.size(used)}")
    printing.next_steps(out, f"mio-local undelete {printing.called(found[-1])}",
                        f"mio-local delete --empty{directory.elsewhere(folder)}")  # fmt: skip
