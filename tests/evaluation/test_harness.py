"""Tasks of lm-evaluation-harness: what it says of a merged model by itself is what `eval` says of the adapter. What
imports the harness, which takes ten seconds, is slow."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from mio_local.cli import run
from mio_local.commands import evaluate
from mio_local.errors import BackendError, DataError
from mio_local.process import installing
from mio_local.progress import silent
from mio_local.runs.directory import Run
from tests.evaluation.harness_tasks import by_itself, write_tasks
from tests.helpers.backends import BACKENDS, both, load, logits, move, noisy, start
from tests.helpers.fakes import read_events

pytestmark = pytest.mark.filterwarnings("ignore")  # the harness's own, and its libraries'
ROWS = [([3, 4, 5], [6, 7]), ([8], [9]), ([1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12]), ([60] * 40, [61, 62] * 20)]


def theirs(model, rows):
    """log p of each continuation in float64, from the library's own logits, and whether it is the greedy one."""
    found = []
    for prompt, answer in rows:
        rest = logits(model, [*prompt, *answer])[len(prompt) - 1 : -1].astype(np.float64)
        logps = rest - np.log(np.exp(rest - rest.max(-1, keepdims=True)).sum(-1, keepdims=True)) - rest.max(
            -1, keepdims=True)
        found.append((logps[np.arange(len(answer)), answer].sum(), bool((rest.argmax(-1) == answer).all())))
    return found


@both
def test_scores_are_the_librarys_own(backend, tiny_model):
    model = start(backend, tiny_model)
    move(model, noisy(model.get_adapter()))
    bare = load(backend, tiny_model)
    greedy = [(prompt, model.generate([prompt], 6, [], reference=False)[0]) for prompt, _ in ROWS[:2]]
    rows = [*ROWS, *greedy, (greedy[0][0], [*greedy[0][1][:-1], (greedy[0][1][-1] + 1) % 250])]
    for reference, other in ((False, model), (True, bare)):
        for (logp, likeliest), (wanted, is_greedy) in zip(
            model.score(rows, reference=reference), theirs(other, rows), strict=True
        ):
            assert logp == pytest.approx(wanted, abs=2e-4)
            assert likeliest == is_greedy
    assert [likeliest for _, likeliest in model.score(rows, reference=False)][-3:] == [True, True, False]


@both
def test_rows_are_scored_alike_however_they_are_batched(backend, tiny_model):
    model = start(backend, tiny_model)
    rows = ROWS * 12
    alone = [model.score([row], reference=False)[0][0] for row in ROWS]
    model.most = 64
    together = [logp for logp, _ in model.score(rows, reference=False)]
    np.testing.assert_allclose(together, alone * 12, atol=1e-4)


def asked(*arguments):
    return [SimpleNamespace(args=one) for one in arguments]


@pytest.fixture
def harness(tiny_model):
    """The tiny model behind the harness's interface, saying the same tokens to each prompt."""
    pytest.importorskip("lm_eval")
    from mio_local.data.tokenizer import load_tokenizer
    from mio_local.evaluation.harness_model import HarnessModel
    from mio_local.recipe import ModelSettings

    tokenizer = load_tokenizer(ModelSettings(name=str(tiny_model)))
    calls = []

    def generate(prompts, tokens, stop, **options):
        calls.append(SimpleNamespace(prompts=prompts, tokens=tokens, stop=stop, **options))
        return [tokenizer.encode("one two\nthree Q: four")] * len(prompts)

    made = HarnessModel(SimpleNamespace(generate=generate), tokenizer, tiny_model, silent, reference=True)
    return SimpleNamespace(model=made, calls=calls, tokenizer=tokenizer)


@pytest.mark.slow
def test_answers_end_before_the_first_stop_string(harness):
    found = harness.model.generate_until(asked(
        ("p", {"until": ["\n"], "max_gen_toks": 9}), ("p", {"until": ["Q:", " two"]}), ("p", {"until": "four"}),
        ("p", {"until": ["\n"], "max_gen_toks": 9}), ("p", {}),
    ))  # fmt: skip
    assert found == ["one two", "one", "one two\nthree Q: ", "one two", "one two\nthree Q: four"]
    assert [len(call.prompts) for call in harness.calls] == [2, 1, 1, 1]
    assert [call.tokens for call in harness.calls] == [9, 256, 256, 256]
    end = harness.tokenizer.eos_token_id
    newline = harness.tokenizer.encode("\n")[0]
    assert harness.calls[0].stop == [end, newline]  # a token that begins with a stop string ends the answer early
    assert harness.calls[2].stop == [end]
    assert all(call.reference and call.temperature == 0 for call in harness.calls)


