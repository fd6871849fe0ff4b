"""The command line: every command with its flags; the recipe's are made only for the command that takes them."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from mio_local import __version__
from mio_local.errors import RecipeError, nearest
from mio_local.export.choices import FORMATS
from mio_local.process import TRUST

BASE = "the base, where an adapter's folder does not name it, or where a run's is now"
OF_RUNS = ("resume", "check", "export", "push", "chat", "generate", "eval")  # which load what a run's recipe names
MINUS = "−"  # for a - that begins a word and no flag, of which argparse knows nothing
AFTER = "in the background, once that run is over and what waits for it already"
HOSTS = "the machines of a run, a file that mlx.distributed_config writes: mlx.launch begins a rank on each (MLX)"
WHERE = "where runs live (default: MIO_LOCAL_RUNS, else user data)"


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, with the nearest flag."""

    takes_minus = False  # whether a word as -best is no flag
    commands: Sequence[str] = ()  # the names of a parser's commands

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **options)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride] - its overloads, in one signature
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Refuses what it does not know here, as the command's own parser: argparse would leave that to the top one,
        which knows none of the command's flags."""
        if self.takes_minus:
            args = [MINUS + word[1:] if re.match(r"-[^-]", word) and word != "-h" else word for word in args]
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
        epilog="mio-local help settings lists every setting of a run; mio-local demo is the way to begin.",
    )
    top.add_argument("--version", action="version", version=f"mio-local {__version__}")
    top.add_argument("--runs", metavar="DIR", help=WHERE)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def command(name: str, help: str) -> Parser:
        added = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        added.add_argument("--runs", metavar="DIR", default=argparse.SUPPRESS, help=WHERE)
        if name in OF_RUNS:
            added.add_argument(TRUST, action="store_true", help="run the Python code that the run's recipe asks for")
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
    train.add_argument("--after", default="", metavar="RUN", help=AFTER)
    train.add_argument("--hosts", default="", metavar="FILE", help=HOSTS)
    train.add_argument("--force", action="store_true", help="go on where the first loss is not what it must be")
    train.add_argument("--make", dest="make_file", default="", metavar="FILE",
                       help="a TOML file whose [make] says how the pairs of --rounds are made")
    if command_name == "train":
        add_flags(train)

    resume = command("resume", "go on with a stopped, failed or lost run, exactly")
    resume.add_argument("run", nargs="?", default="", metavar="RUN")
    resume.add_argument("--all", action="store_true", help="all runs that were left in line, after a reboot say")
    resume.add_argument("--detach", action="store_true", help="go on in the background and return at once")
    resume.add_argument("--after", default="", metavar="RUN", help=AFTER)
    resume.add_argument("--devices", type=int, default=0, metavar="N",
                        help="devices to go on with; the run goes on along the same curve (default: as before)")
    resume.add_argument("--hosts", default="", metavar="FILE", help=HOSTS)
    resume.add_argument("--from", dest="start", default="", metavar="CHECKPOINT",
                        help="an earlier one, as step-000100; those after it are set aside")
    resume.add_argument("--force", action="store_true",
                        help="go on where the first loss, or the events so far, are not what they must be, or another "
                        "machine wrote to the run a moment ago")

    resume.add_argument("--judge", default="", metavar="JUDGE",
                        help="let the code run that the run's recipe has for a judge, by naming it: python:FILE, tests")
    elsewhere = "where the run's {} are now, on a machine that it was copied to, say: their digest decides"
    resume.add_argument("--model", default="", metavar="PATH", help=elsewhere.format("base's weights"))
    resume.add_argument("--data", default="", metavar="PATH", help=elsewhere.format("pairs"))
    resume.add_argument("--eval-data", default="", metavar="PATH", help=elsewhere.format("held-out pairs"))
    resume.add_argument("--set", dest="assignments", metavar="KEY=PATH", action="append", default=[],
                        help="the same of another file that its recipe names, as eval.tasks=PATH")

    check = command("check", "verify every file of a run, its base model and its pairs")
    check.add_argument("run", metavar="RUN")

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

    runs = command("runs", "list the runs")
    runs.add_argument("--tag", action="append", default=[], help="those with this tag; may be given again")

    show = command("show", "show one run: settings, state, held-out figures, notes")
    show.add_argument("run", metavar="RUN")

    rename = command("rename", "give a run another name, and what begins with it or reads from it")
    rename.add_argument("run", metavar="RUN")
    rename.add_argument("new", metavar="NEW")

    note = command("note", "write a note of yours about a run; an empty one takes it away")
    note.add_argument("run", metavar="RUN")
    note.add_argument("text", metavar="TEXT")

    tag = command("tag", "put tags on a run, as +best, or take them away, as -best")
    tag.takes_minus = True
    tag.add_argument("run", metavar="RUN")
    tag.add_argument("tags", nargs="+", metavar="+TAG|-TAG")

    delete = command("delete", "move runs to the trash, where they are kept for seven days")
    delete.add_argument("run", nargs="*", metavar="RUN")
    delete.add_argument("--empty", action="store_true", help="delete all that is in the trash for good")

    undelete = command("undelete", "take a run back out of the trash: the last deleted, or the last of that name")
    undelete.add_argument("run", nargs="?", default="", metavar="RUN")

    plot = command("plot", "draw the curves of one or several runs")
    plot.add_argument("run", nargs="+", metavar="RUN")
    plot.add_argument("--out", default="", help="PNG or SVG file (default: curves.png in the run's folder)")

    report = command("report", "write one file about one or several runs, to read in a browser or to share")
    report.add_argument("run", nargs="+", metavar="RUN")
    where = "HTML or Markdown file (default: report.html in the run's folder, or here for several)"
    report.add_argument("--out", default="", help=where)

    export = command("export", "write the trained adapter as files that other programs load, and check them")
    export.add_argument("run", metavar="RUN", help="a run, or a folder with an adapter")
    export.add_argument("--to", required=True, metavar="FORMAT", help=f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    export.add_argument("--out", default="", metavar="PLACE", help="where to (default: in exports/ of the run)")
    export.add_argument("--checkpoint", default="final", help="final, best or step-000100 (default final)")
    export.add_argument("--quantize", default="", metavar="TYPE",
                        help="of a merged model: 4 or 8; of GGUF: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, or by "
                        "llama.cpp's llama-quantize q6_k, q5_k_m, q4_k_m, ... (default: the weights' own)")
    export.add_argument("--adapter-only", action="store_true", help="of GGUF: the adapter alone, for a base as GGUF")
    export.add_argument("--name", default="", help="what Ollama or LM Studio is to call it (default: the run's name)")
    export.add_argument("--llama-cpp", default="", metavar="DIR",
                        help="write GGUF by llama.cpp's programs in this checkout (default, where they are needed: "
                        "that of MIO_LOCAL_LLAMA_CPP, else PATH)")
    export.add_argument("--gguf-type", default="auto", metavar="TYPE", help="an older name of --quantize for GGUF")
    export.add_argument("--model", default="", help=BASE)
    export.add_argument("--device", default="", help="where to compute (default: the run's)")

    push = command("push", "send the trained adapter or model to the Hugging Face hub; shows first what would be sent")
    push.add_argument("run", metavar="RUN")
    push.add_argument("--to", required=True, metavar="USER/NAME", help="the repository")
    push.add_argument("--what", default="adapter", help="adapter (as it is), peft, mlx or merged (default adapter)")
    push.add_argument("--checkpoint", default="final", help="final, best or step-000100 (default final)")
    push.add_argument("--license", default="", help="of the base, where its page does not say")
    push.add_argument("--private", action="store_true", help="for you alone")
    push.add_argument("--replace", action="store_true", help="add to a repository that holds something already")
    push.add_argument("--yes", action="store_true", help="send it")

    for name, help in (
        ("chat", "talk with the trained model beside its base, in the terminal app; from a pipe, a question a line"),
        ("generate", "answer one question with the trained model, its base, or both"),
    ):
        talk = command(name, help)
        talk.add_argument("run", nargs="+", metavar="RUN", help="runs or adapters' folders of one base, or a model's")
        talk.add_argument("--with", dest="who", default="both", help="adapter, base or both (default both)")
        talk.add_argument("--system", default="", help="message put before the conversation (default: the run's)")
        talk.add_argument("--checkpoint", default="final", help="final, best or step-000100 (default final)")
        talk.add_argument("--model", default="", help=BASE)
        talk.add_argument("--template", default="", help="auto, none, or a Jinja file (default: the run's, else auto)")
        talk.add_argument("--device", default="", help="where to compute (default: the run's)")
        if name == "generate":
            talk.add_argument("--prompt", default="", help="the question (default: standard input)")
        if command_name == name:
            add_sampling_flags(talk)

    measure = command("eval", "measure a run, an adapter or a model: held-out pairs, KL divergence, tasks, questions")
    add_eval(measure)
    if command_name == "eval":
        from mio_local.flags import add_reading_flags

        add_reading_flags(measure)

    described = "look at preference data, or make it"
    data = commands.add_parser("data", help=described, description=f"{described.capitalize()}.")
    kinds = data.add_subparsers(dest="data_command", metavar="COMMAND", required=True, parser_class=Parser)
    check = kinds.add_parser("check", help="show layout, one pair as tokenised, and statistics")
    check.add_argument("source", metavar="FILE", help="a file, a folder, or a hub dataset")
    check.add_argument("--row", type=int, default=1, help="which pair to show (default 1)")
    make = kinds.add_parser("make", help="make pairs of prompts: answers of the model itself, judged")
    add_make(make)
    if command_name == "data":
        add_flags(check)
        add_flags(make)

    bench = command("bench", "measure how fast a model trains here and what each saving brings, and advise")
    bench.add_argument("recipe", nargs="?", metavar="RECIPE", help="a TOML recipe, or the name of a shipped one")
    bench.add_argument("--times", type=int, default=8, help="steps measured for each setting (default 8)")
    if command_name == "bench":
        add_flags(bench)

    command("recipes", "list the shipped recipes")
    doctor = command("doctor", "say which backends and devices work here, and what to install")
    doctor.add_argument("--devices", type=int, default=1, metavar="N", help="measure N of them, and their links")
    doctor.add_argument("--backend", default="auto", help="of --devices: mlx, cuda or auto")
    doctor.add_argument("--device", default="auto", help="of --devices: auto, gpu or cpu")

    explain = command("help", "explain a command, a setting or a word; `help settings` and `help words` list them")
    explain.add_argument("subject", nargs="*", metavar="SUBJECT",
                         help="settings, words or verdict; or a command, a key as loss.beta, a flag without its "
                         "dashes, a word as margin")
    top.commands = list(commands.choices)
    return top


def add_eval(command: argparse.ArgumentParser) -> None:
    """The flags of `eval`."""
    command.add_argument("run", metavar="RUN", help="a run, a folder with an adapter, or a model")
    command.add_argument("--checkpoint", default="final", help="final, best or step-000100 (default final)")
    command.add_argument("--data", default="", metavar="FILE", help="pairs to score (default: the run's held-out ones)")
    command.add_argument("--tasks", default="", metavar="A,B", help="tasks of lm-evaluation-harness")
    command.add_argument("--tasks-folder", default="", metavar="DIR", help="where YAML files of your own tasks are")
    command.add_argument("--apply-chat-template", action="store_true", help="in tasks; as the harness's flag")
    command.add_argument("--questions", default="", metavar="FILE", help="JSONL of question and answer: exact match")
    command.add_argument("--rule", default="last-number",
                         help="what counts: last-number, exact, boxed, letter or regex:PATTERN")  # fmt: skip
    command.add_argument("--answer-tokens", type=int, default=0, metavar="N", help="of an answer, at most")
    command.add_argument("--forgetting", nargs="?", const="shipped", default="none", metavar="FILE",
                         help="perplexity of plain text before and after: a file, else the text that is shipped")
    command.add_argument("--limit", type=int, default=0, metavar="N", help="pairs, questions and documents, at most")
    command.add_argument("--no-preference", action="store_true", help="score no pairs and draw no answers")
    command.add_argument("--samples", type=int, default=64, metavar="N", help="answers drawn for the KL divergence")
    command.add_argument("--gap", action="store_true", help="how far the policy is from the best that rewards allow, "
                         "and whether rank or training is lacking; trains on --limit prompts (8) one by one")
    command.add_argument("--gap-total", action="store_true", help="the same without the trainings: one figure")
    command.add_argument("--prompts", default="", metavar="FILE", help="of --gap (default: the run's held-out ones)")
    command.add_argument("--judge", default="", help="of --gap (default: the run's)")
    command.add_argument("--answers", type=int, default=0, metavar="K", help="drawn to each prompt of --gap")
    command.add_argument("--seed", type=int, default=0, help="of drawn answers and of intervals (default 0)")
    command.add_argument("--model", default="", help=BASE)
    command.add_argument("--backend", default="auto", help="of a model or an adapter: mlx, cuda or auto")
    command.add_argument("--device", default="auto", help="where to compute (default: the run's)")


def add_make(command: argparse.ArgumentParser) -> None:
    """The flags of `data make` that are no settings."""
    command.add_argument("recipe", nargs="?", metavar="RECIPE", help="a TOML recipe, or the name of a shipped one")
    command.add_argument("--runs", metavar="DIR", default=argparse.SUPPRESS, help=WHERE)
    command.add_argument("--from", dest="source_run", default="", metavar="RUN", help="let a run's adapter answer")
    command.add_argument("--checkpoint", default="final", help="of that run: final, best or step-000100")
    command.add_argument("--out", default="", metavar="FILE", help="JSONL file to write (default: pairs.jsonl)")
    command.add_argument("--examples", type=int, default=3, metavar="N", help="pairs shown at the end (default 3)")
    command.add_argument("--force", action="store_true", help="draw anew, and replace what is there")


def add_flags(command: argparse.ArgumentParser) -> None:
    """The recipe's flags."""
    from mio_local.flags import add_recipe_flags

    add_recipe_flags(command)


def add_sampling_flags(command: argparse.ArgumentParser) -> None:
    """How answers are drawn."""
    from mio_local.flags import add_section_flags
    from mio_local.sampling import Sampling

    add_section_flags(command, Sampling)
