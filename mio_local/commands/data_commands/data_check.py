"""`mio-local data check FILE`: the layout, one pair exactly as tokenised, statistics, and what looks wrong."""

import argparse
import contextlib
import json
import shlex
from collections.abc import Generator

from rich.console import Console
from rich.text import Text

from mio_local import printing
from mio_local.data.check import Summary, examine, stop_line
from mio_local.data.examples import Example
from mio_local.data.layouts import LAYOUTS
from mio_local.data.messages import shown_text
from mio_local.data.pairs import Pair, Pairs, held_out_source, load_pairs
from mio_local.data.reading.wanted import wanted_of
from mio_local.data.stored.preference_pair import names_of
from mio_local.data.template import Chat
from mio_local.data.token_text import are_cut, pieces, special_ids
from mio_local.data.tokenise import chat_with
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import DataError
from mio_local.flags import as_text, recipe_from
from mio_local.learning import LossSettings
from mio_local.process import without
from mio_local.progress import Report, silent
from mio_local.recipe import DataSettings, ModelSettings
from mio_local.storage.paths import expanded
from mio_local.text import visible

SHOWN_TOKENS = 400  # of each part of the pair


def main(arguments: argparse.Namespace) -> int:
    """Check a source of pairs with the recipe flags given."""
    without("torch")
    recipe = recipe_from(arguments)
    check(arguments.source, recipe.model, recipe.data, arguments.row - 1, seed=recipe.train.seed, loss=recipe.loss)
    return 0


def check(
    source: str,
    model: ModelSettings,
    settings: DataSettings,
    row: int = 0,
    console: Console | None = None,
    seed: int = 0,
    loss: LossSettings | None = None,
) -> None:
    """Print what is known of the pairs or groups in `source`, read as `loss` wants them, the default one if None; `row`
    counts them from 0, and `seed` chooses the held out.

    Without a model name, tells the layout and shows the pair as text. A row that would stop the training is raised as
    `DataError` after all is printed. Raises `ModelError` and `HubError` too.
    """
    out = console or printing.console()
    settings = settings.model_copy(update={"source": source})
    loss = loss or LossSettings()
    wanted = wanted_of(loss)
    with _reporting(out) as report:
        report("reading the pairs", 0, 0)
        pairs = load_pairs(source, settings.model_copy(update={"bad_rows": "skip"}), wanted=wanted)
    if not 0 <= row < len(pairs):
        raise DataError(f"--row {row + 1}: there are pairs 1 to {len(pairs)}")
    _print_layout(out, source, pairs, settings)
    if not model.name:
        _print_text(out, pairs[row], row)
        for note in pairs.notes:
            _line(out, f"{printing.SIGNS['warning']} {note}")
        _stop_if(stop_line(pairs.problem if settings.bad_rows == "error" else "", sum(pairs.skipped.values())))
        printing.next_steps(out, f"mio-local data check {shlex.quote(source)} --model FOLDER   to see the tokens")
        return
    chat = chat_with(load_tokenizer(model), settings, expanded(model.name, "--model"))
    if settings.template_args:
        _line(out, f"  template arguments  {visible(as_text(settings.template_args))}")
    _print_tokens(out, chat, chat.encode(pairs[row], settings.max_tokens, "cut"), pairs[row].sampled)
    for kind in chat.lost(pairs[row]):
        _line(out, f"  in no token: {kind}")
    with _reporting(out) as report:
        found = examine(pairs, chat, settings, seed, lambda done, total: report("tokenising", done, total), wanted)
    _print_summary(out, found.summary)
    for warning in found.warnings:
        _line(out, f"{printing.SIGNS['warning']} {warning}")
    _stop_if(found.stops)
    printing.next_steps(out, _train_command(source, model, settings, loss))


@contextlib.contextmanager
def _reporting(out: Console) -> Generator[Report]:
    """What takes long, on a terminal; nothing goes into a file."""
    if not out.is_terminal:
        yield silent
        return
    with printing.preparing(out) as report:
        yield report


def _stop_if(problem: str) -> None:
    if problem:
        raise DataError(problem)


def _line(out: Console, text: str) -> None:
    out.print(Text(text))


def _print_layout(out: Console, source: str, pairs: Pairs, settings: DataSettings) -> None:
    shows = next(layout.shows for layout in LAYOUTS if layout.name == pairs.layout)
    _line(out, f"{visible(source)}: {len(pairs):,} pairs from {pairs.rows:,} rows")
    _line(out, f"  layout   {pairs.layout} ({shows})")
    _line(out, "  columns  " + ", ".join(f"{role}={visible(column)}" for role, column in pairs.columns.items()))
    if pairs.unused:
        _line(out, "  not used: " + ", ".join(map(visible, pairs.unused)))
    if pairs.cut_prompts_in_answers:
        _line(out, f"  prompts  taken off the start of both answers of {pairs.cut_prompts_in_answers:,} pairs")
    if pairs.undecided:
        _line(out, f"  ranking  {pairs.undecided:,} comparisons make no pair: equal scores, or none")
    _print_groups(out, pairs)
    if not settings.eval_source and (split := held_out_source(settings)[1]):
        _line(out, f"  held out the folder's split {split}, whole")


