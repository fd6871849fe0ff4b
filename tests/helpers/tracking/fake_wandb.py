"""A library in wandb's place, which writes what it is told to a file, and hangs or fails where it is told to.

`install` puts it before the real one for the processes that are started from then on.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from mio_local.tracking import trackers

SOURCE = '''
import ctypes, json, os, time
from types import SimpleNamespace

def at(place):
    if os.environ.get("FAKE_FAILS") == place:
        raise RuntimeError(f"no {place} [bold]here[/]\\nsecond line")
    if os.environ.get("FAKE_HANGS") == place:
        ctypes.PyDLL(None).sleep(600)  # no thread of Python's runs meanwhile

def told(**what):
    with open(os.environ["FAKE_FILE"], "a") as file:
        file.write(json.dumps(what) + "\\n")

class Run(SimpleNamespace):
    def log(self, values, step):
        at("log")
        told(step=step, **values)
    def finish(self, exit_code):
        at("finish")
        told(ended=exit_code)

def init(*, id, name, config, dir, project, **more):
    at("init")
    told(id=id or "made-up", name=name, config=config, asked=dict(more))
    at_home = SimpleNamespace(sync_dir=dir)
    return Run(id=id or "made-up", url="https://fake/made-up", tags=(), notes="", settings=at_home)
'''


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay the library out in `folder`; the file that it writes."""
    place = folder / "library" / "wandb"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(SOURCE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place.parent), *sys.path]))
    # not in this process: accelerate would import it, and keep it for later tests
    monkeypatch.setattr(trackers, "find_spec", lambda name: SimpleNamespace(origin=name))
    monkeypatch.setenv("FAKE_FILE", str(folder / "told.jsonl"))
    return folder / "told.jsonl"


def told(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def mirrors(process: int) -> list[psutil.Process]:
    """The processes that mirror runs, of those below one."""
    found: list[psutil.Process] = []
    for child in psutil.Process(process).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile: a zombie has no command line
            if "mio_local.tracking.mirror" in child.cmdline():
                found.append(child)
    return found
