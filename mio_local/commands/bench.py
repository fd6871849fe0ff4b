"""`mio-local bench`: how fast a model trains on this machine, what each saving brings, and the settings to take."""

import argparse
import shlex
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mio_local import printing
from mio_local.adapters.adapter import inherit, read_adapter
from mio_local.backends import resolve_backend
from mio_local.bench.measure import WARM_UP
from mio_local.bench.scaling import speedup
from mio_local.bench.trial import Result, Trial, run
from mio_local.data.examples import Example, by_length, pair_tokens
from mio_local.data.stepping.step_order import Order
from mio_local.errors import BackendError, RecipeError
from mio_local.flags import flag_words, recipe_from
from mio_local.flags import words as words_of
from mio_local.memory.fitting import allowed
from mio_local.memory.pass_tokens import by_estimate
from mio_local.memory.rehearsal import Rehearsal
from mio_local.progress import Report
from mio_local.recipe import PLAIN, Recipe
from mio_local.runs.directory import runs_folder
from mio_local.runs.naming import located
from mio_local.text import visible, visible_line
from mio_local.training.inputs import tokenised
from mio_local.training.optimizations import SCORED, Optimizations

DEVICES = (2, 4, 8, 16, 64)  # of which it is told what they would bring
WORTH = 1.05  # times as fast: what is less may be noise
LATER, EARLY, ALONE = "as it is", "first epoch", "one device"


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
    out = printing.console()
    recipe = located(recipe_from(arguments), runs_folder(arguments.runs))
    backend, recipe, device = resolve_backend(recipe.absolute())
    if recipe.lora.init_adapter:
        recipe = inherit(recipe, read_adapter(Path(recipe.lora.init_adapter)))
    found: dict[str, Result | str] = {}
    with printing.preparing(out) as report:
        tokens, place, _ = tokenised(recipe, time.time(), report)
        if recipe.train.batch_tokens == "auto":
            room = Rehearsal.of(recipe, backend.name, device, place, tokens.train, tokens.held_out)
            recipe = room.with_tokens(by_estimate(room, shared=recipe.speed.share_prompt)).recipe
        groups = groups_of(tokens.train, recipe, arguments.times)
        rows = [Row(LATER, recipe)]
        for number, row in enumerate(rows):
            pad, size = tokens.chat.pad, row.recipe.train.pass_size.pairs
            trial = Trial(row.recipe, place, resized(groups, size), pad, row.reference, rate=row.name == LATER)
            try:
                found[row.name] = measured(trial, f"{number + 1} of {max(len(rows), 2)}: {row.name}", report)
            except BackendError as error:
                if row.name == LATER:
                    raise
                found[row.name] = str(error)
            if row.name == LATER:  # what is to be tried beside it depends on it
                rows += beside(recipe, found[LATER], len(groups[0]))
    lengths = [pair_tokens(example) for group in groups[WARM_UP:] for example in group]
    out.print(
        f"{visible_line(recipe.model.name)} on {backend.name}, {visible_line(device.name)}: medians of "
        f"{arguments.times} steps of {len(groups[WARM_UP])} pairs; a pair has {statistics.mean(lengths):.0f} tokens, "
        f"the longest of the data {max(map(pair_tokens, groups[0])):,}"
    )
    show(out, rows, found)
    tell_devices(out, found, len(groups[WARM_UP]))
    advise(out, rows, found, allowed(recipe, device.kind))
    return 0


def groups_of(examples: Sequence[Example], recipe: Recipe, times: int) -> list[list[Example]]:
    """The pairs of each step, of one pass where they are not cut by tokens: the longest first, for the peak of memory,
    then batches of like lengths, as a run has."""
    size = recipe.train.pass_size.pairs
    order = Order.of(examples, size, recipe.train.seed)
    longest = [examples[number] for number in by_length(examples)[: -size - 1 : -1]]
    return [longest] + [[examples[i] for i in order.pairs(k)] for k in range(WARM_UP - 1 + times)]


def resized(groups: Sequence[Sequence[Example]], size: int) -> list[Sequence[Example]]:
    """The groups in halves where `size` is less than theirs: the longest pairs in the first, others in turn."""
    first, *others = groups
    if size >= len(first):
        return list(groups)
    halves = [half for group in others for half in (group[::2], group[1::2]) if half]
    return [first[:size], first[size:], *halves]


