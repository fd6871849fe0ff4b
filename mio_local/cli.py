"""The `mio-local` command: arguments in, one exit code out."""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from mio_local import __version__
from mio_local.errors import MioError, RecipeError, is_full_disk, nearest, one_line
from mio_local.pieces import visible

WHERE = "where runs live (default: MIO_LOCAL_RUNS, else user data)"


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, with the nearest flag."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **options)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride] - its overloads, in one signature
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Refuses what it does not know here, as the command's own parser: argparse would leave that to the top one,
        which knows none of the command's flags."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].partition("=")[0]
            hint = nearest(flag, self._option_string_actions) if flag.startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        raise RecipeError(f"{message}; see {self.prog} --help")


def parser(command_name: str = "") -> Parser:
    """The command line; the recipe's flags are made only for the command that takes them, as that costs imports."""
    top = Parser(
        prog="mio-local",
        description="Preference-tune a language model on this machine with MIO, and see whether it is going well. "
        "Without a command: the terminal app.",
    )
    top.add_argument("--version", action="version", version=f"mio-local {__version__}")
    top.add_argument("--runs", metavar="DIR", help=WHERE)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def command(name: str, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        added.add_argument("--runs", metavar="DIR", default=argparse.SUPPRESS, help=WHERE)
        return added

    demo = command("demo", "train a small model that ships with the package with MIO, then with DPO, and compare")
    demo.add_argument("--backend", default="auto", help="mlx, cuda or auto (default auto)")
    demo.add_argument("--device", default="auto", help="auto, gpu, cpu, ... (default auto)")
    demo.add_argument("--steps", type=int, default=0, help="steps of each run (default: the demo recipe's)")
    demo.add_argument("--tui", action="store_true", help="watch it in the terminal app")

    train = command("train", "train on preference pairs")
    train.add_argument("recipe", nargs="?", metavar="RECIPE", help="a TOML recipe, or the name of a shipped one")
    train.add_argument("--name", default="", help="name of the run (default: from model and objective)")
    train.add_argument("--detach", action="store_true", help="train in the background and return at once")
    if command_name == "train":
        add_flags(train)

    resume = command("resume", "go on with a stopped, failed or lost run, exactly")
    resume.add_argument("run", metavar="RUN")
    resume.add_argument("--detach", action="store_true", help="go on in the background and return at once")

    for name, help in (
        ("watch", "follow a run that trains elsewhere, as text; Ctrl-C leaves it alone"),
        ("attach", "take a run that trains in the background to this terminal; Ctrl-C stops and saves it"),
        ("pause", "let a run wait after its step, its model in memory; resume lets it go on"),
        ("stop", "let a run finish its step, save and end"),
    ):
        follow = command(name, help)
        follow.add_argument("run", metavar="RUN")
        if name == "watch":
            follow.add_argument("--tui", action="store_true", help="in the terminal app")

    command("runs", "list the runs")

    show = command("show", "show one run: settings, state, held-out figures, notes")
    show.add_argument("run", metavar="RUN")

    plot = command("plot", "draw the curves of one or several runs")
    plot.add_argument("run", nargs="+", metavar="RUN")
    plot.add_argument("--out", default="", help="PNG or SVG file (default: curves.png in the run's folder)")

    data = commands.add_parser("data", help="look at preference data", description="Look at preference data.")
    kinds = data.add_subparsers(dest="data_command", metavar="COMMAND", required=True, parser_class=Parser)
    check = kinds.add_parser("check", help="show layout, one pair as tokenised, and statistics")
    check.add_argument("source", metavar="FILE", help="a file, a folder, or a hub dataset")
    check.add_argument("--row", type=int, default=1, help="which pair to show (default 1)")
    if command_name == "data":
        add_flags(check)

    bench = command("bench", "measure how fast a model trains here and what each saving brings, and advise")
    bench.add_argument("recipe", nargs="?", metavar="RECIPE", help="a TOML recipe, or the name of a shipped one")
    bench.add_argument("--times", type=int, default=8, help="steps measured for each setting (default 8)")
    if command_name == "bench":
        add_flags(bench)

    command("recipes", "list the shipped recipes")
    command("doctor", "say which backends and devices work here, and what to install")
    return top


def add_flags(command: argparse.ArgumentParser) -> None:
    """The recipe's flags."""
    from mio_local.flags import add_recipe_flags

    add_recipe_flags(command)


def run(argv: Sequence[str]) -> int:
    """Run one command. Returns the exit code; raises MioError for a user's mistake."""
    arguments = parser(command_of(argv)).parse_args(argv)
    if arguments.command is None or getattr(arguments, "tui", False):
        return open_app(arguments)
    if arguments.command in ("demo", "train", "resume") and not getattr(arguments, "detach", False):
        from mio_local.blas import preload

        preload(threads=1 if arguments.command == "demo" else 0)
    match arguments.command:
        case "demo":
            from mio_local.commands import demo as module
        case "train":
            from mio_local.commands import train as module
        case "resume":
            from mio_local.commands import resume as module
        case "runs":
            from mio_local.commands import runs as module
        case "watch" | "attach" | "pause" | "stop":
            from mio_local.commands import follow as module
        case "show":
            from mio_local.commands import show as module
        case "plot":
            from mio_local.commands import plot as module
        case "data":
            from mio_local.commands import data as module
        case "bench":
            from mio_local.commands import bench as module
        case "recipes":
            from mio_local.commands import recipes as module
        case _:
            from mio_local.commands import doctor as module
    return module.main(arguments)


def command_of(argv: Sequence[str]) -> str:
    """The command's name: the first argument that is neither a flag nor the value of --runs. Empty without one."""
    before = ""
    for word in argv:
        if before != "--runs" and not word.startswith("-"):
            return word
        before = word
    return ""


def open_app(arguments: argparse.Namespace) -> int:
    """The terminal app; where there is no terminal, the help."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        if arguments.command is None:
            parser().print_help()
            return 0
        raise RecipeError(f"{arguments.command} --tui: this is no terminal; leave --tui out")
    from mio_local.runs import find, runs_folder

    folder = runs_folder(arguments.runs).absolute()
    run = str(find(folder, arguments.run).path) if arguments.command == "watch" else ""
    module = importlib.import_module("mio_tui.app")  # by name: the core knows of no screen
    backend = {key: getattr(arguments, key) for key in ("backend", "device", "steps") if hasattr(arguments, key)}
    app = module.MioApp(folder, open_run=run, demo=backend or None)
    parting = app.run()
    if parting:
        print(parting)
    return app.return_code or 0


def main() -> None:
    """Entry point: a user's mistake, or a file that cannot be used, is one line on stderr and exit code 2."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # the libraries' warnings are for us, and hide the one line
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
        if is_full_disk(error):
            code = _complain(f"the disk is full: {one_line(error)}; free some space, then do this again")
        elif isinstance(error, OSError) and error.filename:
            code = _complain(f"{error.filename}: {error.strerror}")
        else:
            raise
    sys.exit(code)


def _complain(text: str) -> int:
    print(f"mio-local: {visible(' '.join(text.split()))}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