def _print_groups(out: Console, pairs: Pairs) -> None:
    """What there is beside a chosen and a rejected answer: how many answers, their rewards, their labels."""
    found = pairs.repetitions()
    least, median, most = found.answers
    if (least, most) != (2, 2):
        _line(out, f"  answers  {least:,} / {median:,} / {most:,} a group (fewest / median / most)")
    if found.rewards:
        mean, low, high = found.rewards
        _line(out, f"  rewards  {mean:.4g} on average, from {low:.4g} to {high:.4g}")
    if found.labels:
        _line(out, f"  labels   {found.labels[0]:,} good answers and {found.labels[1]:,} bad ones stand alone")
    if pairs.answers_left:
        _line(out, "  left out " + ", ".join(f"{count:,} answers {why}" for why, count in pairs.answers_left.items()))


def _print_text(out: Console, pair: Pair, row: int) -> None:
    _line(out, f"\npair {row + 1}, {visible(pair.where)}")
    turns = [("prompt", pair.prompt)] if isinstance(pair.prompt, str) else [
        (message["role"], shown_text(message)) for message in pair.prompt
    ]
    names = names_of(len(pair.answers), pair.rewards, sampled=pair.sampled)
    said = [(name, shown_text(answer)) for name, answer in zip(names, pair.answers, strict=True) if answer]
    for name, text in (*turns, *said):
        _line(out, f"  {name:<9} {visible(text)}")
    if pair.tools:
        _line(out, f"  {'tools':<9} {visible(json.dumps(pair.tools, ensure_ascii=False))}")


def _print_tokens(out: Console, chat: Chat, example: Example, sampled: bool) -> None:
    _line(out, f"\n{visible(example.where)} as tokens: │prompt, not scored│  [scored]  ⏎ newline")
    special = special_ids(chat.tokenizer)
    names = names_of(len(example.answers), example.rewards, sampled=sampled)
    answers = [(name, ids, True, " (end cut)" if cut else "")
               for name, ids, cut in zip(names, example.answers, are_cut(example), strict=True) if ids]
    for name, ids, scored, cut in (
        ("prompt", example.prompt, False, " (start cut)" if example.cut_prompt else ""), *answers
    ):
        _line(out, f"{name}: {len(ids):,} tokens{', scored' if scored else ''}{cut}")
        out.print(tokens_line(pieces(chat.tokenizer, ids[:SHOWN_TOKENS]), ids, special, scored))


def tokens_line(texts: list[str], ids: list[int], special: set[int], scored: bool) -> Text:
    """Tokens side by side, scored ones in brackets and underlined, others between bars; special ones are bold."""
    line = Text("  ")
    for text, token in zip(texts, ids, strict=False):
        style = " ".join(("underline" if scored else "dim", "bold" if token in special else "")).strip()
        line.append("[" if scored else "│")
        line.append(visible(text), style=style)
        line.append("]" if scored else "")
    if not scored:
        line.append("│")
    if len(ids) > len(texts):
        line.append(f" … {len(ids) - len(texts):,} more")
    return line


def _print_summary(out: Console, summary: Summary) -> None:
    _line(out, f"\n{summary.encoded:,} pairs over {summary.prompts:,} prompts; held out: {summary.held_out_pairs:,} "
               f"pairs over {summary.held_out_prompts:,} prompts")
    table = printing.table("tokens", ["part", "min", "median", "95%", "max"])
    for name, counts in (("prompt", summary.prompt), ("chosen", summary.chosen), ("rejected", summary.rejected)):
        if counts:
            values = (counts.smallest, counts.median, counts.p95, counts.largest)
            printing.row(table, name, *(f"{value:,}" for value in values))
    out.print(table)
    _line(out, f"answers cut: {summary.truncated:,} pairs ({summary.truncated_share:.1%}); "
               f"prompts cut: {summary.cut_prompts:,}")
    _line(out, f"chosen longer: {summary.longer_chosen:,} pairs, rejected longer: {summary.longer_rejected:,}; "
               f"chosen has {summary.extra_tokens:+.1f} tokens on average")
    _line(out, f"repeated pairs: {summary.duplicates:,}; chosen same as rejected: {summary.identical:,}; "
               f"contradictory: {summary.contradictory:,}")


def _train_command(source: str, model: ModelSettings, settings: DataSettings, loss: LossSettings) -> str:
    words = ["mio-local", "train", "--model", model.name, "--data", source]
    defaults = DataSettings()
    if loss.name != LossSettings().name:
        words += ["--loss", loss.name]
    if (negatives := wanted_of(loss).negatives) > 1:
        words += ["--negatives", str(negatives)]
    if settings.template != defaults.template:
        words += ["--template", settings.template]
    if settings.max_tokens != defaults.max_tokens:
        words += ["--max-tokens", str(settings.max_tokens)]
    if settings.columns:
        words += ["--columns", ",".join(f"{role}={column}" for role, column in settings.columns.items())]
    for key in ("split", "revision", "ranking", "system", "long_prompt", "bad_rows", "limit"):
        if getattr(settings, key) != getattr(defaults, key):
            words += ["--set", f"data.{key}={getattr(settings, key)}"]
    return shlex.join(words)
