"""`mio-local generate RUN`: one answer, streamed. `mio-local chat RUN`: the app's chat screen, or a question a line."""

import argparse
import sys
from collections.abc import Iterator

from mio_local.commands import screen
from mio_local.errors import DataError, RecipeError
from mio_local.flags import section_from
from mio_local.message import Message
from mio_local.pieces import visible
from mio_local.runs import runs_folder
from mio_local.sampling import Sampling
from mio_local.talk import BASE, Ending, Talker, gather, open_talker

WHO = ("adapter", "base", "both")


def main(arguments: argparse.Namespace) -> int:
    """Answer; 0 once all is answered."""
    sampling = section_from(arguments, Sampling)
    if arguments.who not in WHO:
        raise RecipeError(f"--with {arguments.who}: it is {', '.join(WHO)}")
    asked = questions(arguments)
    base, adapters = gather(
        runs_folder(arguments.runs), arguments.run, arguments.checkpoint, arguments.model, arguments.device
    )
    out = screen.console()
    with screen.preparing(screen.error_console()) as report:
        talker = open_talker(base, adapters, arguments.system, report)
    wanted = {"both": talker.voices, "base": [BASE], "adapter": talker.voices[:-1]}[arguments.who]
    voices = wanted or [BASE]
    past: dict[str, list[Message]] = {voice: [] for voice in voices}
    for question in asked:
        for voice in voices:
            turns = past[voice]
            turns.append({"role": "user", "content": question})
            if len(voices) > 1:
                out.print(f"── {visible(voice)} ──")
            ending = spoken(talker, turns, voice, sampling)
            turns.append({"role": "assistant", "content": ending.text})
            speed = ending.tokens / max(ending.seconds, 1e-9)
            screen.error_console().print(f"{ending.tokens} tokens, {speed:.0f}/s, {ending.end}")
    return 0


def questions(arguments: argparse.Namespace) -> Iterator[str]:
    """The prompt; the whole of standard input for `generate`, a question a line for `chat`."""
    if prompt := getattr(arguments, "prompt", ""):
        return iter([prompt])
    if arguments.command == "chat":
        return (line.strip() for line in sys.stdin if line.strip())
    if sys.stdin.isatty():
        raise DataError("--prompt: nothing was asked; give the question, or pipe it in")
    if not (text := sys.stdin.read().strip()):
        raise DataError("standard input: it is empty; give the question with --prompt")
    return iter([text])


def spoken(talker: Talker, turns: list[Message], voice: str, sampling: Sampling) -> Ending:
    """Print an answer as it comes. Ctrl-C ends it."""

    def told(piece: str) -> bool:
        sys.stdout.write("\n".join(visible(part) for part in piece.split("\n")))
        sys.stdout.flush()
        return True

    ending = talker.answer(turns, voice, sampling, told)
    sys.stdout.write("\n")
    return ending
