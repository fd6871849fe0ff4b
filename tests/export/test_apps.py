"""Runs in Ollama and LM Studio: the Modelfile as Ollama reads it, and where each looks, with programs that stand in."""

import json
from dataclasses import replace

import pytest

from mio_local.arguments import parser
from mio_local.cli import run
from mio_local.commands.ways_out.as_gguf import wanted
from mio_local.errors import RecipeError, RunError
from mio_local.evaluation.loading import of_run
from mio_local.export.apps import ollama
from mio_local.export.choices import CHOICES, GGUF
from mio_local.export.gguf_export import _asked_otherwise
from mio_local.runs.directory import Run
from tests.export.modelfile import parse, rendered
from tests.export.programs import put_program
from tests.helpers.backends import backend_of
from tests.helpers.templates import CHATML
from tests.helpers.tiny_model import write_tiny_model

pytest.importorskip("gguf")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
SYSTEM = "You are brief.\nSay \"I\" never."


@pytest.fixture(scope="module")
def trained(tiny_pairs, tmp_path_factory):
    """A run with a ChatML template of its own and a system message."""
    backend_of("cuda")
    folder = tmp_path_factory.mktemp("apps")
    base = write_tiny_model(folder / "base")
    (folder / "chatml.jinja").write_text(CHATML)
    words = ["train", "--model", base, "--data", tiny_pairs, "--backend", "cuda", "--device", "cpu", "--rank", "4"]
    words += ["--runs", folder / "runs", "--name", "My-Run", "--steps", "2", "--set", "eval.sample_tokens=8"]
    words += ["--template", folder / "chatml.jinja", "--set", f"data.system={SYSTEM}"]
    assert run([str(word) for word in words]) == 0
    return Run(folder / "runs" / "My-Run")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home and a PATH with nothing in them."""
    for name in ("HOME", "PATH"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path / "HOME"


def export(trained, to, *words):
    return run(["export", str(trained.path), "--to", to, *map(str, words)])


OLLAMA = """
import json, os, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "show":
    sys.exit(0 if sys.argv[2] in {there!r} else "Error: model not found")
{create}
"""


def put_ollama(tmp_path, monkeypatch, there=(), create=""):
    log = tmp_path / "ollama.jsonl"
    put_program(tmp_path / "bin", "ollama", OLLAMA.format(log=str(log), there=list(there), create=create), monkeypatch)
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


def test_a_modelfile_lies_beside_a_gguf_file(trained, tmp_path, capsys):
    place = tmp_path / "out dir" / "x.gguf"
    assert export(trained, "gguf", "--out", place) == 0
    found = parse((tmp_path / "out dir" / "Modelfile").read_text())
    assert [name for name, _ in found] == ["from", "template", "stop", "system"]
    values = dict(found)
    assert values["from"] == "./x.gguf"
    assert values["stop"] == "<|im_end|>"
    assert values["system"] == SYSTEM
    talk = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    assert rendered(values["template"], talk) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    )
    assert f"ollama create my-run -f '{tmp_path}/out dir/Modelfile'" in capsys.readouterr().out
    import gguf

    held = gguf.GGUFReader(place).get_field("tokenizer.chat_template").contents()
    assert held == CHATML  # what the run was trained with, not the tokenizer's own


def test_a_modelfile_of_another_file_is_left_alone(trained, tmp_path):
    assert export(trained, "gguf", "--out", tmp_path / "a.gguf") == 0
    first = (tmp_path / "Modelfile").read_text()
    assert export(trained, "gguf", "--quantize", "f16", "--out", tmp_path / "b.gguf") == 0
    assert (tmp_path / "Modelfile").read_text() == first
    assert parse((tmp_path / "b.Modelfile").read_text())[0] == ("from", "./b.gguf")
    (tmp_path / "c.Modelfile").write_text("mine")
    with pytest.raises(RunError, match=r"c\.Modelfile: is there already, and is left alone; name another place"):
        export(trained, "gguf", "--out", tmp_path / "c.gguf")
    assert not (tmp_path / "c.gguf").exists()


def test_an_adapter_alone_names_its_base(trained, tmp_path):
    assert export(trained, "gguf", "--adapter-only", "--out", tmp_path / "l.gguf") == 0
    found = dict(parse((tmp_path / "Modelfile").read_text()))
    assert (found["from"], found["adapter"]) == (str(trained.path.parents[1] / "base"), "./l.gguf")


@pytest.mark.parametrize(("changes", "noted", "lacks"), [
    ({"system": 'has """ inside'}, 'the Modelfile has no SYSTEM: the run\'s text has """', "system"),
    ({"system": "a\u200bb"}, "the Modelfile has no SYSTEM: the run's text has U+200B, which Ollama drops", "system"),
    ({"template": "PLAIN"}, "the Modelfile has no TEMPLATE: it frames messages by more than their role", "template"),
])  # fmt: skip
def test_what_a_modelfile_cannot_say_is_told(changes, noted, lacks, trained, tmp_path):
    odd = tmp_path / "odd.jinja"
    odd.write_text("{% for m in messages %}{{ loop.index }} {{ m['content'] }}<|im_end|>{% endfor %}")
    changes = {key: str(odd) if value == "PLAIN" else value for key, value in changes.items()}
    made = ollama.modelfile(replace(of_run(trained), **changes), tmp_path / "x.gguf")
    assert any(note.startswith(noted) for note in made.notes), made.notes
    assert lacks not in dict(parse(made.text))


