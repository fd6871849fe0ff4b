"""The `mio-local` command: arguments in, one exit code out."""

import argparse
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from mio_local.arguments import parser
from mio_local.errors import MioError, RecipeError, of_the_machine
from mio_local.process import PROGRAM, as_typed, claim, on_gpu, preload
from mio_local.progress import opening
from mio_local.text import visible, visible_line

COMPUTING = ("demo", "train", "resume", "export", "eval", "push", "chat", "generate")  # in this process
ELSEWHERE = {"-h", "--help", "--tui", "--detach", "--after", "--all"}  # flags by which they do not
MODULES = {
    "resume": "train", "show": "runs", "check": "check_run", "eval": "evaluate", "recipes": "explain",
    "help": "explain", "chat": "talk", "generate": "talk",
    "data check": "data_commands.data_check", "data make": "data_commands.data_make",
    **dict.fromkeys(("rename", "note", "tag", "delete", "undelete"), "manage"),
    **dict.fromkeys(("watch", "attach", "pause", "stop"), "follow"),
}  # fmt: skip


def run(argv: Sequence[str]) -> int:
    """Run one command. Returns the exit code; raises MioError for a user's mistake."""
    command = command_of(argv)
    in_app = command == "chat" and in_terminal()
    computes = command in COMPUTING or (command == "data" and "make" in argv)
    computes &= not in_app and ELSEWHERE.isdisjoint(word.partition("=")[0] for word in argv)
    if computes and not on_gpu(value_of(argv, "--backend") or "auto", value_of(argv, "--device") or "auto"):
        # first, as it begins this process anew
        preload(threads=1 if command == "demo" else 0)
    with opening(f"{command or PROGRAM}: starting") as say:
        arguments = parser(command).parse_args(argv)
        if in_app or not arguments.command or getattr(arguments, "tui", False):
            return open_app(arguments)
        if read := first_read(arguments):
            say(f"{command}: reading {read}")
        name = f"{command} {arguments.data_command}" if command == "data" else command
        module = importlib.import_module(f"mio_local.commands.{MODULES.get(name, name)}")
        return module.main(arguments)


def command_of(argv: Sequence[str]) -> str:
    """The command's name: the first argument that is neither a flag nor the value of --runs. Empty without one."""
    before = ""
    for word in argv:
        if before != "--runs" and not word.startswith("-"):
            return word
        before = word
    return ""


def value_of(words: Sequence[str], flag: str) -> str:
    """What a flag is given last, before the words are parsed; "" where it is not there."""
    after = [*words[1:], ""]
    given = [word.partition("=")[2] if "=" in word else after[place] for place, word in enumerate(words)
             if word.partition("=")[0] == flag]  # fmt: skip
    return given[-1] if given else ""


def first_read(arguments: argparse.Namespace) -> str:
    """What a command reads first, as it was named."""
    given = (getattr(arguments, key, "") for key in ("run", "source", "recipe", "data.source"))
    names = next((words for words in given if words), "")
    return visible_line(names if isinstance(names, str) else " ".join(names))


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
    gc.disable()  # what is imported stays: none of it is garbage
    module = importlib.import_module("mio_tui.app")  # by name: the core knows of no screen
    gc.freeze()  # the first collection would walk through all of it before the first screen
    gc.enable()
    backend = {key: getattr(arguments, key) for key in ("backend", "device", "steps") if hasattr(arguments, key)}
    demo = backend if arguments.command == "demo" else None
    app = module.MioApp(folder, open_run=run, demo=demo, chat=chat)
    print(end="")  # takes the opening words away
    parting = app.run()
    if parting:
        print(parting)
    return app.return_code or 0


def main() -> None:
    """Entry point: a user's mistake, or a file that cannot be used, is one line on stderr and exit code 2."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # the libraries' warnings are for us, and hide the one line
    claim()
    spare = bytearray(1 << 20)  # room to say that there is none
    try:
        code = run(sys.argv[1:])
    except MioError as error:
        code = _complain(str(error))
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 141
    except BaseException as error:  # a panic of Rust is no Exception
        del spare
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
