"""The verdict in a line: streams of each kind, whose kind was worked out by hand; and the same line wherever it is."""

import html
import json
import math

import pytest

from mio_local.cli import run as command
from mio_local.objectives.losses import LOSSES
from mio_local.recipe import build
from mio_local.reports.verdict import KINDS, keep_verdict, verdict
from mio_local.runs.directory import Run, create
from mio_local.runs.history import History, read
from mio_local.runs.index import Index
from mio_local.runs.summary import LEVELS
from tests.helpers import fakes
from tests.helpers.some import fast

N = 100  # held-out pairs: a mean's standard error is a tenth of the spread of the pairs


def recipe_of(loss="mio", rate=1e-3, beta=0.1, steps=100, every=10, **more):
    tables = {
        "model": {"name": "m"}, "data": {"source": "d"}, "loss": {"name": loss, "beta": beta},
        "train": {"steps": steps, "learning_rate": rate, "batch_size": 4}, "eval": {"every": every} | more,
    }  # fmt: skip
    return build(tables, "test")


def scored(step, chosen, rejected, accuracy=0.8, spread=2.0, loss=1.2, token=None, **more):
    """An evaluation of N pairs of 20 tokens, which began at -1 nat a token."""
    token = -1 + chosen / 20 if token is None else token
    figures = {
        "delta/chosen": chosen, "delta/chosen_stderr": spread / math.sqrt(N), "delta/rejected": rejected,
        "delta/rejected_stderr": spread / math.sqrt(N), "rewards/accuracies": accuracy, "loss": loss,
        "loss_stderr": 0.02, "logps/chosen_per_token": token, "delta/chosen_per_token": token + 1, "pairs": N,
        "length/longer": 30, "length/longer_accuracy": accuracy, "length/shorter": 30,
        "length/shorter_accuracy": accuracy,
    }  # fmt: skip
    return {"type": "eval", "step": step, **figures, **more}


START = scored(0, 0, 0, accuracy=0.0, spread=0, loss=math.log(4), token=-1.0) | {"loss_stderr": 0}
STARTED = {"type": "started", "step": 0, "total_steps": 100, "vocabulary": 1000}  # random: -6.9 nats a token
DONE = {"type": "finished", "step": 100, "state": "done"}


def batches(first, last, chosen=0.5, rejected=-2.0, loss=1.2, accuracy=0.75):
    """Steps whose figures go up and down by a tenth about these."""
    for step in range(first, last + 1):
        wave = 0.1 * (-1) ** step
        yield {"type": "step", "step": step, "delta/chosen": chosen + wave, "delta/rejected": rejected + wave,
               "loss": loss + wave / 10, "rewards/accuracies": accuracy, "logps/chosen_per_token": -1 + chosen / 20,
               "delta/chosen_per_token": chosen / 20}  # fmt: skip


def judged(*events, loss="mio", rate=1e-3, **more):
    history = History(Run("x"), recipe_of(loss, rate, **more))
    history.add([STARTED, *events])
    return verdict(history)


def whole(last, *more, **steps):
    """A run that ended with this evaluation."""
    return START, *batches(1, last["step"], **steps), last, *more, DONE


NOTE = {"type": "note", "step": 7, "level": "error", "text": "x"}
TASK = {"type": "task", "questions": 128}
KL = {"type": "benchmark", "step": 100, "name": "kl", "of": "policy"}


def drawn(answer, token, low):
    """What `eval` writes of the divergence: nats an answer and a token, and the latter's lower bound."""
    return KL | {"metric": "per_answer", "value": answer, "low": answer / 2, "high": 2 * answer}, KL | {
        "metric": "per_token", "value": token, "low": low, "high": 9.0}  # fmt: skip


def rewards(now, before):
    """Ten rounds whose rewards rise, and of held-out prompts the last reward and the first, three errors apart."""
    for step, mean in ((0, before), (100, now)):
        yield {"type": "reward", "step": step, "reward/held_out": mean, "reward/held_out_stderr": 0.047, "prompts": 100}
    for at in range(10):
        yield {"type": "round", "step": 10 * at, "reward/mean": 0.3 + 0.05 * at}


TEXT = {"type": "text", "step": 100, "base": 20.0, "texts": 30}