def test_a_run_without_a_template_has_ollamas_plain_one(trained, tmp_path):
    made = ollama.modelfile(replace(of_run(trained), template="none", system=""), tmp_path / "x.gguf")
    assert dict(parse(made.text))["template"] == "{{ .Prompt }}"


def test_into_ollama(trained, tmp_path, monkeypatch, capsys):
    calls = put_ollama(tmp_path, monkeypatch)
    assert export(trained, "ollama", "--quantize", "q8_0") == 0
    folder = trained.path / "exports" / "ollama"
    beside = folder / "Modelfile"
    assert calls() == [["show", "my-run"], ["create", "my-run", "-f", str(beside)]]
    assert parse(beside.read_text())[0] == ("from", "./My-Run-Q8_0.gguf")
    assert (folder / "My-Run-Q8_0.gguf").exists()
    said = capsys.readouterr().out
    assert said.endswith("next:\n  ollama run my-run\n")
    with pytest.raises(RunError, match=r"My-Run-Q8_0\.gguf: is there already, and is left alone; name another place"):
        export(trained, "ollama", "--quantize", "q8_0")


def test_without_ollama_the_commands_are_printed(trained, tmp_path, capsys):
    assert export(trained, "ollama", "--out", tmp_path / "x.gguf", "--name", "tuned") == 0
    said = capsys.readouterr().out
    assert "! Ollama is not on PATH, so no model was made of it" in said
    assert said.endswith(f"next:\n  ollama create tuned -f {tmp_path / 'Modelfile'}\n  ollama run tuned\n")


def test_a_name_that_ollama_has_is_told_before_anything_is_merged(trained, tmp_path, monkeypatch):
    calls = put_ollama(tmp_path, monkeypatch, there=["my-run"])
    with pytest.raises(RunError, match=r"--name my-run: Ollama has a model of this name already, .* ollama rm my-run"):
        export(trained, "ollama", "--out", tmp_path / "x.gguf")
    assert calls() == [["show", "my-run"]]
    assert not (tmp_path / "x.gguf").exists()


def test_an_ollama_that_fails_is_told_with_what_is_left_to_do(trained, tmp_path, monkeypatch):
    put_ollama(tmp_path, monkeypatch, create="sys.exit('Error: could not connect to ollama server')")
    with pytest.raises(RunError, match=r"ollama create my-run: failed: Error: could not connect to ollama server; the "
                                       r"files are whole: .* ollama create my-run -f .*Modelfile"):
        export(trained, "ollama", "--out", tmp_path / "x.gguf")
    assert (tmp_path / "x.gguf").exists()


