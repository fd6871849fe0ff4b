"""What a backend is, and how one is found. Only numpy arrays, Python scalars, strings and Paths cross this boundary.

A backend is a package with an entry point in the group `mio_local.backends`; installing one adds it, with no edit here.
"""

import contextlib
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mio_local.adapters.adapter import Adapter, Slot
from mio_local.adapters.merge import ExpertPlace
from mio_local.arrays import Scored
from mio_local.data.collate import Batch
from mio_local.data.loglikelihood import Row, Score
from mio_local.errors import BackendError, nearest, one_line
from mio_local.launched.launchers import check_alone
from mio_local.launched.rank_place import Collective, Place
from mio_local.objectives.losses import Objective
from mio_local.process import installing, uncollected
from mio_local.recipe import LoraSettings, ModelSettings, Recipe, SpeedSettings, TrainSettings
from mio_local.sampling import Draws, Sampling, Told

GROUP = "mio_local.backends"
EXTRAS = {"mlx": "", "cuda": "cuda"}  # what brings the libraries of a backend: "" is the base install


@dataclass(frozen=True)
class Device:
    """Where a backend would run: `kind` is gpu or cpu, `memory` the bytes it has, 0 where unknown."""

    kind: str
    name: str
    memory: int


@dataclass(frozen=True)
class Memory:
    """Bytes of device memory in use now, and the most since the model was loaded."""

    active: int
    peak: int


class Model(Protocol):
    """A loaded base model with one trainable adapter. The reference is the model with the adapter as first set."""

    def share(self, collective: Any) -> None:
        """Sum gradients over the ranks of this collective, the backend's own, before a step takes their norm."""
        ...

    def add_lora(self, settings: LoraSettings, train: TrainSettings, names: Sequence[str]) -> list[Slot]:
        """Put an adapter of zero effect on the named linear layers, and the recipe's optimiser over it. Returns its
        slots' shapes."""
        ...

    half: bool  # whether it computes in 16 bits

    def use(self, speed: SpeedSettings) -> dict[str, str]:
        """Turn these levers on and the others off; none is on at first. By lever, why this model cannot have it.

        With `share_prompt` it takes batches of shared rows too.
        """
        ...

    def linear_layers(self) -> list[str]:
        """Full names of the linear layers inside the model's blocks that can be adapted."""
        ...

    def left_out(self) -> dict[str, str]:
        """Linear layers that `all-linear` does not mean, by full name, and why: routers, experts, and what one of the
        two libraries cannot adapt, so that the word means the same on both."""
        ...

    def set_adapter(self, adapter: Adapter, *, reference: bool = True) -> None:
        """Overwrite the adapter's weights and, with `reference`, make them the reference."""
        ...

    def get_adapter(self) -> Adapter:
        """The adapter's weights now, float32."""
        ...

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter in the ecosystem's own format (mlx-lm's or PEFT's)."""
        ...

    def accumulate(self, batch: Batch, reference: np.ndarray, objective: Objective, scale: float) -> Scored:
        """Add the gradient of `scale` times the batch's summed loss to the pending gradient."""
        ...

    def rehearse(self, batch: Batch, objective: Objective) -> Scored:
        """What a step computes for `batch`, reference first, leaving no trace but the peak of memory."""
        ...

    def apply(self, learning_rate: float) -> float:
        """Clip, step the optimiser, clear the gradient; the norm before clipping. Non-finite: no step is taken."""
        ...

    def logps(self, batch: Batch, *, reference: bool) -> np.ndarray:
        """log pi or log ref of the batch's answers, (A * n,) float32, without gradient, dropout off."""
        ...

    def generate(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, stop: Sequence[int], *, reference: bool,
        temperature: float = 0.0, seed: int = 0, ends: bool = False,
    ) -> list[list[int]]:  # fmt: skip
        """Continuation of each prompt, as one batch, the stop token included with `ends`: greedy, or with a
        `temperature` drawn from the whole distribution, the same for the same seed and prompts."""
        ...

    def draw(
        self, prompts: Sequence[Sequence[int]], draws: Draws, stop: Sequence[int], told: Told, *, reference: bool
    ) -> list[list[list[int]]]:
        """For each prompt its answers, the stop token included where one ended it. A prompt goes through the model once
        for those that are drawn at once, where the library can copy its cache. The random state is left alone."""
        ...

    def score(self, rows: Sequence[Row], *, reference: bool) -> list[Score]:
        """log pi or log ref of each prompt's continuation, nats, and whether it is the greedy one; dropout off."""
        ...

    def stream(
        self, prompt: Sequence[int], sampling: Sampling, stop: Sequence[int], told: Callable[[int], bool],
        *, reference: bool,
    ) -> None:  # fmt: skip
        """Draw an answer to one prompt; `told` hears of each token and says whether to go on. Ends at a stop token, of
        which nothing is told."""
        ...

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """Logits after each token of one row, (len(ids), vocabulary) float32, of the policy."""
        ...

    def release(self) -> None:
        """Give back what memory is kept for reuse: what comes next has other shapes."""
        ...

    def save_state(self, folder: Path) -> None:
        """Write adapter, reference adapter, optimiser and random state: what `restore_state` needs to go on exactly."""
        ...

    def restore_state(self, folder: Path) -> None:
        """Read back what `save_state` wrote."""
        ...

    def memory(self) -> Memory:
        """Device memory."""
        ...


