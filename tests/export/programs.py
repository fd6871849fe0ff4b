"""Programs of others, as scripts that stand in for them on PATH."""

import os
import sys


def put_program(folder, name, body, monkeypatch=None):
    """A Python script called `name` in `folder`, put in front of PATH where there is a monkeypatch."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / name
    script.write_text(f"#!{sys.executable}\n{body}")
    script.chmod(0o755)
    if monkeypatch:
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return script
