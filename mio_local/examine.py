"""What a training on some pairs would meet: their statistics as tokenised, what looks wrong, and what would stop it."""

from dataclasses import dataclass

from mio_local import datacheck
from mio_local.chat import Chat
from mio_local.pairs import REMEDY, Pairs, split_by_prompt
from mio_local.recipe import DataSettings


@dataclass(frozen=True)
class Findings:
    """The statistics, one line for each thing that looks wrong, and the line that a training would stop with, or ""."""

    summary: datacheck.Summary
    warnings: list[str]
    stops: str


def examine(pairs: Pairs, chat: Chat, settings: DataSettings, seed: int) -> Findings:
    """Tokenise all `pairs` as a training with these settings would, and tell what there is to tell.

    `pairs` are loaded with their bad rows skipped; `seed` chooses the held out.
    """
    long_prompt = "skip" if settings.long_prompt == "error" else settings.long_prompt
    examples, counts = chat.encode_all(pairs, settings.max_tokens, long_prompt, "skip")
    held_out = [] if settings.eval_source else split_by_prompt(pairs, settings.eval_fraction, seed)[1]
    summary = datacheck.summarise(pairs, examples, counts, held_out, chat)
    problems = [pairs.problem] if settings.bad_rows == "error" else []
    if settings.long_prompt == "error" or settings.bad_rows == "error":
        problems.append(counts.problem)
    stops = stop_line(next(filter(None, problems), ""), sum(summary.skipped.values()))
    return Findings(summary, datacheck.warnings(summary, settings.max_tokens), stops)


def stop_line(problem: str, rows: int) -> str:
    """What would stop the training with its remedy and the number of rows with such a fault; "" for no problem."""
    if not problem:
        return ""
    more = f" ({rows:,} such rows)" if rows > 1 else ""
    return problem + more if "--set" in problem else f"{problem}{REMEDY}{more}"