@pytest.mark.parametrize(("folders", "root"), [
    ([], ".lmstudio"), ([".lmstudio"], ".lmstudio"), ([".cache/lm-studio"], ".cache/lm-studio"),
    ([".lmstudio", ".cache/lm-studio"], ".lmstudio"), (["away"], "away"),
])  # fmt: skip
def test_into_lm_studio(folders, root, trained, home, capsys):
    for folder in folders:
        (home / folder).mkdir(parents=True)
    if root == "away":
        (home / ".lmstudio-home-pointer").write_text(f"{home / 'away'}\n")
    assert export(trained, "lmstudio", "--quantize", "q8_0") == 0
    place = home / root / "models" / "mio-local" / "my-run" / "My-Run-Q8_0.gguf"
    assert [file for file in home.rglob("*") if file.is_file() and "pointer" not in file.name] == [place]
    said = capsys.readouterr().out
    assert f"My-Run as gguf: {place}" in said
    assert said.endswith("next:\n  lms load mio-local/my-run/My-Run-Q8_0.gguf\n  lms chat\n")
    with pytest.raises(RunError, match="my-run: is there already, and is left alone; give another --name, or remove"):
        export(trained, "lmstudio")
    assert export(trained, "lmstudio", "--name", "other") == 0


def test_what_these_programs_cannot_take_is_refused(trained, tmp_path):
    for to, words, said in (
        ("lmstudio", ["--out", tmp_path / "x"], "LM Studio looks in one place only"),
        ("lmstudio", ["--adapter-only"], "--adapter-only: LM Studio loads whole models only"),
        ("ollama", ["--name", "../x"], r"--name \.\./x: give letters, digits"),
        ("olama", [], r"--to olama: no such format \(nearest: ollama\); there are peft, mlx, merged, gguf, ollama"),
    ):
        with pytest.raises(RecipeError, match=said):
            export(trained, to, *words)
    assert not list(tmp_path.glob("x*"))


def test_a_modelfile_is_read_as_ollama_reads_it():
    """The reader of these tests: quotes over several lines, comments, and what Ollama refuses."""
    assert parse('FROM foo\nPARAMETER stop "a b"\nSYSTEM """\nmulti\n"line"\n"""\n# x\nTEMPLATE  {{ .X }} \n') == [
        ("from", "foo"), ("stop", "a b"), ("system", '\nmulti\n"line"\n'), ("template", "{{ .X }}"),
    ]  # fmt: skip
    for bad in ("", "PARAMETER stop x\n", 'FROM foo\nSYSTEM """open\n', "BAD foo\n"):
        with pytest.raises(ValueError):  # noqa: PT011 - any
            parse(bad)


def test_what_the_files_template_lacks_is_told(trained):
    """A run that was trained otherwise than the tokenizer's template asks, whichever program reads the file."""
    source = of_run(trained)
    assert _asked_otherwise(source) == []
    found, = _asked_otherwise(replace(source, template_args={"think": False}))
    assert found.endswith("give llama-cli --chat-template-kwargs '{\"think\": false}'")


def test_every_choice_of_the_app_is_a_command_line():
    """The app's list and the command line's formats are one; each takes the flags that the app gives it."""
    assert len({choice.key for choice in CHOICES}) == len({choice.name for choice in CHOICES}) == len(CHOICES)
    for choice in CHOICES:
        arguments = parser("export").parse_args(["export", "run", "--to", choice.format, *choice.flags])
        assert (wanted(arguments) is not None) == (choice.format in GGUF)
    asked = next(choice for choice in CHOICES if choice.name == "gguf-q8_0")
    assert wanted(parser("export").parse_args(["export", "r", "--to", asked.format, *asked.flags])).kind == "q8_0"
