"""The machine's load: against /proc where there is one, and against drivers that lie, refuse and hang."""

import statistics
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mio_local.services import host
from mio_local.services.host import Host, read_host

GB = 10**9
Times = namedtuple("Times", "user system idle iowait guest")


class Nvml:
    """NVIDIA's library, of GPUs as (load, bytes used, bytes, °C); what is an exception is raised."""

    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *gpus: tuple[object, object, object, object]) -> None:
        self.gpus = gpus
        self.free = threading.Event()
        self.free.set()

    def nvmlInit(self) -> None:
        """Begins."""

    def nvmlDeviceGetCount(self) -> int:
        assert self.free.wait(60)
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        return number

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=raised(self.gpus[handle][0]), memory=99)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(used=raised(self.gpus[handle][1]), total=self.gpus[handle][2])

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> object:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return raised(self.gpus[handle][3])


def raised(value: object) -> object:
    if isinstance(value, Exception):
        raise value
    return value


def eventually(holds: Callable[[Host], bool]) -> Host:
    """What is read once it holds."""
    for _ in range(600):
        if holds(found := read_host()):
            return found
        time.sleep(0.01)
    raise AssertionError(found)


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing read before, and no GPU of this machine's."""
    monkeypatch.setattr(host, "_cpu", host._Cpu())
    monkeypatch.setattr(host, "_drivers", host._Drivers())
    monkeypatch.setitem(sys.modules, "pynvml", None)


def with_gpus(monkeypatch: pytest.MonkeyPatch, *gpus: tuple[object, object, object, object]) -> Nvml:
    nvml = Nvml(*gpus)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


def test_of_two_gpus_the_one_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, (3, 1 * GB, 24 * GB, 41), (71, 9_100_000_000, 24 * GB, 63))
    found = eventually(lambda found: found.gpu is not None)
    assert (found.gpu, found.gpu_memory_used, found.gpu_memory_total, found.temperature) == (
        71, 9_100_000_000, 24 * GB, 63)  # fmt: skip


def test_a_gpu_that_does_not_tell_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, (RuntimeError("Not Supported"), 2 * GB, 8 * GB, RuntimeError("Not Supported")))
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    found = eventually(lambda found: bool(found.gpu_memory_total))
    assert (found.gpu, found.gpu_memory_used, found.temperature) == (None, 2 * GB, None)
    assert "· GPU 2.0/8.0 GB ·" in found.line()


@pytest.mark.parametrize("stage", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_a_driver_that_refuses_leaves_the_cpu_s_temperature(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("Driver/library version mismatch")

    monkeypatch.setattr(with_gpus(monkeypatch, (71, GB, GB, 63)), stage, refuse)
    sensors = {"nvme": [SimpleNamespace(current=30.0)], "k10temp": [SimpleNamespace(current=55.5)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    found = eventually(lambda found: found.temperature is not None)
    assert (found.gpu, found.gpu_memory_total, found.temperature) == (None, None, 55.5)


def test_a_driver_that_hangs_holds_no_read_up_and_what_it_said_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = with_gpus(monkeypatch, (71, GB, 2 * GB, 63))
    eventually(lambda found: found.gpu == 71)
    nvml.free.clear()
    monkeypatch.setattr(host, "STUCK", 1e9)
    assert {read_host().gpu for _ in range(20)} == {71}
    monkeypatch.setattr(host, "STUCK", 0.05)
    found = eventually(lambda found: found.gpu is None)
    assert found.memory_total
    nvml.free.set()
    eventually(lambda found: found.gpu == 71)


def test_the_load_is_what_all_cores_did_since_the_last_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # two cores, 10 s: 20 s had, of which 4 idle and 1 waited for a disk; a guest's 5 s are within the user's
    spent = [Times(100, 50, 800, 50, 20), Times(112, 53, 804, 51, 25)]
    monkeypatch.setattr(psutil, "cpu_times", lambda: spent.pop(0))
    clock = iter([1000.0, 1010.0, 1010.1])
    cpu = host._Cpu()
    monkeypatch.setattr(host.time, "monotonic", lambda: next(clock))
    assert cpu.read() is None
    assert cpu.read() == 75.0
    assert cpu.read() == 75.0  # too early for another


def test_nothing_raises_where_the_system_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert [read_host(), read_host()] == [Host(None, 0, 0)] * 2
    assert read_host().line() == "CPU —"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="compared with /proc")
def test_this_machine_s_memory_and_load() -> None:
    read_host()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1)
        found = read_host()
    finally:
        busy.kill()
        busy.wait()
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    told = {line[0]: 1024 * int(line[1]) for line in lines}
    assert found.memory_total == told["MemTotal:"]
    assert abs(found.memory_used - (told["MemTotal:"] - told["MemAvailable:"])) < 0.05 * told["MemTotal:"]
    assert found.cpu is not None
    assert 0.5 * 100 / psutil.cpu_count() < found.cpu <= 100


def test_a_read_takes_less_than_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, (71, GB, 2 * GB, 63))
    monkeypatch.setattr(host, "SHORTEST", 0.0)
    read_host()
    taken: list[float] = []
    for _ in range(200):
        began = time.perf_counter()
        read_host()
        taken.append(time.perf_counter() - began)
    assert statistics.median(taken) < 0.001


def test_the_module_loads_nothing_that_takes_long() -> None:
    code = ("import sys, mio_local.services.host; "
            "print(*{'torch', 'mlx', 'numpy', 'psutil', 'pynvml', 'pydantic'} & set(sys.modules))")  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (Host(88.4, 9_100_000_000, 24 * GB, 71, 9_100_000_000, 24 * GB, 63),
         "CPU 88% · GPU 71% 9.1/24 GB 63° · mem 9.1/24 GB"),
        (Host(7, 12 * GB, 16 * GB), "CPU 7% · mem 12/16 GB"),
        (Host(7, 12 * GB, 16 * GB, temperature=54.6), "CPU 7% 55° · mem 12/16 GB"),
        (Host(None, 500_000_000, 8 * GB, gpu=0.0), "CPU — · GPU 0% · mem 0.5/8.0 GB"),
    ],
)  # fmt: skip
def test_the_line(found: Host, line: str) -> None:
    assert found.line() == line
