"""`mio-local doctor`: what works on this machine, what is missing, and the command that installs it."""

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys

from mio_local import __version__, printing, process
from mio_local.backends import installed, load_backend, resolve_backend
from mio_local.errors import BackendError
from mio_local.ranks.link_speed import link_speed, matrix_rates
from mio_local.ranks.rendezvous import lead
from mio_local.recipe import build
from mio_local.runs.directory import list_runs, runs_folder
from mio_local.tracking.trackers import TRACKERS

SUMMED = (2**18, 2**22, 2**25)  # numbers: the gradients of adapters of 1, 17 and 134 MB
OPTIONAL = {"bitsandbytes": ("quantised bases on CUDA", "cuda")}  # what for, and the extra that brings it


def main(arguments: argparse.Namespace) -> int:
    """Look at everything; 0 when at least one backend can train."""
    out = printing.console()
    out.print(f"mio-local {__version__}, Python {platform.python_version()}, {platform.platform()}")
    out.print(f"  cores {os.cpu_count()}, memory {_memory()}")
    if arguments.devices != 1:
        return _ranks(arguments, out)
    works = [name for name in installed() if _backend(name, out)]
    for package, (what, extra) in OPTIONAL.items():
        if not _version(package):
            out.print(f"· {package}: not installed ({what}: {process.installing(extra)})")
    _trackers(out)
    if sys.platform.startswith("linux") and "mlx" in works:
        if library := process.fast_library():
            out.print(f"✓ BLAS: {library}, preloaded by train, resume and demo")
        else:
            out.print(f"! BLAS: only MLX's own, some 50 times slower on this CPU; install one: "
                      f"apt-get install libopenblas0-pthread, or {process.installing('cpu')}")
    folder = runs_folder(arguments.runs)
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free / 1e9
    out.print(f"{'✓' if free > 5 else '!'} runs: {folder}, {free:.0f} GB free")
    if not works:
        raise BackendError(f"no backend works here; {process.installing()}, or {process.installing('cuda')}")
    begun = "mio-local runs" if there == folder and list_runs(folder) else "mio-local demo"
    printing.next_steps(out, begun, "mio-local train --model MODEL --data PAIRS.jsonl")
    return 0


def _ranks(arguments: argparse.Namespace, out: printing.Console) -> int:
    """Begin a rank on each of several devices, and measure them and what passes between them."""
    given = {"name": arguments.backend, "device": arguments.device, "devices": arguments.devices}
    backend, recipe, device = resolve_backend(build({"backend": given}, "--devices"))
    settings = recipe.backend
    dtype = "float32" if device.kind == "cpu" else backend.auto_dtype(settings.device)
    with printing.preparing(out) as report:
        report(f"starting {settings.devices} ranks", 0, 0)
        link, collective, _ = lead(backend, settings.device, settings.devices)
        try:
            report("multiplying matrices on each", 0, 0)
            rates = matrix_rates(link, backend, settings.device, dtype)
            speeds = [link_speed(link, collective, count) for count in SUMMED]
        finally:
            link.close()
    for rank, rate in rates.items():
        out.print(f"✓ rank {rank}: {settings.name}, {device.name}, {rate / 1e9:,.0f} GFLOP/s in {dtype}")
    for speed in speeds:
        out.print(f"  a sum of {speed.size / 1e6:.3g} MB over all: {1e3 * speed.sum:.3g} ms, "
                  f"{8 * speed.rate / 1e9:.3g} Gb/s to a neighbour")  # fmt: skip
    out.print(f"  a question of rank 0's to all: {1e3 * speeds[0].question:.2g} ms")
    flags = f"--devices {settings.devices} --backend {settings.name} --device {settings.device}"
    printing.next_steps(out, f"mio-local bench --model MODEL --data PAIRS.jsonl {flags}")
    return 0


def _backend(name: str, out: printing.Console) -> bool:
    try:
        backend = load_backend(name)
    except BackendError as error:
        out.print(f"✗ {name}: {error}")
        return False
    versions = ", ".join(f"{package} {version}" for package, version in backend.versions.items())
    works = False
    for device in ("gpu", "cpu"):
        try:
            found = backend.probe(device)
        except BackendError as error:
            out.print(f"· {name}: {str(error).partition(';')[0]}")
            continue
        works = True
        memory = f", {found.memory / 1e9:.0f} GB" if found.memory else ""
        out.print(f"✓ {name}: {found.name}{memory} ({versions})")
    return works


def _trackers(out: printing.Console) -> None:
    found = {name: _version(name) for name in TRACKERS}
    there = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    missing = [name for name, version in found.items() if not version]
    lacks = f"not installed: {', '.join(missing)} ({process.installing(missing[0])})" if missing else ""
    out.print(f"{'✓' if there else '·'} trackers: {'; '.join(filter(None, (there, lacks)))}")


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
