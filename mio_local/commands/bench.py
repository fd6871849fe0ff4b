"""`mio-local bench`: how fast a model trains on this machine, what each saving brings, and the settings to take."""

import argparse
import shlex
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mio_local.batching import Order
from mio_local.chat import Example
from mio_local.commands import screen
from mio_local.errors import BackendError, RecipeError
from mio_local.fitting import allowed
from mio_local.flags import flag_words, recipe_from
from mio_local.flags import words as words_of
from mio_local.levers import SCORED
from mio_local.measure import WARM_UP
from mio_local.recipe import PLAIN, Recipe
from mio_local.room import pair_tokens
from mio_local.session import resolve_backend
from mio_local.tokenizer import padding
from mio_local.tokens import Report, tokenise
from mio_local.trial import Result, Trial, run

WORTH = 1.05  # times as fast: what is less may be noise
LATER, EARLY = "as it is", "first epoch"


@dataclass(frozen=True)
class Row:
    """A recipe to try, and the row that its speed is told against. `changes`: flags by which it differs from the first.
    `reference`: the reference is computed in each step, as in a first epoch."""

    name: str
    recipe: Recipe
    against: str = LATER
    changes: tuple[str, ...] = ()
    reference: bool = False


def main(arguments: argparse.Namespace) -> int:
    """Measure the recipe, then the recipe with one thing changed at a time. Raises BackendError where nothing ran."""
    if arguments.times < 1:
        raise RecipeError(f"--times {arguments.times}: must be at least 1")
    out = screen.console()
    backend, recipe, device = resolve_backend(recipe_from(arguments).absolute())
    found: dict[str, Result | str] = {}
    with screen.preparing(out) as report:
        tokens, place = tokenise(recipe, report, time.time())
        groups = groups_of(tokens.train, recipe, arguments.times)
        rows = [Row(LATER, recipe)]
        for number, row in enumerate(rows):
            size = row.recipe.train.batch_size
            trial = Trial(row.recipe, place, [group[:size] for group in groups], padding(tokens.chat.tokenizer))
            trial = replace(trial, reference=row.reference, rate=row.name == LATER)
            found[row.name] = measured(trial, f"{number + 1} of {max(len(rows), 2)}: {row.name}", report)
            if row.name == LATER:  # what is to be tried beside it depends on it
                rows += beside(recipe, found[LATER])
    lengths = [pair_tokens(example) for group in groups for example in group]
    out.print(
        f"{recipe.model.name} on {backend.name}, {device.name}: medians of {arguments.times} steps of "
        f"{recipe.train.batch_size} pairs; a pair has {statistics.mean(lengths):.0f} tokens, {max(lengths):,} at most"
    )
    show(out, rows, found)
    if not any(isinstance(one, Result) for one in found.values()):
        raise BackendError(f"no setting could be measured: {found[LATER]}")
    advise(out, rows, found, allowed(recipe, device.kind))
    return 0


def groups_of(examples: Sequence[Example], recipe: Recipe, times: int) -> list[list[Example]]:
    """The pairs of each step: the longest first, for the peak of memory, then those that a run would begin with."""
    size = recipe.train.batch_size
    lengths = [len(e.prompt) + max(len(e.chosen), len(e.rejected)) for e in examples]
    order = Order(lengths, size, 1, recipe.train.seed)
    longest = sorted(examples, key=pair_tokens)[-size:]
    return [longest] + [[examples[i] for i in order.step(k)[0]] for k in range(WARM_UP - 1 + times)]


def beside(recipe: Recipe, first: Result | str) -> list[Row]:
    """The recipe with one thing changed: each saving that it uses off, all of them, checkpointing, a smaller batch."""
    speed, train = recipe.speed, recipe.train
    on = first.on if isinstance(first, Result) else [key for key, value in speed if value]
    rows = [Row(EARLY, recipe, reference=True)]
    for lever in on:
        if lever in (*SCORED, "frozen_once"):  # frozen blocks are run for policy and reference only where both are
            early = lever == "frozen_once"
            changed = recipe.model_copy(update={"speed": speed.without([lever])})
            words = tuple(flag_words(f"speed.{lever}", False))
            rows.append(Row(f"{lever} off", changed, EARLY if early else LATER, words, early))
    if on:
        rows.append(Row("no savings", recipe.model_copy(update={"speed": PLAIN}), EARLY, reference=True))
    checkpoint = not train.grad_checkpoint
    rows.append(_trained(recipe, f"grad_checkpoint {'on' if checkpoint else 'off'}", grad_checkpoint=checkpoint))
    if train.batch_size % 2 == 0:
        half, times = train.batch_size // 2, train.accumulate * 2
        rows.append(_trained(recipe, f"batch {half} x{times}", batch_size=half, accumulate=times))
    return rows


