"""Whether what a run rests on is still what it was when the run began: its base, its pairs, and the adapter it began
with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mio_local.adapters.adapter import SavedAdapter
from mio_local.data.collate import ORDER
from mio_local.errors import RunError
from mio_local.models.locate import weights_sizes
from mio_local.progress import Report, silent
from mio_local.runs.directory import Run
from mio_local.training.fingerprint import adapter_digest, weights_digest


def check_info(run: Run, info: Mapping[str, Any]) -> None:
    """Raise RunError where run.json lacks what the run needs to go on, or its pairs came in another order."""
    if missing := [key for key in ("data_digest", "adapted_layers", "facts") if key not in info]:
        raise RunError(f"{run.info}: damaged: it lacks {missing[0]}; start a new run from {run.recipe}")
    if info.get("order") != ORDER:
        raise RunError(f"run {run.name}: a version that took pairs in another order began it, so it cannot go on "
                       f"exactly; start a new run from {run.recipe}")  # fmt: skip


def check_base(run: Run, info: Mapping[str, Any], place: Path, report: Report = silent) -> None:
    """Raise RunError where the weights in `place` are others than run.json says; one without a digest goes by sizes.

    `report` hears of the bytes read, where they are not known yet."""
    same = info.get("weights") == weights_sizes(place)
    if same and (known := info.get("weights_digest")):
        same = known == weights_digest(place, report)
    if not same:
        raise RunError(f"run {run.name}: the weights in {place} are not those it was trained on; restore them first")


def check_data(run: Run, info: Mapping[str, Any], digest: str) -> None:
    """Raise RunError where the tokens of the pairs are others than run.json says; one without a digest passes."""
    if info.get("data_digest", digest) != digest:
        raise RunError(f"run {run.name}: its data or tokenizer changed since it began; restore them first")


def check_start(run: Run, info: Mapping[str, Any], initial: SavedAdapter) -> None:
    """Raise RunError where `initial` is another adapter than the run began with, as far as run.json tells."""
    known = info.get("init_adapter")
    if known and known != adapter_digest(initial):
        raise RunError(f"run {run.name}: the adapter in {initial.folder} is not the one it began with, its reference; "
                       "restore that first")  # fmt: skip
