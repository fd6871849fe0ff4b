"""What a report holds: the facts, figures, answers and notes of one or several runs, as plain data.

Everything is read from run directories whose files may hold anything; what makes no sense is None, or is left out.
"""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mio_local.errors import RunError
from mio_local.objectives.intervals import proportion
from mio_local.objectives.losses import answer_target
from mio_local.recipe import Recipe, keys
from mio_local.reports.outcome import Outcome, judge, start_of
from mio_local.reports.verdict import verdict
from mio_local.runs.directory import Run
from mio_local.runs.events import is_number
from mio_local.runs.fields import benchmark, listed, number, table, text
from mio_local.runs.history import History, read
from mio_local.runs.summary import Verdict

MOST_EVALS, MOST_TASKS, MOST_BENCHMARKS, MOST_NOTES, MOST_SAMPLES = 24, 24, 400, 100, 12
LONGEST_ANSWER = 8000  # characters


@dataclass(frozen=True)
class Answer:
    """What a trained run answers, and after how many steps."""

    label: str
    step: int
    text: str


@dataclass
class Sample:
    """A prompt, the answer of the model that a run is compared with, and each run's last."""

    prompt: str
    base: str
    answers: list[Answer] = field(default_factory=list[Answer])


@dataclass(frozen=True)
class Part:
    """One run of the report; `label` tells it from the others."""

    label: str
    history: History
    state: str
    step: int
    total: int | None
    reason: str
    outcome: Outcome
    verdict: Verdict | None
    target: float | None
    facts: list[tuple[str, str]]
    origin: list[tuple[str, str]]
    evals: list[dict[str, Any]]
    evaluated: int
    tasks: list[dict[str, Any]]
    texts: list[dict[str, Any]]
    rounds: list[dict[str, Any]]
    rewards: list[dict[str, Any]]
    benchmarks: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    commands: list[str]
    frozen: str

    @property
    def standing(self) -> str:
        """Where a run stands that is not done; empty for one that is."""
        if self.state == "done":
            return ""
        of = f" of {self.total}" if self.total else ""
        return f"The run is {self.state} at step {self.step}{of}{': ' * bool(self.reason)}{self.reason.rstrip('.')}."

    @property
    def headline(self) -> str:
        """What is to be thought of the run: its verdict, else what became of the chosen answers."""
        return self.verdict.line if self.verdict else self.outcome.headline

    @property
    def detail(self) -> str:
        """What became of the chosen answers, how sure that is, and where the run stands."""
        words = [self.outcome.headline] if self.verdict else []
        return " ".join(filter(None, (*words, self.outcome.detail, self.standing)))

    @property
    def objective(self) -> str:
        return self.history.recipe.loss.name.upper()


@dataclass(frozen=True)
class Document:
    """A report. `start` is what the runs are compared with, in words; `differences` are the settings that the runs do
    not share, `settings` the shared ones that are not the defaults."""

    title: str
    start: str
    parts: list[Part]
    differences: list[tuple[str, list[str]]]
    settings: list[tuple[str, str]]
    samples: list[Sample]


def collect(runs: Sequence[Run]) -> Document:
    """The report of these runs, each once. Raises RecipeError where a recipe is damaged."""
    found = list({run.path.resolve(): run for run in runs}.values())
    labels: list[str] = []
    for run in found:
        again = sum(run.name == other.name for other in found[: len(labels)])
        labels.append(f"{run.name} ({again + 1})" if again else run.name)
    parts = [_part(run, label) for run, label in zip(found, labels, strict=True)]
    differences, settings = _settings([part.history.recipe for part in parts])
    adapted = [part.history.recipe for part in parts if part.history.recipe.lora.init_adapter]
    start = start_of((adapted or [parts[0].history.recipe])[0])  # an untrained model is one to begin with, too
    return Document(_title(parts), start, parts, differences, settings, _samples(parts))


