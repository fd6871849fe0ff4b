"""`mio-local eval RUN|ADAPTER|MODEL`: held-out pairs, drift, tasks, questions and text, each figure with its error."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mio_local import printing
from mio_local.adapters.adapter import read_adapter
from mio_local.commands import measure_gap
from mio_local.data.examples import Example
from mio_local.data.prose.texts import SHIPPED, read_texts, text_rows
from mio_local.data.task_questions import read_tasks, rule
from mio_local.data.template import Chat
from mio_local.data.tokenise import examples_of, read_split, tokenise
from mio_local.errors import DataError, RecipeError, RunError
from mio_local.evaluation.held_out import (
    SAMPLE_TOKENS,
    Result,
    distinct_prompts,
    divergence,
    exact_match,
    forgetting,
    preference,
)
from mio_local.evaluation.target import Subject, subject
from mio_local.flags import READING, given
from mio_local.making.judging.choose import judge_of, may_run
from mio_local.objectives.intervals import RESAMPLES
from mio_local.progress import Report
from mio_local.recipe import BackendSettings, Recipe, build, keys
from mio_local.reports.evidence import FORGETTING
from mio_local.runs.directory import runs_folder
from mio_local.runs.summary import Verdict, verdict_of
from mio_local.text import visible
from mio_local.training.integrity import check_data, check_start
from mio_local.training.rounds.held_out_pairs import held_out_examples
from mio_local.training.rounds.run_prompts import split_prompts, stand_in_tokens


def main(arguments: argparse.Namespace) -> int:
    """Evaluate; 0 once all that was asked for is measured."""
    for flag in ("limit", "samples", "answer_tokens", "seed"):
        if getattr(arguments, flag) < 0:
            raise RecipeError(f"--{flag.replace('_', '-')} {getattr(arguments, flag)}: must not be negative")
    if arguments.gap or arguments.gap_total:
        return measure_gap.main(arguments)
    part = rule(arguments.rule)
    most = arguments.limit or None
    questions = read_tasks(arguments.questions, "--questions ")[:most] if arguments.questions else []
    texts = read_texts(arguments.forgetting, "--forgetting ")[:most]
    names = [name.strip() for name in arguments.tasks.split(",") if name.strip()]
    backend = BackendSettings(name=arguments.backend, device=arguments.device)
    on = subject(runs_folder(arguments.runs), arguments.run, arguments.checkpoint, arguments.model, backend)
    pairs, reading = _takes_pairs(on, arguments), _reading(on, arguments)
    before = verdict_of(on.run.read_status()) if on.run else None
    if not (pairs or names or questions or texts):
        raise RecipeError(f"{on.title}: nothing to evaluate; add --tasks, --questions or --forgetting"
                          + (", or --data with pairs" if on.source else ""))  # fmt: skip
    out = printing.console()
    results: list[Result] = []

    def take(found: list[Result], **asked: Any) -> None:
        asked |= {"limit": arguments.limit, "seed": arguments.seed}
        found = [replace(result, asked=asked) for result in found]
        results.extend(found)
        try:
            on.keep(found)
        except RunError as error:
            out.print(f"! not kept in the run's events: {visible(str(error))}")

    with printing.preparing(out) as report:
        tasks = None
        if names:
            from mio_local.evaluation.harness import Tasks

            report("finding the tasks", 0, 0)
            tasks = Tasks(names, arguments.tasks_folder, arguments.limit, chat_template=arguments.apply_chat_template)
        chat = on.chat()
        examples = _examples(on, chat, arguments.data, reading, report)[:most] if pairs else []
        data = _named(arguments.data)
        if pairs and not examples:
            raise DataError(f"{on.title}: no pair is held out; name some with --data, or add --no-preference")
        report("loading the model", 0, 0)
        model = on.load(against_base=not pairs)
        if pairs:
            take(preference(model, chat, examples, on.recipe, report), data=data)
        if pairs and arguments.samples:
            tokens = on.recipe.eval.sample_tokens or SAMPLE_TOKENS
            prompts = distinct_prompts(examples)
            found = divergence(model, chat, prompts, arguments.samples, tokens, arguments.seed, report)
            take(found, data=data, samples=arguments.samples)
        if pairs and on.own_reference and (questions or tasks or texts):
            del model
            model = on.load(against_base=True)
        if questions:
            tokens = arguments.answer_tokens or on.recipe.eval.task_tokens
            adapted = on.source is not None
            found = exact_match(
                model, chat, questions, part, tokens, arguments.seed, report, adapted=adapted,
                system=on.recipe.data.system,
            )  # fmt: skip
            take(found, data=_named(arguments.questions), rule=arguments.rule)
        if texts:
            rows = text_rows(texts, chat.tokenizer, on.recipe.data.max_tokens)
            if not rows:
                raise DataError(f"--forgetting {arguments.forgetting}: holds no text of two tokens or more")
            found = forgetting(model, rows, report, adapted=on.source is not None)
            take(found, data=f"{SHIPPED} text" if arguments.forgetting == SHIPPED else _named(arguments.forgetting))
        if tasks:
            found = tasks.run(model, chat, on.base, arguments.seed, report, adapted=on.source is not None)
            take(found, chat_template=arguments.apply_chat_template)
    _show(on, results, before, arguments, out)
    return 0


def _takes_pairs(on: Subject, arguments: argparse.Namespace) -> bool:
    """Whether pairs are scored: a run's own, or those of --data. Raises RecipeError for those of a bare model."""
    if arguments.no_preference:
        if arguments.data:
            raise RecipeError("--no-preference: leaves --data without use; give one of them")
        return False
    if arguments.data and not on.source:
        raise RecipeError(f"--data: {on.title} has no adapter, so no reference to compare pairs with; leave it out")
    return bool(on.run or arguments.data)


