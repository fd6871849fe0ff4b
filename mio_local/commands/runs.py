"""`mio-local runs`: every run, newest first. `mio-local show RUN`: one, its held-out figures, its user's note and the
trainer's."""

import argparse
import time

from mio_local import printing
from mio_local.process import as_typed
from mio_local.runs import directory
from mio_local.runs.directory import LIVE, RESUMABLE, Run, runs_folder
from mio_local.runs.events import is_number
from mio_local.runs.fields import adapted, device_of, listed, number, other_host, text
from mio_local.runs.index import Index
from mio_local.runs.queue import place_of
from mio_local.runs.remarks import read_remarks
from mio_local.runs.summary import Row, accuracy, note_of
from mio_local.text import visible, visible_line
from mio_local.tracking.mirror_state import seen_by

NOTES = 7  # the column of what the user and the queue say
LONGEST = 24  # characters of a fact: a damaged file must not push the names off the screen
LONGEST_NOTES = 40
MOST_ROUNDS = 24


def main(arguments: argparse.Namespace) -> int:
    """List the runs, or show one."""
    return show(arguments) if arguments.command == "show" else list_all(arguments)


def list_all(arguments: argparse.Namespace) -> int:
    """List the runs."""
    folder = runs_folder(arguments.runs)
    out = printing.console()
    found = [row for row in Index(folder).read() if {*arguments.tag} <= {*row.tags}]
    if not found and arguments.tag:
        out.print(f"no runs in {visible(str(folder))} with {visible(' and '.join(arguments.tag))}")
        return 0
    if not found:
        out.print(f"no runs in {visible(str(folder))}")
        printing.next_steps(out, "mio-local demo", "mio-local train --model MODEL --data PAIRS.jsonl")
        return 0
    rows = [["run", "state", "loss", "model", "step", "Δchosen", "accuracy", "notes", "verdict"]]
    for row in found:
        figures = printing.figure(row.change, "+.2f"), printing.figure(row.accuracy, ".2f")
        facts = (visible_line(fact, LONGEST) for fact in (row.objective, row.model, row.step, *figures))
        rows.append([visible(row.name), row.state, *facts, _notes(row), visible(as_typed(row.verdict))])
    if not any(row[NOTES] for row in rows[1:]):
        rows = [[*row[:NOTES], *row[NOTES + 1 :]] for row in rows]
    heading, *lines = printing.aligned(rows, right=range(1, 7))
    out.print(visible(str(folder)), style="italic")
    out.print(heading, style="bold")
    out.out("\n".join(lines), highlight=False)  # columns, as a table of thousands takes seconds to lay out
    printing.next_steps(out, f"mio-local show {printing.called(Run(folder / found[0].name))}")
    return 0


def _notes(row: Row) -> str:
    """What a run does or waits for, its tags, and its user's note, as far as there is room."""
    doing = row.note if row.live or row.state == "queued" else ""
    return visible_line("; ".join(filter(None, (doing, " ".join(row.tags), row.remark))), LONGEST_NOTES)


