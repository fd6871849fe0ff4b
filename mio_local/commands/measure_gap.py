"""`mio-local eval RUN --gap`: how far the policy is from the best that its rewards allow, and what it lacks."""

import argparse
from collections.abc import Sequence

from rich.text import Text

from mio_local import printing
from mio_local.data.template import Chat
from mio_local.errors import RecipeError
from mio_local.evaluation.gap import Trial, measure, sentence
from mio_local.evaluation.held_out import Result
from mio_local.evaluation.target import Subject, subject
from mio_local.learning import MakeSettings
from mio_local.making.answered import Asked
from mio_local.making.judging.choose import judge_of, may_run
from mio_local.making.prompts import askable, read_prompts
from mio_local.objectives.optimal_policy import Gap
from mio_local.recipe import BackendSettings
from mio_local.runs.directory import runs_folder
from mio_local.text import visible
from mio_local.training.rounds.run_prompts import split_prompts

BAR = 40  # characters of the picture
PARTS = (("approximation", "█", "the adapter cannot express"), ("amortisation", "░", "training has not reached"))


def main(arguments: argparse.Namespace) -> int:
    """Measure the gap; 0 once it is measured."""
    on = subject(
        runs_folder(arguments.runs), arguments.run, arguments.checkpoint, arguments.model,
        BackendSettings(name=arguments.backend, device=arguments.device),
    )  # fmt: skip
    if not on.source:
        raise RecipeError(f"--gap: {on.title} has no adapter, so it is its own reference; name a run")
    settings = _settings(on, arguments)
    out, judge = printing.console(), judge_of(settings, trusted=may_run(settings))
    try:
        chat = on.chat()
        asked = _asked(on, chat, settings, arguments)[: arguments.limit or 8]
        with printing.preparing(out) as report:
            report("loading the model", 0, 0)
            loss, train = on.recipe.loss, on.recipe.train
            trial = Trial(on.load(), chat, judge, settings, loss.beta, train.learning_rate, arguments.seed)
            found = measure(trial, asked, report, split=not arguments.gap_total)
    finally:
        judge.close()
    for line in picture(found):
        out.print(Text(line))
    out.print(Text(sentence(found)))
    out.print(f"  rewards by {visible(judge.name)}, {settings.answers} answers a prompt, beta {loss.beta:g}; log Z of "
              "the reference's answers is too low on average, and so is the gap")  # fmt: skip
    on.keep(_results(found, settings))
    if on.run:
        printing.next_steps(out, f"mio-local show {printing.called(on.run)}")
    return 0


def picture(gap: Gap) -> list[str]:
    """A bar of the gap in its two parts, nats with their standard errors."""
    lines: list[str] = []
    for name, block, means in PARTS:
        value, stderr = getattr(gap, name), getattr(gap, f"{name}_stderr")
        if value is None:
            continue
        share = max(value, 0.0) / max(gap.total, 1e-9)
        lines.append(f"  {block * round(BAR * min(share, 1)):<{BAR}} {value:6.2f} ± {stderr:.2f}  what {means}")
    whole = "▒" * BAR if gap.total > 0 else ""
    return [*lines, f"  {whole:<{BAR}} {gap.total:6.2f} ± {gap.total_stderr:.2f}  KL(policy || best), nats an answer"]


def _settings(on: Subject, arguments: argparse.Namespace) -> MakeSettings:
    made = on.recipe.make
    given = {"judge": arguments.judge, "answers": arguments.answers, "answer_tokens": arguments.answer_tokens}
    return made.model_copy(update={key: value for key, value in given.items() if value})


def _asked(on: Subject, chat: Chat, settings: MakeSettings, arguments: argparse.Namespace) -> Sequence[Asked]:
    """The prompts of --prompts, else the run's held-out ones, or those that it was trained on where none is."""
    if arguments.prompts:
        return askable(read_prompts(arguments.prompts, on.recipe.data), chat, settings.answer_tokens).asked
    prompts = split_prompts(on.recipe, chat)
    return prompts.held_out or prompts.train


def _results(gap: Gap, settings: MakeSettings) -> list[Result]:
    asked = {"rule": settings.judge, "samples": settings.answers}
    found = [("total", gap.total, gap.total_stderr)]
    if gap.approximation is not None and gap.amortisation is not None:
        found += [("approximation", gap.approximation, gap.approximation_stderr or 0.0),
                  ("amortisation", gap.amortisation, gap.amortisation_stderr or 0.0)]  # fmt: skip
    return [
        Result("gap", name, "policy", value, gap.prompts, stderr=stderr, asked=asked) for name, value, stderr in found
    ]
