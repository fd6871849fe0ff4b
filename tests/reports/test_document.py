"""`mio-local report`: the file is parsed again, and its figures are compared with the events."""

import json
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from mio_local import cli
from mio_local.commands import report
from mio_local.reports.document import collect
from tests.helpers import fakes

HOSTILE = '<script>alert("x")</script>&amp;{{ 7*7 }}|`**[a](javascript:b)\u202e\x1b[31m\x00\udcff'
VOID = {"meta", "br", "link", "img", "hr", "input", "path"}


class Page(HTMLParser):
    """Tags that must be balanced, the text between them, and every address."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.addresses, self.handlers = [], [], [], [], []
        self.rows, self.cell = [], None
        self.feed(text)
        self.close()
        assert self.open == []
        self.said = " ".join("".join(self.text).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID or (tag == "path" and not self.get_starttag_text().endswith("/>")):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        self.text.append(data)
        if self.cell:
            self.rows[-1][-1] += data


def written(capsys, folder, *names, out):
    """The report of these runs, as text."""
    assert cli.run(["report", *names, "--runs", str(folder), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"report: {out}" in said
    assert said.splitlines()[-1].startswith(("next: open file:", "  xdg-open", "  open", "  less"))
    return out.read_text(encoding="utf-8")


@pytest.fixture
def page(tmp_path, folder, capsys):
    """Runs to a parsed page, which refers to nothing outside and holds no script."""

    def made(*names):
        text = written(capsys, folder, *names, out=tmp_path / "out.html")
        found = Page(text)
        assert found.addresses == found.handlers == []
        assert not {"script", "link", "iframe", "img", "object", "base", "form"} & set(found.tags)
        assert not re.search(r"url\(|@import|https?:|<!ENTITY", text)
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert not re.search(r"\bid=|nan|inf\b", text.replace("mutual information", ""))
        return found

    return made


def shown(value, form):
    return f"{value:{form}}".replace("-", "−")


def test_the_figures_are_those_of_the_events(folder, page):
    fakes.make_run(folder, "one", steps=200)
    found = page("one")
    for step in (0, 50, 100, 150, 200):
        f = fakes.figures(step, "mio")
        chosen, rejected = f["delta/chosen"], f["delta/rejected"]
        assert [
            str(step), shown(f["loss"], ".4f"), shown(chosen, "+.3f"), shown(rejected, "+.3f"),
            shown(chosen - rejected, "+.3f"), shown(f["rewards/accuracies"], ".3f") if step else "—",
            shown(f["rewards/margins"], "+z.4f"), shown(f["mi/js"], ".4f"),
            shown(f["mi/dv"], ".4f"),
        ] in found.rows  # fmt: skip
    assert "became more likely than in the untrained model, and stayed so" in found.said
    assert "Qwen/Qwen3-0.6B, tuned on hh-rlhf.jsonl with MIO" in found.said
    assert "58.0% of 100 held-out pairs (95% interval 48.2% to 67.2%)" in found.said
    assert found.tags.count("svg") == 2 * (2 + 6)  # likelihoods wide and narrow, six compared; each clips its curves
    assert "target ln 2 / beta = +6.93" in found.said
    assert "How do I keep basil alive indoors?" in found.said
    assert "Six hours of light" in found.said
    assert "have an answer cut at 1024 tokens" in found.said
    assert "learning_rate = 0.00001" in found.said or "learning_rate = 1e-05" in found.said


def test_the_same_run_gives_the_same_file(tmp_path, folder, capsys):
    fakes.make_run(folder, "one", steps=100)
    texts = {written(capsys, folder, "one", out=tmp_path / f"{n}.html") for n in (1, 2)}
    assert len(texts) == 1


def test_two_runs_show_only_the_settings_that_differ(folder, page):
    fakes.make_run(folder, "a", steps=100)
    fakes.make_run(folder, "b", steps=400, loss="dpo", model="other/model")
    found = page("a", "b", "a")
    assert "comparison of 2 runs" in found.said
    assert ["model.name", "Qwen/Qwen3-0.6B", "other/model"] in found.rows
    assert ["loss.name", "mio", "dpo"] in found.rows
    assert [row[0] for row in found.rows if len(row) == 3 and "." in row[0]] == ["model.name", "loss.name"]
    assert ["train.steps", "1000"] in found.rows
    assert "a: too early to tell: chosen +" in found.said
    assert "The chosen answers rose, then became less likely" in found.said


def test_runs_of_one_name_are_told_apart(tmp_path):
    runs = [fakes.make_run(tmp_path / place, "same", steps=50) for place in ("x", "y")]
    assert [part.label for part in collect(runs).parts] == ["same", "same (2)"]


def test_benchmarks_with_their_intervals(folder, page):
    run = fakes.make_run(folder, "one", steps=100)
    base = {"type": "benchmark", "step": 100, "metric": "accuracy"}
    fakes.append(
        run, {**base, "name": "gsm", "of": "policy", "value": 0.5, "low": 0.4, "high": 0.6, "stderr": 0.1, "count": 64},
        {**base, "name": "gsm", "of": "difference", "value": -0.02, "stderr": 0.011},
        {**base, "name": "arc", "of": "base", "value": 0.25, "low": None}, {**base, "name": [], "value": "0.9"},
    )  # fmt: skip
    rows = page("one").rows
    assert ["100", "gsm", "accuracy", "policy", "0.5000 [0.4000, 0.6000]", "64"] in rows
    assert ["100", "gsm", "accuracy", "difference", "−0.0200 ± 0.0110", "—"] in rows
    assert ["100", "arc", "accuracy", "base", "0.2500", "—"] in rows
    assert ["100", "—", "accuracy", "—", "—", "—"] in rows


def test_tasks_have_an_interval(folder, page):
    run = fakes.make_run(folder, "one", steps=100)
    fakes.append(run, {"type": "task", "step": 100, "accuracy": 0.5, "correct": 64, "questions": 128})
    fakes.append(run, {"type": "task", "step": 100, "accuracy": None})
    rows = page("one").rows
    assert ["100", "64", "128", "0.500 [0.415, 0.585]"] in rows
    assert ["100", "—", "—", "—"] in rows


def hostile(folder):
    run = fakes.make_run(folder, HOSTILE.replace("/", "").replace("\x00", ""), "failed", 100, reason=HOSTILE,
                         model=HOSTILE.replace("\udcff", "").replace("\x00", ""))  # fmt: skip
    sample = {"type": "sample", "step": 100, "prompt": HOSTILE, "base": HOSTILE, "policy": f"````\n{HOSTILE}\n````"}
    note = {"type": "note", "step": 1, "level": HOSTILE, "text": HOSTILE}
    benchmark = {"type": "benchmark", "step": 1, "name": HOSTILE, "metric": HOSTILE, "of": HOSTILE, "value": 1}
    fakes.append(run, sample, note, benchmark)
    info = json.loads(run.info.read_text(encoding="utf-8"))
    info |= {"sessions": [{"argv": ["x", HOSTILE], "versions": {HOSTILE: HOSTILE}}], "weights": {HOSTILE: 5},
             "data_digest": HOSTILE, "facts": {"layout": HOSTILE, "device": HOSTILE}}  # fmt: skip
    run.info.write_text(json.dumps(info), encoding="utf-8")
    return run


def test_hostile_names_and_answers_are_text(folder, page):
    found = page(str(hostile(folder).path))
    assert '<script>alert("x")</script>&amp;{{ 7*7 }}|`**[a](javascript:b)\\u{202e}\\u{1b}[31m\\u{0}' in found.said


def test_hostile_markdown_is_text(tmp_path, folder, capsys):
    text = written(capsys, folder, str(hostile(folder).path), out=tmp_path / "out.md")
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    outside = re.sub(r"^(`{3,})\w*\n.*?\n\1$", "", text, flags=re.M | re.S).replace("<details><summary>", "")
    outside = re.sub(r"^<!-- mio-local .* -->$|</?(details|summary)>", "", outside, flags=re.M)
    assert not re.search(r"(?<!\\)[<\[]", re.sub(r" \[[\d., +-]+\]", "", outside))
    for line in outside.splitlines():
        if line.startswith("| ") and "alert" in line:
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 8, 11)


DAMAGES = {
    "status.json": "[]", "run.json": "{", "events.jsonl": '{"type": [], "step": 1}\nnonsense\n{"type": "step"}\n{"to',
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_tells_what_it_can(folder, page, name):
    run = fakes.make_run(folder, "one", steps=100)
    with (run.path / name).open("a" if name == "events.jsonl" else "w", encoding="utf-8") as file:
        file.write(DAMAGES[name])
    said = page("one").said
    assert "stayed so" in said
    if name == "run.json":
        assert "run.json is missing or damaged" in said
    if name == "events.jsonl":
        assert "made no sense and were passed over: 3" in said


def test_events_that_lack_everything(folder, page):
    kinds = ("started", "step", "eval", "task", "sample", "note", "benchmark", "checkpoint", "finished", "odd")
    stream = [{"type": kind, "step": step} for step in (0, 5) for kind in kinds]
    huge = {
        "delta/chosen": 1e308, "delta/rejected": -1e308, "loss": 10**400, "pairs": 1e308, "z/chosen_p10": -1e308,
        "z/chosen_p90": 1e308, "rewards/accuracies": 7, "perf/seconds": 1e308, "perf/memory_peak": "x",
    }  # fmt: skip
    stream += [{"type": kind, "step": step} | huge for kind, step in (("eval", 6), ("step", 7), ("step", 8))]
    fakes.make_run(folder, "odd", steps=5, stream=stream)
    assert "—" in page("odd").said


def test_a_damaged_recipe_is_one_line(folder, mistake):
    run = fakes.make_run(folder, "one", steps=10)
    run.recipe.write_text("[loss]\nname = 'what'\n", encoding="utf-8")
    assert "loss.name = what" in mistake("report", "one", "--runs", folder)


@pytest.mark.parametrize("state", ["queued", "failed", "training"])
def test_a_run_without_a_step(folder, page, state):
    fakes.make_run(folder, "one", state, steps=0, stream=[], reason="out of memory")
    said = page("one").said
    assert "There are no figures yet" in said
    assert "there is nothing to draw" in said
    name = "lost" if state == "training" else state
    assert f"The run is {name} at step 0 of 1000: out of memory." in said


def test_without_held_out_pairs_the_training_batches_are_judged(folder, page):
    fakes.make_run(folder, "one", "stopped", 300, stream=[e for e in fakes.events(300) if e["type"] != "eval"])
    said = page("one").said
    assert "No pairs were held out, so this is of the training batches" in said
    assert "stayed so" in said
    assert "The run is stopped at step 300 of 1000." in said


def test_markdown_holds_the_same_figures(tmp_path, folder, capsys):
    for name, loss in (("a", "mio"), ("b", "dpo")):
        fakes.make_run(folder, name, steps=100, loss=loss)
    text = written(capsys, folder, "a", "b", out=tmp_path / "out.md")
    f = fakes.figures(100, "dpo")
    assert f"| 100 | {f['loss']:.4f} | {f['delta/chosen']:+.3f} | {f['delta/rejected']:+.3f} |" in text
    assert "| loss.name | mio | dpo |" in text
    assert "one Markdown file can hold no picture" in text
    assert "\n```\nSix hours of light, and water when the soil is dry.\n```\n" in text
    lines = text.splitlines()
    for before, line in pairwise(lines):
        if line.startswith("|") and before.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", before))


def test_a_report_is_replaced_and_nothing_else(tmp_path, folder, capfd, mistake):
    run = fakes.make_run(folder, "one", steps=10)
    for name in ("out.html", "out.md"):
        out = tmp_path / name
        written(capfd, folder, "one", out=out)
        written(capfd, folder, "one", out=out)
        out.write_text("<p>mine", encoding="utf-8")
        said = mistake("report", "one", "--runs", folder, "--out", out)
        assert f"{out}: exists and is no report of mio-local, so it is not replaced; choose another" in said
    (tmp_path / "folder.html").mkdir()
    assert "is no report" in mistake("report", "one", "--runs", folder, "--out", tmp_path / "folder.html")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere")
    assert "is no report" in mistake("report", "one", "--runs", folder, "--out", tmp_path / "gone.md")
    assert "must end in .html or .md" in mistake("report", "one", "--runs", folder, "--out", "x.pdf")
    assert "no folder" in mistake("report", "one", "--runs", folder, "--out", "gone/x.html")
    assert "cannot be written" in mistake("report", "one", "--runs", folder, "--out", "x" * 300 + ".html")
    assert [path.name for path in run.path.glob("report*")] == []


def test_where_it_goes_by_default(tmp_path, folder, capsys, monkeypatch):
    for name in "ab":
        fakes.make_run(folder, name, steps=10)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("shutil.which", {"open": "/usr/bin/open"}.get)
    assert cli.run(["report", "a", "--runs", str(folder)]) == 0
    assert (folder / "a" / "report.html").exists()
    assert cli.run(["report", "a", "b", "--runs", str(folder)]) == 0
    assert (tmp_path / "report.html").exists()
    assert capsys.readouterr().out.endswith("next:\n  open report.html\n")


def test_the_home_folder_is_not_named(tmp_path, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fakes.make_run(folder, "one", steps=10, model=f"{tmp_path}/models/x")
    text = report.render(collect([report.directory.find(folder, "one")]), ".html")
    assert str(tmp_path) not in text
    assert "~/models/x" in text