class Backend(Protocol):
    """An array library that can train."""

    name: str
    versions: dict[str, str]
    optimizers: tuple[str, ...]  # by the recipe's names, those that are installed
    unused: tuple[str, ...]  # packages that its libraries import where they are, and that it does nothing with

    def probe(self, device: str) -> Device:
        """The device that `device` names here. Loads no model. Raises BackendError naming one that is there."""
        ...

    def auto_dtype(self, device: str) -> str:
        """The type that weights have on a GPU where the recipe names none: bfloat16, or float16 where the hardware has
        no units for it, or is slower with it."""
        ...

    def matrix_rates(self, device: str, dtype: str = "float32") -> list[float]:
        """FLOP per second of each of MATRIX_TIMES products of large square matrices: the most a step can reach."""
        ...

    def limit_memory(self, device: str, size: int) -> None:
        """Keep to `size` bytes of a GPU's memory, as far as the library can."""
        ...

    def load(
        self, folder: Path, settings: ModelSettings, device: str, *, grad_checkpoint: bool, seed: int,
        shard: Any = None,
    ) -> Model:  # fmt: skip
        """Load the model in `folder` onto `device`. With `shard`, the backend's own collective, each of its ranks keeps
        a share of the frozen base, and all of them make each call of the model. Raises ModelError, BackendError."""
        ...

    def join(self, place: Place, device: str) -> tuple[Collective, str]:
        """Meet the other ranks, which all call this; and this rank's own device. Raises BackendError."""
        ...

    def layer_names(self, folder: Path, settings: ModelSettings) -> list[str]:
        """`Model.linear_layers` of the model in `folder` by its files' descriptions alone: no weight is read. Raises
        ModelError where the library does not load such a model."""
        ...

    def loader(self, folder: Path) -> str:
        """The class of the library that its users load the model in `folder` by; "" where one function loads all."""
        ...

    def logits(
        self, folder: Path, settings: ModelSettings, device: str, ids: Sequence[int], adapter: Path | None
    ) -> np.ndarray:
        """As `Model.logits`, of a model and an adapter in the library's own format, loaded as its users do."""
        ...

    def dense(
        self, folder: Path, settings: ModelSettings, device: str
    ) -> tuple[list[str], Iterator[tuple[str, np.ndarray]]]:
        """Names of the model's weights as Hugging Face's files have them, and the weights in that order, those that are
        quantised as the model computes with them."""
        ...

    def expert_places(self, folder: Path, settings: ModelSettings, layers: Sequence[str]) -> list[ExpertPlace]:
        """Where the experts of `layers`, which the library stacks, lie in the files of `folder`. Raises ModelError."""
        ...

    def quantize(self, folder: Path, bits: int, device: str) -> None:
        """Replace the weights in `folder` by quantised ones, in the library's own format."""
        ...


def installed() -> list[str]:
    """Names of the registered backends, whether or not their libraries are there."""
    return sorted(point.name for point in entry_points(group=GROUP))


@uncollected()
def load_backend(name: str) -> Backend:
    """The backend called `name`; `auto` takes the first that imports, MLX before PyTorch."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name == "auto":
        reasons: list[str] = []
        for candidate in sorted(points, key=lambda known: (known != "mlx", known)):
            try:
                return points[candidate].load()()
            except (ImportError, OSError) as error:
                reasons.append(f"{candidate}: {_lack(error)}")
        raise BackendError(
            f"no backend is installed ({'; '.join(reasons) or 'none is registered'}); "
            f"install one with: {installing(EXTRAS['mlx'])} or {installing(EXTRAS['cuda'])}"
        )
    if name not in points:
        raise BackendError(f"--backend {name}: no such backend{nearest(name, points)}; there are {', '.join(points)}")
    with importing(name):
        return points[name].load()()


@contextlib.contextmanager
def importing(name: str) -> Generator[None]:
    """Say of a library that the backend called `name` cannot import how to install it. Raises BackendError."""
    try:
        yield
    except (ImportError, OSError) as error:  # a shared library that does not load is an OSError
        install = installing(EXTRAS.get(name, name))
        raise BackendError(f"--backend {name}: not installed ({_lack(error)}); install it with: {install}") from None


def require(*packages: str) -> None:
    """Raise ModuleNotFoundError for the first that is not there, without the time that importing them takes."""
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"no module {package}", name=package)


def resolve_backend(recipe: Recipe) -> tuple[Backend, Recipe, Device]:
    """The backend, the recipe with it, its device and a GPU's type of weights named, and that device. Only `auto` falls
    back to PyTorch on the CPU. Raises BackendError."""
    check_alone(recipe.backend.devices)
    backend = load_backend(recipe.backend.name)
    device, wanted = recipe.backend.device, recipe.train.optimizer
    try:
        found = backend.probe(device)
    except BackendError:
        if recipe.backend.name != "auto" or device != "auto":
            raise
        device, found = "cpu", backend.probe("cpu")
    if recipe.backend.name == device == "auto" and found.kind == "cpu" and shutil.which("nvidia-smi"):
        with contextlib.suppress(BackendError):  # MLX on the CPU beside a GPU that PyTorch can use
            backend = load_backend("cuda")
            found = backend.probe("gpu")
    if device == "auto":
        device = found.kind
    if wanted not in backend.optimizers:
        there = ", ".join(backend.optimizers)
        raise BackendError(f"--optimizer {wanted}: the {backend.name} backend has none here; there are {there}")
    settings = recipe.backend.model_copy(update={"name": backend.name, "device": device})
    model = recipe.model
    if found.kind == "gpu" and model.dtype == "auto":
        model = model.model_copy(update={"dtype": backend.auto_dtype(device)})
    return backend, recipe.model_copy(update={"backend": settings, "model": model}), found


def _lack(error: ImportError | OSError) -> str:
    return f"no module {error.name}" if isinstance(error, ModuleNotFoundError) else one_line(error, 160)