def beside(recipe: Recipe, first: Result | str, pairs: int) -> list[Row]:
    """The recipe with one thing changed: each saving that it uses off, all of them, checkpointing, and smaller passes,
    which are half a batch where the `pairs` of a step are more than that."""
    speed, train = recipe.speed, recipe.train
    used = first.on if isinstance(first, Result) else Optimizations(speed).on
    on = [lever for lever in used if lever in (*SCORED, "frozen_once")]
    rows = [Row(EARLY, recipe, reference=True)]
    for lever in on:
        early = lever == "frozen_once"  # these blocks would run for policy and reference only where both are run
        changed = recipe.model_copy(update={"speed": speed.without([lever])})
        words = tuple(flag_words(f"speed.{lever}", False))
        rows.append(Row(f"{lever} off", changed, EARLY if early else LATER, words, early))
    if on:
        rows.append(Row("no savings", recipe.model_copy(update={"speed": PLAIN}), EARLY, reference=True))
    checkpoint = not train.grad_checkpoint
    rows.append(_trained(recipe, f"grad_checkpoint {'on' if checkpoint else 'off'}", grad_checkpoint=checkpoint))
    if recipe.backend.devices > 1:
        alone = recipe.model_copy(update={"backend": recipe.backend.model_copy(update={"devices": 1})})
        rows.append(Row(ALONE, alone, changes=tuple(flag_words("backend.devices", 1))))
    if tokens := train.pass_size.tokens // 2:
        rows.append(_trained(recipe, f"batch_tokens {tokens}", batch_tokens=tokens))
    elif train.batch_size % 2 == 0 and pairs > train.batch_size // 2:
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


def show(out: printing.Console, rows: Sequence[Row], found: dict[str, Result | str]) -> None:
    """A line for each setting, then what could not be measured or used, and why."""
    table = printing.table("", ["setting", "pairs/s", "tokens/s", "of peak", "memory", "against"])
    first = found[LATER]
    rate = first.matrix_rate if isinstance(first, Result) else 0
    for row in rows:
        one, other = found[row.name], found[row.against]
        if isinstance(one, str):
            printing.row(table, row.name, *"—————")
            continue
        share = f"{one.work / rate:.0%}" if rate else "—"
        against = f"{one.pairs / other.pairs:.2f}x" if isinstance(other, Result) and other is not one else "—"
        against += f" {row.against}" if row.against != LATER else ""
        printing.row(
            table, row.name, f"{one.pairs:.3g}", f"{one.tokens:,.0f}", share, f"{one.peak / 1e9:.2f} GB", against
        )
    out.print(table)
    if rate:
        out.print(f"peak: {rate / 1e9:,.0f} GFLOP/s, of products of large matrices; a prompt's work is counted once")
    reasons = {f"{row.name}: {found[row.name]}" for row in rows if isinstance(found[row.name], str)}
    if isinstance(first, Result):
        reasons |= {f"{lever} cannot be used: {why}" for lever, why in first.refused.items()}
    for reason in sorted(reasons):
        out.print(f"{printing.SIGNS['info']} {visible_line(reason)}")


def tell_devices(out: printing.Console, found: dict[str, Result | str], pairs: int) -> None:
    """What passes between several devices in a step of so many pairs, and what another number of them would bring."""
    first, alone = found[LATER], found.get(ALONE)
    if not isinstance(first, Result) or not (between := first.between):
        return
    out.print(
        f"between the {between.ranks} devices: the sum of the adapter's {between.size / 1e6:.3g} MB takes "
        f"{1e3 * between.sum:.2g} ms, each of {between.questions:.1f} questions {1e3 * between.question:.2g} ms: "
        f"{between.seconds * first.pairs / pairs:.1%} of a step"
    )
    if isinstance(alone, Result):
        more = [n for n in DEVICES if between.ranks < n <= pairs]
        times = [f"{n} would have {speedup(pairs / alone.pairs, n, between.of(n)):.1f}" for n in more]
        faster = [f"{between.ranks} devices have {first.pairs / alone.pairs:.2f} times the pairs per second of one"]
        out.print(", ".join(faster + times) + (", by links like these" if times else ""))


def advise(out: printing.Console, rows: Sequence[Row], found: dict[str, Result | str], free: int) -> None:
    """The settings to take: the first row's, with what was faster by itself, or what fits where that does not."""

    def result(row: Row) -> Result | None:
        one = found[row.name]
        return one if isinstance(one, Result) and (not free or one.peak <= free) else None

    first, *others = rows
    faster: list[tuple[float, Row]] = []
    for row in others:
        one, other = result(row), found[row.against]
        if one and row.changes and isinstance(other, Result) and one.pairs > WORTH * other.pairs:
            faster.append((one.pairs / other.pairs, row))
    faster.sort(key=lambda found: -found[0])
    fitting = [(one.pairs, row) for row in others if row.changes and not row.reference and (one := result(row))]
    changes: tuple[str, ...] = ()
    if not result(first) and not fitting:
        out.print("recommended: a smaller model, --quantize 4, or a smaller --max-tokens: nothing here fits")
        return
    if not result(first):
        _, best = max(fitting, key=lambda found: found[0])
        changes = best.changes
        out.print(f"recommended: {best.name}, which fits")
    elif faster:
        changes = faster[0][1].changes
        also = ", ".join(f"{row.name} ({times:.2f}x)" for times, row in faster[1:])
        told = f"; also faster by itself: {also}" if also else ""
        out.print(f"recommended: {faster[0][1].name} ({faster[0][0]:.2f}x){told}")
    else:
        out.print(f"recommended: the settings as they are; nothing else was {WORTH - 1:.0%} faster")
    printing.next_steps(out, visible(shlex.join(["mio-local", "train", *words_of(first.recipe), *changes])))
