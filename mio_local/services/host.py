"""How busy this machine is: the load of CPU and GPU, their memory, a temperature. No array library is loaded for it."""

import importlib
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal")  # Linux's names for those of the CPU
SHORTEST = 0.2  # seconds that a CPU load is taken over: a shorter time has too few of the system's ticks
STUCK = 5.0  # seconds without an answer of the GPU's driver from which on what it said before is not shown any more


@dataclass(frozen=True)
class Graphics:
    """One GPU: its load in percent, its memory in bytes, its temperature in °C; None where the driver does not say."""

    load: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    temperature: float | None = None


@dataclass(frozen=True)
class Host:
    """Loads in percent, memory in bytes, the temperature in °C; None where unknown, and a `memory_total` of 0.

    `cpu` is the mean over all cores since the last read. Of several GPUs it is the one that has the most memory in use.
    `temperature` is the GPU's; where there is none, the CPU's.
    """

    cpu: float | None
    memory_used: int
    memory_total: int
    gpu: float | None = None
    gpu_memory_used: int | None = None
    gpu_memory_total: int | None = None
    temperature: float | None = None

    def line(self) -> str:
        """Such as `CPU 88% · GPU 71% 9.1/24 GB 63° · mem 9.1/24 GB`; what is not known is left out."""
        has_gpu = self.gpu is not None or bool(self.gpu_memory_total)
        degrees = "" if self.temperature is None else f"{self.temperature:.0f}°"
        cpu = ["CPU —" if self.cpu is None else f"CPU {self.cpu:.0f}%", "" if has_gpu else degrees]
        gpu = ["GPU" if self.gpu is None else f"GPU {self.gpu:.0f}%",
               _of(self.gpu_memory_used, self.gpu_memory_total), degrees]  # fmt: skip
        memory = _of(self.memory_used, self.memory_total)
        parts = [_joined(cpu), _joined(gpu) if has_gpu else "", f"mem {memory}" if memory else ""]
        return " · ".join(filter(None, parts))


def read_host() -> Host:
    """What is known now. Never raises, and waits for no driver: the GPU's figures are those of the read before.

    On 2 busy cores a read took 0.5 ms and the first one 40 ms, of which psutil's import is most.
    """
    used, total = _memory()
    gpu, temperature = _drivers.read()
    return Host(_cpu.read(), used, total, gpu.load, gpu.memory_used, gpu.memory_total, temperature)


@dataclass
class _Cpu:
    """The load between two reads; `psutil.cpu_percent` has one for each thread, and screens read from several."""

    load: float | None = None
    before: tuple[float, float, float] | None = None  # when; seconds that all cores worked, and had
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> float | None:
        """Percent since the last read, 0 to 100; that read's once more where it was a moment ago."""
        with self.lock, suppress(Exception):
            now = time.monotonic()
            if self.before and now - self.before[0] < SHORTEST:
                return self.load
            busy, total = _spent()
            if self.before:
                worked, had = busy - self.before[1], total - self.before[2]
                self.load = min(100.0, max(0.0, 100 * worked / had)) if had > 0 else None
            self.before = now, busy, total
        return self.load


def _spent() -> tuple[float, float]:
    """Seconds that all cores worked, and had, since the system began."""
    import psutil

    times = psutil.cpu_times()._asdict()
    total = sum(value for name, value in times.items() if not name.startswith("guest"))  # which user time has already
    return total - times["idle"] - times.get("iowait", 0.0), total


def _memory() -> tuple[int, int]:
    """Bytes of main memory that are in use and cannot be had, and all bytes; zeros where the system does not say."""
    with suppress(Exception):
        import psutil

        memory = psutil.virtual_memory()
        return memory.total - memory.available, memory.total
    return 0, 0


class _Drivers:
    """What drivers tell, asked by a thread of its own: one that is stuck, or slow, holds no screen up."""

    def __init__(self) -> None:
        self._told: tuple[Graphics, float | None] = Graphics(), None
        self._asked = threading.Event()
        self._since = 0.0  # when the question was asked that has no answer yet; 0 for none
        self._thread: threading.Thread | None = None

    def read(self) -> tuple[Graphics, float | None]:
        """The GPU's figures and the temperature as of the last question; asks anew."""
        now = time.monotonic()
        with suppress(RuntimeError):  # no thread can be had
            if self._thread is None:
                self._thread = threading.Thread(target=self._answer, name="host figures", daemon=True)
                self._thread.start()
        self._since = self._since or now
        self._asked.set()
        return self._told if now - self._since < STUCK else (Graphics(), None)

    def _answer(self) -> None:
        nvml = _nvml()
        while True:
            self._asked.wait()
            self._asked.clear()
            gpu = _busiest(nvml)
            known = gpu.load is not None or gpu.memory_total
            self._told = gpu, gpu.temperature if known else _cpu_temperature()
            self._since = 0.0


def _nvml() -> Any:
    """NVIDIA's library, begun; None where it is not installed or finds no driver."""
    with suppress(Exception):
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        return nvml
    return None


def _busiest(nvml: Any) -> Graphics:
    """The GPU with the most memory in use; nothing known where there is none."""
    found: list[Graphics] = []
    with suppress(Exception):
        for number in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
            memory = _told(nvml.nvmlDeviceGetMemoryInfo, handle)
            rates = _told(nvml.nvmlDeviceGetUtilizationRates, handle)
            degrees = _told(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
            found.append(Graphics(rates and float(rates.gpu), memory and int(memory.used), memory and int(memory.total),
                                  None if degrees is None else float(degrees)))  # fmt: skip
    return max(found, key=lambda gpu: gpu.memory_used or 0, default=Graphics())


def _told(ask: Any, *about: Any) -> Any:
    """The driver's answer; None where this GPU has none, as one cut into parts has no load."""
    with suppress(Exception):
        return ask(*about)
    return None


def _cpu_temperature() -> float | None:
    with suppress(Exception):
        import psutil

        found = psutil.sensors_temperatures()  # not there on a Mac
        return next((float(found[name][0].current) for name in SENSORS if found.get(name)), None)
    return None


def _joined(words: list[str]) -> str:
    return " ".join(filter(None, words))


def _of(used: int | None, total: int | None) -> str:
    """Two amounts of memory as `9.1/24 GB`; nothing where one is unknown."""
    if used is None or not total:
        return ""
    return "/".join(f"{size / 1e9:.{0 if size >= 1e10 else 1}f}" for size in (used, total)) + " GB"


_cpu, _drivers = _Cpu(), _Drivers()
