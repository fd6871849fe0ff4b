"""The `mio-local` command: arguments in, one exit code out."""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from mio_local.arguments import command_of, parser
from mio_local.errors import MioError, RecipeError, of_the_machine
from mio_local.process import as_typed, claim
from mio_local.text import visible

COMPUTING = ("demo", "train", "resume", "export", "eval", "push", "chat", "generate")  # in this process


def run(argv: Sequence[str]) -> int:
    """Run one command. Returns the exit code; raises MioError for a user's mistake."""
    arguments = parser(command_of(argv)).parse_args(argv)
    if arguments.command is None or getattr(arguments, "tui", False):
        return open_app(arguments)
    if arguments.command == "chat" and in_terminal():
        return open_app(arguments)
    background = any(getattr(arguments, flag, False) for flag in ("detach", "after", "all"))
    makes = getattr(arguments, "data_command", "") == "make"
    if (arguments.command in COMPUTING or makes) and not background:
        from mio_local.process import preload

        preload(threads=1 if arguments.command == "demo" else 0)
    match arguments.command:
        case "demo":
            from mio_local.commands import demo as module
        case "train" | "resume":
            from mio_local.commands import train as module
        case "runs" | "show":
            from mio_local.commands import runs as module
        case "rename" | "note" | "tag" | "delete" | "undelete":
            from mio_local.commands import manage as module
        case "check":
            from mio_local.commands import check_run as module
        case "watch" | "attach" | "pause" | "stop":
            from mio_local.commands import follow as module
        case "plot":
            from mio_local.commands import plot as module
        case "report":
            from mio_local.commands import report as module
        case "data":
            if arguments.data_command == "make":
                from mio_local.commands.data_commands import data_make as module
            else:
                from mio_local.commands.data_commands import data_check as module
        case "chat" | "generate":
            from mio_local.commands import talk as module
        case "export":
            from mio_local.commands import export as module
        case "push":
            from mio_local.commands import push as module
        case "eval":
            from mio_local.commands import evaluate as module
        case "bench":
            from mio_local.commands import bench as module
        case "help" | "recipes":
            from mio_local.commands import explain as module
        case _:
            from mio_local.commands import doctor as module
    return module.main(arguments)


def in_terminal() -> bool:
    """Whether the app can be shown."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def open_app(arguments: argparse.Namespace) -> int:
    """The terminal app; where there is no terminal, the help."""
    if not in_terminal():
        if arguments.command is None:
            parser().print_help()
            return 0
        raise RecipeError(f"{arguments.command} --tui: this is no terminal; leave --tui out")
    from mio_local.runs.directory import find, runs_folder

    folder = runs_folder(arguments.runs).absolute()
    run = str(find(folder, arguments.run).path) if arguments.command == "watch" else ""
    chat = None
    if arguments.command == "chat":
        from mio_local.chat.start import start_from
        from mio_local.evaluation.loading import kind_of

        chat = start_from(arguments)
        chat.check_sides()
        for name in chat.names:
            kind_of(folder, name)  # raises for what is nothing
    module = importlib.import_module("mio_tui.app")  # by name: the core knows of no screen
    backend = {key: getattr(arguments, key) for key in ("backend", "device", "steps") if hasattr(arguments, key)}
    demo = backend if arguments.command == "demo" else None
    app = module.MioApp(folder, open_run=run, demo=demo, chat=chat)
    parting = app.run()
    if parting:
        print(parting)
    return app.return_code or 0


def main() -> None:
    """Entry point: a user's mistake, or a file that cannot be used, is one line on stderr and exit code 2."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # the libraries' warnings are for us, and hide the one line
    claim()
    try:
        code = run(sys.argv[1:])
    except MioError as error:
        code = _complain(str(error))
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 141
    except Exception as error:
        told = of_the_machine(error)
        if not told:
            raise
        code = _complain(told)
    sys.exit(code)


def _complain(text: str) -> int:
    print(f"mio-local: {visible(as_typed(' '.join(text.split())))}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