def _reading(on: Subject, arguments: argparse.Namespace) -> Recipe:
    """The recipe by which the pairs of --data are read. Raises RecipeError for flags that have nothing to read."""
    overrides = given(arguments, {key: field for key, field in keys().items() if key in READING})
    if overrides and not arguments.data:
        flag, _ = next(iter(overrides.values()))
        raise RecipeError(f"{flag}: says how --data is read, which is not given; a run's own pairs are read as it did")
    return build(on.recipe.model_dump(), "command line", overrides)


def _examples(on: Subject, chat: Chat, source: str, reading: Recipe, report: Report) -> Sequence[Example]:
    """The pairs of `source`, or the run's held-out ones. Raises RunError where those, or the reference, are not what
    they were when the run began."""
    info = on.run.read_info() if on.run else {}
    if on.run and on.own_reference:
        check_start(on.run, info, read_adapter(Path(on.recipe.lora.init_adapter)))
    if source or not on.run:
        return examples_of(reading, chat, source, report)
    if on.recipe.train.rounds:
        prompts = split_prompts(on.recipe, chat)
        if on.recipe.data.eval_source:
            return stand_in_tokens(on.recipe, chat, prompts).held_out
        judge = judge_of(on.recipe.make, trusted=may_run(on.recipe.make))
        return held_out_examples(on.run.path / "rounds", on.recipe, chat, prompts.held_out, judge)
    tokens = tokenise(on.recipe, read_split(on.recipe, report), chat, report)
    check_data(on.run, info, tokens.digest)
    return tokens.held_out


def _named(source: str) -> str:
    """A file by its name; a hub dataset by the whole of its own."""
    path = Path(source).expanduser()
    return path.name if path.exists() else source


def _show(
    on: Subject, results: Sequence[Result], before: Verdict | None, arguments: argparse.Namespace,
    out: printing.Console,
) -> None:  # fmt: skip
    loss = on.recipe.loss
    what = f"{on.title}, {arguments.checkpoint}, step {on.step}" if on.run else on.title
    records = [result.event(on.step, on.checkpoint).values for result in results]
    for made in printing.benchmarks(what, [record | {"step": on.step} for record in records]):
        out.print(made)
    said: list[str] = []
    if any(result.interval for result in results):
        said.append(f"intervals: 95 %; of shares Wilson's, of preferences 1.96 standard errors, else the percentile "
                    f"bootstrap of {RESAMPLES:,} resamples (--seed {arguments.seed}) over answers or "
                    "questions")  # fmt: skip
    if any(result.name == "preference" for result in results):
        said.append(f"preference: against the reference, {loss.name} with beta {loss.beta:g}, {loss.reduction}; nats")
    if any(result.name == "kl" for result in results):
        tokens = on.recipe.eval.sample_tokens or SAMPLE_TOKENS
        said.append(f"kl: nats, of the first {tokens} tokens of answers drawn at temperature 1; unbiased")
    if any(result.name == FORGETTING for result in results):
        said.append(f"{FORGETTING}: perplexity of plain text, and the difference of its logs: nats a token, over texts")
    if any(result.stderr is not None for result in results):
        said.append("±: standard error, of a difference from both scores of each document, or where it is marked * "
                    "from two errors taken as independent")  # fmt: skip
    for line in said:
        out.print(f"  {line}")
    if on.run:
        if now := verdict_of(on.run.read_status()):
            out.print(printing.verdict_line(now))
            if before and before.kind != now.kind:
                out.print(f"  before this evaluation: {before.kind}")
        printing.next_steps(out, f"mio-local show {printing.called(on.run)}")
    elif on.source:
        printing.next_steps(out, f"mio-local export {visible(arguments.run)} --to merged")
    else:
        printing.next_steps(out, f"mio-local train --model {visible(arguments.run)} --data PAIRS")
