"""What the files of a run say, gathered off the event loop: everything that the screen draws from."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mio_local.errors import RunError
from mio_local.reports.reward_figures import has_rewards
from mio_local.runs.directory import LIVE, Run
from mio_local.runs.history import History, is_number
from mio_local.runs.summary import Verdict
from mio_tui.live.log import Entry, entries, holds, tail
from mio_tui.live.plots import Look, Plot, plots
from mio_tui.live.rewards.answer_group import groups_of
from mio_tui.live.rewards.reward_line import round_of
from mio_tui.live.rewards.reward_plots import reward_plots
from mio_tui.live.system import Machine, machine
from mio_tui.live.time_left import Pace, pace
from mio_tui.watched import Watched

RECENT = 300.0  # seconds before the newest event in which a note is still news


@dataclass(frozen=True)
class Reading:
    """One look at a run. `status` is as it was then."""

    status: dict[str, Any] = field(default_factory=dict[str, Any])
    plots: tuple[Plot, ...] = ()
    pace: Pace = field(default_factory=Pace)
    total: int = 0  # steps; 0 where that is not known yet
    step: int = 0
    figures: dict[str, Any] = field(default_factory=dict[str, Any])  # the newest evaluation's, else the newest step's
    verdict: Verdict | None = None
    note: dict[str, Any] = field(default_factory=dict[str, Any])  # the newest warning or error that is news
    samples: tuple[dict[str, Any], ...] = ()
    rounds: bool = False  # whether the run makes its own answers, round by round
    rewards: bool = False  # whether the plots and the answers are those of its rounds
    round: tuple[int, int] = (0, 0)  # the newest, and how many there will be; 0 where that is not known
    made: dict[str, Any] = field(default_factory=dict[str, Any])  # what the newest round shows
    greedy: tuple[dict[str, Any], ...] = ()  # rewards of held-out prompts, the first and the newest
    groups: tuple[dict[str, Any], ...] = ()  # rounds with a group of answers
    sampled: bool = True  # whether sample answers are on
    log: tuple[Entry, ...] = ()
    printed: tuple[str, ...] = ()  # the end of trainer.log, where that is what explains things
    machine: Machine = field(default_factory=Machine)
    answers: dict[str, str] = field(default_factory=dict[str, str])  # request id to result
    checkpoint: int = 0  # the step that a resume begins from
    adapter: Path | None = None


def read(watched: Watched, status: dict[str, Any], look: Look, words: str = "") -> Reading:
    """Look at a run's files, at the lines of the log that hold some words. There may be no history, where its recipe
    cannot be read."""
    with watched.lock:
        found = _read(watched.run, watched.history, status, look, watched.bad_lines, words)
        return replace(found, verdict=watched.verdict())


def _read(
    run: Run, history: History | None, status: dict[str, Any], look: Look, bad: int, words: str
) -> Reading:
    info = _info(run)
    state = str(status.get("state"))
    printed = tail(run.log) if state in ("starting", "failed", "lost") else ()
    printed = tuple(each for each in printed if holds(each, words))
    folders = run.saved()
    checkpoint = _step(folders[-1]) if folders else 0
    adapter = run.adapter if run.adapter.is_dir() else None
    step, total = _whole(status.get("step")), _whole(status.get("total_steps"))
    if history is None:
        return Reading(
            status, plots(None, look), total=total, step=step, printed=printed, checkpoint=checkpoint, adapter=adapter
        )
    newest, rounds = history.last("step"), has_rewards(history)
    rewards, greedy = rounds and not look.pairs, history.of("reward")
    step = max(step, _whole(newest.get("step"))) if state in LIVE else step or _whole(newest.get("step"))
    return Reading(
        status=status,
        plots=reward_plots(history, look) if rewards else plots(history, look),
        pace=pace(history, _sessions(info)),
        total=total or _whole(history.last("started").get("total_steps")) or history.recipe.train.steps,
        step=step,
        figures=_figures(history.last("eval"), newest),
        note=_news(history),
        rounds=rounds,
        rewards=rewards,
        round=round_of(history),
        made=history.last("round"),
        greedy=(greedy[0], greedy[-1]) if greedy else (),
        groups=groups_of(history) if rewards else (),
        samples=tuple(history.of("sample")),
        sampled=history.recipe.eval.sample_tokens > 0,
        log=entries(history, look, bad, words),
        printed=printed,
        machine=machine(history, {**info, **status}, checkpoint),
        answers={str(event.get("id")): str(event.get("result")) for event in history.of("control")[-100:]},
        checkpoint=checkpoint,
        adapter=adapter,
    )


def _figures(held_out: dict[str, Any], newest: dict[str, Any]) -> dict[str, Any]:
    """The evaluation before the first step says nothing once there are steps."""
    return held_out if held_out.get("step") or not newest else newest


def _info(run: Run) -> dict[str, Any]:
    try:
        return run.read_info()
    except (RunError, OSError):
        return {}


def _step(folder: Path) -> int:
    number = folder.name.removeprefix("step-")
    return int(number) if number.isdecimal() else 0


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _sessions(info: dict[str, Any]) -> list[float]:
    """When each trainer of the run was started."""
    sessions = info.get("sessions")
    found = [each.get("started") for each in sessions if isinstance(each, dict)] if isinstance(sessions, list) else []
    return [started for started in found if is_number(started)]


def _news(history: History) -> dict[str, Any]:
    """By the events' own clock, so that a run that ended yesterday still says what it ended with."""
    times = [event.get("time") for kind in ("step", "eval", "note") if (event := history.last(kind))]
    newest = max((time for time in times if is_number(time)), default=0.0)
    for note in reversed(history.of("note")):
        time = note.get("time")
        if note.get("level") in ("warning", "error") and is_number(time) and newest - time <= RECENT:
            return note
    return {}