def _part(run: Run, label: str) -> Part:
    history = read(run)
    status, info, troubles = _files(run)
    started = history.last("started")
    facts = {**started, **table(info.get("facts"))}  # which know the device that it went on with
    total = next((int(n) for n in (status.get("total_steps"), facts.get("total_steps")) if is_number(n)), None)
    step = max(history.last(kind).get("step", 0) for kind in ("step", "eval"))
    if history.bad:
        troubles.append(f"lines of events.jsonl that made no sense and were passed over: {history.bad}")
    notes = [*history.of("note")[:MOST_NOTES], *({"level": "warning", "text": text} for text in troubles)]
    loss, evals = history.recipe.loss, history.of("eval")
    return Part(
        label, history, str(status.get("state", "unknown")), step, total, text(status.get("reason", "")),
        judge(history), verdict(history), answer_target(loss.name, loss.beta, loss.reduction),
        _facts(history.recipe, facts), _origin(history, info, facts), spread(evals, MOST_EVALS), len(evals),
        [_task(event) for event in spread(history.of("task"), MOST_TASKS)],
        [_text(event) for event in spread(history.of("text"), MOST_EVALS)],
        spread(history.of("round"), MOST_EVALS),
        [_reward(event) for event in spread(history.of("reward"), MOST_EVALS)],
        [benchmark(event) for event in history.benchmarks()[-MOST_BENCHMARKS:]], notes, _commands(info),
        _frozen(run, history.recipe),
    )  # fmt: skip


def _files(run: Run) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """status.json, run.json, and what is wrong with them."""
    found: list[dict[str, Any]] = []
    troubles: list[str] = []
    for name, reader in (("status.json", run.read_status), ("run.json", run.read_info)):
        try:
            found.append(reader())
        except (RunError, OSError, ValueError, TypeError):
            found.append({})
            troubles.append(f"{name} is missing or damaged; what it would tell is left out")
    return found[0], found[1], troubles


def _frozen(run: Run, recipe: Recipe) -> str:
    try:
        return run.recipe_text()
    except (OSError, ValueError):  # deleted a moment ago
        return recipe.dump()


def _title(parts: list[Part]) -> str:
    if len(parts) > 1:
        return ", ".join(part.label for part in parts[:-1]) + " and " + parts[-1].label
    recipe = parts[0].history.recipe
    return f"{short(recipe.model.name)}, tuned on {short(recipe.data.source)} with {recipe.loss.name.upper()}"


def short(name: str) -> str:
    """The end of a path, with the folder before it where the end says little; the whole of a hub's name."""
    if not name.startswith(("/", ".", "~")):
        return name
    path = Path(name)
    generic = path.stem in ("model", "train", "pairs", "data", "main", "snapshot", "merged")
    return f"{path.parent.name}/{path.name}" if generic and path.parent.name else path.name or name


