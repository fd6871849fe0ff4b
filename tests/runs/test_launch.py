"""Runs in the background: real trainers in processes of their own, and the commands that deal with them."""

import fcntl
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from mio_local import cli
from mio_local.errors import RunError
from mio_local.recipe import build
from mio_local.runs.control import request
from mio_local.runs.directory import Run
from mio_local.runs.launch import launch, lay_out
from mio_local.training.loop import train
from mio_local.training.prepare import start
from tests.runs.background import COMMAND, Make, ended, of_type, state, tables, until

pytest.importorskip("mlx.core")


@pytest.mark.slow
def test_a_detached_run_outlives_its_terminal(
    runs_home: Path, make: Make, tiny_model: Path, tiny_pairs: Path, mistake: Callable[..., str],
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A shell on a terminal of its own starts it and gets a hang-up; the run goes through its states to done."""
    recipe = runs_home.parent / "recipe.toml"
    recipe.write_text(build(tables(tiny_model, tiny_pairs, tokens=8), "test").dump())
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["sh", "-c", '"$@"; echo "started"; sleep 60', "sh", *COMMAND, "train", "--detach", str(recipe), "--name", "a"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while b"started" not in said:
        said += os.read(ours, 1000)
    os.close(ours)
    assert shell.wait(60) == -signal.SIGHUP
    assert b"a trains in the background" in said
    run, seen = Run(runs_home / "a"), [""]

    def over() -> bool:
        if (now := state(run)) != seen[-1]:
            seen.append(now)
        return not run.is_locked()

    until(over)
    assert [now for now in [*seen, state(run)] if now != "stopping"][1:4] == ["starting", "training", "done"]
    assert "done: all steps done" in run.log.read_text()
    assert cli.run(["watch", "a"]) == 0
    shown = capfd.readouterr().out
    assert "0/4 held out: loss 1.3863" in shown
    assert "4/4 held out" in shown
    assert f"done at step 4: {run.path}" in shown
    assert "run a is done" in mistake("stop", "a")
    assert "run a is done" in mistake("resume", "--detach", "a")
    answers_are_greedy(run, tiny_model)


def answers_are_greedy(run: Run, model: Path) -> None:
    """mlx-lm itself, on the files of base and adapter, answers alike."""
    from mlx_lm import generate, load

    first, last = of_type(run, "sample")
    assert (first["step"], last["step"]) == (0, 4)
    assert first["policy"] == first["base"] == last["base"]
    for adapter, answer in ((None, last["base"]), (str(run.adapter), last["policy"])):
        network, tokenizer = load(str(model), adapter_path=adapter)[:2]
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": content(last["prompt"])}], add_generation_prompt=True, return_dict=False
        )
        assert generate(network, tokenizer, prompt=ids, max_tokens=8) == answer
    assert answer != last["base"]


def content(prompt: str) -> str:
    """What the user said; the special tokens are left out of a sample's prompt already."""
    return prompt.removeprefix("user\n").removesuffix("assistant\n").strip()


@pytest.mark.slow
def test_a_killed_trainer_is_lost_at_once_and_resume_finishes_it(make: Make) -> None:
    """The lock tells, whatever status.json says; no step is missing or there twice."""
    run = make("a", steps=16, save_every=4)
    launch([run])
    until(lambda: of_type(run, "checkpoint"))
    os.kill(run.read_status()["pid"], signal.SIGKILL)
    until(lambda: state(run) == "lost", seconds=1)
    assert '"state": "training"' in run.status.read_text()
    assert cli.run(["resume", "--detach", "a"]) == 0
    assert ended(run) == "done"
    assert [event["step"] for event in of_type(run, "step")] == list(range(1, 17))


def test_mistakes_end_as_failed_with_their_reason(
    make: Make, runs_home: Path, tiny_model: Path, tiny_pairs: Path, mistake: Callable[..., str]
) -> None:
    """A missing data file and a missing model: one line in the status and the log; the run behind stays queued."""
    lost = {"data": tables(tiny_model, runs_home / "gone.jsonl"), "model": tables(runs_home / "gone", tiny_pairs)}
    failing = {name: lay_out(build(recipe, "test"), runs_home, name) for name, recipe in lost.items()}
    behind = make("behind")
    launch([failing["data"], behind])
    launch([failing["model"]])
    assert [ended(run) for run in failing.values()] == ["failed", "failed"]
    assert ended(behind) == "queued"  # all three, as `mistake` wants no file changed
    for name, run in failing.items():
        reason = run.read_status()["reason"]
        assert "gone" in reason
        assert "\n" not in reason
        assert reason in run.log.read_text()
        assert "Traceback" not in run.log.read_text()
        assert reason in mistake("watch", name)
    assert "run behind is queued" in mistake("stop", "behind")


@pytest.mark.slow
def test_queued_runs_are_trained_one_after_the_other(make: Make) -> None:
    """The second begins after the first is done; one that is done by its turn is not touched."""
    first, second = make("a", steps=12), make("b")
    launch([first, first, second])
    until(lambda: state(first) == "training")
    assert state(second) == "queued"
    until(lambda: state(second) != "queued")
    assert state(first) == "done"
    assert ended(second) == "done"
    finished = of_type(first, "finished")
    assert len(finished) == 1
    assert finished[0]["time"] < of_type(second, "started")[0]["time"]


@pytest.mark.slow
def test_stop_while_starting_then_pause_sample_and_resume(make: Make) -> None:
    """A stop counts from the launch on and leaves what is behind queued; what was asked for early is not forgotten."""
    run, behind = make("a", tokens=4), make("b")
    launch([run, behind])
    assert cli.run(["stop", "a"]) == 0
    assert ended(run) == "stopped"
    assert state(behind) == "queued"
    assert not of_type(run, "step")
    assert cli.run(["resume", "--detach", "a"]) == 0
    assert cli.run(["pause", "a"]) == 0
    until(lambda: state(run) == "paused")
    assert len(of_type(run, "sample")) == 1  # of the evaluation before the first step
    asked = request(run.control, "sample")
    until(lambda: len(of_type(run, "sample")) == 2)
    assert [event["id"] for event in of_type(run, "control")][-1] == asked
    with pytest.raises(RunError, match="already training") as refused:
        launch([run])
    assert "\n" not in str(refused.value)
    assert state(run) == "paused"
    assert cli.run(["resume", "a"]) == 0
    assert ended(run) == "done"
    assert [event["step"] for event in of_type(run, "step")] == [1, 2, 3, 4]


def interrupted(command: str, ready: Callable[[str], bool]) -> tuple[int, str]:
    """Exit code and output of a command that gets an interrupt as soon as its output is `ready`."""
    said = ""
    with subprocess.Popen([*COMMAND, command, "a"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as it:
        assert it.stdout
        for line in it.stdout:
            said += line
            if ready(said):
                break
        it.send_signal(signal.SIGINT)
        try:
            said += it.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:  # under `nohup ... &` an interrupt is ignored
            it.kill()
    return it.returncode, said


@pytest.mark.slow
def test_an_interrupt_ends_watching_and_stops_what_is_attached(make: Make) -> None:
    """`watch` leaves the run alone; `attach` stops and saves it, and says nothing twice."""
    run = make("a", steps=100_000)
    launch([run])
    code, said = interrupted("watch", lambda said: "4/100000 held out" in said)
    assert code == 130, said
    assert "a is left alone" in said
    assert state(run) == "training"
    again = subprocess.run([*COMMAND, "resume", "a", "--detach"], capture_output=True, text=True)
    assert again.returncode == 2
    assert "already training" in again.stderr
    assert again.stderr.count("\n") == 1
    assert not of_type(run, "control")
    code, said = interrupted("attach", lambda said: "4/100000 held out" in said)
    assert code == 0, said
    assert said.count("    0/100000 held out") == 1  # not again after the interrupt
    assert ended(run) == "stopped"
    step = run.read_status()["step"]
    assert f"stopped at step {step}" in said
    assert (run.checkpoints / f"step-{step:06d}").is_dir()
    assert (run.adapter / "adapter_config.json").exists()


def test_samples_can_be_left_out_and_never_end_a_training(
    make: Make, runs_home: Path, tiny_model: Path, tiny_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tokens, no sample; a model that cannot generate is one warning, and all steps are made."""
    job = start(build(tables(tiny_model, tiny_pairs), "test"), runs_home, "none")
    assert "sample" not in [event.type for event in train(job)]
    job = start(build(tables(tiny_model, tiny_pairs, tokens=4), "test"), runs_home, "broken")

    def generate(*arguments: object, **options: object) -> None:
        raise NotImplementedError("no cache\nfor this model")

    monkeypatch.setattr(job.model, "generate", generate)
    events = list(train(job))
    notes = [event.values for event in events if event.type == "note" and event.values["code"] == "sample"]
    assert [note["level"] for note in notes] == ["warning"]
    assert "no cache" in notes[0]["text"]
    assert "sample" not in [event.type for event in events]
    assert events[-1].values["state"] == "done"
    assert events[-1].step == 4