def show(arguments: argparse.Namespace) -> int:
    """Show one run."""
    # with numpy and the recipe's model, which a list does not need
    from mio_local.objectives.losses import answer_target
    from mio_local.reports.document import spread
    from mio_local.reports.verdict import verdict
    from mio_local.runs import history

    run = directory.find(runs_folder(arguments.runs), arguments.run)
    past, status, info = history.read(run), run.read_status(), run.read_info()
    recipe, out = past.recipe, printing.console()
    loss = recipe.loss
    where = f"{status['state']}  step {status.get('step', 0)} of {status.get('total_steps', '?')}"
    out.print(f"run {visible(run.name)}  {visible(where)}")
    if (status["state"] == "queued" or status["away"]) and not status.get("reason"):
        out.print(f"  {visible_line(note_of(status, place_of(run)))}")
    if status.get("reason"):
        out.print(f"  {visible_line(str(status['reason']))}")
    codes = [str(note.get("code")) for note in past.of("note")]
    if judged := verdict(past):
        out.print(printing.verdict_line(judged))
    target = answer_target(loss.name, loss.beta, loss.reduction)
    facts = [
        ("objective", f"{loss.name}, beta {loss.beta:g}{loss.smoothing}, {loss.reduction}"
         + (f"; chosen is drawn to {target:+.2f} nats" if target is not None else "")),
        ("model", f"{recipe.model.name}  {text(info.get('model_revision'))}".rstrip()),
        ("data", recipe.data.source),
        ("adapter", f"{recipe.lora.words} on {adapted(info.get('adapted_layers'))}"),
        ("training", f"batch {recipe.train.batch_size} x {recipe.train.accumulate}{recipe.train.cutting}, "
         f"learning rate {recipe.train.learning_rate:g} {recipe.train.schedule}{recipe.train.stepping}, "
         f"seed {recipe.train.seed}"),
        ("backend", f"{recipe.backend.name}, {device_of(info, recipe.backend.device)}"),
        ("started", _day(number(info, "created"))
         + (f", resumed {sessions - 1} times" if (sessions := len(listed(info.get("sessions")))) > 1 else "")),
        *(("machine", f"{host}, another than this") for host in [other_host(info)] if host),
        ("folder", str(run.path)),
        *(("tracked", line) for line in printing.tracked_lines(seen_by(run.path, status.get("tracked")), codes)),
    ]  # fmt: skip
    own = read_remarks(run)
    facts += [(name, value) for name, value in (("tags", " ".join(own.tags)), ("note", own.note)) if value]
    for name, value in facts:
        out.print(f"  {name:<10} {visible(value)}")
    if past.bad:
        out.print(f"! lines of events.jsonl that made no sense and were passed over: {past.bad}")
    if past.of("eval"):
        columns = ["step", "loss", "chosen", "rejected", "margin", "accuracy", "mi/js", "mi/dv"]
        table = printing.table("held out; chosen and rejected are nats per answer against the start", columns)
        for event in past.of("eval"):
            chosen, rejected = event.get("delta/chosen"), event.get("delta/rejected")
            margin = chosen - rejected if is_number(chosen) and is_number(rejected) else None
            printing.row(
                table, str(event.get("step", "—")), printing.figure(event.get("loss"), ".4f"),
                printing.figure(chosen, "+.3f"), printing.figure(rejected, "+.3f"), printing.figure(margin, "+.3f"),
                printing.figure(accuracy(event), ".3f"), printing.figure(event.get("mi/js"), ".4f"),
                printing.figure(event.get("mi/dv"), ".4f"),
            )  # fmt: skip
        out.print(table)
    if past.of("round"):
        columns = ["round", "step", "reward", "spread", "pass@1", "pass@k", "tokens", "KL", "entropy"]
        table = printing.table("what the rounds drew; KL is nats per answer, entropy nats per token", columns)
        for made in spread(past.of("round"), MOST_ROUNDS):
            printing.row(
                table, printing.figure(made.get("round"), ".0f"), str(made.get("step", "—")),
                printing.figure(made.get("reward/mean"), ".3f"), printing.figure(made.get("reward/std"), ".3f"),
                printing.figure(made.get("pass@1"), ".3f"), printing.figure(made.get("pass@k"), ".3f"),
                printing.figure(made.get("answer_tokens"), ".0f"), printing.figure(made.get("kl"), "+.3f"),
                printing.figure(made.get("entropy"), ".3f"),
            )  # fmt: skip
        out.print(table)
    for event in past.of("reward"):
        out.print(f"step {visible_line(str(event.get('step', '—')))}: {printing.reward_line(event)}")
    for event in past.of("text"):
        out.print(f"step {visible_line(str(event.get('step', '—')))}: {printing.text_line(event)}")
    for event in past.of("task"):
        out.print(f"step {visible_line(str(event.get('step', '—')))}: {printing.task_line(event)}")
    if past.of("benchmark"):
        title = "benchmarks; preference and kl are nats against the reference, intervals are 95 %"
        for made in printing.benchmarks(title, past.benchmarks()):
            out.print(made)
    for event in past.of("note"):
        out.print(printing.note_line(event | {"text": f"step {event.get('step', '—')}: {event.get('text', '')}"}))
    state = status["state"]
    commands = ["resume"] if state in RESUMABLE else ["watch", "plot"] if state in LIVE else ["plot", "chat", "eval"]
    commands = ["watch", "stop"] if status["waits"] else commands
    printing.next_steps(out, *(f"mio-local {command} {printing.called(run)}" for command in commands))
    return 0


def _day(created: float | None) -> str:
    try:
        return "—" if created is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(created))
    except (OverflowError, OSError, ValueError):  # a number that is no date
        return "—"
