"""Held-out figures with intervals, the divergence from the reference, questions, and what a run remembers of them."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from mio_local import printing
from mio_local.cli import run
from mio_local.data.task_questions import Question, rule
from mio_local.evaluation.held_out import PREFERENCE, distinct_prompts, divergence, exact_match
from mio_local.objectives.intervals import proportion
from mio_local.progress import silent
from mio_local.runs.directory import Run
from mio_local.runs.events import Event, EventWriter, rewind
from mio_local.runs.summary import Verdict, verdict_of
from mio_local.runs.tail import Tail
from tests.helpers import fakes
from tests.helpers.backends import BACKENDS, both, logits, move, noisy, start
from tests.helpers.fakes import read_events
from tests.helpers.rounding import EPS
from tests.helpers.some import fast

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.mark.parametrize(("name", "text", "part"), [
    ("last-number", "so 1,200 or 3.0", "3"), ("exact", " a b\n", "a b"), ("letter", "BAD: (C) or D", "C"),
    ("boxed", r"\boxed{1} then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"), ("boxed", r"\boxed{open", None),
    ("letter", "none", None), (r"regex:A: (\d+)", "A: 12 A: 3", "12"), (r"regex:A: (\d+)", "B", None),
])  # fmt: skip
def test_rules(name, text, part):
    assert rule(name)(text) == part


def test_questions_follow_the_system_message_of_the_training():
    seen, asked = [], [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}]
    chat = SimpleNamespace(end_ids={1}, generation_prompt=lambda prompt: seen.append(prompt) or [5],
                           tokenizer=SimpleNamespace(decode=lambda *_, **__: "2"))  # fmt: skip
    model = SimpleNamespace(generate=lambda prompts, *_, **__: [[7]] * len(prompts))
    found = exact_match(model, chat, [Question("1+1?", "2")], rule("exact"), 4, 0, silent, adapted=False,
                        system="Be brief.")  # fmt: skip
    assert (seen, found[0].value) == ([asked], 1)


@both
def test_the_untrained_adapter_is_at_no_distance(backend, tiny_model):
    model = start(backend, tiny_model)
    chat = SimpleNamespace(end_ids={257})
    found = divergence(model, chat, [[5, 6], [7]], 6, 8, 0, silent)
    assert [(one.metric, one.value, one.interval.low, one.interval.high) for one in found] == [
        ("per_answer", 0, 0, 0), ("per_token", 0, 0, 0)]  # fmt: skip


@both
def test_draws_depend_on_the_seed_alone(backend, tiny_model):
    model = start(backend, tiny_model)
    draws = [model.generate([[5, 6], [7]], 8, [], reference=False, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    greedy = model.generate([[5, 6]], 8, [], reference=False)[0]
    until = greedy[: greedy.index(greedy[2]) + 1]
    assert model.generate([[5, 6]], 8, [greedy[2]], reference=False, ends=True)[0] == until


@pytest.mark.slow
@both
def test_the_divergence_is_the_enumerated_one(backend, tiny_model):
    """Answers of two tokens at most over all 259 first tokens, the end after any of them: summed in full."""
    model = start(backend, tiny_model)
    move(model, noisy(model.get_adapter(), 0.25))
    prompt, end, samples = [5, 6, 7], 100, 600

    def logs(ids, reference):
        with model._adapter(reference):
            last = logits(model, ids)[-1].astype(np.float64)
        return last - np.log(np.exp(last).sum())

    def kl(ids):
        ours, base = logs(ids, False), logs(ids, True)
        return np.exp(ours), float((np.exp(ours) * (ours - base)).sum())

    first, wanted = kl(prompt)
    wanted += sum(first[token] * kl([*prompt, token])[1] for token in range(len(first)) if token != end)
    found = divergence(model, SimpleNamespace(end_ids={end}), [prompt], samples, 2, 0, silent)[0]
    assert wanted > 0.05
    width = found.interval.high - found.interval.low
    assert found.value > 0
    assert abs(found.value - wanted) < 0.75 * width  # three standard errors
    assert width < 1.5 * wanted


@pytest.fixture(scope="module", params=fast(BACKENDS, ["cuda"]))
def trained(request, tiny_model, tiny_pairs, tmp_path_factory):
    """A finished run of three steps, with checkpoints."""
    folder = tmp_path_factory.mktemp("runs")
    words = ["train", "--model", tiny_model, "--data", tiny_pairs, "--backend", request.param, "--device", "cpu"]
    words += ["--rank", "4", "--runs", folder, "--name", "t", "--steps", "3", "--learning-rate", "3e-2"]
    words += ["--set", "eval.sample_tokens=6", "--set", "data.eval_fraction=0.4", "--save-every", "2"]
    assert run([str(word) for word in words]) == 0
    return Run(folder / "t")


def evaluated(place, *words):
    """The `benchmark` events that this evaluation adds, by name, metric and side."""
    before = len(list(read_events(place.events)))
    assert run(["eval", str(place.path), *map(str, words)]) == 0
    found = list(read_events(place.events))[before:]
    assert {event["type"] for event in found} == {"benchmark"}
    return {(event["name"], event["metric"], event["of"]): event for event in found}


def test_a_run_scores_as_its_trainer_did(trained, capsys):
    found = evaluated(trained, "--samples", 8)
    last = [event for event in read_events(trained.events) if event["type"] == "eval"][-1]
    near = 16 * EPS * abs(last["logps/chosen"])  # differences of sums of that size
    for metric in PREFERENCE:
        event = found["preference", metric, "policy"]
        assert event["value"] == pytest.approx(last[metric], rel=1e-6, abs=near)
        assert event["low"] <= event["value"] <= event["high"]
        assert (event["count"], event["step"], event["checkpoint"]) == (last["pairs"], 3, "final")
        assert (event["data"], event["limit"], event["seed"]) == ("", 0, 0)
    for metric, wanted in (("rewards/accuracies", proportion), ("delta/chosen", None)):
        event = found["preference", metric, "policy"]
        if wanted:
            assert (event["low"], event["high"]) == pytest.approx(wanted(event["value"], event["count"]))
        else:
            assert event["high"] - event["low"] == pytest.approx(2 * 1.96 * last["delta/chosen_stderr"], rel=1e-3)
    assert (found["kl", "per_answer", "policy"]["count"], found["kl", "per_answer", "policy"]["samples"]) == (8, 8)
    out = capsys.readouterr().out
    assert "percentile bootstrap of 2,000 resamples" in out
    assert f"mio-local show {trained.name}" in out
    assert run(["show", str(trained.path)]) == 0
    assert "kl" in (shown := capsys.readouterr().out)
    assert f"{found['preference', 'loss', 'policy']['low']:.3f}, " in shown
    assert run(["plot", str(trained.path)]) == 0
    evaluated(trained, "--samples", 4)
    capsys.readouterr()
    assert run(["show", str(trained.path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "per_answer" in line]
    assert [row[-1] for row in rows] == ["4"]  # the newest, once


def test_a_verdict_that_an_evaluation_changes_is_told(trained, capsys):
    with trained.locked():
        trained.amend_status(verdict=Verdict("both rise", "chosen +1, rejected +2").kept())
    evaluated(trained)
    now = verdict_of(trained.read_status())
    assert getattr(now, "kind", "both rise") != "both rise"
    told = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert printing.verdict_line(now) in told
    assert "before this evaluation: both rise" in told


@pytest.mark.slow
def test_the_picture_has_the_intervals(tmp_path):
    """One bar for each figure that has an interval; what makes no sense draws nothing."""
    from mio_local.reports.plotting import draw
    from mio_local.runs.history import read

    stream = [*fakes.events(60), {"type": "finished", "step": 60, "state": "done"}]
    event = {"type": "benchmark", "step": 60, "name": "preference", "metric": "loss", "value": 0.7}
    odd = [event, event | {"low": "x", "high": 1}, event | {"name": "gsm8k", "low": 0, "high": 1},
           event | {"low": 0.6, "high": 0.8, "data": "train.jsonl"}]  # fmt: skip
    kinds = {"plain": [], "odd": odd, "bars": [event | {"low": 0.6, "high": 0.8}]}
    drawn = {}
    for name, more in kinds.items():
        out = tmp_path / f"{name}.svg"
        draw([read(fakes.make_run(tmp_path / name, "a", stream=[*stream, *more]))], out)
        drawn[name] = out.read_text(encoding="utf-8").count("<path ")
    assert drawn["plain"] == drawn["odd"] < drawn["bars"]


def test_other_pairs_than_the_held_out_ones_are_named(trained, tmp_path, tiny_pairs, capsys):
    """In the events, in the tables and in a report; the picture and the card have the held-out ones alone."""
    other = Run(shutil.copytree(trained.path, tmp_path / "t"))
    found = evaluated(other, "--data", tiny_pairs, "--samples", 4, "--limit", 6, "--seed", 3)
    assert {(event["data"], event["limit"], event["seed"]) for event in found.values()} == {(tiny_pairs.name, 6, 3)}
    assert tiny_pairs.name in capsys.readouterr().out
    assert run(["show", str(other.path)]) == 0
    assert tiny_pairs.name in capsys.readouterr().out.partition("benchmarks")[2]
    for out in (tmp_path / "r.html", tmp_path / "r.md"):
        assert run(["report", str(other.path), "--out", str(out)]) == 0
        assert tiny_pairs.name.replace("_", r"\_" if out.suffix == ".md" else "_") in out.read_text().split("Bench")[1]


def test_held_out_pairs_are_those_of_the_training(trained, tmp_path, tiny_pairs, mistake):
    """As resume has it: where the data changed since, other pairs would be held out, some that were trained on."""
    other = Run(shutil.copytree(trained.path, tmp_path / "t"))
    changed = tmp_path / "pairs.jsonl"
    changed.write_text("\n".join(tiny_pairs.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")
    text = other.recipe.read_text(encoding="utf-8")
    other.recipe.write_text(text.replace(str(tiny_pairs), str(changed)), encoding="utf-8")
    assert "run t: its data or tokenizer changed since it began" in mistake("eval", other.path, "--samples", 0)


def test_a_checkpoint_of_ones_choice(trained):
    found = evaluated(trained, "--checkpoint", "step-000002", "--samples", 0, "--limit", 4)
    assert {(event["step"], event["count"]) for event in found.values()} == {(2, 4)}
    assert not any(name == "kl" for name, *_ in found)


def test_questions_are_answered_by_both(trained, tiny_model, tmp_path, capsys):
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps({"question": f"{n}?", "answer": n}) + "\n" for n in range(6)))
    found = evaluated(trained, "--questions", file, "--rule", "regex:(.)", "--no-preference", "--answer-tokens", 4)
    values = {of: found["exact-match", "accuracy", of]["value"] for of in ("base", "policy", "difference")}
    assert values["difference"] == pytest.approx(values["policy"] - values["base"])
    event = found["exact-match", "accuracy", "difference"]
    assert (event["count"], event["data"], event["rule"]) == (6, "questions.jsonl", "regex:(.)")
    capsys.readouterr()
    assert run(["eval", str(tiny_model), "--questions", str(file), "--answer-tokens", "4", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "base" in out
    assert "policy" not in out
    assert "next:" in out


def test_an_adapters_folder_needs_pairs(trained, tiny_model, tiny_pairs, capfd, mistake):
    words = ["--model", tiny_model, "--samples", 0, "--device", "cpu"]
    assert "or --data with pairs" in mistake("eval", trained.adapter, *words)
    assert run([str(word) for word in ["eval", trained.adapter, *words, "--data", tiny_pairs, "--limit", 5]]) == 0
    assert "rewards/accuracies" in capfd.readouterr().out


def test_other_pairs_are_read_as_the_flags_say(trained, tmp_path, capfd, mistake):
    """The remedy that an error names is one that `eval` takes, and it says what has nothing to read."""
    pairs = tmp_path / "long.jsonl"
    rows = [{"prompt": prompt, "chosen": "yes", "rejected": "no"} for prompt in ("a " * 900, "b", "c")]
    pairs.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    words = ["eval", trained.path, "--samples", 0, "--data", pairs]
    assert "raise it, or --set data.long_prompt=skip" in mistake(*words, "--max-tokens", 64)
    assert run([str(word) for word in [*words, "--max-tokens", 64, "--set", "data.long_prompt=skip"]]) == 0
    assert "]  2\n" in capfd.readouterr().out
    assert "says how --data is read" in mistake("eval", trained.path, "--max-tokens", 64)
    assert "unknown key train.steps" in mistake(*words, "--set", "train.steps=3")


def test_what_a_stopped_run_was_found_to_be_outlives_its_resume(tmp_path):
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    writer.write(Event("step", 1, {"loss": 1.0}))
    kept = writer.offset
    writer.write(Event("finished", 1, {"state": "stopped"}))
    writer.write(Event("benchmark", 1, {"name": "kl", "value": 0.5}))
    writer.close()
    with path.open("ab") as file:
        file.write(b'{"type": "benchmark", "torn')
    tail = Tail(path)
    tail.poll()
    rewind(path, kept)
    assert [event["type"] for event in read_events(path)] == ["step", "benchmark"]
    assert path.read_bytes().endswith(b"}\n")
    again, found = tail.poll()
    assert again
    assert [event["type"] for event in found] == ["step", "benchmark"]


def test_a_stopped_run_goes_on_after_it_was_evaluated(trained, tmp_path):
    """The same adapter as if nobody had looked, and the benchmarks still there."""
    stopped = Run(shutil.copytree(trained.path, tmp_path / "t"))
    shutil.rmtree(stopped.saved()[-1])
    shutil.rmtree(stopped.adapter)
    held = stopped.read_status() | {"state": "stopped", "step": 2}
    stopped.status.write_text(json.dumps(held))
    found = evaluated(stopped, "--samples", 0, "--limit", 2)
    assert {event["step"] for event in found.values()} == {2}
    assert run(["resume", str(stopped.path)]) == 0
    kinds = [event["type"] for event in read_events(stopped.events)]
    assert kinds.count("benchmark") >= len(found)
    assert kinds[-1] == "finished"
    for file in trained.adapter.glob("*.safetensors"):
        assert (stopped.adapter / file.name).read_bytes() == file.read_bytes()


def test_a_run_that_trains_is_left_alone(runs_home, mistake):
    training = fakes.make_run(runs_home, "busy", state="training")
    with fakes.alive(training):
        assert "run busy is training; evaluate it once it is done" in mistake("eval", "busy")


@pytest.mark.parametrize(("words", "told"), [
    (["--rule", "numbr"], "no such rule"), (["--rule", "regex:("], "no regular expression"),
    (["--rule", "regex:a"], "has 0 groups"), (["--questions", "nowhere.jsonl"], "--questions nowhere.jsonl: no such"),
    (["--limit", "-1"], "--limit -1: must not be negative"), (["--checkpoint", "best"], "is a model, which has none"),
    (["--data", "pairs.jsonl"], "has no adapter"), ([], "nothing to evaluate; add --tasks, --questions or"),
    (["--no-preference", "--data", "x"], "give one of them"),
])  # fmt: skip
def test_mistakes_are_told_before_anything_is_loaded(words, told, mistake, tiny_model):
    assert told in mistake("eval", tiny_model, *words)


def test_no_run_of_that_name(mistake):
    assert "no run nothing in " in mistake("eval", "nothing")


def test_every_prompt_is_asked_once():
    pairs = [SimpleNamespace(prompt=[n % 2, 3]) for n in range(4)]
    assert distinct_prompts(pairs) == [[0, 3], [1, 3]]
