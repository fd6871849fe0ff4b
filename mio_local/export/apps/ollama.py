"""Ollama: the Modelfile of a GGUF file, and the model made of both where Ollama is here.

Ollama reads a value from quotes, or three of them, up to the next three, and drops characters that no printer prints
(parser/parser.go of Ollama).
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mio_local.errors import RunError
from mio_local.evaluation.loading import Source
from mio_local.export.apps.go_template import frames_of
from mio_local.export.apps.greedy import conversation_of
from mio_local.models.locate import end_ids

PROGRAM, FILE = "ollama", "Modelfile"
PROMPT = "{{ .Prompt }}"  # Ollama's for text that no template frames


@dataclass(frozen=True)
class Modelfile:
    """The text of a Modelfile, and `notes`, a line each, on what it does not say."""

    text: str
    notes: tuple[str, ...]


def modelfile(source: Source, file: Path, lora: Path | None = None) -> Modelfile:
    """What makes a model of `file`, beside it; with `lora`, of the base in `file` with that adapter."""
    chat = conversation_of(source)
    lines, notes, stops = [f"FROM {_named(file, lora)}"], list[str](), list[str]()
    if lora:
        lines.append(f"ADAPTER ./{lora.name}")
    if chat.mode == "text":
        lines.append(f"TEMPLATE {_quoted(PROMPT)}")
    else:
        frames, reason = frames_of(chat)
        bos = chat.tokenizer.bos_token or ""
        adds = bos and chat.tokenizer("a").input_ids[:1] == [chat.tokenizer.bos_token_id]
        template = frames.in_go(bos if adds else "") if frames else ""
        reason = reason or _unwritable(template)
        if frames and not reason:
            lines.append(f"TEMPLATE {_quoted(template)}")
            marks = [str(token) for token in chat.tokenizer.added_tokens_decoder.values()]
            stops = sorted((mark for mark in marks if mark in frames.assistant[1]), key=frames.assistant[1].index)[:1]
        else:
            notes.append(f"the {FILE} has no TEMPLATE: {reason}; Ollama then takes the GGUF file's own, or the nearest "
                         "that it knows")  # fmt: skip
    ends = sorted(chat.end_ids.union(end_ids(source.base)))
    stops += [chat.tokenizer.decode([number], skip_special_tokens=False) for number in ends]
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in dict.fromkeys(stops) if stop and not _unwritable(stop)]
    if source.system:
        if reason := _unwritable(source.system):
            notes.append(f"the {FILE} has no SYSTEM: the run's {reason}")
        else:
            lines.append(f"SYSTEM {_quoted(source.system)}")
    return Modelfile("\n".join(lines) + "\n", tuple(notes))


def _named(file: Path, lora: Path | None) -> str:
    """A file beside the Modelfile by its name, so that both can be moved; a base by its whole path."""
    return str(file.absolute()) if lora else f"./{file.name}"


def _quoted(text: str) -> str:
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'


def _unwritable(text: str) -> str:
    """Why a text cannot be in a Modelfile; "" where it can."""
    if '"""' in text:
        return 'text has """'
    if odd := next((letter for letter in text if not letter.isprintable() and letter not in "\n\t"), ""):
        return f"text has U+{ord(odd):04X}, which Ollama drops"
    return ""


def place_beside(file: Path, text: str) -> Path:
    """Where the Modelfile of `file` goes: Modelfile, or one named after the file where that is another's. Raises
    RunError where both are taken."""
    for place in (file.with_name(FILE), file.with_name(f"{file.stem}.{FILE}")):
        if not place.exists() or place.read_text(encoding="utf-8", errors="replace") == text:
            return place
    raise RunError(f"{place}: is there already, and is left alone; name another place with --out")


def model_name(title: str) -> str:
    """A name that Ollama takes, from a run's."""
    return re.sub(r"[^a-z0-9._-]+", "-", title.lower()).strip("-._") or "model"


def check_free(name: str) -> None:
    """Raise RunError where Ollama has a model of this name; what it cannot say is left to `create`."""
    if shutil.which(PROGRAM) and _call("show", name).returncode == 0:
        raise RunError(f"--name {name}: Ollama has a model of this name already, which is left alone; give another, or "
                       f"remove it with: ollama rm {name}")  # fmt: skip


def create(name: str, file: Path) -> bool:
    """Have Ollama make the model; False where Ollama is not here. Raises RunError where it fails."""
    if not shutil.which(PROGRAM):
        return False
    done = _call("create", name, "-f", str(file))
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["no reason"]
        raise RunError(f"ollama create {name}: failed: {said[-1][:200]}; the files are whole: start Ollama, then run "
                       f"ollama create {name} -f {file}")  # fmt: skip
    return True


def _call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, errors="replace", check=False,
                          stdin=subprocess.DEVNULL)  # fmt: skip
