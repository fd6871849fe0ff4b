"""Drive a preview process by hand: requests down its stdin, every line of its stdout read as JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from mio_local.text import visible


class Process:
    """A preview process under test."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "mio_local.preview.preview_server"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.asked = 0

    def send(self, do: str, **fields: Any) -> int:
        self.asked += 1
        self.write(json.dumps({"id": self.asked, "do": do, **fields}).encode())
        return self.asked

    def write(self, line: bytes) -> None:
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def line(self) -> dict[str, Any]:
        raw = self.process.stdout.readline()
        assert raw, self.process.stderr.read()
        assert visible(raw.decode("ascii")) == raw.decode("ascii").replace("\n", "⏎")
        return json.loads(raw)

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        number = self.send(do, **fields)
        answer = self.line()
        while "progress" in answer:
            answer = self.line()
        assert answer.pop("id") == number
        return answer

    def open(self, source: Path, model: Path | str = "", **data: Any) -> dict[str, Any]:
        return self.ask("open", data={"source": str(source), **data}, model={"name": str(model)})

    def end(self) -> tuple[str, str]:
        """Close stdin; what it still said on stdout and stderr. It must be gone within a second."""
        self.process.stdin.close()
        assert self.process.wait(1) == 0
        with self.process.stdout, self.process.stderr:
            return self.process.stdout.read().decode(), self.process.stderr.read().decode()


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def texts(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(part["role"], "".join(text for text, _ in part["pieces"])) for part in answer["parts"]]
