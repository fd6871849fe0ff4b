"""`mio-local show RUN`: what it is, where it stands, its held-out figures and its notes."""

import argparse
import time

from mio_local import history, runs
from mio_local.commands import screen
from mio_local.losses import LOSSES
from mio_local.runs import runs_folder


def main(arguments: argparse.Namespace) -> int:
    """Show one run."""
    run = runs.find(runs_folder(arguments.runs), arguments.run)
    past, status, info = history.read(run), run.read_status(), run.read_info()
    recipe, out = past.recipe, screen.console()
    loss = recipe.loss
    out.print(f"run {run.name}  {status['state']}  step {status.get('step', 0)} of {status.get('total_steps', '?')}")
    if status.get("reason"):
        out.print(f"  {status['reason']}")
    target = LOSSES[loss.name].target(loss.beta)
    facts = [
        ("objective", f"{loss.name}, beta {loss.beta:g}, {loss.reduction}"
         + (f"; chosen is drawn to {target:+.2f} nats" if target is not None else "")),
        ("model", f"{recipe.model.name}  {info.get('model_revision', '')}".rstrip()),
        ("data", recipe.data.source),
        ("adapter", f"{'DoRA' if recipe.lora.dora else 'LoRA'} of rank {recipe.lora.rank}, alpha {recipe.lora.alpha:g}"
         f" on {len(info.get('adapted_layers', []))} layers"),
        ("training", f"batch {recipe.train.batch_size} x {recipe.train.accumulate}, "
         f"learning rate {recipe.train.learning_rate:g} {recipe.train.schedule}, seed {recipe.train.seed}"),
        ("backend", f"{recipe.backend.name}, {recipe.backend.device}"),
        ("started", time.strftime("%Y-%m-%d %H:%M", time.localtime(info.get("created", 0)))
         + (f", resumed {len(info['sessions']) - 1} times" if len(info.get("sessions", [])) > 1 else "")),
        ("folder", str(run.path)),
    ]  # fmt: skip
    for name, value in facts:
        out.print(f"  {name:<10} {value}")
    if past.of("eval"):
        columns = ["step", "loss", "chosen", "rejected", "margin", "accuracy", "mi/js", "mi/dv"]
        table = screen.table("held out; chosen and rejected are nats per answer against the start", columns)
        for event in past.of("eval"):
            chosen, rejected = event["delta/chosen"], event["delta/rejected"]
            margin = chosen - rejected if None not in (chosen, rejected) else None
            screen.row(
                table, str(event["step"]), screen.figure(event["loss"], ".4f"), screen.figure(chosen, "+.3f"),
                screen.figure(rejected, "+.3f"), screen.figure(margin, "+.3f"),
                screen.figure(event["rewards/accuracies"], ".3f"), screen.figure(event["mi/js"], ".4f"),
                screen.figure(event["mi/dv"], ".4f"),
            )  # fmt: skip
        out.print(table)
    for event in past.of("task"):
        out.print(f"greedy task accuracy at step {event['step']}: {event['accuracy']:.3f} ({event['correct']} of "
                  f"{event['questions']})")  # fmt: skip
    for event in past.of("note"):
        out.print(f"{screen.SIGNS.get(event['level'], '·')} step {event['step']}: {event['text']}")
    resumable = status["state"] in ("stopped", "failed", "lost")
    screen.next_steps(out, f"mio-local {'resume' if resumable else 'plot'} {screen.called(run)}")
    return 0