# of a mean of 100 pairs with a spread of 2 the error is 0.2, and 0.39 is measurable
KNOWN = {
    "nothing written but the start": ((), "too early to tell"),
    "evaluated at the start alone": ((START,), "too early to tell"),
    "a tenth of it, at chance": ((START, scored(10, 0.1, -0.1, 0.5)), "too early to tell"),
    "a tenth of it, and nothing visible": ((START, scored(10, 0.001, -0.001, spread=0.01)), "too early to tell"),
    "all of it, and nothing visible": (whole(scored(100, 0.001, -0.001, spread=0.01)), "nothing moves"),
    "all of it, and no margin to see": (whole(scored(100, 0.01, -0.01)), "nothing moves"),
    "no weight moved": ((START, {**NOTE, "step": 1, "code": "still"}), "nothing moves"),
    "risen, and pushed down": (whole(scored(100, 1.6, -4.2)), "healthy"),
    "held, and pushed down": (whole(scored(100, -0.3, -4.2)), "healthy"),  # 0.3 < 0.39
    "a little below, measurably": (whole(scored(100, -0.6, -4.2), chosen=-0.5), "slipping"),  # 0.3 of the spread
    "far below, in training too": (whole(scored(100, -8.7, -20), chosen=-7), "forgetting"),  # 4 times the spread
    "below held out, above in training": (whole(scored(100, -8.7, -12), chosen=3), "overfitting"),
    "held-out loss beyond its best": (
        (START, scored(50, 1, -1, loss=1.0), *batches(1, 100, loss=0.4), scored(100, 0, -2, loss=1.3), DONE),
        "overfitting",
    ),
    "held-out loss beyond its best by chance": (
        (START, scored(50, 1, -1, loss=1.20), *batches(1, 100, loss=0.4), scored(100, 1, -2, loss=1.24), DONE),
        "healthy",  # 0.04 < 1.96 sqrt(2) 0.02
    ),
    "both rise": (whole(scored(100, 3.0, 2.0)), "both rise"),  # 2 in common, 1 apart
    "both rise, the chosen ones far more": (whole(scored(100, 3.0, 1.0)), "healthy"),
    "a coin": (whole(scored(100, 0.2, -0.2, 0.55)), "at chance"),  # Wilson: 0.45 to 0.64
    "worse than a coin": (whole(scored(100, 0.2, 0.4, 0.3)), "wrong way round"),  # 0.22 to 0.40, training 0.75
    "worse than a coin in training too": (whole(scored(100, 0.2, -0.2, 0.3), accuracy=0.3), "at chance"),
    "right only where the chosen one is longer": (
        whole(scored(100, 1, -4, 0.53, **{"length/longer_accuracy": 1.0, "length/shorter_accuracy": 0.1})),
        "learns length"),  # of the other 40 pairs 53 - 30 - 3 = 20 are right
    "the same, and right where they are of equal length": (  # 40 pairs, of which 70 - 30 - 3 = 37 are right
        whole(scored(100, 1, -4, 0.7, **{"length/longer_accuracy": 1.0, "length/shorter_accuracy": 0.1})), "healthy"),
    "right a little oftener where it is longer": (
        whole(scored(100, 1, -4, **{"length/longer_accuracy": 0.9, "length/shorter_accuracy": 0.7})), "healthy"),
    "all chosen ones longer": (
        whole(scored(100, 1, -4, 0.95, **{"length/longer": 100, "length/shorter": 0,
                                          "length/longer_accuracy": 0.95, "length/shorter_accuracy": None})),
        "perhaps length"),
    "as many longer as it is right, but right elsewhere too": (
        whole(scored(100, 1, -4, 0.8, **{"length/longer": 80, "length/shorter": 20, "length/longer_accuracy": 0.8,
                                         "length/shorter_accuracy": 0.8})), "healthy"),
    "half way to random tokens": (whole(scored(100, -80, -80, token=-4.0)), "diverged"),  # (-1 - 6.9) / 2 = -3.95
    "a start that is worse than random tokens": (whole(scored(100, 1.6, -4.2, token=-7.0)
                                                       | {"delta/chosen_per_token": 0.08}), "healthy"),
    "nearly half way": (whole(scored(100, -58, -60, token=-3.9), chosen=-50), "forgetting"),
    "a loss that doubled": (whole(scored(100, -10, -10), loss=3.0), "diverged"),  # 2 ln 4 = 2.77
    "a loss that is no number": (
        (START, scored(10, 1, -1), {**NOTE, "code": "nonfinite"}, {**DONE, "state": "failed"}), "diverged"),
    "an evaluation that is no number": ((START, scored(10, None, None, token=-1)), "diverged"),
    "a start that differs": ((START, {**NOTE, "step": 1, "code": "start"}), "bad start"),
    "a start that differs, by --force": (
        whole(scored(100, 1.6, -4.2), {**NOTE, "code": "start", "level": "warning"}), "healthy"),
    "tasks lost": (
        ({**TASK, "step": 0, "accuracy": 0.59}, *whole(scored(100, 1, -4), {**TASK, "step": 100, "accuracy": 0.26})),
        "forgetting"),
    "tasks lost by chance": (  # 5 points of 128 questions; a difference has an error of 6
        ({**TASK, "step": 0, "accuracy": 0.59}, *whole(scored(100, 1, -4), {**TASK, "step": 100, "accuracy": 0.54})),
        "healthy"),
    "plain text lost": (whole(scored(100, 1, -4), TEXT | {"change": 0.1, "change_stderr": 0.02}), "forgetting"),
    "plain text lost by chance": (whole(scored(100, 1, -4), TEXT | {"change": 0.1, "change_stderr": 0.06}), "healthy"),
    "plain text that the base never knew": (
        whole(scored(100, 1, -4), TEXT | {"change": 0.1, "change_stderr": 0.02, "base": 1001.0}), "healthy"),
    "answers that the base would not give": (whole(scored(100, 1, -4), *drawn(123, 1.9, 1.6)), "far from base"),
    "the same at chance": (whole(scored(100, 1, -4, 0.55), *drawn(123, 1.9, 1.6)), "far from base"),
    "the same by chance": (whole(scored(100, 1, -4), *drawn(80, 1.3, 0.9)), "healthy"),
    "answers near the base's": (whole(scored(100, 1, -4), *drawn(6, 0.1, 0.05)), "healthy"),
    "sunk far, and far from the base": (whole(scored(100, -8.7, -20), *drawn(123, 1.9, 1.6), chosen=-7), "forgetting"),
    "a divergence that makes no sense": (whole(scored(100, 1, -4), *drawn(123, None, "x")), "healthy"),
    "no standard error": (whole(scored(100, 1, -4) | {"delta/chosen_stderr": None}), "cannot tell"),
    "no number of pairs": (whole(scored(100, 1, -4) | {"pairs": None}), "cannot tell"),
    "none held out": ((*batches(1, 100), DONE), "healthy"),
    "none held out, and sinking": ((*batches(1, 100, chosen=-5), DONE), "forgetting"),
    "none held out, at the second step": ((*batches(1, 10),), "too early to tell"),
    "rewards that rise in training alone": (whole(scored(100, 1, -4), *rewards(0.3, 0.5)), "reward overfitting"),
    "rewards that rise": (whole(scored(100, -5, -8), *rewards(0.5, 0.3)), "healthy"),  # whatever it said before
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_each_kind(name):
    events, kind = KNOWN[name]
    found = judged(*events)
    assert found.kind == kind, found.line
    assert found.line.startswith(f"{kind}: {found.words}")
    assert found.level == LEVELS[kind]


def test_there_is_a_stream_of_each_kind():
    assert {kind for _, kind in KNOWN.values()} == set(KINDS)


def test_a_run_that_has_not_begun_has_none():
    history = History(Run("x"), recipe_of())
    assert verdict(history) is None
    history.add([{"type": "note", "step": 0}, {"type": "sample", "step": 0}])
    assert verdict(history) is None


@pytest.mark.parametrize(("loss", "advice"), [
    ("mio", "try --learning-rate 3e-5"), ("dpo", "try --learning-rate 3e-5 or --loss mio"),
    ("ipo", "try --learning-rate 3e-5 or --loss mio"),
])  # fmt: skip
def test_the_reason_and_the_next_step(loss, advice):
    """Sunk at 40 and since, though not at 30, where it was risen; 1e-4 / 3, and MIO for those that tie nothing down."""
    stream = (START, scored(10, -3, -4), scored(30, 1, -4), scored(40, -5, -9), scored(50, -8.7, -20))
    found = judged(*stream, *batches(1, 50, chosen=-7, loss=0.5), loss=loss, rate=1e-4)
    assert found.words == "chosen -8.7 (below 0 since step 40), rejected -20 nats"
    assert found.advice == advice


@pytest.mark.parametrize(("rate", "advice"), [(10, "1e-3"), (1e-3, "1e-4"), (2e-5, "2e-6")])
def test_a_run_that_diverged_is_told_a_rate_that_trains(rate, advice):
    found = judged(START, {**NOTE, "code": "nonfinite"}, rate=rate)
    assert found.line == f"diverged: no finite figures after step 7; try --learning-rate {advice}"


@pytest.mark.parametrize(("rate", "size", "advice"), [(1e-9, 1e-7, "1e-5"), (1e-5, 1e-4, "1e-4"), (1e-5, 0.02, "3e-5")])
def test_a_run_that_does_not_move_is_told_a_higher_rate(rate, size, advice):
    found = judged(*whole(scored(100, size, -size, spread=0)), rate=rate)
    assert (found.kind, found.advice) == ("nothing moves", f"try --learning-rate {advice}")


def test_a_run_that_overfits_is_told_where_it_was_best():
    stream = (START, scored(50, 1, -1, loss=1.0), *batches(1, 100, loss=0.4), scored(100, 1, -2, loss=1.3))
    assert judged(*stream).advice == "use --steps 50 or --checkpoint best"
    assert judged(*stream, metric="logps/chosen").advice == "use --steps 50"
    worse = (START, *batches(1, 100, loss=0.4), scored(100, 1, -2, loss=1.5))
    assert judged(*worse).advice == "try more pairs, or --learning-rate 3e-4"


def test_a_single_held_out_pair_is_said_to_be_too_few():
    """As of a newcomer's first handful of pairs: it has a change, and no standard error."""
    found = judged(*whole(scored(100, 1, -4) | {"delta/chosen_stderr": None, "pairs": 1}))
    assert found.line == "cannot tell: chosen +1.0 nats, but a single pair is held out; give more by --eval-data"


def test_what_a_supervised_run_is_not_trained_on_says_nothing():
    """Rejected answers rise with the chosen ones, and nothing tells them apart: as they may."""
    found = judged(*whole(scored(100, 5, 4.9, 0.5)), loss="sft")
    assert found.line == "healthy: chosen +5.0 nats"
    sunk = judged(*whole(scored(100, -5, -5, 0.5), chosen=-5, loss=0.9), loss="sft")
    assert sunk.advice == "try --learning-rate 3e-4"


@pytest.mark.parametrize("loss", LOSSES)
def test_every_objective_has_a_verdict_of_every_stream(loss):
    for events, _ in KNOWN.values():
        assert judged(*events, loss=loss).kind in KINDS


def test_between_two_evaluations_the_line_stays():
    stream = [START, *batches(1, 50), scored(50, 1.6, -4.2)]
    assert judged(*stream, *batches(51, 59, chosen=-50, loss=9)) == judged(*stream)


ODD = (None, "x", [], {}, True, -1, 0, 1e308, -1e308, 10**300, 0.5)


@pytest.mark.parametrize("odd", fast(ODD, [None, "x", 10**300]), ids=lambda odd: repr(odd)[:8])
def test_events_may_hold_anything(odd):
    """Each figure of each stream, one by one, and a line of printable words of bounded length comes of it."""
    recipe = recipe_of()
    for events, _ in KNOWN.values():
        records = [STARTED, *events]
        for place, record in enumerate(records):
            if record["type"] == "step" and record["step"] > 2:
                continue
            for key in record.keys() - {"type", "step"}:
                history = History(Run("x"), recipe)
                history.add([*records[:place], record | {key: odd}, *records[place + 1 :]])
                found = verdict(history)
                assert found.kind in KINDS
                assert found.line.isprintable()
                assert len(found.line) < 300


@pytest.mark.parametrize("name", fast(KNOWN, {kind: name for name, (_, kind) in KNOWN.items()}.values()))
def test_the_same_line_in_the_list_in_show_and_in_the_report(name, folder, capsys):
    events, _ = KNOWN[name]
    run = Run(folder / "one")
    create(run, recipe_of("dpo").dump(), {"name": "one", "created": fakes.NOW, "facts": {}, "sessions": []})
    run.events.write_text("".join(json.dumps(event) + "\n" for event in [STARTED, *events]), encoding="utf-8")
    run.write_status(state="stopped", step=1)
    before = json.loads(run.status.read_text())
    with run.locked():
        keep_verdict(run)
    line = verdict(read(run)).line
    [row] = Index(folder).read()
    assert (row.verdict, row.verdict_level) == (line, verdict(read(run)).level)
    after = json.loads(run.status.read_text())
    assert {key: value for key, value in after.items() if key != "verdict"} == before
    shown = {}
    for words in (["runs", "--runs", folder], ["show", run.path]):
        assert command([str(word) for word in words]) == 0
        shown[words[0]] = capsys.readouterr().out
    for suffix in ("md", "html"):
        out = folder / f"r.{suffix}"
        assert command(["report", str(run.path), "--out", str(out)]) == 0
        shown[suffix] = html.unescape(out.read_text(encoding="utf-8"))
    assert all(line in text for text in shown.values()), (line, shown["md"][:600])
    assert f"\n**{line}**\n" in shown["md"]  # nothing that says otherwise stands over it
    assert f"<strong>{line}</strong>" in shown["html"]
