"""Whether what a run rests on is still what it was when the run began: its pairs, and the adapter it began with."""

from collections.abc import Mapping
from typing import Any

from mio_local.adapters import SavedAdapter
from mio_local.errors import RunError
from mio_local.fingerprint import adapter_digest
from mio_local.runs import Run


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