def _facts(recipe: Recipe, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The run in some lines: what was trained on what, and how."""
    train, lora, loss = recipe.train, recipe.lora, recipe.loss
    counts = (("pairs", "pairs"), ("held_out", "held out"))
    pairs = [f"{facts[key]} {word}" for key, word in counts if number(facts, key)]
    count = facts.get("trainable")
    return [
        ("model", recipe.model.name + (f" at {recipe.model.quantize} bits" if recipe.model.quantize else "")),
        ("data", recipe.data.source + (f" ({', '.join(pairs)})" if pairs else "")),
        ("objective", f"{loss.name.upper()}, beta {loss.beta:g}{loss.smoothing}, "
         + ("log-probs summed over an answer" if loss.reduction == "sum" else "log-probs per token")),
        ("adapter", lora.words
         + (f", {count:,} weights" if isinstance(count, int) else "")),
        ("training", f"batch {train.batch_size} × {train.accumulate}{train.cutting}, "
         f"learning rate {train.learning_rate:g} {train.schedule}{train.stepping}, seed {train.seed}"),
        ("backend", f"{recipe.backend.name}, {text(facts.get('device', recipe.backend.device))}"),
    ]  # fmt: skip


def _origin(history: History, info: dict[str, Any], facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Revisions, digests and versions: what must be the same for the figures to be the same."""
    sessions = [table(one) for one in listed(info.get("sessions"))]
    last = sessions[-1] if sessions else {}
    weights = [f"{name}, {size:,} bytes" for name, size in table(info.get("weights")).items() if is_number(size)]
    versions = ", ".join(f"{name} {text(value)}" for name, value in table(last.get("versions")).items())
    peak = history.last("step").get("perf/memory_peak")
    seconds = history.column("step", "perf/seconds")[1]
    spent = sum(seconds[seconds > 0].tolist())
    return [
        (name, value)
        for name, value in (
            ("model revision", text(info.get("model_revision", ""))),
            ("weights", "; ".join(weights[:8])),
            ("data digest", text(info.get("data_digest", ""))),
            ("data revision", history.recipe.data.revision),
            ("pair layout", text(facts.get("layout", ""))),
            ("seed", text(info.get("seed", history.recipe.train.seed))),
            ("versions", versions),
            ("platform", text(last.get("platform", ""))),
            ("machine", text(last.get("host", ""))),
            ("resumed", f"{len(sessions) - 1} times" if len(sessions) > 1 else ""),
            ("time in steps", f"{spent:.0f} s" if 0 < spent < math.inf else ""),
            ("peak memory", f"{peak / 1e9:.2f} GB" if is_number(peak) and peak > 0 else ""),
        )
        if value
    ]


def _commands(info: dict[str, Any]) -> list[str]:
    """What was typed, once for each session."""
    lines = [table(one).get("argv") for one in listed(info.get("sessions"))]
    return [shlex.join(["mio-local", *map(str, line[1:])]) for line in lines if isinstance(line, list) and line]


def _settings(recipes: list[Recipe]) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
    differences: list[tuple[str, list[str]]] = []
    shared: list[tuple[str, str]] = []
    for key, known in keys().items():
        section, _, name = key.partition(".")
        values = [getattr(getattr(recipe, section), name) for recipe in recipes]
        if any(value != values[0] for value in values):
            differences.append((key, [text(value) for value in values]))
        elif values[0] != known.default:
            shared.append((key, text(values[0])))
    return differences, shared


def _samples(parts: list[Part]) -> list[Sample]:
    """Each prompt once for each different answer at the start; of the trained models, the last."""
    found: dict[tuple[str, str], dict[str, Answer]] = {}
    for part in parts:
        for event in part.history.of("sample"):
            words = [event.get(key) for key in ("prompt", "base", "policy")]
            if all(isinstance(word, str) for word in words) and event["step"] > 0:
                prompt, base, policy = (str(word)[:LONGEST_ANSWER] for word in words)
                found.setdefault((prompt, base), {})[part.label] = Answer(part.label, event["step"], policy)
    pairs = list(found.items())[:MOST_SAMPLES]
    return [Sample(prompt, base, list(answers.values())) for (prompt, base), answers in pairs]


def _task(event: dict[str, Any]) -> dict[str, Any]:
    low, high = proportion(number(event, "accuracy"), number(event, "questions"))
    shown = {key: number(event, key) for key in ("accuracy", "correct", "questions")}
    return {"step": event["step"], **shown, "value": shown["accuracy"], "low": low, "high": high, "stderr": None}


def _text(event: dict[str, Any]) -> dict[str, Any]:
    shown = {key: number(event, key) for key in ("perplexity", "base", "texts")}
    change = {"value": number(event, "change"), "low": None, "high": None, "stderr": number(event, "change_stderr")}
    return {"step": event["step"], **shown, **change}


def _reward(event: dict[str, Any]) -> dict[str, Any]:
    shown = {key: number(event, key) for key in ("prompts", "right", "answer_tokens")}
    value, stderr = (number(event, f"reward/held_out{end}") for end in ("", "_stderr"))
    return {"step": event["step"], **shown, "value": value, "low": None, "high": None, "stderr": stderr}


def spread(events: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many of them, evenly, the first and the last among them."""
    if len(events) <= most:
        return events
    return [events[round(place * (len(events) - 1) / (most - 1))] for place in range(most)]