def _trained(recipe: Recipe, name: str, **keys: int) -> Row:
    words = [word for key, value in keys.items() for word in flag_words(f"train.{key}", value)]
    if not keys.get("grad_checkpoint", True):
        words = ["--no-grad-checkpoint"]
    return Row(name, recipe.model_copy(update={"train": recipe.train.model_copy(update=keys)}), changes=tuple(words))


def measured(trial: Trial, name: str, report: Report) -> Result | str:
    """What `run` finds, its progress reported."""
    report(name, 0, len(trial.groups))
    steps = run(trial)
    while True:
        try:
            report(name, *next(steps))
        except StopIteration as end:
            return end.value


def show(out: screen.Console, rows: Sequence[Row], found: dict[str, Result | str]) -> None:
    """A line for each setting, then what could not be measured or used, and why."""
    table = screen.table("", ["setting", "pairs/s", "tokens/s", "of peak", "memory", "against"])
    first = found[LATER]
    rate = first.matrix_rate if isinstance(first, Result) else 0
    for row in rows:
        one, other = found[row.name], found[row.against]
        if isinstance(one, str):
            screen.row(table, row.name, *"—————")
            continue
        share = f"{one.work / rate:.0%}" if rate else "—"
        against = f"{one.pairs / other.pairs:.2f}x" if isinstance(other, Result) and other is not one else "—"
        against += f" {row.against}" if row.against != LATER else ""
        screen.row(
            table, row.name, f"{one.pairs:.3g}", f"{one.tokens:,.0f}", share, f"{one.peak / 1e9:.2f} GB", against
        )
    out.print(table)
    if rate:
        out.print(f"peak: {rate / 1e9:,.0f} GFLOP/s, of products of large matrices; a prompt's work is counted once")
    reasons = {f"{row.name}: {found[row.name]}" for row in rows if isinstance(found[row.name], str)}
    if isinstance(first, Result):
        reasons |= {f"{lever} cannot be used: {why}" for lever, why in first.refused.items()}
    for reason in sorted(reasons):
        out.print(f"{screen.SIGNS['info']} {reason}")


def advise(out: screen.Console, rows: Sequence[Row], found: dict[str, Result | str], free: int) -> None:
    """The settings to take: the first row's, with what was faster by itself, or what fits where that does not."""

    def result(row: Row) -> Result | None:
        one = found[row.name]
        return one if isinstance(one, Result) and (not free or one.peak <= free) else None

    first, *others = rows
    better: list[tuple[Row, str]] = []
    for row in others:
        one, other = result(row), found[row.against]
        if one and row.changes and isinstance(other, Result) and one.pairs > WORTH * other.pairs:
            better.append((row, f"{row.name} ({one.pairs / other.pairs:.2f}x)"))
    if result(first) is None:  # it does not fit: of what does, the fastest
        fitting = [(one.pairs, row) for row in others if row.changes and (one := result(row))]
        better = [(row, f"{row.name}, which fits") for _, row in sorted(fitting, key=lambda found: found[0])[-1:]]
        if not better:
            out.print("recommended: a smaller model, --quantize 4, or a smaller --max-tokens: nothing here fits")
            return
    if better:
        each = ", each measured by itself" if len(better) > 1 else ""
        out.print(f"recommended: {', '.join(told for _, told in better)}{each}")
    else:
        out.print(f"recommended: the settings as they are; nothing else was {WORTH - 1:.0%} faster")
    changes = [word for row, _ in better for word in row.changes]
    screen.next_steps(out, shlex.join(["mio-local", "train", *words_of(first.recipe), *changes]))