@pytest.mark.slow
def test_long_prompts_lose_their_start(harness):
    harness.model.longest = 20
    harness.model.generate_until(asked(("abcdefghijklmnopqrstuvwxyz", {"max_gen_toks": 15})))
    assert harness.tokenizer.decode(harness.calls[0].prompts[0]) == "vwxyz"
    with pytest.raises(DataError, match="answers of 20 tokens; this model takes 20 in all"):
        harness.model.generate_until(asked(("a", {"max_gen_toks": 20})))


@pytest.mark.slow
def test_sampling_takes_a_temperature_and_nothing_else(harness):
    harness.model.generate_until(asked(("a", {"do_sample": True, "temperature": 0.7}), ("a", {"temperature": 0.3}),
                                       ("a", {"do_sample": False, "temperature": 0.9})))  # fmt: skip
    assert [call.temperature for call in harness.calls] == [0.7, 0.3, 0.0]
    with pytest.raises(DataError, match="draws its answers by top_p"):
        harness.model.generate_until(asked(("a", {"do_sample": True, "top_p": 0.9})))


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "refused"), [
    ({"repetition_penalty": 5.0}, "repetition_penalty"), ({"num_beams": 4, "do_sample": False}, "num_beams"),
    ({"max_tokns": 5}, "max_tokns"), ({"num_beams": 1, "repetition_penalty": 1.0}, ""),
    ({"do_sample": False, "top_p": 0.95}, ""),
])  # fmt: skip
def test_what_would_be_done_otherwise_is_refused_by_name(harness, settings, refused):
    if not refused:
        assert harness.model.generate_until(asked(("a", settings))) == ["one two\nthree Q: four"]
        return
    with pytest.raises(DataError, match=f"a task sets {refused} for its answers, which is not done here"):
        harness.model.generate_until(asked(("a", settings)))


@pytest.mark.slow
def test_the_template_is_the_runs(harness, tiny_model):
    own = "[{{ messages[0].content }}]"
    model = type(harness.model)(None, harness.tokenizer, tiny_model, silent, reference=True, template=own)
    assert model.apply_chat_template([{"role": "user", "content": "hi"}]) == "[hi]"
    assert model.chat_template(True) == own


@pytest.mark.slow
def test_the_chat_template_is_the_tokenizers(harness):
    history = [{"role": "user", "content": "hi"}]
    assert harness.model.apply_chat_template(history) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert harness.model.chat_template(True) == harness.tokenizer.chat_template


def agree(folder, base, data, tasks, place, backend, limit, *more):
    """Train, merge, and compare what `eval` says of adapter and base with what the harness says of the merged model
    and of the base."""
    words = ["train", "--model", base, "--data", data, "--backend", backend, "--device", "cpu", "--runs", folder]
    words += ["--name", "h", "--rank", "8", "--learning-rate", "2e-2", "--schedule", "constant", *more]
    words += ["--set", "eval.sample_tokens=8"]
    assert run([str(word) for word in words]) == 0
    trained = Run(folder / "h")
    assert run(["export", str(trained.path), "--to", "merged"]) == 0
    words = ["eval", trained.path, "--tasks", ",".join(tasks), "--tasks-folder", place, "--no-preference"]
    assert run([str(word) for word in [*words, "--limit", limit]]) == 0
    events = [event for event in read_events(trained.events) if event["type"] == "benchmark"]
    found = {(event["name"], event["metric"], event["of"]): event for event in events}
    seen = 0
    for of, model in (("policy", trained.path / "exports" / "merged"), ("base", base)):
        alone = by_itself(model, tasks, place, limit)
        for task, figures in alone["results"].items():
            for key, value in figures.items():
                metric, comma, kept = key.partition(",")
                if not comma or metric.endswith("_stderr"):
                    continue
                ours = found[task, metric if kept == "none" else f"{metric}/{kept}", of]
                assert ours["value"] == pytest.approx(value, rel=1e-4), (task, key, of)
                assert ours["count"] == limit
                error = figures[f"{metric}_stderr,{kept}"]
                if isinstance(error, float):
                    assert ours["stderr"] == pytest.approx(error, rel=1e-3), (task, key, of)
                seen += 1
    assert seen == 8
    return found


