"""`mio-local generate RUN`: one answer, streamed. `mio-local chat RUN`: the app's chat screen, or a question a line."""

import argparse
import sys
from collections.abc import Iterator

from mio_local import printing
from mio_local.chat.conversation import Ending, Talker, gather, open_talker
from mio_local.chat.start import BASE, clean, start_from
from mio_local.data.messages import Message
from mio_local.errors import DataError
from mio_local.runs.directory import runs_folder
from mio_local.sampling import Sampling
from mio_local.text import harmless, visible


def main(arguments: argparse.Namespace) -> int:
    """Answer; 0 once all is answered."""
    start = start_from(arguments)
    asked = questions(arguments)
    base, adapters = gather(runs_folder(arguments.runs), start)
    out = printing.console()
    with printing.preparing(printing.error_console()) as report:
        talker = open_talker(base, adapters, report)
    wanted = {"both": talker.voices, "base": [BASE], "adapter": talker.voices[:-1]}[start.who]
    voices = wanted or [BASE]
    opening: list[Message] = [{"role": "system", "content": base.system}] if base.system else []
    past = {voice: list(opening) for voice in voices}
    for question in asked:
        for voice in voices:
            turns = past[voice]
            turns.append({"role": "user", "content": question})
            if len(voices) > 1:
                out.print(f"── {visible(voice)} ──")
            ending = spoken(talker, turns, voice, start.sampling)
            turns.append({"role": "assistant", "content": ending.text})
            speed = ending.tokens / max(ending.seconds, 1e-9)
            printing.error_console().print(f"{ending.tokens} tokens, {speed:.0f}/s, {ending.end}")
    return 0


def questions(arguments: argparse.Namespace) -> Iterator[str]:
    """The prompt; the whole of standard input for `generate`, a question a line for `chat`."""
    if prompt := getattr(arguments, "prompt", ""):
        return iter([clean(prompt, "--prompt")])
    if arguments.command == "chat":
        return (line.strip() for line in lines() if line.strip())
    if sys.stdin.isatty():
        raise DataError("--prompt: nothing was asked; give the question, or pipe it in")
    if not (text := "".join(lines()).strip()):
        raise DataError("standard input: it is empty; give the question with --prompt")
    return iter([text])


def lines() -> Iterator[str]:
    """The lines of standard input. Raises RecipeError for one that is no text."""
    try:
        for line in sys.stdin:
            yield clean(line, "standard input")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input: is not UTF-8 text ({error.reason}); convert it first") from None


def spoken(talker: Talker, turns: list[Message], voice: str, sampling: Sampling) -> Ending:
    """Print an answer as it comes: into a file or a pipe as it is, on a terminal without what would steer that."""
    shown = harmless if sys.stdout.isatty() else str

    def told(piece: str) -> bool:
        sys.stdout.write(shown(piece))
        sys.stdout.flush()
        return True

    ending = talker.answer(turns, voice, sampling, told)
    sys.stdout.write("\n")
    return ending
