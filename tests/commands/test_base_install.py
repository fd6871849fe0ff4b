"""What `pip install mio-local` brings along: known by name, of a known size, and in need of no compiler."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LARGEST = 540 << 20  # bytes of all of it; 489 MiB on Linux on 2026-11-28
KNOWN = {  # mlx-metal on a Mac, mlx-cpu on Linux
    "annotated-doc", "annotated-types", "anyio", "click", "contourpy", "cycler", "datasets", "dill", "filelock",
    "fonttools", "fsspec", "h11", "hf-xet", "httpcore2", "httpx2", "huggingface-hub", "idna", "jinja2", "kiwisolver",
    "linkify-it-py", "markdown-it-py", "markupsafe", "matplotlib", "mdit-py-plugins", "mdurl", "ml-dtypes", "mlx",
    "mlx-cpu", "mlx-lm", "mlx-metal", "multiprocess", "numpy", "packaging", "pandas", "pillow", "platformdirs",
    "protobuf", "psutil", "pyarrow", "pydantic", "pydantic-core", "pygments", "pyparsing", "python-dateutil",
    "pyyaml", "regex", "rich", "safetensors", "sentencepiece", "shellingham", "six", "textual", "tokenizers",
    "tomlkit", "tqdm", "transformers", "truststore", "typer", "typing-extensions", "typing-inspection", "xxhash",
}  # fmt: skip


def brought() -> dict[str, importlib.metadata.Distribution]:
    """Every distribution that the base install asks for, directly or not, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [("mio-local", frozenset[str]())]
    seen = set[tuple[str, frozenset[str]]]()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        here = found[name] = importlib.metadata.distribution(name)
        for text in here.requires or []:
            asked = Requirement(text)
            marker = asked.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                waiting.append((canonicalize_name(asked.name), frozenset(asked.extras)))
    del found["mio-local"]
    return found


def test_the_base_install_is_what_it_was() -> None:
    """A new name here is a decision: who writes it, and what does it weigh?"""
    assert sorted(brought().keys() - KNOWN) == []


def test_the_base_install_is_no_larger_than_it_was() -> None:
    sizes = dict.fromkeys(found := brought(), 0)
    for name, here in found.items():
        files = [Path(str(file.locate())) for file in here.files or [] if "__pycache__" not in file.parts]
        sizes[name] = sum(file.stat().st_size for file in files if file.exists())
    largest = sorted(sizes, key=lambda name: -sizes[name])[:8]
    assert sum(sizes.values()) < LARGEST, [(name, sizes[name] >> 20) for name in largest]


def test_nothing_of_the_base_install_is_compiled_where_it_is_installed() -> None:
    """A wheel that pip built from sources bears the plain tag of its machine."""
    tags = {name: here.read_text("WHEEL") or "" for name, here in brought().items()}
    assert [name for name, text in tags.items() if "-linux_" in text] == []


@pytest.mark.slow
def test_the_demo_needs_no_compiler(tmp_path: Path) -> None:
    """MLX compiles kernels for the CPU by g++ where it finds one."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MIO_LOCAL")}
    environ |= {"PATH": str(tmp_path), "TMPDIR": str(tmp_path), "MIO_LOCAL_CACHE": str(tmp_path / "cache")}
    words = ["demo", "--steps", "1", "--backend", "mlx", "--device", "cpu", "--runs", str(tmp_path / "runs")]
    ended = subprocess.run(
        [sys.executable, "-m", "mio_local.cli", *words], env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "runs/demo-dpo/adapter/adapters.safetensors").exists()