@pytest.mark.slow
@both
def test_a_tiny_run_is_what_the_harness_says_of_the_merged_model(backend, tiny_model, tiny_pairs, tmp_path):
    pytest.importorskip("lm_eval")
    rows = [json.loads(line) | {"answer": "1"} for line in tiny_pairs.read_text().splitlines()]
    tasks = write_tasks(tmp_path / "tasks", f"tiny_{backend}", rows, "o", 16)
    found = agree(tmp_path / "runs", tiny_model, tiny_pairs, tasks, tmp_path / "tasks", backend, 12, "--steps", "4")
    for task, metric in ((tasks[1], "acc"), (tasks[1], "acc_norm"), (tasks[0], "exact_match/first-number")):
        difference = found[task, metric, "difference"]
        assert difference["paired"] is True
        assert difference["value"] == pytest.approx(
            found[task, metric, "policy"]["value"] - found[task, metric, "base"]["value"])
    perplexity = found[tasks[2], "word_perplexity", "difference"]
    assert perplexity["paired"] is False
    assert perplexity["value"] != 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS[:1])  # a tiny run is compared on each
def test_gsm8k_is_what_the_harness_says_of_the_merged_model(backend, shared, tmp_path):
    pytest.importorskip("lm_eval")
    lines = (shared / "data" / "gsm8k" / "valid.jsonl").read_text(encoding="utf-8").splitlines()[:12]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row["answer"] = row["chosen"].rpartition(" ")[2]
    tasks = write_tasks(tmp_path / "tasks", f"gsm_{backend}", rows, "\n", 48)
    data, base = shared / "data" / "gsm8k" / "train.jsonl", shared / "models" / "gsm8k-mini"
    agree(tmp_path / "runs", base, data, tasks, tmp_path / "tasks", backend, 12, "--steps", "4", "--max-tokens", "512",
          "--set", "data.limit=40", "--set", "eval.pairs=2")  # fmt: skip


def test_a_differences_error_is_that_of_the_differences():
    from mio_local.evaluation.harness import _compared

    one, two = np.array([1.0, 0, 1, 1, 0, 0]), np.array([1.0, 1, 1, 1, 0, 1])

    def said(scores, figure, error):
        samples = {"t": [{"filter": "none", "doc_id": i, "acc": float(s)} for i, s in enumerate(scores)]}
        return {"results": {"t": {"acc,none": figure, "acc_stderr,none": error}}, "samples": samples,
                "n-samples": {"t": {"effective": 6}}, "group_subtasks": {}}  # fmt: skip

    base, policy, difference = _compared("t", "acc,none", said(one, 0.5, 0.2), said(two, 5 / 6, 0.1), adapted=True)
    assert (base.value, policy.value, difference.value) == (0.5, 5 / 6, pytest.approx(1 / 3))
    assert difference.paired
    assert difference.stderr == pytest.approx((two - one).std(ddof=1) / math.sqrt(6))
    other = _compared("t", "acc,none", said(one, 0.4, 0.3), said(two, 0.8, 0.4), adapted=True)[2]
    assert not other.paired  # not the mean of its documents: an f1, say
    assert other.stderr == pytest.approx(0.5)


@pytest.mark.slow
def test_what_the_harness_lacks_is_told(mistake, tiny_model, tmp_path, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name}", name="lm_eval")

    with monkeypatch.context() as patch:
        patch.setattr("mio_local.evaluation.harness.import_module", absent)
        said = mistake("eval", tiny_model, "--tasks", "arc_easy")
        assert installing("eval") in said  # by the folder that it is said in
        with pytest.raises(BackendError):
            evaluate.main(evaluate_arguments(tiny_model))
    pytest.importorskip("lm_eval")
    assert "arc_esy: the harness has no such task (nearest: " in mistake("eval", tiny_model, "--tasks", "arc_esy")
    assert "no such folder" in mistake("eval", tiny_model, "--tasks", "t", "--tasks-folder", tmp_path / "nowhere")


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new", "told"), [
    ("{{prompt}}", "{{ prompt | nofilter }}", "the harness cannot run a task: TemplateAssertionError: No filter named"),
    ("rows.jsonl", "nope.jsonl", "a task's data is not there: "),
    ("doc_to_target: 0", "doc_to_target: [0", "choose.yaml: not readable YAML: line "),
])  # fmt: skip
def test_a_task_that_is_written_wrong_is_one_line(mistake, tiny_model, tmp_path, old, new, told):
    pytest.importorskip("lm_eval")
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c", "answer": "1"}]
    write_tasks(tmp_path / "tasks", "odd", rows, "o", 16)
    file = tmp_path / "tasks" / "choose.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    words = ["--tasks", "odd_choose", "--tasks-folder", tmp_path / "tasks", "--device", "cpu"]
    said = mistake("eval", tiny_model, *words)
    assert told in said
    assert "online" not in said


def evaluate_arguments(model):
    from mio_local.arguments import parser

    return parser("eval").parse_args(["eval", str(model), "--tasks", "arc_easy"])
